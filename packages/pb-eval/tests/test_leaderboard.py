"""The leaderboard against plain loops, on equal and unequal, defined and undefined scores."""

import itertools
import json
import math
import statistics

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pb_eval import Leaderboard, leaderboard
from pb_eval.registry import DEFAULT_METRICS
from pb_eval.standings import Goal

HIGHER, LOWER, TARGET = Goal("higher"), Goal("lower"), Goal("target", 1.0)
GOALS = {"r2": HIGHER, "mse": LOWER, "ratio": TARGET}
CONTEXTS = ("B cells", "CD4 T cells", "NK cells")


def frame(records):
    """Result rows from (model, profile, context, seed, metric, value)."""
    table = pd.DataFrame(records, columns=["model", "profile", "context", "seed", "metric", "value"])
    fixed = {"dataset": "pbmc", "split": "leave-context-out", "perturbation": "stimulated", "dose": np.nan}
    return table.assign(**fixed, metric_version=1, split_hash=table["context"] + table["seed"].astype(str))


def random_records(
    seed, *, models=("control", "mean-shift", "scgen:fixed", "scgen:reference"), drop=0.0, undefined=0.0
):
    rng = np.random.default_rng(seed)
    records = []
    for spec, context, s, metric in itertools.product(models, CONTEXTS, (1, 2, 3), GOALS):
        model, _, profile = spec.partition(":")
        value = math.nan if rng.random() < undefined else float(rng.normal(1, 1))
        if rng.random() >= drop:
            records.append((model, profile or "default", context, s, metric, value))
    return records


def distance(goal, value):
    """Larger is better."""
    return {"higher": value, "lower": -value, "target": -abs(value - goal.perfect)}[goal.direction]


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else math.nan


def slow(records, baselines, goals):
    """Everything the leaderboard says, from its definition, by plain loops."""
    rows = sorted({(model, profile) for model, profile, *_ in records})
    found, reasons = {}, {}
    for metric, goal in goals.items():
        scores = {(m, p, c, s): v for m, p, c, s, name, v in records if name == metric}
        taking_part = [row for row in rows if any(key[:2] == row for key in scores)]
        units = []
        for context in CONTEXTS:
            here = {key: value for key, value in scores.items() if key[2] == context}
            lacking = [row for row in taking_part if not any(key[:2] == row for key in here)]
            if here and lacking:
                reasons[metric, context] = "no score of " + ", ".join(f"{m}:{p}" for m, p in lacking)
            elif here and all(math.isnan(value) for value in here.values()):
                reasons[metric, context] = "undefined for every model"
            elif here:
                units.append(context)
        for row in taking_part:
            of_unit = {u: {s: v for (*r, c, s), v in scores.items() if tuple(r) == row and c == u} for u in units}
            seeds = sorted({s for values in of_unit.values() for s in values})
            complete = [s for s in seeds if all(s in of_unit[u] for u in units)]
            per_seed = [mean(of_unit[u][s] for u in units) for s in complete]
            every = [v for values in of_unit.values() for v in values.values()]
            found[*row, metric] = {
                "mean": mean(mean(values.values()) for values in of_unit.values()),
                "merit": mean(mean(distance(goal, v) for v in values.values()) for values in of_unit.values()),
                "spread": statistics.stdev(per_seed)
                if len(per_seed) > 1 and not any(map(math.isnan, per_seed))
                else math.nan,
                "n_units": len(units),
                "n_seeds": len(complete),
                "n_nan": sum(map(math.isnan, every)),
                "n_missing": len(seeds) * len(units) - len(every),
            }
        merits = {
            row: found[*row, metric]["merit"] for row in taking_part if not math.isnan(found[*row, metric]["merit"])
        }
        floor = max((merit for row, merit in merits.items() if row[0] in baselines), default=math.nan)
        for row in taking_part:
            found[*row, metric]["gain"] = found[*row, metric]["merit"] - floor
            found[*row, metric]["best"] = bool(merits) and found[*row, metric]["merit"] == max(merits.values())
    return found, reasons


def agrees(board, records, baselines):
    found, reasons = slow(records, baselines, board.goals)
    for record in board.table.to_dict(orient="records"):
        expected = found.get((record["model"], record["profile"], record["metric"]))
        if expected is None:
            assert math.isnan(record["mean"])
            assert record["n_units"] == 0
            continue
        assert record["is_baseline"] == (record["model"] in baselines)
        for name, value in expected.items():
            assert record[name] == pytest.approx(value, rel=1e-12, abs=1e-12, nan_ok=True), (record, name)
    dropped = {
        (metric, context): why for metric, context, why in board.dropped[["metric", "context", "reason"]].to_numpy()
    }
    assert dropped == reasons
    assert len(board.table) == len({(m, p) for m, p, *_ in records}) * len(board.goals)


@pytest.mark.parametrize("seed", range(4))
def test_complete_scores_agree_with_plain_loops(seed):
    records = random_records(seed)
    agrees(leaderboard(frame(records), ["control", "mean-shift"], goals=GOALS), records, ["control", "mean-shift"])


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("undefined", [0.0, 0.1])
def test_ragged_scores_agree_with_plain_loops(seed, undefined):
    records = random_records(seed, drop=0.25, undefined=undefined)
    agrees(leaderboard(frame(records), ["control"], goals=GOALS), records, ["control"])


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(random):
    records = random_records(1, drop=0.2)
    expected = leaderboard(frame(records), ["control"], goals=GOALS)
    random.shuffle(records)
    shuffled = leaderboard(frame(records), ["control"], ["r2", "mse", "ratio"], goals=GOALS)
    keys = ["model", "profile", "metric"]
    left, right = (board.table.sort_values(keys, ignore_index=True) for board in (expected, shuffled))
    pd.testing.assert_frame_equal(left, right, rtol=1e-12)


def test_results_are_left_as_they_were():
    results = frame(random_records(0))
    before = results.copy()
    leaderboard(results, ["control"], goals=GOALS)
    pd.testing.assert_frame_equal(results, before)


# --- worked by hand


def simple(values, metric="r2"):
    """One seed, one metric, (model -> its value in each context)."""
    return frame(
        [
            (model, "default", context, 1, metric, value)
            for model, row in values.items()
            for context, value in zip(CONTEXTS, row, strict=False)
        ]
    )


def test_models_are_compared_on_common_units_only():
    results = simple({"control": [0.5, 0.7, 0.1], "scgen": [0.9, 0.8]})
    board = leaderboard(results, ["control"], goals=GOALS)
    assert board.wide("mean")["r2"].to_dict() == pytest.approx(
        {("scgen", "default"): 0.85, ("control", "default"): 0.6}
    )
    assert board.dropped[["context", "reason"]].to_numpy().tolist() == [["NK cells", "no score of scgen:default"]]
    assert (board.table["n_units"] == 2).all()


def test_a_model_without_a_metric_takes_no_part_in_it():
    results = pd.concat([simple({"control": [0.5], "scgen": [0.9]}), simple({"scgen": [0.1]}, metric="mse")])
    board = leaderboard(results, ["control"], ["r2", "mse"], goals=GOALS)
    assert board.dropped.empty
    assert board.wide("mean").loc[("control", "default")].isna().tolist() == [False, True]
    assert board.wide("n_units").loc[("control", "default")].tolist() == [1, 0]
    assert board.best_baseline == {"r2": ("control", "default"), "mse": None}
    assert board.wide("gain").loc[("scgen", "default")].isna().tolist() == [False, True]
    assert board.wide("best").loc[("scgen", "default")].tolist() == [True, True]


def test_models_without_a_common_unit_are_not_ranked():
    results = pd.concat([simple({"control": [0.5]}), simple({"scgen": [0.9]}).assign(context="T cells")])
    board = leaderboard(results, ["control"], goals=GOALS)
    assert board.table["mean"].isna().all()
    assert board.table["n_units"].tolist() == [0, 0]
    assert board.dropped["reason"].tolist() == ["no score of scgen:default", "no score of control:default"]


def test_one_models_nan_is_its_own():
    board = leaderboard(simple({"control": [0.5, 0.6], "scgen": [0.9, math.nan]}), ["control"], goals=GOALS)
    assert board.wide("n_nan")["r2"].to_dict() == {("control", "default"): 0, ("scgen", "default"): 1}
    assert math.isnan(board.wide("mean")["r2"]["scgen", "default"])
    assert list(board.table["model"]) == ["control", "scgen"]  # what has no mean ranks last
    assert list(board.table["best"]) == [True, False]
    assert board.dropped.empty


def test_a_unit_that_nobody_can_be_scored_on_is_dropped():
    board = leaderboard(simple({"control": [0.5, math.nan], "scgen": [0.9, math.nan]}), ["control"], goals=GOALS)
    assert board.dropped[["metric", "context", "reason"]].to_numpy().tolist() == [
        ["r2", "CD4 T cells", "undefined for every model"]
    ]
    assert board.wide("mean")["r2"].tolist() == [0.9, 0.5]


def test_a_metric_undefined_everywhere_is_shown_as_such():
    board = leaderboard(simple({"control": [math.nan], "scgen": [math.nan]}), ["control"], goals=GOALS)
    assert board.table["mean"].isna().all()
    assert board.table["n_units"].tolist() == [0, 0]
    assert not board.table["best"].any()
    assert board.best_baseline == {"r2": None}
    assert len(board.dropped) == 1


@pytest.mark.parametrize(
    ("metric", "control", "scgen", "gain"),
    [("r2", 0.5, 0.75, 0.25), ("mse", 0.5, 0.75, -0.25), ("ratio", 0.5, 1.25, 0.25), ("ratio", 1.25, 0.5, -0.25)],
)
def test_a_positive_gain_is_an_improvement(metric, control, scgen, gain):
    board = leaderboard(simple({"control": [control], "scgen": [scgen]}, metric), ["control"], goals=GOALS)
    assert board.wide("gain")[metric].to_dict() == {("control", "default"): 0.0, ("scgen", "default"): gain}
    assert board.table["model"].tolist() == (["scgen", "control"] if gain > 0 else ["control", "scgen"])


def test_misses_on_both_sides_of_a_target_do_not_cancel():
    board = leaderboard(simple({"control": [0.9, 0.9], "scgen": [0.5, 1.5]}, "ratio"), ["control"], goals=GOALS)
    assert board.wide("mean")["ratio"]["scgen", "default"] == 1.0
    assert board.wide("gain")["ratio"]["scgen", "default"] == pytest.approx(-0.4)
    assert board.table.loc[board.table["best"], "model"].tolist() == ["control"]


def test_the_best_baseline_is_found_for_each_metric():
    results = pd.concat(
        [simple({"control": [0.5], "mean-shift": [0.6], "scgen": [0.4]}, metric) for metric in ("r2", "mse", "ratio")]
    )
    board = leaderboard(results, ["mean-shift", "control", "absent"], goals=GOALS)
    best = {"r2": ("mean-shift", "default"), "mse": ("control", "default"), "ratio": ("mean-shift", "default")}
    assert dict(board.best_baseline) == best


def test_ties_are_all_marked_and_ordered_by_name():
    board = leaderboard(simple({"scgen": [0.5], "control": [0.5], "a": [0.1]}), ["control"], goals=GOALS)
    assert board.table["model"].tolist() == ["control", "scgen", "a"]
    assert board.table["best"].tolist() == [True, True, False]


def test_without_baselines_there_is_no_gain():
    board = leaderboard(simple({"scgen": [0.5]}), [], goals=GOALS)
    assert board.table["gain"].isna().all()
    assert board.best_baseline == {"r2": None}


def test_one_seed_has_no_spread_and_profiles_are_rows():
    records = [("scgen", profile, "B cells", seed, "r2", seed / 2) for profile in ("a", "b") for seed in (1, 2)][:3]
    board = leaderboard(frame(records), [], goals=GOALS)
    assert board.wide("spread")["r2"]["scgen", "a"] == pytest.approx(statistics.stdev([0.5, 1.0]))
    assert math.isnan(board.wide("spread")["r2"]["scgen", "b"])
    assert board.wide("n_seeds")["r2"].to_dict() == {("scgen", "a"): 2, ("scgen", "b"): 1}


def test_doses_and_data_sets_make_units():
    results = pd.concat([simple({"control": [value]}).assign(dose=dose) for value, dose in ((0.1, 1.0), (0.2, 2.0))])
    results = pd.concat([results, simple({"control": [0.6]}).assign(dataset="nault")])
    assert leaderboard(results, [], goals=GOALS).table["n_units"].tolist() == [3]
    assert leaderboard(results, [], goals=GOALS).table["mean"].tolist() == pytest.approx([0.3])


def test_infinite_scores_raise_no_warning():
    board = leaderboard(simple({"control": [math.inf, 0.0], "scgen": [math.inf, 1.0]}), ["control"], goals=GOALS)
    assert board.table["mean"].tolist() == [math.inf, math.inf]
    assert board.table["gain"].isna().all()


# --- metrics, goals, JSON


def test_the_registry_gives_goals_and_order():
    names = ["edistance", "r2_mean_all", "variance_ratio"]
    results = pd.concat([simple({"control": [0.5], "scgen": [0.6]}, name) for name in names])
    board = leaderboard(results, ["control"])
    assert list(board.goals) == [name for name in DEFAULT_METRICS if name in names]
    assert {name: goal.direction for name, goal in board.goals.items()} == {
        "r2_mean_all": "higher",
        "edistance": "lower",
        "variance_ratio": "target",
    }
    assert board.goals["variance_ratio"].perfect == 1.0
    assert list(board.wide("mean").columns) == list(board.goals)


def test_the_first_metric_ranks():
    results = pd.concat([simple({"control": [0.5], "scgen": [0.6]}, name) for name in ("r2", "mse")])
    assert leaderboard(results, [], ["r2", "mse"], goals=GOALS).wide("mean").index[0] == ("scgen", "default")
    assert leaderboard(results, [], ["mse", "r2"], goals=GOALS).wide("mean").index[0] == ("control", "default")
    assert list(leaderboard(results, [], ["mse"], goals=GOALS).wide("mean").columns) == ["mse"]


def test_the_dictionary_is_strict_json_and_says_the_same():
    records = random_records(3, drop=0.3, undefined=0.1)
    board = leaderboard(frame(records), ["control"], goals=GOALS)
    told = json.loads(json.dumps(board.to_dict(), allow_nan=False))
    again = pd.DataFrame(told["rows"]).astype(board.table.dtypes.to_dict())
    pd.testing.assert_frame_equal(again, board.table)
    assert [metric["metric"] for metric in told["metrics"]] == list(board.goals)
    assert {metric["metric"]: metric["perfect"] for metric in told["metrics"]} == {
        "r2": None,
        "mse": None,
        "ratio": 1.0,
    }
    assert [row["reason"] for row in told["dropped"]] == board.dropped["reason"].tolist()
    assert isinstance(board, Leaderboard)


# --- what cannot be compared


def twice(results):
    return pd.concat([results, results.iloc[:1]])


def other_version(results):
    return results.assign(metric_version=[1, 2])


def other_manifest(results):
    return results.assign(split_hash=["a", "b"])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda results: results.iloc[:0], r"there is nothing to rank: results has 0 rows"),
        (lambda results: results.drop(columns="seed"), r"lacks the columns \['seed'\]"),
        (twice, r"1 scores occur twice \(first control, default, 1, r2, B cells\): keep one"),
        (other_version, r"r2 was scored in 2 versions: score every prediction with one version"),
        (other_manifest, r"'B cells', seed 1, was split in 2 ways: compare models on one manifest"),
        (
            lambda results: results.assign(split=["a", "b"]),
            r"splits a, b support different claims: make one leaderboard",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(change, sentence):
    results = simple({"control": [0.5], "scgen": [0.6]}).assign(split_hash="")
    with pytest.raises(ValueError, match=sentence):
        leaderboard(change(results), ["control"], goals=GOALS)


def test_an_unknown_manifest_is_compared():
    results = simple({"control": [0.5], "scgen": [0.6]}).assign(split_hash=["a", ""])
    assert len(leaderboard(results, ["control"], goals=GOALS).table) == 2


@pytest.mark.parametrize(
    ("metrics", "sentence"), [(["r"], r"the results hold no metric 'r': did you mean r2\?"), ([], r"metrics is empty")]
)
def test_metrics_that_are_not_there(metrics, sentence):
    with pytest.raises(ValueError, match=sentence):
        leaderboard(simple({"control": [0.5]}), ["control"], metrics, goals=GOALS)

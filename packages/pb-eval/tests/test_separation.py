"""Floors in result tables, the leaderboard's place between limits, and what a metric can tell, against plain loops."""

import math

import numpy as np
import pandas as pd
import pytest
from pb_eval import Reference, dynamic_range, leaderboard, technical_duplicate, with_floor, with_scaled
from pb_eval.calibration import DUPLICATE
from pb_eval.goals import Goal
from pb_eval.separation import ENOUGH

GOALS = {"r2": Goal("higher", 1.0), "mse": Goal("lower", 0.0), "ratio": Goal("target", 1.0), "far": Goal("lower")}
UNIT = {"dataset": "pbmc", "split": "leave-context-out", "perturbation": "stimulated", "dose": np.nan}
CONTEXTS = ("B cells", "CD4 T cells", "NK cells", "CD8 T cells")


def better(goal, value):
    return {"higher": value, "lower": -value, "target": -abs(value - goal.perfect)}[goal.direction]


def results(seed, undefined=0.0):
    """Draw rows of two baselines (one seed) and a model (two seeds) on every context, with a ceiling for each unit."""
    rng = np.random.default_rng(seed)
    rows = []
    for metric in GOALS:
        for context in CONTEXTS:
            ceiling = rng.normal(1, 0.1)
            for model, s in (("control", 1), ("mean-shift", 1), ("scgen", 1), ("scgen", 2)):
                value = math.nan if rng.random() < undefined else rng.normal(0.5, 0.5)
                rows.append((model, context, s, metric, value, ceiling))
    table = pd.DataFrame(rows, columns=["model", "context", "seed", "metric", "value", "ceiling"])
    return table.assign(**UNIT, profile="default", metric_version=1, split_hash="")


def is_simple(table):
    return table[table["model"].isin(["control", "mean-shift"])]


@pytest.mark.parametrize("undefined", [0.0, 0.4])
@pytest.mark.parametrize("seed", range(4))
def test_a_floor_is_the_best_baseline_of_its_unit(seed, undefined):
    table = results(seed, undefined)
    found = with_floor(table, is_simple(table), goals=GOALS)
    pd.testing.assert_frame_equal(found[table.columns], table)
    for row in found.itertuples():
        goal = GOALS[row.metric]
        unit = is_simple(table).query("metric == @row.metric and context == @row.context")["value"].dropna()
        if unit.empty:
            assert math.isnan(row.floor)
            continue
        assert row.floor == max(unit, key=lambda value, goal=goal: better(goal, value))
        room = better(goal, row.ceiling) - better(goal, row.floor)
        expected = (better(goal, row.value) - better(goal, row.floor)) / room if room > 0 else math.nan
        assert row.scaled == pytest.approx(expected, nan_ok=True)
        if row.value == row.floor and room > 0:
            assert row.scaled == 0
    assert (found["scaled"] < 0).any()


def test_floors_are_not_mixed_between_splits_doses_and_versions():
    first = results(0)
    for column, value in (("dose", 2.0), ("split_hash", "ab"), ("metric_version", 2), ("perturbation", "drug")):
        other = first.assign(**{column: value})
        assert with_floor(other, is_simple(first), goals=GOALS)["floor"].isna().all()
        both = pd.concat([first, other.assign(value=other["value"] + 10)], ignore_index=True)
        found = with_floor(both, is_simple(both), goals=GOALS)
        alone = with_floor(first, is_simple(first), goals=GOALS)
        np.testing.assert_array_equal(found["floor"][: len(first)], alone["floor"])


def test_rows_without_limits_have_no_place():
    rows = results(0).assign(floor=np.nan)
    assert with_scaled(rows, goals=GOALS)["scaled"].isna().all()


@pytest.mark.parametrize("seed", range(4))
def test_the_leaderboard_places_means_between_mean_limits(seed):
    table = results(seed)
    table = with_floor(table, is_simple(table), goals=GOALS)
    board = leaderboard(table, ["control", "mean-shift"], goals=GOALS)
    for row in board.table.itertuples():
        goal, mine = GOALS[row.metric], table.query("metric == @row.metric and model == @row.model")
        sums = np.zeros(3)
        for context in CONTEXTS:
            unit = mine[mine["context"] == context]
            sums += [np.mean([better(goal, v) for v in unit[name]]) for name in ("value", "floor", "ceiling")]
        value, floor, ceiling = sums / len(CONTEXTS)
        expected = (value - floor) / (ceiling - floor) if ceiling > floor else math.nan
        assert row.scaled == pytest.approx(expected, nan_ok=True)
    for name in GOALS:
        ceilings = table.query("metric == @name").groupby("context")["ceiling"].first()
        assert board.ceilings[name] == pytest.approx(ceilings.mean())
    told = {entry["metric"]: entry["ceiling"] for entry in board.to_dict()["metrics"]}
    assert told == pytest.approx(board.ceilings)


def test_results_without_limits_make_the_same_leaderboard():
    table = results(0)
    with_limits = leaderboard(with_floor(table, is_simple(table), goals=GOALS), ["control"], goals=GOALS)
    without = leaderboard(table.drop(columns="ceiling"), ["control"], goals=GOALS)
    assert without.table["scaled"].isna().all()
    assert all(math.isnan(ceiling) for ceiling in without.ceilings.values())
    assert without.to_dict()["metrics"][0]["ceiling"] is None
    shared = [name for name in without.table if name != "scaled"]
    pd.testing.assert_frame_equal(with_limits.table[shared], without.table[shared])


def drawn(seed, undefined=0.0, draws=3):
    """Scores of two negative controls and a duplicate, drawn anew for each unit and metric."""
    rng = np.random.default_rng(seed)
    rows = [
        (
            context,
            draw,
            control,
            metric,
            rng.choice([rng.normal(1, 0.5), 1.2, math.nan], p=[0.8 - undefined, 0.2, undefined]),
        )
        for metric in GOALS
        for context in CONTEXTS
        for draw in range(draws)
        for control in ("control", "mean-shift", DUPLICATE)
    ]
    return pd.DataFrame(rows, columns=["context", "draw", "control", "metric", "value"]).assign(**UNIT)


def part(table, metric, context):
    return table[(table["metric"] == metric) & (table["context"] == context)]


def slow_unit(scores, goal):
    """What one unit and metric show, or None where they show nothing."""
    merits = {
        control: [better(goal, v) for v in rows["value"] if not math.isnan(v)]
        for control, rows in scores.groupby("control")
    }
    means = {control: sum(values) / len(values) for control, values in merits.items() if values}
    negatives = {control: mean for control, mean in means.items() if control != DUPLICATE}
    if DUPLICATE not in means or not negatives:
        return None
    name = max(negatives, key=lambda control: negatives[control])
    gain = means[DUPLICATE] - means[name]
    room = better(goal, goal.perfect) - means[name]
    won = []
    for _, rows in scores.groupby("draw"):
        above, below = (better(goal, rows[rows["control"] == control]["value"].item()) for control in (DUPLICATE, name))
        if not math.isnan(above - below):
            won.append(0.5 if above == below else float(above > below))
    return {
        "negative_name": name,
        "range": gain,
        "fraction": gain / room if room > 0 else math.nan,
        "draws_won": sum(won) / len(won) if won else math.nan,
    }


@pytest.mark.parametrize("undefined", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(4))
def test_what_a_metric_can_tell(seed, undefined):
    scores = drawn(seed, undefined)
    found = dynamic_range(scores, goals=GOALS)
    assert len(found.units) == len(GOALS) * len(CONTEXTS)
    for metric, goal in GOALS.items():
        units = []
        for context in CONTEXTS:
            row = part(found.units, metric, context).iloc[0]
            expected = slow_unit(part(scores, metric, context), goal)
            if expected is None:
                assert math.isnan(row["range"])
                continue
            units.append(expected)
            assert row["negative_name"] == expected["negative_name"]
            for name in ("range", "fraction", "draws_won"):
                assert row[name] == pytest.approx(expected[name], abs=1e-12, nan_ok=True)
        [summary] = found.metrics[found.metrics["metric"] == metric].to_dict(orient="records")
        gains = [unit["range"] for unit in units]
        assert summary["n_units"] == len(units)
        assert summary["range"] == pytest.approx(np.median(gains))
        wins = sum(0.5 if gain == 0 else float(gain > 0) for gain in gains) / len(gains)
        assert summary["wins"] == pytest.approx(wins)
        assert summary["separates"] == (wins >= ENOUGH)


def test_a_metric_that_is_never_defined_separates_nothing():
    scores = drawn(0)
    scores.loc[scores["metric"] == "r2", "value"] = np.nan
    [summary] = dynamic_range(scores, goals=GOALS).metrics.query("metric == 'r2'").to_dict(orient="records")
    assert summary["n_units"] == 0
    assert not summary["separates"]


def test_a_comparison_needs_both_controls():
    scores = drawn(0)
    for alone in (scores[scores["control"] == DUPLICATE], scores[scores["control"] != DUPLICATE]):
        with pytest.raises(ValueError, match="and at least one negative control are needed"):
            dynamic_range(alone, goals=GOALS)


def test_an_effect_is_told_from_none():
    """Where truth is no other than control, a duplicate is not better than no change; where it is, always."""
    tables = {True: [], False: []}
    for number in range(8):
        rng = np.random.default_rng(number)
        cells = np.abs(rng.normal(size=(80, 60)))
        for has_effect, truth in ((True, cells[:40] * 1.6), (False, cells[:40])):
            reference = Reference(truth, cells[40:], [f"G{i}" for i in range(60)])
            scores = technical_duplicate(reference, {"no change": lambda control: control}, ["mse_mean"])
            tables[has_effect].append(scores.assign(**UNIT, context=f"context {number}"))
    told, untold = (dynamic_range(pd.concat(tables[effect])).metrics.iloc[0] for effect in (True, False))
    assert (told["wins"], told["separates"]) == (1.0, True)
    assert untold["wins"] < ENOUGH
    assert not untold["separates"]

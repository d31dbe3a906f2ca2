"""Comparisons of models: units are what was held out, seeds are not units, ties share a rank, and figures show it."""

import json
import math
import statistics
from itertools import pairwise
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from pb_eval import Comparison, compare, leaderboard
from pb_eval.critical_difference import critical_difference, describe, write_figure
from pb_eval.standings import Goal

GOALS = {"r2": Goal("higher"), "mse": Goal("lower"), "ratio": Goal("target", 1.0)}


def frame(records):
    table = pd.DataFrame(records, columns=["model", "context", "seed", "value"])
    fixed = {"dataset": "pbmc", "split": "leave-context-out", "perturbation": "stimulated", "dose": np.nan}
    return table.assign(**fixed, profile="default", metric="r2", metric_version=1, split_hash=table["context"])


def drawn(strengths, n_units=12, seeds=(1, 2), noise=0.05, seed=0):
    rng = np.random.default_rng(seed)
    return frame(
        [
            (model, f"context {unit:02d}", s, strength + 0.2 * unit / n_units + noise * rng.normal())
            for model, strength in strengths.items()
            for unit in range(n_units)
            for s in seeds
        ]
    )


def models_of(found, metric="r2"):
    rows = found.models[found.models["metric"] == metric]
    return {row["model"]: row for row in rows.to_dict(orient="records")}


THREE = {"control": 0.2, "good": 0.8, "twin": 0.81}


def test_models_that_do_not_differ_share_rank_and_letter():
    found = models_of(compare(drawn(THREE), ["control"], goals=GOALS))
    assert found["good"]["rank"] == found["twin"]["rank"] == 1
    assert found["good"]["groups"] == found["twin"]["groups"] == "a"
    assert (found["control"]["rank"], found["control"]["groups"]) == (3, "b")


def test_equal_models_tie_in_every_unit():
    results = drawn({"control": 0.2, "good": 0.8})
    results = pd.concat([results, results[results["model"] == "good"].assign(model="copy")])
    found = compare(results, ["control"], goals=GOALS)
    (pair,) = found.pairs[(found.pairs["model_1"] != "control") & (found.pairs["model_2"] != "control")].to_dict(
        orient="records"
    )
    assert (pair["pvalue"], pair["ties"], pair["difference"]) == (1.0, 12, 0.0)
    assert models_of(found)["copy"]["mean_rank"] == models_of(found)["good"]["mean_rank"] == 1.5


def test_means_and_spreads_are_those_of_plain_loops():
    results = drawn(THREE, n_units=5, seeds=(1, 2, 3))
    found = models_of(compare(results, ["control"], goals=GOALS))
    for name in THREE:
        values = {(row.context, row.seed): row.value for row in results.itertuples() if row.model == name}
        units, seeds = sorted({key[0] for key in values}), (1, 2, 3)
        of_unit = [statistics.mean(values[unit, s] for s in seeds) for unit in units]
        of_seed = [statistics.mean(values[unit, s] for unit in units) for s in seeds]
        assert found[name]["mean"] == pytest.approx(statistics.mean(of_unit))
        assert found[name]["spread_units"] == pytest.approx(statistics.stdev(of_unit))
        assert found[name]["spread_seeds"] == pytest.approx(statistics.stdev(of_seed))


def test_gains_are_the_leaderboards():
    results = drawn({**THREE, "mean-shift": 0.5})
    board = leaderboard(results, ["control", "mean-shift"], goals=GOALS).table.set_index("model")
    found = models_of(compare(results, ["control", "mean-shift"], goals=GOALS))
    for name in ("good", "twin", "control"):
        assert found[name]["gain"] == pytest.approx(board.loc[name, "gain"])
        assert found[name]["gain_low"] < found[name]["gain"] < found[name]["gain_high"]
    assert found["mean-shift"]["gain"] == 0
    assert math.isnan(found["mean-shift"]["gain_low"])


@pytest.mark.parametrize(("metric", "better"), [("r2", "high"), ("mse", "low"), ("ratio", "near")])
def test_better_follows_the_direction(metric, better):
    results = drawn({"high": 3.0, "low": 0.5, "near": 1.0}, noise=0.01).assign(metric=metric)
    results["value"] -= 0.1
    assert compare(results, [], goals=GOALS).models["model"].iloc[0] == better


def test_more_seeds_are_no_more_units():
    few, many = (compare(drawn(THREE, 7, seeds), ["control"], goals=GOALS) for seeds in ((1,), range(1, 9)))
    assert few.verdicts["r2"].n_units == many.verdicts["r2"].n_units == 7
    assert many.pairs["pvalue"].min() == 2 / 128


def test_conditions_that_one_split_holds_out_are_one_unit():
    results = drawn(THREE, 7)
    doses = pd.concat([results.assign(dose=dose, value=results["value"] + 0.01 * dose) for dose in (1.0, 2.0, 3.0)])
    once, thrice = (compare(table, ["control"], goals=GOALS) for table in (results, doses))
    assert thrice.verdicts["r2"].n_units == 7
    assert thrice.pairs["pvalue"].tolist() == once.pairs["pvalue"].tolist()
    apart = compare(doses.assign(split_hash=""), ["control"], goals=GOALS)
    assert apart.verdicts["r2"].n_units == 21


def test_where_nothing_could_be_significant_it_says_so():
    strengths = {f"model {i}": 0.1 * i for i in range(8)}
    verdict = compare(drawn(strengths, 7, noise=0.001), [], goals=GOALS).verdicts["r2"]
    assert verdict.smallest == pytest.approx(28 * 2 / 128)
    assert verdict.words == (
        "No difference can be significant at 0.05: the smallest two-sided p-value of 7 split units is 0.016, and "
        "0.44 after correction for 28 pairs. Hold out 11 units, or compare at most 3 models."
    )
    found = compare(drawn(strengths, 11, noise=0.001), [], goals=GOALS)
    assert found.verdicts["r2"].words == "28 of 28 pairs differ significantly."
    three = drawn(dict(list(strengths.items())[:3]), 7, noise=0.001)
    assert compare(three, [], goals=GOALS).verdicts["r2"].words == "3 of 3 pairs differ significantly."


def test_where_it_could_be_but_is_not_it_says_that():
    found = compare(drawn({"a": 0.5, "b": 0.5}), [], goals=GOALS)
    assert found.verdicts["r2"].words == "None of 1 pair differs significantly."


def test_one_unit_tells_nothing():
    found = compare(drawn(THREE, 1), ["control"], goals=GOALS)
    assert set(found.models["rank"]) == {1.0}
    assert found.verdicts["r2"].words.startswith("No difference can be significant at 0.05: the smallest two-sided")
    assert found.models["spread_units"].isna().all()
    assert found.models["gain_low"].isna().all()


def test_one_model_has_nothing_to_be_compared_with():
    found = compare(drawn({"good": 0.8}), [], goals=GOALS)
    assert found.pairs.empty
    assert found.verdicts["r2"].words.startswith("There is one model")
    assert models_of(found)["good"]["rank"] == 1


def test_a_model_with_an_undefined_score_takes_no_part():
    results = drawn({**THREE, "odd": 0.9})
    results.loc[(results["model"] == "odd") & (results["context"] == "context 03"), "value"] = np.nan
    found = compare(results, ["control"], goals=GOALS)
    without = compare(results[results["model"] != "odd"], ["control"], goals=GOALS)
    assert "odd" not in {*found.pairs["model_1"], *found.pairs["model_2"]}
    assert math.isnan(models_of(found)["odd"]["rank"])
    assert found.pairs["adjusted"].tolist() == without.pairs["adjusted"].tolist()
    assert models_of(found)["good"]["mean_rank"] == models_of(without)["good"]["mean_rank"]


def test_a_unit_that_a_model_lacks_is_left_out_for_all():
    results = drawn(THREE)
    results = results[(results["model"] != "twin") | (results["context"] != "context 05")]
    assert compare(results, ["control"], goals=GOALS).verdicts["r2"].n_units == 11


def test_no_defined_score_at_all():
    found = compare(drawn(THREE).assign(value=np.nan), ["control"], goals=GOALS)
    assert isinstance(found, Comparison)
    assert found.models.empty
    assert found.verdicts == {}
    assert found.to_dict()["pairs"] == []


def test_the_sign_flip_test_may_be_asked_for():
    found = compare(drawn(THREE), ["control"], goals=GOALS, test="sign-flip")
    assert found.test == "sign-flip"
    assert models_of(found)["control"]["rank"] == 3
    with pytest.raises(ValueError, match="unknown test 't': choose wilcoxon or sign-flip"):
        compare(drawn(THREE), [], goals=GOALS, test="t")


def test_it_goes_into_json():
    found = json.loads(json.dumps(compare(drawn(THREE, 1), ["control"], goals=GOALS).to_dict(), allow_nan=False))
    assert set(found) == {"metrics", "models", "pairs", "test", "level"}
    assert found["models"][0]["gain_low"] is None
    assert found["metrics"][0]["n_units"] == 1


@pytest.fixture(scope="module")
def seven():
    strengths = {f"model-{i}": 0.2 + 0.03 * i for i in range(6)} | {"control": 0.1}
    return compare(drawn(strengths, 20), ["control"], goals=GOALS)


def test_the_figure_shows_every_model_rank_and_tie(seven):
    figure = critical_difference(seven, "r2")
    (axes,) = figure.axes
    models = seven.models
    assert [text.get_text() for text in axes.get_yticklabels()] == models["model"].tolist()
    shown = {tuple(point) for marks in axes.collections[1::2] for point in marks.get_offsets().tolist()}
    assert shown == {(rank, row) for row, rank in enumerate(models["mean_rank"])}
    bars = sorted(tuple(line.get_ydata()) for line in axes.lines)
    runs = {letter: [row for row, own in enumerate(models["groups"]) if letter in own] for letter in "abcdefg"}
    assert bars == sorted((run[0] - 0.25, run[-1] + 0.25) for run in runs.values() if len(run) > 1)
    assert bars


def test_colour_tells_baselines_only(seven):
    (axes,) = critical_difference(seven, "r2").axes
    colours = {tuple(marks.get_edgecolor()[0]) for marks in axes.collections[1::2]}
    assert len(colours) == 2
    assert [len(marks.get_offsets()) for marks in axes.collections[1::2]] == [6, 1]


@pytest.mark.parametrize("n_models", [2, 7, 30])
def test_the_figure_is_not_blank_and_no_names_collide(n_models, tmp_path):
    found = compare(drawn({f"model-{i:02d}": 0.02 * i for i in range(n_models)}, 9), [], goals=GOALS)
    figure = critical_difference(found, "r2")
    path = tmp_path / "ranks.png"
    write_figure(figure, path, "Critical differences", describe(found, "r2"))
    from matplotlib.image import imread

    assert (imread(path)[..., :3] < 0.5).mean() > 0.002
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert all(below.y1 < above.y0 + 1 for above, below in pairwise(boxes))
    inside = figure.get_tightbbox()
    assert inside.x0 >= -0.1
    assert inside.x1 <= figure.get_figwidth() + 0.1


def test_the_figure_holds_its_description(seven, tmp_path):
    words = describe(seven, "r2")
    assert "model-5" in words
    assert seven.verdicts["r2"].words in words
    figure = critical_difference(seven, "r2")
    write_figure(figure, tmp_path / "a.svg", "Ranks", words)
    text = (tmp_path / "a.svg").read_text()
    found = [element.text for element in ET.fromstring(text).iter() if element.tag.endswith("description")]
    assert found == [words]
    assert "model-5" in text  # as text, not as outlines
    write_figure(figure, tmp_path / "b.svg", "Ranks", words)
    assert (tmp_path / "b.svg").read_bytes() == (tmp_path / "a.svg").read_bytes()
    write_figure(figure, tmp_path / "a.png", "Ranks", words)
    assert words.encode("latin-1") in (tmp_path / "a.png").read_bytes()


def test_what_cannot_be_drawn_is_refused(seven, tmp_path):
    with pytest.raises(ValueError, match=r"there are 0 models to draw by 'mse': .* \(r2\)"):
        critical_difference(seven, "mse")
    with pytest.raises(ValueError, match=r"ends in '.gif': figures are .svg, .png, .pdf files"):
        write_figure(critical_difference(seven, "r2"), tmp_path / "a.gif", "", "")
    assert list(tmp_path.iterdir()) == []

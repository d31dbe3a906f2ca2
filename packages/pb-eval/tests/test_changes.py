"""What changed between two runs, against the same written with plain loops."""

import json
from itertools import product

import numpy as np
import pandas as pd
import pytest
from pb_eval.changes import changes
from pb_eval.paired import paired_t_test
from pb_eval.statistics import holm, signed_rank

MODELS = ("control", "scgen")
METRICS = ("r2_mean_all", "mse_mean")


def table(seed, units=7, shift=0.0, models=MODELS, metrics=METRICS, doses=(1.0, 10.0)):
    rng = np.random.default_rng(seed)
    rows = [
        (f"context {unit}", dose, model, number, metric, rng.random() + (shift if model == "scgen" else 0.0))
        for unit, dose, model, number, metric in product(range(units), doses, models, (1, 2), metrics)
    ]
    found = pd.DataFrame(rows, columns=["context", "dose", "model", "seed", "metric", "value"])
    fixed = {"dataset": "pbmc", "split": "leave-context-out", "perturbation": "drug", "profile": "default"}
    return found.assign(**fixed, metric_version=1, split_hash="hash of " + found["context"])


def by_hand(before, after, metric, model):
    """Mean over seeds, then over doses, for each context; merits of after less those of before."""
    sign = {"r2_mean_all": 1, "mse_mean": -1}[metric]
    gains = []
    for context in sorted(set(before["context"])):
        means = []
        for run in (before, after):
            own = run[(run["metric"] == metric) & (run["model"] == model) & (run["context"] == context)]
            means.append(np.mean([own.loc[own["dose"] == dose, "value"].mean() for dose in sorted(set(own["dose"]))]))
        gains.append(sign * (means[1] - means[0]))
    return np.array(gains)


@pytest.mark.parametrize("by_test", [("split", "wilcoxon"), ("context", "paired-t")])
def test_it_is_what_plain_loops_give(by_test):
    before, after = table(0), table(1, shift=0.4)
    found = changes(before, after, by=by_test[0], test=by_test[1])
    assert list(found.table["metric"]) == ["r2_mean_all"] * 2 + ["mse_mean"] * 2
    for metric in METRICS:
        pvalues = []
        for model in MODELS:
            gains = by_hand(before, after, metric, model)
            row = found.table[(found.table["metric"] == metric) & (found.table["model"] == model)].iloc[0]
            assert row["gain"] == pytest.approx(gains.mean(), rel=1e-12)
            assert (row["wins"], row["losses"], row["ties"]) == ((gains > 0).sum(), (gains < 0).sum(), 0)
            zero = np.zeros_like(gains)
            pvalues.append(signed_rank(gains) if by_test[1] == "wilcoxon" else paired_t_test(gains, zero))
            assert row["pvalue"] == pytest.approx(pvalues[-1], rel=1e-9)
            assert row["low"] < row["gain"] < row["high"]
        own = found.table[found.table["metric"] == metric]
        assert list(own["adjusted"]) == pytest.approx(list(holm(np.array(pvalues))), rel=1e-9)
    better = found.table.set_index(["metric", "model"])["differ"]
    assert better["r2_mean_all", "scgen"]
    assert not better["r2_mean_all", "control"]


def test_equal_runs_do_not_differ():
    found = changes(table(0), table(0))
    assert (found.table["gain"] == 0).all()
    assert (found.table["ties"] == 7).all()
    assert not found.table["differ"].any()


def test_only_what_both_have_is_compared_and_the_rest_is_counted():
    found = changes(table(0, units=7), table(0, units=5, models=("scgen", "other")))
    assert set(found.table["model"]) == {"scgen"}
    assert (found.table["n_units"] == 5).all()
    assert found.only_before == 2 * (14 + 4)  # control on 14 conditions, scgen on 4, by 2 metrics
    assert found.only_after == 2 * 10


def test_metrics_of_other_versions_are_named():
    later = table(1).assign(metric_version=2)
    found = changes(table(0), later[later["metric"] == "mse_mean"])
    assert found.table.empty
    assert found.skipped == {
        "r2_mean_all": "the later run has no score of it",
        "mse_mean": "version 1 before, 2 after",
    }


def test_what_is_undefined_for_all_is_left_out_and_what_one_model_lacks_is_not_hidden():
    before, after = table(0), table(1)
    for run in (before, after):
        run.loc[(run["context"] == "context 0") & (run["dose"] == 1), "value"] = np.nan
    after.loc[(after["context"] == "context 1") & (after["model"] == "scgen"), "value"] = np.nan
    found = changes(before, after).table.set_index(["metric", "model"])
    assert np.isfinite(found.loc[("mse_mean", "control"), "gain"])
    assert np.isnan(found.loc[("mse_mean", "scgen"), ["after", "gain", "pvalue"]].to_numpy(dtype=float)).all()


def test_the_split_of_the_earlier_run_makes_the_units():
    before, after = table(0), table(1)
    found = changes(before.assign(split_hash="one"), after)
    assert (found.table["n_units"] == 1).all()


def test_it_is_plain_data():
    found = json.loads(json.dumps(changes(table(0, units=2), table(1, units=2)).to_dict()))
    assert found["rows"][0]["low"] is None  # two units have no interval
    assert found["test"] == "wilcoxon"


def test_an_unknown_test_is_refused():
    with pytest.raises(ValueError, match="unknown test 'sign'"):
        changes(table(0), table(1), test="sign")

"""Scores of stacked runs against slow twins, and against scikit-learn and scipy."""

import numpy as np
import pytest
import torch
from pb_models.measures import classification_measures, regression_measures
from scipy import stats
from sklearn import metrics


def run_measures(measures, outputs, targets):
    return {m.name: m.function(torch.from_numpy(outputs), torch.from_numpy(targets)).numpy() for m in measures}


def test_regression_measures_equal_twins():
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(3, 40, 2)).round(1).astype(np.float32)  # rounded: ties
    outputs[2] = 1.5
    targets = rng.normal(size=(40, 2)).round(1).astype(np.float32)
    targets[:7, 1] = np.nan
    values = run_measures(regression_measures(), outputs, targets)
    for run in range(2):
        expected = {"mae": [], "rmse": [], "pearson": [], "spearman": []}
        for t in range(2):
            known = ~np.isnan(targets[:, t])
            p, y = outputs[run, known, t].astype(float), targets[known, t].astype(float)
            expected["mae"].append(np.abs(p - y).mean())
            expected["rmse"].append(np.sqrt(((p - y) ** 2).mean()))
            expected["pearson"].append(stats.pearsonr(p, y).statistic)
            expected["spearman"].append(stats.spearmanr(p, y).statistic)
        for name, parts in expected.items():
            assert values[name][run] == pytest.approx(np.mean(parts), rel=1e-5)
    assert values["pearson"][2] == values["spearman"][2] == 0


def test_a_constant_target_has_no_correlation():
    values = run_measures(regression_measures(), np.random.default_rng(0).random((1, 5, 1)), np.ones((5, 1)))
    assert np.isnan(values["pearson"]).all()
    assert np.isfinite(values["mae"]).all()


@pytest.mark.parametrize("n_classes", [2, 4])
def test_classification_measures_equal_twins(n_classes):
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(3, 50, n_classes)).astype(np.float32)
    logits[:, 10:20] = logits[:, 20:30]  # ties
    targets = rng.integers(n_classes, size=(50, 1))
    targets[:6] = -100
    known = targets[:, 0] >= 0
    y = targets[known, 0]
    values = run_measures(classification_measures([n_classes]), logits, targets)
    for run in range(3):
        own = logits[run, known]
        chosen = own.argmax(1)
        exponential = np.exp(own - own.max(1, keepdims=True))
        p = exponential / exponential.sum(1, keepdims=True)
        assert values["accuracy"][run] == pytest.approx(metrics.accuracy_score(y, chosen))
        assert values["balanced_accuracy"][run] == pytest.approx(metrics.balanced_accuracy_score(y, chosen))
        if n_classes == 2:
            area = metrics.roc_auc_score(y, p[:, 1] - p[:, 0])
        else:
            area = np.mean([metrics.roc_auc_score(y == k, p[:, k]) for k in range(n_classes)])
        assert values["auroc"][run] == pytest.approx(area, rel=1e-6)


def test_one_class_has_no_auroc():
    values = run_measures(classification_measures([3]), np.zeros((2, 4, 3)), np.ones((4, 1), dtype=np.int64))
    assert np.isnan(values["auroc"]).all()
    assert values["accuracy"].tolist() == [0, 0]

"""Supervised scores equal plain loops, and scikit-learn's where it has them."""

import math

import numpy as np
import pytest
from pb_eval.supervised import SUPERVISED, classification_scores, confusion, regression_scores, top_k_accuracy
from scipy import stats
from sklearn import metrics

CLASSES = ["B", "NK", "T", "mono"]


@pytest.fixture(scope="module")
def numbers():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(40, 3)) * [1.0, 5.0, 0.1]
    prediction = truth + rng.normal(size=(40, 3))
    truth[::7, 1] = np.nan
    return truth, prediction


@pytest.fixture(scope="module")
def classes():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, 60)
    scores = rng.random((60, 4)).round(1)
    scores[np.arange(60), labels] += 0.3
    return [CLASSES[label] for label in labels], labels, scores


def test_regression_equals_loops(numbers):
    truth, prediction = numbers
    found = regression_scores(truth, prediction)
    for target in range(3):
        pairs = [(t, p) for t, p in zip(truth[:, target], prediction[:, target], strict=True) if not math.isnan(t)]
        t, p = zip(*pairs, strict=True)
        assert found["mae"][target] == pytest.approx(sum(abs(a - b) for a, b in pairs) / len(pairs))
        assert found["rmse"][target] == pytest.approx(math.sqrt(sum((a - b) ** 2 for a, b in pairs) / len(pairs)))
        assert found["pearson"][target] == pytest.approx(stats.pearsonr(t, p).statistic)
        assert found["spearman"][target] == pytest.approx(stats.spearmanr(t, p).statistic)


def test_degenerate_targets():
    found = regression_scores(
        np.array([[1.0, 1.0, np.nan], [1.0, 2.0, np.nan]]), np.array([[0.0, 3.0, 1.0], [1.0, 3.0, 1.0]])
    )
    assert np.isnan(found["pearson"]).tolist() == [True, False, True]
    assert found["spearman"][1] == found["pearson"][1] == 0.0
    assert np.isnan(found["mae"][2])


def test_classification_equals_loops(classes):
    names, labels, scores = classes
    found = classification_scores(names, scores, CLASSES)
    guesses = [max(range(4), key=lambda column: row[column]) for row in scores]
    assert found["accuracy"] == sum(g == t for g, t in zip(guesses, labels, strict=True)) / 60
    shares = [np.mean([g == t for g, t in zip(guesses, labels, strict=True) if t == c]) for c in range(4)]
    assert found["balanced_accuracy"] == pytest.approx(sum(shares) / 4)
    areas = []
    for c in range(4):
        inside, outside = scores[labels == c, c], scores[labels != c, c]
        areas.append(np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a in inside for b in outside]))
    assert found["auroc"] == pytest.approx(np.mean(areas))


def test_classification_equals_scikit_learn(classes):
    names, labels, scores = classes
    found = classification_scores(names, scores, CLASSES)
    assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(labels, scores.argmax(axis=1)))
    precision = [metrics.average_precision_score(labels == c, scores[:, c]) for c in range(4)]
    assert found["auprc"] == pytest.approx(np.mean(precision))
    untied = scores + np.random.default_rng(2).random(scores.shape) * 1e-6
    assert top_k_accuracy(labels, untied, 3) == pytest.approx(metrics.top_k_accuracy_score(labels, untied, k=3))
    assert (confusion(names, scores, CLASSES) == metrics.confusion_matrix(labels, scores.argmax(axis=1))).all()


def test_two_classes_have_one_roc_curve():
    rng = np.random.default_rng(3)
    labels, score = rng.integers(0, 2, 30), rng.random(30)
    found = classification_scores(labels, np.stack([1 - score, score], axis=1), [0, 1])
    assert found["auroc"] == pytest.approx(metrics.roc_auc_score(labels, score))


def test_constant_scores_earn_nothing_by_their_order():
    labels = ["B", "NK", "T", "mono"]
    found = classification_scores(labels, np.zeros((4, 4)), CLASSES)
    assert found["top3_accuracy"] == 0.75
    assert found["accuracy"] == 0.25
    assert found["auroc"] == 0.5


def test_one_class_alone_has_no_curve():
    found = classification_scores(["B", "B"], np.eye(4)[:2], CLASSES)
    assert math.isnan(found["auroc"])
    assert math.isnan(found["auprc"])
    assert found["balanced_accuracy"] == 0.5


@pytest.mark.parametrize("name", sorted(SUPERVISED))
def test_a_perfect_prediction_scores_perfect(name, numbers, classes):
    metric = SUPERVISED[name]
    if metric.task == "regression":
        value = regression_scores(numbers[1], numbers[1])[name]
    else:
        value = classification_scores(classes[0], np.eye(4)[classes[1]], CLASSES)[name]
    assert value == pytest.approx(metric.perfect)
    assert metric.range[0] <= metric.perfect <= metric.range[1]
    assert metric.name == name
    assert len(metric.definition) > 20


def test_unusable_input_is_refused():
    with pytest.raises(ValueError, match=r"truth has shape \(3, 1\), prediction \(2, 1\)"):
        regression_scores([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="prediction has 1 NaN or infinite values"):
        regression_scores([1, 2], [1, np.nan])
    with pytest.raises(ValueError, match=r"truth has shape \(0,\)"):
        regression_scores([], [])
    with pytest.raises(ValueError, match="1 samples are of a class without scores \\(first: 'X'\\)"):
        classification_scores(["B", "X"], np.zeros((2, 4)), CLASSES)
    with pytest.raises(ValueError, match=r"scores has shape \(2, 3\), expected \(2, 4\)"):
        classification_scores(["B", "T"], np.zeros((2, 3)), CLASSES)
    with pytest.raises(ValueError, match="scores has 8 NaN"):
        classification_scores(["B", "T"], np.full((2, 4), np.nan), CLASSES)

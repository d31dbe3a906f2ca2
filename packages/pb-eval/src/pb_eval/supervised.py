"""Scores of predicted numbers and classes against true ones: tasks beside the prediction of perturbed cells.

A small registry of its own, for what these functions take is not a group of cells but one row a sample.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import stats
from sklearn import metrics

from pb_eval.means import pearson

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = [
    "SUPERVISED",
    "SupervisedMetric",
    "classification_scores",
    "confusion",
    "regression_scores",
    "top_k_accuracy",
]

NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class SupervisedMetric:
    """One score of a supervised task and what it declares.

    Attributes
    ----------
    function
        Of true and predicted numbers, ``(samples,)`` each (regression), or of true class indices and class scores,
        ``(samples,)`` and ``(samples, classes)`` (classification).
    direction
        ``higher`` or ``lower`` is better.
    range
        Smallest and largest value that can occur.
    degenerate
        Value for each degenerate input that leaves the formula undefined.
    version
        Raised whenever a value changes for the same input.
    """

    name: str
    task: Literal["regression", "classification"]
    function: Callable[[NDArray[Any], NDArray[Any]], Any]
    direction: Literal["higher", "lower"]
    range: tuple[float, float]
    perfect: float
    degenerate: Mapping[str, float] = field(default_factory=dict)
    version: int = 1
    definition: str


def regression_scores(truth: Any, prediction: Any) -> dict[str, NDArray[np.float64]]:
    """Score predicted numbers, target by target.

    Parameters
    ----------
    truth, prediction
        ``(samples,)`` or ``(samples, targets)``; a NaN in truth is a missing label and left out.

    Returns
    -------
    Values by name, ``(targets,)`` each; nan for a target without a label.

    Raises
    ------
    ValueError
        For other shapes, or NaN or infinite predictions.

    Examples
    --------
    >>> regression_scores([1.0, 2.0, 3.0], [1.0, 2.0, 5.0])["mae"].round(3)
    array([0.667])
    """
    y, p = _columns(truth, "truth"), _columns(prediction, "prediction")
    if y.shape != p.shape:
        msg = f"truth has shape {y.shape}, prediction {p.shape}: give one prediction for each true value."
        raise ValueError(msg)
    if not np.isfinite(p).all():
        msg = f"prediction has {int((~np.isfinite(p)).sum())} NaN or infinite values: predict every sample."
        raise ValueError(msg)
    labelled = [~np.isnan(column) for column in y.T]
    pairs = [(t[kept], q[kept]) for t, q, kept in zip(y.T, p.T, labelled, strict=True)]
    return {
        metric.name: np.array([float(metric.function(t, q)) if t.size else NAN for t, q in pairs])
        for metric in SUPERVISED.values()
        if metric.task == "regression"
    }


def classification_scores(truth: Sequence[Any], scores: Any, classes: Sequence[Any]) -> dict[str, float]:
    """Score predicted classes by the scores (or probabilities) of all classes.

    Parameters
    ----------
    truth
        True class of each sample, ``(samples,)``.
    scores
        ``(samples, classes)``, the larger the likelier.
    classes
        Names of the columns.

    Raises
    ------
    ValueError
        For a true class that is not among ``classes``, other shapes, or NaN or infinite scores.

    Examples
    --------
    >>> scores = [[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]]
    >>> round(classification_scores(["a", "b", "b"], scores, ["a", "b"])["accuracy"], 3)
    0.667
    """
    labels, values = _checked(truth, scores, classes)
    chosen = (metric for metric in SUPERVISED.values() if metric.task == "classification")
    return {metric.name: float(metric.function(labels, values)) for metric in chosen}


def confusion(truth: Sequence[Any], scores: Any, classes: Sequence[Any]) -> NDArray[np.intp]:
    """Count the samples of each true class (rows) by predicted class (columns), ``(classes, classes)``.

    Parameters
    ----------
    truth, scores, classes
        As for :func:`classification_scores`; equal scores go to the first class.

    Examples
    --------
    >>> confusion(["a", "b", "b"], [[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]], ["a", "b"])
    array([[1, 0],
           [1, 1]])
    """
    labels, values = _checked(truth, scores, classes)
    counts = metrics.confusion_matrix(labels, values.argmax(axis=1), labels=np.arange(len(classes)))
    return np.asarray(counts, dtype=np.intp)


def top_k_accuracy(labels: NDArray[np.intp], scores: NDArray[np.float64], k: int) -> float:
    """Share of samples whose true class is among the ``k`` with the highest scores, ties sharing the places left.

    Parameters
    ----------
    labels
        Columns of the true classes, ``(samples,)``.
    scores
        ``(samples, classes)``.

    Examples
    --------
    >>> top_k_accuracy(np.array([0, 1]), np.array([[1.0, 2.0, 3.0], [2.0, 1.0, 1.0]]), k=2)
    0.25
    """
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    above, level = (scores > own).sum(axis=1), (scores == own).sum(axis=1)
    return float(np.mean(np.clip((k - above) / level, 0.0, 1.0)))


def _spearman(truth: NDArray[Any], prediction: NDArray[Any]) -> float:
    return float(pearson(stats.rankdata(truth), stats.rankdata(prediction)))


def _balanced(labels: NDArray[Any], scores: NDArray[Any]) -> float:
    chosen = scores.argmax(axis=1)
    return float(np.mean([np.mean(chosen[labels == label] == label) for label in np.unique(labels)]))


def _macro(area: Callable[..., Any]) -> Callable[[NDArray[Any], NDArray[Any]], float]:
    """Mean over the classes with and without samples of an area, one class against the rest."""

    def mean_area(labels: NDArray[Any], scores: NDArray[Any]) -> float:
        n_classes = scores.shape[1]
        if n_classes == 2:  # both classes ranked by what tells them apart
            scores = np.stack([scores[:, 0] - scores[:, 1], scores[:, 1] - scores[:, 0]], axis=1)
        members = np.stack([labels == label for label in range(n_classes)], axis=1)
        told = [column for column in range(n_classes) if 0 < members[:, column].sum() < len(labels)]
        return float(np.mean([area(members[:, column], scores[:, column]) for column in told])) if told else NAN

    return mean_area


def _columns(values: Any, name: str) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim not in (1, 2) or array.size == 0:
        msg = f"{name} has shape {array.shape}, expected (samples,) or (samples, targets), not empty."
        raise ValueError(msg)
    return array[:, None] if array.ndim == 1 else array


def _checked(truth: Sequence[Any], scores: Any, classes: Sequence[Any]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Columns of the true classes, and the scores."""
    place = {name: column for column, name in enumerate(classes)}
    unknown = [name for name in truth if name not in place]
    if unknown:
        msg = f"{len(unknown)} samples are of a class without scores (first: {unknown[0]!r}): name it in classes."
        raise ValueError(msg)
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != (len(truth), len(place)) or not len(truth):
        msg = f"scores has shape {values.shape}, expected ({len(truth)}, {len(place)}), (samples, classes), not empty."
        raise ValueError(msg)
    if not np.isfinite(values).all():
        msg = f"scores has {int((~np.isfinite(values)).sum())} NaN or infinite values: score every class."
        raise ValueError(msg)
    return np.array([place[name] for name in truth], dtype=np.intp), values


def _entry(name: str, task: Any, function: Any, definition: str, **fields: Any) -> SupervisedMetric:
    settings: dict[str, Any] = {"direction": "higher", "range": (0.0, 1.0), "perfect": 1.0}
    return SupervisedMetric(name=name, task=task, function=function, definition=definition, **(settings | fields))


_ERROR: dict[str, Any] = {"direction": "lower", "range": (0.0, float("inf")), "perfect": 0.0}
_CORRELATION: dict[str, Any] = {
    "range": (-1.0, 1.0),
    "degenerate": {"constant truth": NAN, "constant prediction": 0.0},
}
_ONE_CLASS = {"one true class": NAN}
_REST = "of each class against the rest, averaged over the classes that have and lack samples"

SUPERVISED: dict[str, SupervisedMetric] = {
    metric.name: metric
    for metric in (
        _entry("mae", "regression", metrics.mean_absolute_error, "mean absolute error of a target", **_ERROR),
        _entry("rmse", "regression", metrics.root_mean_squared_error, "root mean square error of a target", **_ERROR),
        _entry("pearson", "regression", pearson, "Pearson correlation over the samples of a target", **_CORRELATION),
        _entry("spearman", "regression", _spearman, "Spearman correlation over a target's samples", **_CORRELATION),
        _entry(
            "accuracy",
            "classification",
            lambda labels, scores: np.mean(scores.argmax(axis=1) == labels),
            "share of samples whose highest score is that of their class; equal scores go to the first class",
        ),
        _entry("balanced_accuracy", "classification", _balanced, "mean over the true classes of their share found"),
        _entry(
            "auroc",
            "classification",
            _macro(metrics.roc_auc_score),
            f"area under the ROC curve {_REST}",
            degenerate=_ONE_CLASS,
        ),
        _entry(
            "auprc",
            "classification",
            _macro(metrics.average_precision_score),
            f"average precision {_REST}",
            degenerate=_ONE_CLASS,
        ),
        *(
            _entry(
                f"top{k}_accuracy",
                "classification",
                lambda labels, scores, k=k: top_k_accuracy(labels, scores, k),
                f"share of samples whose class is among the {k} with the highest scores; ties share the places left",
            )
            for k in (3, 5)
        ),
    )
}

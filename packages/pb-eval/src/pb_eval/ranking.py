"""Ranks along the last axis and what is read off them, of one list of genes or of stacks of them.

scipy.stats and scikit-learn have the same for one list each; importing them takes longer than scoring a small unit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["adjusted", "average_precision", "midranks", "roc_area"]


def midranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1, ties sharing their mean rank.

    Parameters
    ----------
    values
        ``(..., n)``.

    Examples
    --------
    >>> midranks(np.array([7.0, 5.0, 7.0]))
    array([2.5, 1. , 2.5])
    """
    order = np.argsort(values, axis=-1)
    ordered = np.take_along_axis(values, order, axis=-1)
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, (_first(ordered) + _last(ordered)) / 2 + 1, axis=-1)
    return ranks


def adjusted(pvalues: NDArray[np.float64]) -> NDArray[np.float64]:
    """P-values adjusted for the false discovery rate, ``min_(q >= p) q n / #(q' <= q)``, at most 1.

    Benjamini and Hochberg (1995), equation 1.

    Parameters
    ----------
    pvalues
        ``(..., n)``.

    Examples
    --------
    >>> adjusted(np.array([0.01, 0.04, 0.03, 0.5]))
    array([0.04      , 0.05333333, 0.05333333, 0.5       ])
    """
    n = pvalues.shape[-1]
    order = np.argsort(pvalues, axis=-1)
    raised = np.take_along_axis(pvalues, order, axis=-1) * n / np.arange(1, n + 1)
    least = np.minimum(np.minimum.accumulate(raised[..., ::-1], axis=-1)[..., ::-1], 1.0)
    found = np.empty(pvalues.shape)
    np.put_along_axis(found, order, least, axis=-1)
    return found


def average_precision(labels: NDArray[np.bool_], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the positive ones of the share of positives among all that score at least as high; nan without any.

    It is scikit-learn's ``average_precision_score``, ``sum_k (R_k - R_(k-1)) P_k`` over distinct scores.

    Parameters
    ----------
    labels, scores
        ``(..., n)``.

    Examples
    --------
    >>> float(average_precision(np.array([True, False, True]), np.array([3.0, 2.0, 1.0])).round(3))
    0.833
    """
    labels = np.broadcast_to(labels, scores.shape)
    order = np.argsort(-scores, axis=-1, kind="stable")
    hit = np.take_along_axis(labels, order, axis=-1)
    last = _last(np.take_along_axis(scores, order, axis=-1))
    precision = np.take_along_axis(np.cumsum(hit, axis=-1), last, axis=-1) / (last + 1)
    return _mean_where(hit, precision)


def roc_area(labels: NDArray[np.bool_], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of pairs of a positive and a negative one in which the positive scores higher, ties counted half.

    nan where all or none are positive.

    Parameters
    ----------
    labels, scores
        ``(..., n)``.

    Examples
    --------
    >>> float(roc_area(np.array([True, False, True]), np.array([3.0, 2.0, 1.0])))
    0.5
    """
    labels = np.broadcast_to(labels, scores.shape)
    positive = labels.sum(axis=-1)
    negative = scores.shape[-1] - positive
    above = _mean_where(labels, midranks(scores)) - (positive + 1) / 2
    area = np.divide(above, negative, out=np.full(above.shape, np.nan), where=negative > 0)
    return np.asarray(area)[()]


def _mean_where(chosen: NDArray[np.bool_], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of the chosen ones, nan where there are none."""
    number = chosen.sum(axis=-1)
    total = np.sum(values, axis=-1, where=chosen)
    mean = np.divide(total, number, out=np.full(np.shape(total), np.nan), where=number > 0)
    return np.asarray(mean)[()]


def _first(ordered: NDArray[np.float64]) -> NDArray[np.intp]:
    """Place of the first of the equals of each, in sorted values."""
    places = np.arange(ordered.shape[-1])
    new = np.ones(ordered.shape, dtype=bool)
    new[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    return np.asarray(np.maximum.accumulate(np.where(new, places, 0), axis=-1))


def _last(ordered: NDArray[np.float64]) -> NDArray[np.intp]:
    """Place of the last of the equals of each, in sorted values."""
    return np.asarray(ordered.shape[-1] - 1 - _first(ordered[..., ::-1])[..., ::-1])

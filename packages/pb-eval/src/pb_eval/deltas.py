"""How well the shift from control is predicted, both shifts taken against the measured control."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pb_eval.genes import sign_agreement
from pb_eval.matrix import ROUNDING, Numbers
from pb_eval.means import pearson, r2_score
from pb_eval.ranking import midranks

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pb_eval.reference import Cells, Reference

__all__ = [
    "cosine",
    "cosine_delta",
    "pearson_delta",
    "r2_score_delta",
    "r2_weighted_delta",
    "residual",
    "shift",
    "similarity",
    "spearman",
]

_STORED = 1e-6  # relative size of what storing cells as float32 may add to a mean


def shift(mean: NDArray[np.float64], control_mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Difference of two mean vectors, ``(genes,)``.

    A difference within the rounding of the means is set to zero: a copied control has no shift, dense or sparse.

    Examples
    --------
    >>> shift(np.array([2.0, 1.0]), np.array([0.5, 1.0 + 1e-15]))
    array([1.5, 0. ])
    """
    difference = mean - control_mean
    return np.where(np.abs(difference) > ROUNDING * np.maximum(np.abs(mean), np.abs(control_mean)), difference, 0.0)


def cosine(truth: NDArray[np.float64], prediction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosine of the angle between two vectors along the last axis, ``t . p / (|t| |p|)``.

    A zero prediction gives 0 (no skill), a zero truth nan (nothing to be told).

    Examples
    --------
    >>> float(cosine(np.array([1.0, 0.0]), np.array([0.0, 3.0])))
    0.0
    """
    product = np.linalg.norm(truth, axis=-1) * np.linalg.norm(prediction, axis=-1)
    dot = np.sum(truth * prediction, axis=-1)
    angle = np.divide(dot, product, out=np.zeros_like(dot), where=product > 0)
    return np.where(np.any(truth != 0, axis=-1), np.clip(angle, -1.0, 1.0), np.nan)[()]


def spearman(truth: NDArray[np.float64], prediction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spearman correlation along the last axis: Pearson correlation of ranks, ties sharing their mean rank.

    A constant prediction gives 0 (no skill), a constant truth nan (nothing to be told).

    Examples
    --------
    >>> float(spearman(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 15.0])).round(9))
    0.5
    """
    return pearson(midranks(truth), midranks(prediction))


def residual(cells: Cells, training_shift: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shift of a group less the mean shift of the training contexts: what is specific to the context, ``(genes,)``.

    A residual that storing cells as float32 may have made is set to zero, so that a prediction of the mean response
    scores as no skill and not by its rounding.
    """
    difference = cells.shift - training_shift
    size = np.maximum(np.abs(cells.mean), np.abs(cells.control.mean))
    return np.where(np.abs(difference) > _STORED * size, difference, 0.0)


def similarity(prediction: Cells, reference: Reference, *, measure: str, specific: bool = False) -> Numbers:
    """Likeness of the true and the predicted shift.

    Parameters
    ----------
    measure
        ``pearson``, ``spearman``, ``cosine`` or ``sign`` (share of true shifts whose sign is predicted).
    specific
        Whether the training contexts' mean shift is taken off both first.
    """
    if specific and reference.training_shift is not None:
        pair = residual(reference.truth, reference.training_shift), residual(prediction, reference.training_shift)
    else:
        pair = reference.truth.shift, prediction.shift
    return _MEASURES[measure](*pair)


def r2_score_delta(prediction: Cells, reference: Reference) -> Numbers:
    """Coefficient of determination of shifts."""
    return r2_score(reference.truth.shift, prediction.shift)


def r2_weighted_delta(prediction: Cells, reference: Reference) -> Numbers:
    """Coefficient of determination of shifts, genes weighted by the reference's weights."""
    return r2_score(reference.truth.shift, prediction.shift, reference.weights)


def pearson_delta(prediction: Cells, reference: Reference) -> Numbers:
    """Pearson correlation over genes of the true and the predicted shift."""
    return pearson(reference.truth.shift, prediction.shift)


def cosine_delta(prediction: Cells, reference: Reference) -> Numbers:
    """Cosine of the angle between the true and the predicted shift."""
    return cosine(reference.truth.shift, prediction.shift)


_MEASURES: dict[str, Callable[..., Numbers]] = {
    "pearson": pearson,
    "spearman": spearman,
    "cosine": cosine,
    "sign": sign_agreement,
}

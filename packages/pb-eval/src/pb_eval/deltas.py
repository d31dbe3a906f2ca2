"""How well the shift from control is predicted, both shifts taken against the measured control."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pb_eval.matrix import ROUNDING
from pb_eval.means import pearson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pb_eval.reference import Cells, Reference

__all__ = ["cosine", "cosine_delta", "pearson_delta", "shift"]


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


def cosine(truth: NDArray[np.float64], prediction: NDArray[np.float64]) -> float:
    """Cosine of the angle between two vectors, ``t . p / (|t| |p|)``.

    A zero prediction gives 0 (no skill), a zero truth nan (nothing to be told).

    Examples
    --------
    >>> cosine(np.array([1.0, 0.0]), np.array([0.0, 3.0]))
    0.0
    """
    if not truth.any():
        return float("nan")
    product = np.linalg.norm(truth) * np.linalg.norm(prediction)
    return float(np.clip(truth @ prediction / product, -1.0, 1.0)) if product > 0 else 0.0


def pearson_delta(prediction: Cells, reference: Reference) -> float:
    """Pearson correlation over genes of the true and the predicted shift."""
    return float(pearson(reference.truth.shift, prediction.shift))


def cosine_delta(prediction: Cells, reference: Reference) -> float:
    """Cosine of the angle between the true and the predicted shift."""
    return cosine(reference.truth.shift, prediction.shift)

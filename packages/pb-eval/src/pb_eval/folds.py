"""How well log fold changes are predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pb_eval.matrix import ROUNDING, Numbers
from pb_eval.means import pearson
from pb_eval.ranking import midranks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pb_eval.reference import Cells, Reference

__all__ = ["lfc_nmae", "log_fold", "normalised_error", "pearson_lfc", "spearman_lfc"]

_PSEUDOCOUNT = 0.1


def log_fold(mean: NDArray[np.float64], control_mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log2 fold change, ``log2((m + 0.1) / (m0 + 0.1))`` of means before log1p, ``(genes,)``.

    The pseudocount keeps genes that control hardly expresses from ruling the value. A difference within the rounding of
    the means is no change.

    Parameters
    ----------
    mean, control_mean
        ``(genes,)``, not negative, in counts per the normalisation's target.

    Examples
    --------
    >>> log_fold(np.array([0.7, 0.3]), np.array([0.3, 0.3])).round(9)
    array([1., 0.])
    """
    same = np.abs(mean - control_mean) <= ROUNDING * np.maximum(mean, control_mean)
    return np.where(same, 0.0, np.log2((mean + _PSEUDOCOUNT) / (control_mean + _PSEUDOCOUNT)))


def normalised_error(truth: NDArray[np.float64], prediction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Absolute error over the size of the truth, ``sum |p - t| / sum |t|``; 1 for no change, nan for no true change.

    Parameters
    ----------
    truth, prediction
        ``(..., genes)``.

    Examples
    --------
    >>> float(normalised_error(np.array([1.0, -3.0]), np.array([2.0, -3.0])))
    0.25
    """
    size, error = np.abs(truth).sum(axis=-1), np.abs(prediction - truth).sum(axis=-1)
    relative = np.divide(error, size, out=np.full_like(error, np.nan), where=size > 0)
    return np.asarray(relative)[()]


def lfc_nmae(prediction: Cells, reference: Reference) -> Numbers:
    """Normalised absolute error of the log fold changes of the significant genes."""
    return normalised_error(*_significant(prediction, reference))


def pearson_lfc(prediction: Cells, reference: Reference) -> Numbers:
    """Pearson correlation of the log fold changes of the significant genes."""
    truth, predicted = _significant(prediction, reference)
    return pearson(truth, predicted) if truth.size else float("nan")


def spearman_lfc(prediction: Cells, reference: Reference) -> Numbers:
    """Spearman correlation of the log fold changes of the significant genes."""
    truth, predicted = (midranks(values) for values in _significant(prediction, reference))
    return pearson(truth, predicted) if truth.size else float("nan")


def _significant(prediction: Cells, reference: Reference) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Take true and predicted log fold changes of the genes that are significant in truth."""
    genes = reference.significant
    return reference.truth.log_fold[..., genes], prediction.log_fold[..., genes]

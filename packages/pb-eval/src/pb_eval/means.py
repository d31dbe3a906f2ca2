"""How well mean expression is predicted."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg.blas import dgemm

from pb_eval.matrix import ROUNDING, Matrix, Numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pb_eval.reference import Cells, Reference

__all__ = [
    "mae_mean",
    "mse_mean",
    "mse_mean_corrected",
    "pearson",
    "r2_mean_all",
    "r2_mean_all_resampled",
    "r2_mean_top20",
    "r2_mean_top20_resampled",
    "r2_mean_top100",
    "r2_mean_top100_resampled",
    "r2_score",
    "r2_score_mean",
    "resampled_means",
    "rmse_mean",
    "wmse_mean",
]

_ROWS = 256


def pearson(truth: NDArray[np.float64], prediction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pearson correlation along the last axis.

    ``r = sum (t - mean t)(p - mean p) / (|t - mean t| |p - mean p|)``. A constant prediction gives 0 (no skill), a
    constant truth nan (nothing to be told).

    Parameters
    ----------
    truth, prediction
        ``(..., genes)``.

    Examples
    --------
    >>> float(pearson(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 7.0])).round(3))
    0.993
    """
    t, p = _centred(truth), _centred(prediction)
    product = np.linalg.norm(t, axis=-1) * np.linalg.norm(p, axis=-1)
    dot = np.sum(t * p, axis=-1)
    correlation = np.divide(dot, product, out=np.zeros_like(dot), where=product > 0)
    return np.where(np.any(t != 0, axis=-1), np.clip(correlation, -1.0, 1.0), np.nan)[()]


def r2_score(
    truth: NDArray[np.float64], prediction: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Coefficient of determination along the last axis, ``1 - sum w (t - p)^2 / sum w (t - mean_w t)^2``.

    A constant truth gives nan. Without weights it is scikit-learn's ``r2_score(truth, prediction)``.

    Parameters
    ----------
    truth, prediction
        ``(..., genes)``.
    weights
        ``(genes,)``, not negative; None weighs all alike.

    Examples
    --------
    >>> float(r2_score(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0])))
    0.5
    """
    w = np.ones(truth.shape[-1]) if weights is None else weights
    varies = np.any(_centred(truth[..., w > 0]) != 0, axis=-1)
    error, total = (truth - prediction) ** 2 @ w, (truth - ((truth @ w) / w.sum())[..., None]) ** 2 @ w
    score = 1.0 - np.divide(error, total, out=np.full_like(error, np.nan), where=varies)
    return np.asarray(score)[()]


def resampled_means(matrix: Matrix, *, draws: int = 100, fraction: float = 0.8, seed: int = 0) -> NDArray[np.float64]:
    """Mean expression of ``draws`` subsets of the cells, each drawn without replacement, ``(draws, genes)``.

    Draw ``i`` takes ``floor(fraction n)`` cells (at least one) with seed ``seed + i``, as the reference benchmark does
    with ``scanpy.pp.subsample(random_state=i)``. All draws are one product of a ``(draws, cells)`` 0/1 matrix with the
    expression, in blocks of cells.

    Parameters
    ----------
    matrix
        ``(cells, genes)``, dense or CSR.

    Examples
    --------
    >>> resampled_means(np.array([[1.0], [1.0]]), draws=3, fraction=0.5)
    array([[1.],
           [1.],
           [1.]])
    """
    n_cells, n_genes = (int(length) for length in matrix.shape)
    size = max(1, int(fraction * n_cells))
    members = _members(n_cells, size, draws, seed)
    sums = np.zeros((n_genes, draws), order="F")
    buffer = np.empty((min(_ROWS, n_cells), n_genes))
    for start in range(0, n_cells, _ROWS):
        rows = matrix[start : start + _ROWS]
        block = buffer[: rows.shape[0]]
        if isinstance(rows, np.ndarray):
            block[:] = rows
        else:
            rows.astype(np.float64).toarray(out=block)
        drawn = members[:, start : start + _ROWS].astype(np.float64)
        sums = dgemm(1.0, block.T, drawn.T, beta=1.0, c=sums, overwrite_c=1)
    return sums.T / size


@lru_cache(maxsize=8)  # of truth and prediction, mostly of one size
def _members(n_cells: int, size: int, draws: int, seed: int) -> NDArray[np.bool_]:
    """Whether each draw takes each cell, ``(draws, cells)``."""
    members = np.zeros((draws, n_cells), dtype=bool)
    generator = np.random.RandomState()  # seeded anew for each draw, at a third of the cost of one each
    for draw in range(draws):
        generator.seed(seed + draw)
        members[draw, generator.permutation(n_cells)[:size]] = True
    members.flags.writeable = False
    return members


def r2_mean_all(prediction: Cells, reference: Reference) -> Numbers:
    """Squared Pearson correlation of means over all genes."""
    return pearson(reference.truth.mean, prediction.mean) ** 2


def r2_mean_top20(prediction: Cells, reference: Reference) -> Numbers:
    """Squared Pearson correlation of means over the 20 most up-regulated genes."""
    return _r2_of_top(prediction, reference, 20)


def r2_mean_top100(prediction: Cells, reference: Reference) -> Numbers:
    """Squared Pearson correlation of means over the 100 most up-regulated genes."""
    return _r2_of_top(prediction, reference, 100)


def r2_mean_all_resampled(prediction: Cells, reference: Reference) -> float:
    """Mean of 100 resampled squared Pearson correlations of means over all genes."""
    return float(np.mean(pearson(reference.truth.resampled_means, prediction.resampled_means) ** 2))


def r2_mean_top20_resampled(prediction: Cells, reference: Reference) -> float:
    """Mean of 100 resampled squared Pearson correlations of means over the 20 most up-regulated genes."""
    return _resampled_r2_of_top(prediction, reference, 20)


def r2_mean_top100_resampled(prediction: Cells, reference: Reference) -> float:
    """Mean of 100 resampled squared Pearson correlations of means over the 100 most up-regulated genes."""
    return _resampled_r2_of_top(prediction, reference, 100)


def mse_mean(prediction: Cells, reference: Reference) -> Numbers:
    """Mean over genes of the squared difference of means."""
    return _over_genes((reference.truth.mean - prediction.mean) ** 2)


def mae_mean(prediction: Cells, reference: Reference) -> Numbers:
    """Mean over genes of the absolute difference of means."""
    return _over_genes(np.abs(reference.truth.mean - prediction.mean))


def rmse_mean(prediction: Cells, reference: Reference) -> Numbers:
    """Square root of the mean over genes of the squared difference of means."""
    return np.sqrt(mse_mean(prediction, reference))


def r2_score_mean(prediction: Cells, reference: Reference) -> Numbers:
    """Coefficient of determination of means."""
    return r2_score(reference.truth.mean, prediction.mean)


def wmse_mean(prediction: Cells, reference: Reference) -> Numbers:
    """Squared difference of means, averaged with the reference's weights of genes."""
    return _over_genes((reference.truth.mean - prediction.mean) ** 2, reference.weights)


def mse_mean_corrected(prediction: Cells, reference: Reference) -> Numbers:
    """Squared difference of means less what the finite number of true cells adds to it.

    ``mean_g [(t_g - p_g)^2 - v_g / n]`` with the variance ``v_g`` over ``n`` true cells: in expectation the squared
    error against the mean of infinitely many true cells, below 0 by chance. The prediction's own noise stays in: were
    it taken off, inflating the variance would pay.
    """
    noise = reference.truth.moments.variance / reference.truth.moments.n_cells
    return _over_genes((reference.truth.mean - prediction.mean) ** 2 - noise)


def _over_genes(values: NDArray[np.float64], weights: NDArray[np.float64] | None = None) -> Numbers:
    """Mean along the last axis."""
    mean: Numbers = np.average(values, axis=-1, weights=weights)
    return mean


def _r2_of_top(prediction: Cells, reference: Reference, k: int) -> Numbers:
    genes = reference.top_genes(k)
    return pearson(reference.truth.mean[..., genes], prediction.mean[..., genes]) ** 2


def _resampled_r2_of_top(prediction: Cells, reference: Reference, k: int) -> float:
    genes = reference.top_genes(k)
    truth, predicted = reference.truth.resampled_means[:, genes], prediction.resampled_means[:, genes]
    return float(np.mean(pearson(truth, predicted) ** 2))


def _centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values less their mean along the last axis; all zero where they only differ by rounding."""
    centred = values - values.mean(axis=-1, keepdims=True)
    size = np.linalg.norm(values, axis=-1, keepdims=True)
    return np.where(np.linalg.norm(centred, axis=-1, keepdims=True) > ROUNDING * size, centred, 0.0)

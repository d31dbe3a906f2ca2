"""Distances of resampled groups from one pass over the pairs of cells.

A resample of ``n`` cells is known by how often it takes each of them. With these counts ``w`` and a function ``k`` of
two cells, its mean over pairs is ``w k v / (n m)`` between groups. Within a group a cell taken twice would pair with
its own copy, at distance 0, as no two measured cells do; so the mean is taken over pairs of different cells,
``sum_(i != j) w_i w_j k_ij / sum_(i != j) w_i w_j``. Over all resamples it is then the mean over pairs of the group, so
that resampling leaves an unbiased estimate unbiased.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pb_eval.distances import centred, squared_blocks
from pb_eval.matrix import moments
from pb_eval.threads import spread

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Kernel = Callable[[NDArray[np.float64]], NDArray[np.float64]]

__all__ = [
    "correlation_draws",
    "energy_distance_draws",
    "euclidean_draws",
    "mean_between",
    "mean_within",
    "mmd_linear_draws",
    "rbf",
    "resample_counts",
    "roots",
]

_DRAWN = 4_000_000
_ROWS = 256  # of a block of pairs


def resample_counts(n_cells: int, draws: int, seed: int | tuple[int, ...] = 0) -> NDArray[np.uint16]:
    """How often each draw of ``n`` among ``n`` cells with replacement takes each cell, ``(draws, cells)``.

    Examples
    --------
    >>> resample_counts(5, draws=2).sum(axis=1)
    array([5, 5], dtype=uint64)
    """
    generator = np.random.default_rng(seed)
    counts = np.empty((draws, n_cells), dtype=np.uint16)
    step = max(1, _DRAWN // n_cells)
    for start in range(0, draws, step):
        rows = counts[start : start + step]
        taken = generator.integers(n_cells, size=rows.shape) + n_cells * np.arange(len(rows))[:, None]
        rows[:] = np.bincount(taken.ravel(), minlength=rows.size).reshape(rows.shape)
    return counts


def energy_distance_draws(
    x: NDArray[np.float64], y: NDArray[np.float64], draws: int = 100, seed: int = 0
) -> NDArray[np.float64]:
    """Energy distances (U) of resampled groups, from one pass over the pairs, ``(draws,)``.

    Parameters
    ----------
    x, y
        ``(cells, dimensions)``; a draw that takes one cell only is nan.

    Examples
    --------
    >>> x, y = np.array([[0.0], [2.0], [1.0]]), np.array([[5.0], [7.0], [9.0]])
    >>> energy_distance_draws(x, y, draws=2).round(3)
    array([10.333,    nan])
    """
    x, y = centred(x, y)
    w, v = (resample_counts(len(group), draws, (seed, side)) for side, group in enumerate((x, y)))
    return 2 * mean_between(x, y, w, v, roots) - mean_within(x, w, roots) - mean_within(y, v, roots)


def roots(squared: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances from their squares, in place."""
    return np.sqrt(squared, out=squared)


def rbf(bandwidth: float) -> Kernel:
    """Return the kernel ``exp(-|x - y|^2 / (2 s^2))`` of squared distances, in place."""

    def kernel(squared: NDArray[np.float64]) -> NDArray[np.float64]:
        squared *= -0.5 / bandwidth**2
        return np.exp(squared, out=squared)

    return kernel


def mean_between(
    x: NDArray[np.float64], y: NDArray[np.float64], w: NDArray[np.uint16], v: NDArray[np.uint16], kernel: Kernel
) -> NDArray[np.float64]:
    """Mean of a function of squared distances over the pairs of two resampled groups, ``(draws,)``.

    Parameters
    ----------
    x, y
        ``(cells, dimensions)``, centred near the origin.
    w, v
        Counts, ``(draws, cells)``.
    """
    others = v.astype(np.float64)

    def of_rows(start: int) -> NDArray[np.float64]:
        weights = w[:, start : start + _ROWS].astype(np.float64)
        sums = weights @ kernel(_squared(x[start : start + _ROWS], y))  # (draws, rows) @ (rows, cells)
        return np.asarray(np.einsum("dj,dj->d", sums, others))

    return np.asarray(np.sum(spread(of_rows, range(0, len(x), _ROWS)), axis=0) / (len(x) * len(y)))


def mean_within(x: NDArray[np.float64], w: NDArray[np.uint16], kernel: Kernel) -> NDArray[np.float64]:
    """Mean of a function of squared distances over the pairs of different cells of a resampled group, ``(draws,)``.

    Parameters
    ----------
    x
        ``(cells, dimensions)``, centred near the origin.
    w
        Counts, ``(draws, cells)``.
    """
    counts = w.astype(np.float64)

    def of_rows(start: int) -> NDArray[np.float64]:
        values = kernel(_squared(x[start : start + _ROWS], x[start:]))
        np.fill_diagonal(values, 0.0)
        n_rows = len(values)
        sums = counts[:, start : start + n_rows] @ values  # (draws, rows) @ (rows, cells from start)
        inside = np.einsum("dj,dj->d", sums[:, :n_rows], counts[:, start : start + n_rows])
        return np.asarray(inside + 2 * np.einsum("dj,dj->d", sums[:, n_rows:], counts[:, start + n_rows :]))

    return _over_pairs(np.sum(spread(of_rows, range(0, len(x), _ROWS)), axis=0), counts)


def mmd_linear_draws(
    x: NDArray[np.float64], y: NDArray[np.float64], w: NDArray[np.uint16], v: NDArray[np.uint16]
) -> NDArray[np.float64]:
    """Squared distances of resampled means less their sampling variance (U), ``(draws,)``.

    ``|mean x - mean y|^2`` less ``u sum w_i^2 / sum_(i != j) w_i w_j`` of both groups, ``u`` the sum over dimensions of
    the variance (over n) of a resample: what the mean of ``-|x - x'|^2 / 2`` over pairs comes to.
    """
    means, noise = [], np.zeros(len(w))
    for group, taken in zip(centred(x, y), (w, v), strict=True):
        counts = taken.astype(np.float64)
        means.append(counts @ group / len(group))
        square = counts @ np.einsum("cd,cd->c", group, group) / len(group)
        variance = square - np.einsum("bd,bd->b", means[-1], means[-1])
        noise += _over_pairs(variance * np.einsum("bc,bc->b", counts, counts), counts)
    return np.asarray(np.sum((means[0] - means[1]) ** 2, axis=1) - noise)


def euclidean_draws(
    x: NDArray[np.float64], y: NDArray[np.float64], w: NDArray[np.uint16], v: NDArray[np.uint16]
) -> NDArray[np.float64]:
    """Euclidean distances of resampled means, ``(draws,)``."""
    return np.asarray(np.linalg.norm(w @ x / len(x) - v @ y / len(y), axis=-1))


def correlation_draws(cells: NDArray[np.float64], counts: NDArray[np.uint16]) -> NDArray[np.float64]:
    """Pearson correlations of all pairs of genes in resamples of a group, ``(draws, pairs)``.

    0 for a gene without variance; pairs in the order of ``numpy.triu_indices(genes, 1)``.

    Parameters
    ----------
    cells
        ``(cells, genes)``, few genes.
    counts
        ``(draws, cells)``.
    """
    centre = np.where(moments(cells).variance > 0, cells - cells.mean(axis=0), 0.0)
    weights, n_genes = counts / len(cells), int(cells.shape[1])
    means = weights @ centre
    scales = np.sqrt(np.maximum(weights @ centre**2 - means**2, 0.0))

    def with_later(gene: int) -> NDArray[np.float64]:
        after = slice(gene + 1, None)
        covariance = weights @ (centre[:, gene, None] * centre[:, after]) - means[:, gene, None] * means[:, after]
        size = scales[:, gene, None] * scales[:, after]
        return np.asarray(np.divide(covariance, size, out=np.zeros_like(size), where=size > _TINY))

    return np.asarray(np.clip(np.concatenate(spread(with_later, range(n_genes - 1)), axis=1), -1.0, 1.0))


_TINY = 1e-12  # a product of deviations that is rounding: no cell with another value was drawn


def _squared(rows: NDArray[np.float64], cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared distances of a few cells to others, ``(rows, cells)``."""
    [(_, block)] = squared_blocks(rows, cells)
    return block


def _over_pairs(total: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide sums over pairs of different cells by the number of those; nan where one cell was drawn only."""
    n_pairs = counts.sum(axis=1) ** 2 - np.einsum("dc,dc->d", counts, counts)
    return np.asarray(np.divide(total, n_pairs, out=np.full_like(total, np.nan), where=n_pairs > 0))

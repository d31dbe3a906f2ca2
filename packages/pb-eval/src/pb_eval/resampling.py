"""Resamples of a unit's cells, on which metrics are computed all at once: stacks of means, counts for pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import sparse

from pb_eval import bootstrap, first_order, transport
from pb_eval.distances import centred
from pb_eval.distributions import EXACT_CELLS, SINKHORN, cut
from pb_eval.matrix import Matrix, Moments, linear
from pb_eval.ranks import RankSums, rank_sum_draws
from pb_eval.reference import Cells, Reference
from pb_eval.threads import once, spread

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["Resampled", "ResampledReference", "distance", "weighted_means"]

_ROWS = 256
_PARTS = 4  # whose sums are held at a time
_ROUNDING = 1e-13  # of a mean square: what the difference of two moments leaves of a constant gene


class Resampled(Cells):
    """Resamples of a group of cells as one group, whose means are stacks, ``(draws, genes)``.

    Parameters
    ----------
    cells
        The group.
    draws
        Number of resamples.
    stream
        Tells the draws of groups of one reference apart.
    """

    def __init__(self, cells: Cells, draws: int, stream: int) -> None:
        super().__init__(cells.matrix, control=cells.control, basis=cells.basis, seed=cells.seed)
        self.cells = cells
        self.draws = draws
        self._stream = stream

    def counts(self, size: int) -> NDArray[np.uint16]:
        """How often each draw takes each of ``size`` cells, ``(draws, size)``."""
        seed = (self.seed, self._stream, size)
        return self.remember(("counts", size), lambda: bootstrap.resample_counts(size, self.draws, seed))

    @once
    def moments(self) -> Moments:
        """Mean and variance (n - 1) of each gene in each resample."""
        counts, n_cells = self.counts(self.n_cells), self.n_cells
        mean = weighted_means(self.matrix, counts)
        square = weighted_means(self.matrix, counts, np.square)
        variance = (square - mean**2) * n_cells / max(n_cells - 1, 1)
        return Moments(mean, np.where(variance > _ROUNDING * square, variance, 0.0), n_cells)

    @once
    def linear_mean(self) -> NDArray[np.float64]:
        """Mean of each gene before log1p in each resample."""
        return weighted_means(self.matrix, self.counts(self.n_cells), linear)

    @once
    def rank_sums(self) -> RankSums:
        """Mann-Whitney statistics of each resample against control."""
        return rank_sum_draws(self.matrix, self.control.matrix, self.counts(self.n_cells), self.cells.ordered)

    @property
    def coordinates(self) -> NDArray[np.float64]:
        """Coordinates of the cells themselves."""
        return self.cells.coordinates

    @property
    def significant(self) -> NDArray[np.intp]:
        """Significant genes of the cells themselves."""
        return self.cells.significant


class ResampledReference(Reference):
    """A reference whose truth is resampled, and all else stays."""

    truth: Resampled

    def __init__(self, reference: Reference, truth: Resampled) -> None:
        vars(self).update(vars(reference))
        self.original = reference
        self.truth = truth

    def top_genes(self, k: int) -> NDArray[np.intp]:
        """Columns of the ``k`` genes with the highest Wilcoxon score in the true cells themselves."""
        return self.original.top_genes(k)

    @property
    def scale(self) -> float:
        """Median distance between measured cells."""
        return self.original.scale


def weighted_means(
    matrix: Matrix, counts: NDArray[np.uint16], values: Callable[[NDArray[Any]], NDArray[Any]] | None = None
) -> NDArray[np.float64]:
    """Mean of each gene over the cells of each resample, ``(draws, genes)``, in blocks of cells.

    Parameters
    ----------
    matrix
        ``(cells, genes)``, dense or CSR.
    counts
        ``(draws, cells)``.
    values
        Applied to each expression first; 0 must stay 0.

    Examples
    --------
    >>> weighted_means(np.array([[1.0], [3.0]]), np.array([[2, 0], [1, 1]], dtype=np.uint16))
    array([[1.],
           [2.]])
    """
    n_cells, n_genes = (int(length) for length in matrix.shape)

    def of_rows(first: int) -> NDArray[np.float64]:
        total = np.zeros((n_genes, len(counts)))
        for start in range(first, min(first + part, n_cells), _ROWS):
            weights = counts[:, start : start + _ROWS].T.astype(np.float64)
            total += _block(matrix, start, values).T @ weights  # (genes, rows) @ (rows, draws)
        return total

    part = _ROWS * -(-n_cells // (_PARTS * _ROWS))
    return np.ascontiguousarray(np.sum(spread(of_rows, range(0, n_cells, part)), axis=0).T) / n_cells


def distance(
    prediction: Resampled,
    reference: ResampledReference,
    *,
    of: str,
    over: Literal["none", "response", "shift"] = "none",
) -> NDArray[np.float64]:
    """Distances of resampled prediction and truth, cut and put in proportion as :func:`pb_eval.distributions.distance`.

    Parameters
    ----------
    of
        Name of a distance that has draws.
    over
        As there.
    """
    truth, control = reference.truth, reference.control
    groups = [truth, prediction] if over == "none" else [truth, prediction, control]
    size = min(group.n_cells for group in groups)
    error = _between(truth, prediction, prediction, of, size, reference)
    if over == "none":
        return error
    owner = truth if over == "response" else prediction
    below = _between(control, owner, owner, of, size, reference)
    undefined = np.nan if over == "response" else np.inf
    return np.divide(error, below, out=np.full_like(error, undefined), where=~(below <= 0))


def _block(matrix: Matrix, start: int, values: Callable[[NDArray[Any]], NDArray[Any]] | None) -> NDArray[np.float64]:
    """Rows from ``start``, dense in float64, each value changed: above a twentieth filled, products are faster so."""
    block = matrix[start : start + _ROWS].astype(np.float64)
    if isinstance(block, np.ndarray):
        return block if values is None else values(block)
    if values is not None:
        block = sparse.csr_matrix((values(block.data), block.indices, block.indptr), shape=block.shape)
    return np.asarray(block.toarray())


def _between(
    first: Cells, second: Cells, owner: Resampled, name: str, size: int, reference: Reference
) -> NDArray[np.float64]:
    """Distances of two groups cut to one size, remembered by the group that they belong to."""
    key = name, first is reference.control, size
    return owner.remember(key, lambda: _DRAWS[name](first, second, size, reference))


def _pairs(first: Cells, second: Resampled, size: int) -> tuple[Any, Any, NDArray[np.uint16], NDArray[np.uint16]]:
    """Coordinates and counts of two groups cut to one size."""
    x, y = (cut(group.coordinates, size, group.seed) for group in (first, second))
    return *centred(x, y), _counts(first, size, second.draws), second.counts(size)


def _counts(group: Cells, size: int, draws: int) -> NDArray[np.uint16]:
    """Take the counts of a resampled group; each cell once in every draw of one that stays."""
    return group.counts(size) if isinstance(group, Resampled) else np.ones((draws, size), dtype=np.uint16)


def _within(group: Cells, size: int, draws: int, name: str, kernel: bootstrap.Kernel) -> NDArray[np.float64]:
    """Mean over the pairs of a group, remembered by it."""

    def compute() -> NDArray[np.float64]:
        cells = cut(group.coordinates, size, group.seed)
        return bootstrap.mean_within(cells - cells.mean(axis=0), _counts(group, size, draws), kernel)

    return group.remember(("within", name, size, draws), compute)


def _energy(first: Cells, second: Resampled, size: int, _: Reference) -> NDArray[np.float64]:
    within = sum(_within(group, size, second.draws, "edistance", bootstrap.roots) for group in (first, second))
    return 2 * bootstrap.mean_between(*_pairs(first, second, size), bootstrap.roots) - within


def _mmd_rbf(first: Cells, second: Resampled, size: int, reference: Reference) -> NDArray[np.float64]:
    if not reference.scale > 0:
        return np.full(second.draws, np.nan)
    kernel = bootstrap.rbf(reference.scale)
    within = sum(_within(group, size, second.draws, "mmd_rbf", kernel) for group in (first, second))
    return within - 2 * bootstrap.mean_between(*_pairs(first, second, size), kernel)


def _correlation(first: Cells, second: Resampled, size: int, reference: Reference) -> NDArray[np.float64]:
    genes = reference.top_genes(100)
    groups = (_correlations(group, genes, size, second.draws) for group in (first, second))
    return np.asarray(np.sqrt(np.mean(np.subtract(*groups) ** 2, axis=-1)))


def _correlations(group: Cells, genes: NDArray[np.intp], size: int, draws: int) -> NDArray[np.float64]:
    """Correlations of the pairs of some genes in a group, remembered by it."""

    def compute() -> NDArray[np.float64]:
        part = cut(group.matrix, size, group.seed)[:, genes]
        cells = np.asarray(part if isinstance(part, np.ndarray) else part.toarray(), dtype=np.float64)
        return bootstrap.correlation_draws(cells, _counts(group, size, draws))

    return group.remember(("correlations", size, draws), compute)


def _transported(
    plan: Callable[[Any, Any, Reference], transport.Plan], *, cells: int | None = EXACT_CELLS, root: bool = False
) -> Callable[[Cells, Resampled, int, Reference], NDArray[np.float64]]:
    """Transport distances of the principal components, to first order."""

    def draws(first: Cells, second: Resampled, size: int, reference: Reference) -> NDArray[np.float64]:
        x, y, w, v = _pairs(first, second, size if cells is None else min(size, cells))
        found = first_order.cost_draws(plan(x, y, reference), w, v)
        return np.sqrt(np.maximum(found, 0.0)) if root else found

    return draws


def _sinkhorn(x: NDArray[np.float64], y: NDArray[np.float64], reference: Reference) -> transport.Plan:
    epsilon = SINKHORN * reference.scale**2
    nothing = np.full(len(x), np.nan)
    return transport.sinkhorn_plan(x, y, epsilon) if epsilon > 0 else transport.Plan(np.nan, nothing, nothing)


def _gene_wasserstein(first: Cells, second: Resampled, size: int, _: Reference) -> NDArray[np.float64]:
    x, y = (cut(group.matrix, size, group.seed) for group in (first, second))
    return first_order.cost_draws(first_order.gene_plan(x, y), _counts(first, size, second.draws), second.counts(size))


_DRAWS: dict[str, Callable[[Any, Any, int, Reference], NDArray[np.float64]]] = {
    "edistance": _energy,
    "edistance_squared": lambda x, y, size, _: 2 * bootstrap.mmd_linear_draws(*_pairs(x, y, size)),
    "mmd_rbf": _mmd_rbf,
    "mmd_linear": lambda x, y, size, _: bootstrap.mmd_linear_draws(*_pairs(x, y, size)),
    "mean_pairwise": lambda x, y, size, _: bootstrap.mean_between(*_pairs(x, y, size), bootstrap.roots),
    "euclidean": lambda x, y, size, _: bootstrap.euclidean_draws(*_pairs(x, y, size)),
    "correlation_distance": _correlation,
    "sinkhorn": _transported(_sinkhorn),
    "wasserstein1": _transported(lambda x, y, _: transport.wasserstein_plan(x, y, 1)),
    "wasserstein2": _transported(lambda x, y, _: transport.wasserstein_plan(x, y, 2), root=True),
    "sliced_wasserstein": _transported(
        lambda x, y, reference: first_order.sliced_plan(x, y, reference.seed), cells=None, root=True
    ),
    "gene_wasserstein": _gene_wasserstein,
}

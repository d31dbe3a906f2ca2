"""Whether the predicted cells are spread as the true ones are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from pb_eval import distances, transport
from pb_eval.distances import distance_sum, energy_distance
from pb_eval.matrix import Matrix, Numbers, as_matrix, moments, subsample
from pb_eval.threads import spread

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pb_eval.reference import Cells, Reference

__all__ = [
    "EXACT_CELLS",
    "SINKHORN",
    "correlation_distance",
    "cut",
    "distance",
    "distance_sum",
    "edistance",
    "energy_distance",
    "equal_sizes",
    "gene_wasserstein",
    "variance_ratio",
]

_GENES = 256
SINKHORN = 0.5  # epsilon in squared median distances: smaller ones mostly measure that samples are finite
EXACT_CELLS = 1000


class _Distance(NamedTuple):
    """A distance of two equal groups, in which space, of at most how many cells."""

    function: Callable[[Any, Any, Reference], Any]
    space: Literal["log1p", "pca"] = "pca"
    cells: int | None = None


def equal_sizes(
    x: NDArray[np.float64], y: NDArray[np.float64], seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cut the larger of two groups to the size of the smaller by a seeded draw without replacement.

    Parameters
    ----------
    x, y
        ``(cells, dimensions)``.

    Examples
    --------
    >>> [len(group) for group in equal_sizes(np.zeros((5, 1)), np.zeros((3, 1)))]
    [3, 3]
    """
    size = min(len(x), len(y))
    return cut(x, size, seed), cut(y, size, seed)


def gene_wasserstein(x: Matrix, y: Matrix) -> float:
    """Mean over genes of the 1-Wasserstein distance of two equal groups, ``mean_g mean_i |x_(i)g - y_(i)g|``.

    Each gene's cells are sorted, in blocks of genes.

    Parameters
    ----------
    x, y
        ``(cells, genes)``, dense or CSR, of as many cells each.

    Examples
    --------
    >>> gene_wasserstein(np.array([[0.0, 1.0], [2.0, 1.0]]), np.array([[4.0, 1.0], [0.0, 1.0]]))
    0.5
    """
    readers = [_columns(group) for group in (x, y)]

    def block(start: int) -> float:
        first, second = (np.sort(read(start, start + _GENES), axis=1) for read in readers)
        return float(np.abs(np.subtract(first, second, dtype=np.float64)).sum())

    return sum(spread(block, range(0, x.shape[1], _GENES))) / int(x.shape[0] * x.shape[1])


def correlation_distance(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Root mean square difference of the Pearson correlations of all pairs of genes.

    A gene without variance is correlated with none; nan for a group of one cell, for fewer than two genes, and where
    no gene of ``x`` varies.

    Parameters
    ----------
    x, y
        True and predicted cells, ``(cells, genes)``, few genes.

    Examples
    --------
    >>> correlation_distance(np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([[0.0, 1.0], [1.0, 0.0]])).__round__(9)
    2.0
    """
    if min(len(x), len(y)) < 2 or x.shape[1] < 2 or not moments(x).variance.any():
        return float("nan")
    pairs = np.triu_indices(x.shape[1], 1)
    first, second = (_correlations(group)[pairs] for group in (x, y))
    return float(np.sqrt(np.mean((first - second) ** 2)))


def edistance(prediction: Cells, reference: Reference) -> float:
    """Energy distance of prediction and truth in the training cells' principal components."""
    return distance(prediction, reference, of="edistance")


def distance(
    prediction: Cells, reference: Reference, *, of: str, over: Literal["none", "response", "shift"] = "none"
) -> float:
    """Distance of prediction and truth, of equal numbers of cells, plain or over another distance.

    Parameters
    ----------
    of
        Name of a distance: ``edistance``, ``mmd_rbf``, ...
    over
        ``response`` divides by the distance of control and truth (nan where that is not above 0: there is no response
        to measure against), ``shift`` by that of control and prediction, as pertpy's "simple" comparison does (infinite
        where that is not above 0: a copied control). Both ratios cut all groups to the smallest of the three.
    """
    groups = [reference.truth, prediction] if over == "none" else [reference.truth, prediction, reference.control]
    size = min(group.n_cells for group in groups)
    error = _between(reference.truth, prediction, prediction, of, size, reference)
    if over == "none":
        return error
    if over == "response":
        below = _between(reference.control, reference.truth, reference.truth, of, size, reference)
        return error / below if below > 0 else float("nan")
    below = _between(reference.control, prediction, prediction, of, size, reference)
    if np.isnan(below) or np.isnan(error):
        return float("nan")
    return error / below if below > 0 else float("inf")


def variance_ratio(prediction: Cells, reference: Reference) -> Numbers:
    """Median of predicted over true variance, over the genes that vary in truth."""
    truth, predicted = reference.truth.moments.variance, prediction.moments.variance
    ratio = np.divide(predicted, truth, out=np.full_like(truth, np.nan), where=truth > 0)
    ordered, last = np.sort(ratio, axis=-1), np.sum(truth > 0, axis=-1) - 1  # nan comes last
    middle = np.stack([last // 2, (last + 1) // 2], axis=-1)
    median: Numbers = np.take_along_axis(ordered, middle, axis=-1).mean(axis=-1)
    return median


def _between(first: Cells, second: Cells, owner: Cells, name: str, size: int, reference: Reference) -> float:
    """Distance of two groups cut to one size, remembered by the group that it belongs to."""
    chosen = _DISTANCES[name]
    size = size if chosen.cells is None else min(size, chosen.cells)

    def compute() -> float:
        groups = (group.matrix if chosen.space == "log1p" else group.coordinates for group in (first, second))
        x, y = (cut(group, size, reference.seed) for group in groups)
        return float(chosen.function(x, y, reference))

    return owner.remember((name, first is reference.control, size), compute)


def cut(group: Any, size: int, seed: int) -> Any:
    """Draw ``size`` of a group's cells, in their order.

    Examples
    --------
    >>> cut(np.array([[0.0], [1.0], [2.0]]), 2, seed=1)
    array([[0.],
           [2.]])
    """
    n_cells = group.shape[0]
    return group if n_cells == size else group[np.sort(subsample(n_cells, size, seed))]


def _columns(matrix: Matrix) -> Callable[[int, int], NDArray[Any]]:
    """Return what reads genes ``start`` to ``stop`` as ``(genes, cells)``."""
    if isinstance(matrix, np.ndarray):
        return lambda start, stop: np.ascontiguousarray(matrix[:, start:stop].T)
    columns = matrix.tocsc()
    return lambda start, stop: columns[:, start:stop].toarray().T.copy()


def _correlations(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pearson correlations of genes, 0 for those without variance, ``(genes, genes)``."""
    size = np.sqrt(moments(cells).variance * (len(cells) - 1))
    scaled = np.divide(cells - cells.mean(axis=0), size, out=np.zeros_like(cells), where=size > 0)
    return np.asarray(np.clip(scaled.T @ scaled, -1.0, 1.0))


def _top_correlations(x: Matrix, y: Matrix, reference: Reference) -> float:
    """Correlation distance over the 100 most up-regulated genes."""
    genes = reference.top_genes(100)
    parts = (group[:, genes] for group in (x, y))
    dense = [part if isinstance(part, np.ndarray) else part.toarray() for part in parts]
    first, second = (np.asarray(as_matrix(part, "cells", len(genes)), dtype=np.float64) for part in dense)
    return correlation_distance(first, second)


_DISTANCES: dict[str, _Distance] = {
    "edistance": _Distance(lambda x, y, _: energy_distance(x, y)),
    "edistance_squared": _Distance(lambda x, y, _: distances.squared_energy_distance(x, y)),
    "mmd_rbf": _Distance(lambda x, y, reference: distances.mmd_rbf(x, y, reference.scale)),
    "mmd_linear": _Distance(lambda x, y, _: distances.mmd_linear(x, y)),
    "sinkhorn": _Distance(
        lambda x, y, reference: transport.sinkhorn_divergence(x, y, SINKHORN * reference.scale**2), cells=EXACT_CELLS
    ),
    "wasserstein1": _Distance(lambda x, y, _: transport.wasserstein(x, y, 1), cells=EXACT_CELLS),
    "wasserstein2": _Distance(lambda x, y, _: transport.wasserstein(x, y, 2), cells=EXACT_CELLS),
    "sliced_wasserstein": _Distance(lambda x, y, reference: distances.sliced_wasserstein(x, y, reference.seed)),
    "mean_pairwise": _Distance(lambda x, y, _: distances.mean_pairwise(x, y)),
    "euclidean": _Distance(lambda x, y, _: distances.euclidean(x, y)),
    "gene_wasserstein": _Distance(lambda x, y, _: gene_wasserstein(x, y), space="log1p"),
    "correlation_distance": _Distance(_top_correlations, space="log1p"),
}

"""Transport distances of resampled groups to first order, from one plan for all resamples.

The derivative of a transport cost by the weight of a cell is its dual potential ``f_i``. A resample that takes the
cells ``w_i`` times moves the cost by ``sum (w_i - 1) f_i / n`` but for terms of second order, which shift all resamples
rather than spread them; an interval leaves the shift out. About its expectation, the cost is normal with the variance
of the potentials in any dimension: del Barrio and Loubes (2019), Central limit theorems for empirical transportation
cost. Groups of one distribution are the exception, where an interval comes out too wide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pb_eval.distances import projections
from pb_eval.ordering import ordered_blocks
from pb_eval.threads import spread
from pb_eval.transport import Plan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pb_eval.matrix import Matrix
    from pb_eval.ordering import Block

__all__ = ["cost_draws", "gene_plan", "sliced_plan"]


def cost_draws(plan: Plan, w: NDArray[np.uint16], v: NDArray[np.uint16]) -> NDArray[np.float64]:
    """Transport costs of resamples to first order, ``(draws,)``.

    Parameters
    ----------
    w, v
        Counts of both groups, ``(draws, cells)``.

    Examples
    --------
    >>> plan = Plan(2.0, np.array([1.0, 3.0]), np.array([0.0, 0.0]))
    >>> cost_draws(plan, np.array([[2, 0], [1, 1]]), np.array([[1, 1], [1, 1]]))
    array([1., 2.])
    """
    moved = [(taken - 1.0) @ potential / potential.size for taken, potential in ((w, plan.first), (v, plan.second))]
    return np.asarray(plan.cost + moved[0] + moved[1])


def gene_plan(x: Matrix, y: Matrix) -> Plan:
    """Mean over genes of the 1-Wasserstein distance of two equal groups, with the mean of the genes' potentials.

    A gene's distance is ``int |F - G|``, the potential of a cell with value ``t`` is ``- int_0^t sign(F - G)``, with
    the other sign in the second group.

    Parameters
    ----------
    x, y
        ``(cells, genes)``, dense or CSR, of as many cells each.

    Examples
    --------
    >>> plan = gene_plan(np.array([[0.0], [2.0]]), np.array([[4.0], [0.0]]))
    >>> plan.cost, plan.first.tolist(), plan.second.tolist()
    (1.0, [0.0, 0.0], [2.0, 0.0])
    """
    n_cells, n_genes = (int(length) for length in x.shape)
    found = spread(lambda make: _block_plan(make(), n_cells), ordered_blocks(x, y))
    cost = sum(cost for cost, _ in found) / (n_cells * n_genes)
    potentials = np.sum([potential for _, potential in found], axis=0) / n_genes
    return Plan(cost, potentials[:n_cells], potentials[n_cells:])


def _block_plan(block: Block, n_cells: int) -> tuple[float, NDArray[np.float64]]:
    """Sum over the genes of a block of ``n int |F - G|`` and of the potentials of all cells."""
    gene, own = block.gene, block.cells < n_cells
    signed = np.where(own, 1, -1)
    zeros = -np.bincount(gene, weights=signed, minlength=block.n_genes).astype(np.intp)  # what the cells at 0 add
    at = np.searchsorted(gene * 2 + (block.values > 0), np.arange(block.n_genes) * 2 + 1)
    values, steps = np.insert(block.values, at, 0.0), np.insert(signed, at, zeros)
    apart, gaps = np.cumsum(steps), np.diff(values, append=0.0)  # n (F - G), which is 0 after the last value of a gene
    slopes = np.sign(apart) * gaps
    places = np.cumsum(slopes) - slopes
    at += np.arange(block.n_genes)
    places = np.delete(places, at) - places[at][gene]
    potentials = np.bincount(block.cells, weights=np.where(own, -places, places), minlength=2 * n_cells)
    return float(np.abs(apart) @ np.abs(gaps)), potentials.astype(np.float64)


def sliced_plan(x: NDArray[np.float64], y: NDArray[np.float64], seed: int = 0) -> Plan:
    """Squared sliced 2-Wasserstein distance of two equal groups, with the mean of the directions' potentials.

    Along a direction the potential grows from one sorted cell to the next by
    ``(x_(i+1) - x_(i)) (x_(i+1) + x_(i) - y_(i) - y_(i+1))``, the middle of what the dual problem allows.

    Parameters
    ----------
    x, y
        ``(cells, dimensions)``, of as many cells each.
    seed
        Of the directions.

    Examples
    --------
    >>> plan = sliced_plan(np.array([[0.0], [2.0]]), np.array([[7.0], [5.0]]))
    >>> round(plan.cost, 9), np.diff(plan.first).round(9).tolist()
    (25.0, [-20.0])
    """
    orders, ordered = [], []
    for projected in (projections(group, seed) for group in (x, y)):
        orders.append(np.argsort(projected, axis=1))
        ordered.append(np.take_along_axis(projected, orders[-1], axis=1))
    a, b = ordered
    squares = (a - b) ** 2
    first = np.zeros_like(a)
    np.cumsum(np.diff(a, axis=1) * (a[:, 1:] + a[:, :-1] - b[:, :-1] - b[:, 1:]), axis=1, out=first[:, 1:])
    means = []
    for order, potentials in zip(orders, (first, squares - first), strict=True):
        unsorted = np.empty_like(potentials)
        np.put_along_axis(unsorted, order, potentials, axis=1)
        means.append(unsorted.mean(axis=0))
    return Plan(float(squares.mean()), means[0], means[1])

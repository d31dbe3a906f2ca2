"""Rank sums of two groups of cells, gene by gene: of all cells, of parts of them, and of resamples.

The zeros of a gene are one run of ties between its negative and its positive values. Parts and resamples are read off
the order of all cells, which are sorted once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import sparse

from pb_eval.ordering import ordered_blocks
from pb_eval.threads import spread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from pb_eval.matrix import Matrix
    from pb_eval.ordering import Block, Runs

    Blocks = Sequence[Callable[[], Block]]

__all__ = ["RankSums", "rank_sum_draws", "rank_sums", "rank_sums_of_parts"]


class RankSums(NamedTuple):
    """Mann-Whitney statistic of the group and tie term (sum of t^3 - t over runs of t equal values) of each gene.

    ``(genes,)`` each, of resamples ``(draws, genes)``.
    """

    statistic: NDArray[np.float64]
    ties: NDArray[np.float64]
    n_group: int
    n_control: int

    @property
    def auroc(self) -> NDArray[np.float64]:
        """Probability that a cell of the group exceeds a control cell, ties counted half."""
        return self.statistic / (self.n_group * self.n_control)


def rank_sums(group: Matrix, control: Matrix, blocks: Blocks | None = None) -> RankSums:
    """Rank the cells of both groups together, gene by gene.

    Parameters
    ----------
    group, control
        ``(cells, genes)``, dense or CSR, of the same genes.
    blocks
        Their values in order, where these are known: :func:`pb_eval.ordering.kept_blocks`.

    Examples
    --------
    >>> rank_sums(np.array([[0.0], [2.0]]), np.array([[0.0], [1.0]])).auroc
    array([0.625])
    """
    every = np.arange(group.shape[0]), np.arange(control.shape[0])
    return rank_sums_of_parts(group, control, [every], blocks)[0]


def rank_sums_of_parts(
    group: Matrix,
    control: Matrix,
    parts: Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]],
    blocks: Blocks | None = None,
) -> list[RankSums]:
    """Rank the cells of each part together, gene by gene, in the order found for all cells.

    Parameters
    ----------
    group, control
        ``(cells, genes)``, dense or CSR, of the same genes.
    parts
        Rows of the group and of control that make up each part.
    blocks
        As for :func:`rank_sums`.

    Examples
    --------
    >>> group, control = np.array([[0.0], [2.0], [3.0]]), np.array([[0.0], [1.0]])
    >>> rank_sums_of_parts(group, control, [(np.array([0, 1]), np.array([1]))])[0].auroc
    array([0.5])
    """
    n_group, n_genes = (int(length) for length in group.shape)
    sizes = [(len(rows), len(controls)) for rows, controls in parts]
    members = np.zeros((len(parts), n_group + int(control.shape[0])), dtype=bool)
    for member, (rows, controls) in zip(members, parts, strict=True):
        member[rows] = member[n_group + controls] = True
    statistic, ties = np.empty((2, len(parts), n_genes))

    def rank(make: Callable[[], Block]) -> None:
        block = make()
        for number, (member, size) in enumerate(zip(members, sizes, strict=True)):
            part = block if member.all() else block.of(member.take(block.cells))
            found = _rank_sums(part.runs(n_group), block.n_genes, *size)
            statistic[number, block.genes], ties[number, block.genes] = found

    spread(rank, blocks or ordered_blocks(group, control))
    return [RankSums(*found, *size) for found, size in zip(zip(statistic, ties, strict=True), sizes, strict=True)]


def rank_sum_draws(
    group: Matrix, control: Matrix, counts: NDArray[np.uint16], blocks: Blocks | None = None
) -> RankSums:
    """Rank resamples of a group together with the control cells, gene by gene.

    Where a cell stands among the control cells does not depend on the resample, so that the statistic is a product of
    counts and these places. The tie term sums ``(w + c)^3 - (w + c)`` over runs of ``w`` resampled and ``c`` control
    cells; for a value that no other cell has it is a product too.

    Parameters
    ----------
    group, control
        ``(cells, genes)``, dense or CSR, of the same genes.
    counts
        How often each resample takes each cell of the group, ``(draws, cells)``.
    blocks
        As for :func:`rank_sums`.

    Examples
    --------
    >>> group, control = np.array([[0.0], [2.0]]), np.array([[0.0], [1.0]])
    >>> rank_sum_draws(group, control, np.array([[2, 0], [0, 2]], dtype=np.uint16)).auroc
    array([[0.25],
           [1.  ]])
    """
    n_group, n_control, n_genes = int(group.shape[0]), int(control.shape[0]), int(group.shape[1])
    statistic, ties = np.empty((2, n_genes, len(counts)))
    drawn = np.ascontiguousarray(counts.T, dtype=np.float64)  # (cells, draws)
    exact = drawn.astype(np.float32), _tie_term(drawn).astype(np.float32)  # as small whole numbers are

    def rank(make: Callable[[], Block]) -> None:
        block = make()
        runs, own = block.runs(n_group), block.cells < n_group
        block = block.of(own)
        run = np.repeat(np.arange(runs.gene.size), runs.from_first)  # of each value of the group
        statistic[block.genes] = _places(block, runs, run, n_group, n_control) @ drawn
        ties[block.genes] = _resampled_ties(block, runs, run, n_control, *exact)

    spread(rank, blocks or ordered_blocks(group, control))
    return RankSums(statistic.T, ties.T, n_group, n_control)


def _rank_sums(
    runs: Runs, n_genes: int, n_group: int, n_control: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mann-Whitney statistic and tie term of each gene of a block."""
    stored, from_group = (_by_gene(runs, part, n_genes) for part in (runs.lengths, runs.from_first))
    zeros = n_group + n_control - stored
    below = np.cumsum(runs.lengths) - runs.lengths - (np.cumsum(stored) - stored)[runs.gene]
    below += zeros[runs.gene] * runs.positive
    ranks = _by_gene(runs, runs.from_first * (below + (runs.lengths + 1) / 2), n_genes)
    negatives = _by_gene(runs, runs.lengths * ~runs.positive, n_genes)
    ranks += (n_group - from_group) * (negatives + (zeros + 1) / 2)
    ties = _by_gene(runs, _tie_term(runs.lengths), n_genes) + _tie_term(zeros)
    return ranks - n_group * (n_group + 1) / 2, ties


def _places(block: Block, runs: Runs, run: NDArray[np.intp], n_group: int, n_control: int) -> NDArray[np.float64]:
    """Count the control cells below each cell of the group, ties half, ``(genes, cells)``."""
    controls = runs.lengths - runs.from_first
    stored = _by_gene(runs, controls, block.n_genes)
    zeros = n_control - stored
    below = np.cumsum(controls) - controls / 2 - (np.cumsum(stored) - stored)[runs.gene]
    below += zeros[runs.gene] * runs.positive
    at_zero = _by_gene(runs, controls * ~runs.positive, block.n_genes) + zeros / 2
    places = np.repeat(at_zero[:, None], n_group, axis=1)
    places[block.gene, block.cells] = below[run]
    return places


def _resampled_ties(
    block: Block,
    runs: Runs,
    run: NDArray[np.intp],
    n_control: int,
    counts: NDArray[np.float32],
    terms: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Tie term of each gene of a block in each resample, ``(genes, draws)``."""
    n_genes, gene, controls = block.n_genes, block.gene, runs.lengths - runs.from_first
    single = (runs.lengths == 1)[run]
    flags = np.zeros((n_genes, len(counts)), dtype=np.float32)
    flags[gene, block.cells] = 1.0
    zeros = n_control - _by_gene(runs, controls, n_genes)[:, None] + len(counts) - flags @ counts
    ties = _tie_term(zeros)
    if single.any():
        flags[gene, block.cells] = single
        ties += flags @ terms
    ties += _by_gene(runs, _tie_term(controls) * (runs.from_first == 0), n_genes)[:, None]
    several = np.flatnonzero((runs.lengths > 1) & (runs.from_first > 0))
    if several.size:
        together = _summing(block.cells[~single], runs.from_first[several], len(counts)) @ counts
        cubes = _tie_term(together + controls[several, None])
        of_gene = np.bincount(runs.gene[several], minlength=n_genes)
        ties += _summing(np.arange(several.size), of_gene, several.size) @ cubes
    return ties


def _summing(columns: NDArray[np.intp], lengths: NDArray[np.intp], n_columns: int) -> Any:
    """Sparse matrix whose rows add up so many columns each, one row after the other."""
    bounds = np.append(0, np.cumsum(lengths))
    ones = np.ones(columns.size, dtype=np.float32)  # with counts of the same type: half the memory, and exact
    return sparse.csr_matrix((ones, columns, bounds), shape=(lengths.size, n_columns))


def _by_gene(runs: Runs, values: NDArray[Any], n_genes: int) -> NDArray[np.float64]:
    """Sum over the runs of each gene."""
    return np.bincount(runs.gene, weights=values, minlength=n_genes).astype(np.float64)


def _tie_term(lengths: NDArray[Any]) -> NDArray[np.float64]:
    """Return ``t^3 - t`` of runs of t equal values."""
    runs = lengths.astype(np.float64)
    return (runs * runs - 1) * runs

"""Principal axes of many cells, by the block Lanczos method.

It is written here because scipy's ``eigsh`` on the same implicit products takes 1.6 times as long, and scikit-learn's
solvers need a dense copy of sparse and dense groups stacked: ``arpack`` takes twice as long, and ``randomized`` misses
axes whose variances lie close together (benchmarks/README.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import linalg, sparse

from pb_eval.threads import spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pb_eval.matrix import Matrix

__all__ = ["PrincipalAxes", "principal_axes"]

_BLOCK = 16  # a pass over sparse cells costs little more than with one vector
_PIECE = 1024  # cells whose products are one thread's
_ROWS = 64  # of a dense group, which stay in the cache between two products
_GROWTH = 1.3  # of the space between two looks at the residuals, at most
_FILLED = 0.25  # share of a gene's cells from which on a dense product is faster than a sparse one


class PrincipalAxes(NamedTuple):
    """Orthonormal axes, ``(axes, genes)``, and the centred cells' sum of squares along each, falling."""

    axes: NDArray[Any]
    squares: NDArray[np.float64]


class _Split(NamedTuple):
    """A group of cells, the genes that many of them express dense, the rest sparse, ``(cells, genes)`` each."""

    filled: NDArray[Any]
    filled_genes: NDArray[np.intp]
    rest: Any
    rest_genes: NDArray[np.intp]


def principal_axes(groups: Sequence[Matrix], mean: NDArray[np.float64], n_axes: int, seed: int = 0) -> PrincipalAxes:
    """Leading eigenvectors of ``sum_c (x_c - mean)(x_c - mean)^T`` over the cells of all groups.

    Rayleigh-Ritz on the block Krylov space of a seeded start, kept orthogonal in full, until every axis' residual
    ``|A v - a v|`` is within 3e-5 (float32) or 1e-11 (float64) of the least ``a``: Golub and Underwood (1977). Groups
    are centred implicitly; dense ones are read where they lie, the genes that a quarter of a sparse group's cells
    express are held dense, at most as large again as the group. An axis' largest loading is positive.

    Parameters
    ----------
    groups
        ``(cells, genes)`` each, of the same genes.
    mean
        Of the cells of all groups, ``(genes,)``.
    n_axes
        At most the number of cells and of genes.

    Examples
    --------
    >>> cells = np.array([[-3.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> principal_axes([cells], cells.mean(axis=0), 1).squares.round(9)
    array([18.])
    """
    single = all(group.dtype == np.float32 for group in groups)
    dtype, tolerance = (np.float32, 3e-5) if single else (np.float64, 1e-11)
    limit = min(sum(int(group.shape[0]) for group in groups) + _BLOCK, mean.size)  # what a start outside them adds
    start = np.random.RandomState(seed).standard_normal((mean.size, min(_BLOCK, mean.size)))
    block = np.linalg.qr(start.astype(dtype))[0]  # (genes, vectors)
    pieces = [group[start : start + _PIECE] for group in groups for start in range(0, int(group.shape[0]), _PIECE)]
    split = spread(_split, pieces)
    space, projected = np.empty((0, mean.size), dtype=dtype), np.empty((0, 0))
    look, seen = 2 * n_axes, (0, np.nan)
    while True:
        product = _squares_times(split, mean.astype(dtype), block)
        space = np.concatenate([space, block.T])
        coefficients = space @ product  # (size, vectors)
        projected = _bordered(projected, coefficients)
        block, rest = np.linalg.qr(product - space.T @ coefficients)
        size = len(space)
        if size >= min(look, limit):
            squares, vectors = linalg.eigh(projected, subset_by_index=[size - n_axes, size - 1])
            error = float(np.linalg.norm(rest @ vectors[-len(rest) :], axis=0).max()) / (tolerance * squares[0])
            if size >= limit or error <= 1:
                return PrincipalAxes(_turned(vectors[:, ::-1].T.astype(dtype) @ space), squares[::-1])
            look, seen = _next_look(size, error, *seen), (size, error)
        block = _orthogonal(block[:, : mean.size - size], space)


def _next_look(size: int, error: float, size_before: int, error_before: float) -> int:
    """Size of the space at which the error reaches 1 if its logarithm goes on falling as it did."""
    fall = np.log(error_before / error) / (size - size_before)
    return int(min(size + np.log(error) / fall, _GROWTH * size)) if fall > 0 else int(_GROWTH * size)


def _split(group: Matrix) -> _Split:
    """Take the genes that many cells express out of a sparse group; a dense one stays as it is."""
    n_cells, n_genes = group.shape
    if isinstance(group, np.ndarray):
        return _Split(group, np.arange(n_genes), sparse.csr_matrix((n_cells, 0), dtype=group.dtype), np.arange(0))
    many = np.bincount(group.indices, minlength=n_genes) >= _FILLED * n_cells
    filled, rest = np.flatnonzero(many), np.flatnonzero(~many)
    return _Split(group[:, filled].toarray(), filled, group[:, rest], rest)


def _squares_times(groups: Sequence[_Split], centre: NDArray[Any], block: NDArray[Any]) -> NDArray[Any]:
    """Multiply ``block`` by the sum of squares of the centred cells, ``(genes, vectors)``."""
    offset = centre @ block

    def of_piece(group: _Split) -> tuple[NDArray[Any], NDArray[Any]]:
        filled, filled_genes, rest, rest_genes = group
        product = rest @ block[rest_genes] - offset  # what is left has mean 0, so that the other factor need not
        vectors, sums = block[filled_genes], np.zeros((block.shape[1], filled_genes.size), block.dtype)
        for start in range(0, len(filled), _ROWS):
            rows = slice(start, start + _ROWS)
            product[rows] += filled[rows] @ vectors
            sums += product[rows].T @ filled[rows]
        return sums.T, (product.T @ rest).T

    total = np.zeros_like(block)
    for group, (sums, others) in zip(groups, spread(of_piece, groups), strict=True):
        total[group.filled_genes] += sums
        total[group.rest_genes] += others
    return total


def _bordered(projected: NDArray[np.float64], columns: NDArray[Any]) -> NDArray[np.float64]:
    """Append the projections of a step's vectors to a symmetric matrix."""
    size, before = len(columns), len(projected)
    grown = np.empty((size, size))
    grown[:before, :before] = projected
    grown[:, before:], grown[before:, :before] = columns, columns[:before].T
    return grown


def _orthogonal(block: NDArray[Any], space: NDArray[Any]) -> NDArray[Any]:
    """Make orthonormal vectors orthogonal to the space once more, which also renews those that were only rounding."""
    return np.linalg.qr(block - space.T @ (space @ block))[0]


def _turned(axes: NDArray[Any]) -> NDArray[Any]:
    """Turn each axis so that its largest loading is positive."""
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1, keepdims=True), axis=1)
    return np.asarray(axes * np.sign(largest))

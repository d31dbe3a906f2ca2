"""Sums over all pairs of cells, tile by tile, so that no tile leaves the cache and memory does not grow with pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pb_eval.threads import spread

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["distance_sum", "kernel_sum"]

_TILE = 256


def distance_sum(x: NDArray[np.float64], y: NDArray[np.float64] | None = None) -> float:
    """Sum of Euclidean distances over all pairs of rows of two groups, or over all ordered pairs within one.

    Parameters
    ----------
    x, y
        ``(cells, dimensions)``, centred near the origin; without ``y`` the pairs are those within ``x``.

    Examples
    --------
    >>> distance_sum(np.array([[0.0], [3.0]]), np.array([[1.0]]))
    3.0
    """
    return _sum(x, y, 1.0, np.sqrt)


def kernel_sum(x: NDArray[np.float64], y: NDArray[np.float64] | None = None, *, bandwidth: float) -> float:
    """Sum of ``exp(-|x - y|^2 / (2 s^2))`` over all pairs of rows of two groups, or over all ordered pairs within one.

    Parameters
    ----------
    x, y
        ``(cells, dimensions)``, centred near the origin; without ``y`` the pairs are those within ``x``, a cell with
        itself among them.
    bandwidth
        ``s``, above 0.

    Examples
    --------
    >>> round(kernel_sum(np.array([[0.0], [1.0]]), bandwidth=1.0), 3)
    3.213
    """
    return _sum(x, y, -0.5 / bandwidth**2, np.exp)


def _sum(x: NDArray[np.float64], y: NDArray[np.float64] | None, factor: float, function: np.ufunc) -> float:
    """Sum a function of ``factor |x - y|^2`` over all pairs.

    ``|x|^2 + |y|^2 - 2 x . y`` is one product of the cells with their squared lengths as two more dimensions; what
    rounding leaves on the wrong side of zero is zero. Within one group a tile beside the diagonal counts twice.
    """
    other = x if y is None else y
    left = factor * np.column_stack([-2.0 * x, np.einsum("cd,cd->c", x, x), np.ones(len(x))])
    right = np.column_stack([other, np.ones(len(other)), np.einsum("cd,cd->c", other, other)]).T.copy()
    clip = np.maximum if factor > 0 else np.minimum

    def column_of_tiles(column: int) -> float:
        columns, buffer, total = right[:, column : column + _TILE], np.empty(_TILE * _TILE), 0.0
        for row in range(0, len(x) if y is not None else column + 1, _TILE):
            rows = left[row : row + _TILE]
            tile = buffer[: len(rows) * columns.shape[1]].reshape(len(rows), -1)
            np.matmul(rows, columns, out=tile)
            clip(tile, 0.0, out=tile)
            if y is None and row == column:
                np.fill_diagonal(tile, 0.0)
            total += float(function(tile, out=tile).sum()) * (2 if y is None and row < column else 1)
        return total

    return sum(spread(column_of_tiles, range(0, len(other), _TILE)))

"""Whether the predicted cells are spread as the true ones are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pb_eval.matrix import subsample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pb_eval.reference import Cells, Reference

__all__ = ["distance_sum", "edistance", "energy_distance", "equal_sizes", "variance_ratio"]

_ROWS = 512


def distance_sum(x: NDArray[np.float64], y: NDArray[np.float64] | None = None) -> float:
    """Sum of Euclidean distances over all pairs of rows of two groups, or over all ordered pairs within one.

    ``|x - y|^2 = |x|^2 + |y|^2 - 2 x . y`` in blocks of rows, so that memory grows with the number of cells and not
    with its square; what rounding leaves below zero is zero. Both groups should be centred near the origin.

    Parameters
    ----------
    x, y
        ``(cells, dimensions)``; without ``y`` the pairs are those within ``x``, a cell with itself at distance 0.

    Examples
    --------
    >>> distance_sum(np.array([[0.0], [3.0]]), np.array([[1.0]]))
    3.0
    """
    other = x if y is None else y
    x_norms, y_norms = np.einsum("cd,cd->c", x, x), np.einsum("cd,cd->c", other, other)
    total = 0.0
    for start in range(0, len(x), _ROWS):
        squared = x[start : start + _ROWS] @ other.T  # (rows, cells)
        squared *= -2.0
        squared += x_norms[start : start + _ROWS, None]
        squared += y_norms
        np.maximum(squared, 0.0, out=squared)
        if y is None:
            np.fill_diagonal(squared[:, start:], 0.0)
        total += float(np.sqrt(squared, out=squared).sum())
    return total


def energy_distance(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Energy distance of two groups of cells, Euclidean norm, unbiased (U-statistic).

    ``2 / (n m) sum |x - y| - 1 / (n (n - 1)) sum |x - x'| - 1 / (m (m - 1)) sum |y - y'|``; 0 in expectation for groups
    of one distribution, below 0 by chance; nan for a group of one cell. Székely and Rizzo (2013), equation 6.1 with the
    within terms made unbiased.

    Parameters
    ----------
    x, y
        ``(cells, dimensions)``.

    Examples
    --------
    >>> energy_distance(np.array([[0.0], [2.0]]), np.array([[5.0], [7.0]]))
    6.0
    """
    n, m = len(x), len(y)
    if n < 2 or m < 2:
        return float("nan")
    centre = (x.mean(axis=0) + y.mean(axis=0)) / 2
    x, y = x - centre, y - centre
    return 2 * distance_sum(x, y) / (n * m) - distance_sum(x) / (n * (n - 1)) - distance_sum(y) / (m * (m - 1))


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
    cut = [group if len(group) == size else group[np.sort(subsample(len(group), size, seed))] for group in (x, y)]
    return cut[0], cut[1]


def edistance(prediction: Cells, reference: Reference) -> float:
    """Energy distance of prediction and truth in the training cells' principal components."""
    x, y = equal_sizes(reference.truth.coordinates, prediction.coordinates, reference.seed)
    return energy_distance(x, y)


def variance_ratio(prediction: Cells, reference: Reference) -> float:
    """Median of predicted over true variance, over the genes that vary in truth."""
    truth, predicted = reference.truth.moments.variance, prediction.moments.variance
    varies = truth > 0
    return float(np.median(predicted[varies] / truth[varies])) if varies.any() else float("nan")

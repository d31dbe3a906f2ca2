"""Distances between two groups of cells given as coordinates, in blocks of rows and without loops over cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from pb_eval.matrix import subsample
from pb_eval.pairs import distance_sum, kernel_sum

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = [
    "centred",
    "distance_sum",
    "energy_distance",
    "euclidean",
    "kernel_sum",
    "mean_pairwise",
    "median_distance",
    "mmd_linear",
    "mmd_rbf",
    "projections",
    "sliced_wasserstein",
    "squared_blocks",
    "squared_energy_distance",
]

_ROWS = 512
_SCALE_CELLS = 500  # of each group, for the median distance
_PROJECTIONS = 200

Statistic = Literal["U", "V"]


def squared_blocks(
    x: NDArray[np.float64], y: NDArray[np.float64] | None = None
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Squared Euclidean distances of blocks of rows of one group to another, or to the same, ``(rows, cells)``.

    ``|x - y|^2 = |x|^2 + |y|^2 - 2 x . y``, so that memory grows with the number of cells and not with its square; what
    rounding leaves below zero is zero. Both groups should be centred near the origin. Yields the first row of the
    block, and the block, which may be written to.

    Parameters
    ----------
    x, y
        ``(cells, dimensions)``; without ``y`` the pairs are those within ``x``, a cell with itself at distance 0.

    Examples
    --------
    >>> [block for _, block in squared_blocks(np.array([[0.0], [3.0]]), np.array([[1.0]]))]
    [array([[1.],
           [4.]])]
    """
    other = x if y is None else y
    x_norms, y_norms = np.einsum("cd,cd->c", x, x), np.einsum("cd,cd->c", other, other)
    for start in range(0, len(x), _ROWS):
        squared = x[start : start + _ROWS] @ other.T
        squared *= -2.0
        squared += x_norms[start : start + _ROWS, None]
        squared += y_norms
        np.maximum(squared, 0.0, out=squared)
        if y is None:
            np.fill_diagonal(squared[:, start:], 0.0)
        yield start, squared


def energy_distance(x: NDArray[np.float64], y: NDArray[np.float64], statistic: Statistic = "U") -> float:
    """Energy distance of two groups of cells, Euclidean norm.

    ``2 / (n m) sum |x - y| - 1 / (n (n - 1)) sum |x - x'| - 1 / (m (m - 1)) sum |y - y'|``, unbiased: 0 in expectation
    for groups of one distribution, below 0 by chance, nan for a group of one cell. Székely and Rizzo (2013),
    proposition 1, with the within terms made unbiased.

    Parameters
    ----------
    x, y
        ``(cells, dimensions)``.
    statistic
        ``V`` divides the within terms by ``n^2``: never below 0, and above 0 by chance.

    Examples
    --------
    >>> energy_distance(np.array([[0.0], [2.0]]), np.array([[5.0], [7.0]]))
    6.0
    """
    n, m = len(x), len(y)
    x, y = centred(x, y)
    if statistic == "V":
        return 2 * distance_sum(x, y) / (n * m) - distance_sum(x) / n**2 - distance_sum(y) / m**2
    if n < 2 or m < 2:
        return float("nan")
    return 2 * distance_sum(x, y) / (n * m) - distance_sum(x) / (n * (n - 1)) - distance_sum(y) / (m * (m - 1))


def squared_energy_distance(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Energy distance with the squared Euclidean norm, unbiased.

    ``2 E|X - Y|^2 - E|X - X'|^2 - E|Y - Y'|^2``, within terms over ``n (n - 1)`` pairs; it is twice :func:`mmd_linear`
    and sees nothing but the means.

    Parameters
    ----------
    x, y
        ``(cells, dimensions)``.

    Examples
    --------
    >>> squared_energy_distance(np.array([[0.0], [2.0]]), np.array([[5.0], [7.0]]))
    46.0
    """
    return 2 * mmd_linear(x, y)


def mmd_linear(x: NDArray[np.float64], y: NDArray[np.float64], statistic: Statistic = "U") -> float:
    """Squared maximum mean discrepancy with the linear kernel, the squared distance of the means.

    ``|mean x - mean y|^2 - v_x / n - v_y / m`` with ``v`` the sum over dimensions of the variance (n - 1): unbiased,
    below 0 by chance, nan for a group of one cell. Gretton et al. (2012), equation 3 with ``k(x, y) = x . y``.

    Parameters
    ----------
    x, y
        ``(cells, dimensions)``.
    statistic
        ``V`` leaves the squared distance of means as it is.

    Examples
    --------
    >>> mmd_linear(np.array([[0.0], [2.0]]), np.array([[5.0], [7.0]]))
    23.0
    """
    distance = euclidean(x, y) ** 2
    if statistic == "V":
        return distance
    if len(x) < 2 or len(y) < 2:
        return float("nan")
    return float(distance - sum(group.var(axis=0, ddof=1).sum() / len(group) for group in (x, y)))


def mmd_rbf(x: NDArray[np.float64], y: NDArray[np.float64], bandwidth: float, statistic: Statistic = "U") -> float:
    """Squared maximum mean discrepancy with the kernel ``exp(-|x - y|^2 / (2 s^2))``, unbiased.

    ``E k(X, X') + E k(Y, Y') - 2 E k(X, Y)``, within terms over ``n (n - 1)`` pairs: 0 in expectation for groups of one
    distribution, below 0 by chance, nan for a group of one cell or a bandwidth of 0. Gretton et al. (2012), equation 3.

    Parameters
    ----------
    x, y
        ``(cells, dimensions)``.
    bandwidth
        ``s``; another tool's ``gamma`` is ``1 / (2 s^2)``.
    statistic
        ``V`` keeps each cell's pair with itself: never below 0, and above 0 by chance.

    Examples
    --------
    >>> round(mmd_rbf(np.array([[0.0], [1.0]]), np.array([[9.0], [8.0]]), bandwidth=1.0), 3)
    1.213
    """
    n, m = len(x), len(y)
    own = 1 if statistic == "U" else 0
    if not bandwidth > 0 or min(n, m) <= own:
        return float("nan")
    x, y = centred(x, y)
    within = [
        (kernel_sum(group, bandwidth=bandwidth) - own * len(group)) / (len(group) * (len(group) - own))
        for group in (x, y)
    ]
    return sum(within) - 2 * kernel_sum(x, y, bandwidth=bandwidth) / (n * m)


def mean_pairwise(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Mean Euclidean distance over all pairs of cells of two groups.

    Examples
    --------
    >>> mean_pairwise(np.array([[0.0], [2.0]]), np.array([[5.0], [7.0]]))
    5.0
    """
    return distance_sum(*centred(x, y)) / (len(x) * len(y))


def euclidean(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Euclidean distance of the mean cells of two groups.

    Examples
    --------
    >>> euclidean(np.array([[0.0], [2.0]]), np.array([[5.0], [7.0]]))
    5.0
    """
    return float(np.linalg.norm(x.mean(axis=0) - y.mean(axis=0)))


def sliced_wasserstein(x: NDArray[np.float64], y: NDArray[np.float64], seed: int = 0) -> float:
    """Sliced 2-Wasserstein distance of two groups of equal size.

    ``sqrt(mean_d mean_i (x_(i) . d - y_(i) . d)^2)`` over 200 seeded directions ``d`` of length 1, cells sorted along
    each. Bonneel et al. (2015), equation 5 with ``p = 2``.

    Parameters
    ----------
    x, y
        ``(cells, dimensions)``.

    Examples
    --------
    >>> sliced_wasserstein(np.array([[0.0], [2.0]]), np.array([[7.0], [5.0]]))
    5.0
    """
    first, second = (np.sort(projections(group, seed), axis=1) for group in (x, y))
    return float(np.sqrt(np.mean((first - second) ** 2)))


def projections(x: NDArray[np.float64], seed: int = 0) -> NDArray[np.float64]:
    """Project cells on 200 seeded directions of length 1, ``(directions, cells)``.

    Examples
    --------
    >>> projections(np.array([[2.0]]))[:2]
    array([[2.],
           [2.]])
    """
    directions = np.random.RandomState(seed).standard_normal((_PROJECTIONS, x.shape[1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return np.asarray(directions @ x.T)


def median_distance(groups: Sequence[NDArray[np.float64]], seed: int = 0) -> float:
    """Median Euclidean distance over the pairs of different cells of all groups, at most 500 drawn from each.

    Examples
    --------
    >>> median_distance([np.array([[0.0], [1.0]]), np.array([[3.0]])])
    2.0
    """
    drawn = [group[np.sort(subsample(len(group), min(len(group), _SCALE_CELLS), seed))] for group in groups]
    cells = np.concatenate(drawn)
    if len(cells) < 2:
        return float("nan")
    cells = cells - cells.mean(axis=0)
    squared = np.concatenate([block for _, block in squared_blocks(cells)])
    return float(np.median(np.sqrt(squared[np.triu_indices(len(cells), 1)])))


def centred(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Move two groups together so that the middle of their means is the origin.

    Examples
    --------
    >>> centred(np.array([[4.0]]), np.array([[6.0]]))
    (array([[-1.]]), array([[1.]]))
    """
    centre = (x.mean(axis=0) + y.mean(axis=0)) / 2
    return x - centre, y - centre

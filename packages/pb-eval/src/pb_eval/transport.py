"""Optimal transport between two groups of cells, exact and entropic.

POT is imported where it is used: it imports every deep learning library there is, which takes seconds.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pb_eval.distances import centred

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = [
    "Plan",
    "cost_moments",
    "entropic_cost",
    "entropic_plan",
    "sinkhorn_divergence",
    "sinkhorn_plan",
    "wasserstein",
    "wasserstein_plan",
]

_ITERATIONS = 5000
_NEAR = 1e-3  # of the marginals: from there on steps are lengthened
_RELAXATION = 1.85
_BYTES = 2**20  # of the kernel that stay in the cache


class Plan(NamedTuple):
    """Least cost of transport between two groups, and what a cell more adds to it.

    Attributes
    ----------
    cost
        Of the groups as they are.
    first, second
        Dual potentials, ``(cells,)``: the derivative of the cost by the weight of each cell, but for a constant.
    """

    cost: float
    first: NDArray[np.float64]
    second: NDArray[np.float64]


def wasserstein(x: NDArray[np.float64], y: NDArray[np.float64], power: int = 1) -> float:
    """Exact Wasserstein distance, ``(min_P sum P_ij |x_i - y_j|^p)^(1/p)`` over couplings of equal cell weights.

    Parameters
    ----------
    x, y
        ``(cells, dimensions)``; the cost grows with the cube of the number of cells.
    power
        ``p``, 1 or 2.

    Examples
    --------
    >>> wasserstein(np.array([[0.0], [2.0]]), np.array([[7.0], [5.0]]))
    5.0
    """
    return float(wasserstein_plan(x, y, power).cost ** (1 / power))


def wasserstein_plan(x: NDArray[np.float64], y: NDArray[np.float64], power: int = 1) -> Plan:
    """Exact transport cost, ``min_P sum P_ij |x_i - y_j|^p``, with its potentials.

    Parameters
    ----------
    x, y, power
        As for :func:`wasserstein`.

    Examples
    --------
    >>> wasserstein_plan(np.array([[0.0], [2.0]]), np.array([[7.0], [5.0]])).cost
    5.0
    """
    import ot
    from scipy.spatial.distance import cdist

    cost, log = ot.emd2([], [], cdist(x, y, "euclidean") ** power, numItermax=10_000_000, log=True)
    return Plan(float(cost), log["u"], log["v"])


def cost_moments(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and variance (n) of the squared Euclidean distances of all pairs.

    From the second moments of the groups, without a pass over pairs:
    ``|x - y|^4 = (|x|^2 + |y|^2)^2 - 4 (|x|^2 + |y|^2) x . y + 4 (x . y)^2``, averaged term by term.

    Parameters
    ----------
    x, y
        ``(cells, dimensions)``.

    Examples
    --------
    >>> cost_moments(np.array([[0.0], [3.0]]), np.array([[1.0]]))
    (2.5, 2.25)
    """
    x, y = centred(x, y)
    (a, b), (first, second) = ([np.einsum("cd,cd->c", z, z) for z in (x, y)], [z.mean(axis=0) for z in (x, y)])
    dot = float(first @ second)
    mean = float(a.mean() + b.mean() - 2 * dot)
    lengths = (a @ a) / len(a) + (b @ b) / len(b) + 2 * a.mean() * b.mean()
    crossed = (a @ x) @ second / len(a) + (b @ y) @ first / len(b)
    products = np.vdot(x.T @ x, y.T @ y) / (len(x) * len(y))
    return mean, max(float(lengths - 4 * crossed + 4 * products) - mean**2, 0.0)


def entropic_cost(x: NDArray[np.float64], y: NDArray[np.float64], epsilon: float, tolerance: float = 1e-6) -> float:
    """Entropic transport cost, ``min_P <P, C> + e KL(P | a b)`` with ``C`` the squared Euclidean distances.

    The value of the dual problem, ``<f, a> + <g, b>``, at a ``g`` found by scaling the kernel of the cost less its row
    and column minima, with the ``f`` that is best for it: its error goes with the square of that of ``g``. The scaling
    is done in single precision, in double where that does not reach the marginals, and in the log domain where both
    leave the floating range. Costs are computed anew whenever they are read. Cuturi (2013), the problem of
    equation 2; Feydy et al. (2019), equation 1 and its dual.

    Parameters
    ----------
    x, y
        ``(cells, dimensions)``.
    epsilon
        ``e``, above 0, in squared units of the coordinates.
    tolerance
        Norm of the marginals' error; the value's error goes with its square.

    Examples
    --------
    >>> entropic_cost(np.array([[0.0]]), np.array([[3.0]]), epsilon=1.0)
    9.0
    """
    return entropic_plan(x, y, epsilon, tolerance).cost


def entropic_plan(x: NDArray[np.float64], y: NDArray[np.float64], epsilon: float, tolerance: float = 1e-6) -> Plan:
    """Entropic transport cost with its potentials, as :func:`entropic_cost`.

    Examples
    --------
    >>> entropic_plan(np.array([[0.0]]), np.array([[3.0]]), epsilon=1.0).cost
    9.0
    """
    left, right = _factors(*centred(x, y))
    rows, columns = _minima(left, right)
    left[:, -2] -= rows
    right[-1] -= columns
    left *= -1 / epsilon
    f, g = _dual(left, right, tolerance)
    first, second = rows + epsilon * f, columns + epsilon * g
    return Plan(float(first.mean() + second.mean()), first, second)


def _factors(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two matrices whose product are the squared distances: the cells with their squared lengths as dimensions."""
    left = np.column_stack([-2.0 * x, np.einsum("cd,cd->c", x, x), np.ones(len(x))])
    return left, np.column_stack([y, np.ones(len(y)), np.einsum("cd,cd->c", y, y)]).T.copy()


def _parts(n_rows: int, row: NDArray[Any]) -> Iterator[slice]:
    """Slices of rows that stay in the cache."""
    size = max(1, _BYTES // row.nbytes)
    return (slice(start, start + size) for start in range(0, n_rows, size))


def _minima(left: NDArray[np.float64], right: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Smallest cost of each row, and of each column of what is left."""
    rows, columns = np.empty(len(left)), np.full(right.shape[1], np.inf)
    for part in _parts(len(left), columns):
        cost = np.maximum(left[part] @ right, 0.0)
        rows[part] = cost.min(axis=1)
        cost -= rows[part, None]
        np.minimum(columns, cost.min(axis=0), out=columns)
    return rows, columns


def _dual(
    left: NDArray[np.float64], right: NDArray[np.float64], tolerance: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Potentials in units of ``epsilon``, the product of both being ``-C / e``."""
    for dtype in (np.float32, np.float64):
        v = _scaled(_kernel(left, right, dtype), tolerance)
        if v is not None:
            v = v.astype(np.float64)
            f, error = _best(left, right, v)
            if dtype is np.float64 or error <= 2 * tolerance:
                return f, np.log(v) + np.log(v.size)
    u, v = _in_log_domain(np.maximum(-left @ right, 0.0), tolerance)
    return u + np.log(u.size), v + np.log(v.size)


def _kernel(left: NDArray[np.float64], right: NDArray[np.float64], dtype: type[Any]) -> NDArray[Any]:
    """``exp(-C / e)``."""
    kernel = np.empty((len(left), right.shape[1]), dtype)
    for part in _parts(len(left), right[0]):
        np.exp(np.minimum(left[part] @ right, 0.0).astype(dtype), out=kernel[part])
    return kernel


def _scaled(kernel: NDArray[Any], tolerance: float) -> NDArray[Any] | None:
    """Scaling of the columns by over-relaxed steps; None where they do not come to an end.

    Each step reads the kernel once, in rows that stay in the cache. Near the solution, the step is lengthened by
    ``w = 1.85``, which takes a fraction of the steps: Thibault et al. (2021). Farther off it is not, for
    there a lengthened one may diverge.
    """
    n, m = kernel.shape
    u, v = np.full(n, 1 / n, kernel.dtype), np.full(m, 1 / m, kernel.dtype)
    power = 1.0
    with np.errstate(all="ignore"):  # what leaves the floating range is looked at below
        for _ in range(_ITERATIONS):
            reached = np.zeros(m, kernel.dtype)
            for part in _parts(n, v):
                u[part] *= (1 / n / (kernel[part] @ v * u[part])) ** power
                reached += u[part] @ kernel[part]
            error = float(np.linalg.norm(reached * v - 1 / m))
            if error <= tolerance:
                return v if v.all() else None
            if not np.isfinite(error):
                return None
            power = _RELAXATION if error < _NEAR else 1.0
            v *= (1 / m / (reached * v)) ** power
    return None


def _best(
    left: NDArray[np.float64], right: NDArray[np.float64], v: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Potential of the rows that is best for the columns' scaling, in units of ``epsilon``; the marginals' error."""
    n, m = len(left), v.size
    f, reached = np.empty(n), np.zeros(m)
    with np.errstate(all="ignore"):  # what leaves the floating range shows as an error
        for part in _parts(n, v):
            kernel = np.exp(np.minimum(left[part] @ right, 0.0))
            sums = kernel @ v
            f[part] = -np.log(sums)
            reached += (1 / n / sums) @ kernel
        return f, float(np.linalg.norm(reached * v - 1 / m))


def _in_log_domain(cost: NDArray[np.float64], tolerance: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Dual potentials by POT, of costs in units of ``epsilon``."""
    import ot

    a, b = (np.full(length, 1 / length) for length in cost.shape)
    options = {"stopThr": tolerance, "numItermax": _ITERATIONS, "warn": False, "log": True}
    with warnings.catch_warnings():  # the cost's fall below the floating range is meant
        warnings.simplefilter("ignore")
        _, log = ot.sinkhorn(a, b, cost, 1.0, method="sinkhorn_log", **options)
    return log["log_u"], log["log_v"]


def sinkhorn_divergence(x: NDArray[np.float64], y: NDArray[np.float64], epsilon: float) -> float:
    """Entropic transport cost without its bias, ``S(x, y) - S(x, x) / 2 - S(y, y) / 2``; 0 for a group with itself.

    Feydy et al. (2019), equation 3.

    Parameters
    ----------
    x, y
        ``(cells, dimensions)``.
    epsilon
        ``e`` of :func:`entropic_cost`; a divergence without one above 0 is nan.

    Examples
    --------
    >>> sinkhorn_divergence(np.array([[0.0]]), np.array([[3.0]]), epsilon=1.0)
    9.0
    """
    return sinkhorn_plan(x, y, epsilon).cost if epsilon > 0 else float("nan")


def sinkhorn_plan(x: NDArray[np.float64], y: NDArray[np.float64], epsilon: float) -> Plan:
    """Sinkhorn divergence with its potentials, those between the groups less those within each.

    Parameters
    ----------
    x, y, epsilon
        As for :func:`sinkhorn_divergence`, ``epsilon`` above 0.

    Examples
    --------
    >>> sinkhorn_plan(np.array([[0.0]]), np.array([[3.0]]), epsilon=1.0).cost
    9.0
    """
    between, first, second = (entropic_plan(a, b, epsilon) for a, b in ((x, y), (x, x), (y, y)))
    return Plan(
        between.cost - first.cost / 2 - second.cost / 2,
        between.first - (first.first + first.second) / 2,
        between.second - (second.first + second.second) / 2,
    )

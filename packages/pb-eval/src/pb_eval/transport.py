"""Optimal transport between two groups of cells, exact and entropic.

POT is imported where it is used: it looks for every deep learning library there is, which takes seconds.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.distance import cdist

from pb_eval.distances import centred, squared_blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["entropic_cost", "entropic_cost_of", "sinkhorn_divergence", "squared_costs", "wasserstein"]

_TOLERANCE = 1e-6  # of the marginals; the dual value's error goes with its square
_ITERATIONS = 5000
_NEAR = 1e-3  # of the marginals: from there on steps are lengthened
_RELAXATION = 1.85
_ENTRIES = 2**17  # of the kernel that stay in the cache


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
    import ot

    cost = cdist(x, y, "euclidean") ** power
    return float(ot.emd2([], [], cost, numItermax=10_000_000) ** (1 / power))


def squared_costs(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared Euclidean distances of all pairs, ``(cells, cells)``.

    Examples
    --------
    >>> squared_costs(np.array([[0.0], [3.0]]), np.array([[1.0]]))
    array([[1.],
           [4.]])
    """
    costs = np.empty((len(x), len(y)))
    for start, block in squared_blocks(*centred(x, y)):
        costs[start : start + len(block)] = block
    return costs


def entropic_cost(x: NDArray[np.float64], y: NDArray[np.float64], epsilon: float) -> float:
    """Entropic transport cost, ``min_P <P, C> + e KL(P | a b)`` with ``C`` the squared Euclidean distances.

    Parameters
    ----------
    x, y
        ``(cells, dimensions)``.
    epsilon
        ``e``, above 0, in squared units of the coordinates.

    Examples
    --------
    >>> entropic_cost(np.array([[0.0]]), np.array([[3.0]]), epsilon=1.0)
    9.0
    """
    return entropic_cost_of(squared_costs(x, y), epsilon)


def entropic_cost_of(cost: NDArray[np.float64], epsilon: float) -> float:
    """Entropic transport cost of a matrix of costs, which is written to.

    The value of the dual problem, ``<f, a> + <g, b>``, whose error goes with the square of the marginals'. Solved by
    scaling the kernel of the cost less its row and column minima, and in the log domain where that leaves the floating
    range. Cuturi (2013); Feydy et al. (2019), equations 1 and 8.

    Parameters
    ----------
    cost
        ``C``, ``(cells, cells)``.
    epsilon
        ``e``, above 0, in units of the costs.

    Examples
    --------
    >>> entropic_cost_of(np.array([[9.0]]), epsilon=1.0)
    9.0
    """
    rows = cost.min(axis=1, keepdims=True)
    cost -= rows
    columns = cost.min(axis=0)
    cost -= columns
    return float(rows.mean() + columns.mean() + epsilon * _dual(cost, epsilon))


def _dual(cost: NDArray[np.float64], epsilon: float) -> float:
    """Value of the dual problem in units of ``epsilon``."""
    potentials = _scaled(cost, epsilon)
    u, v = _in_log_domain(cost, epsilon) if potentials is None else potentials
    return float(u.mean() + v.mean() + np.log(cost.size))


def _scaled(cost: NDArray[np.float64], epsilon: float) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Dual potentials in units of ``epsilon`` by over-relaxed scaling; None where it does not come to an end.

    Each step reads the kernel once, in rows that stay in the cache. Near the solution, the step is lengthened by
    ``w = 1.85``, which takes a fraction of the steps: Thibault et al. (2021). Farther off it is not, for
    there a lengthened one may diverge.
    """
    kernel = cost * (-1 / epsilon)
    np.exp(kernel, out=kernel)
    n, m = kernel.shape
    u, v = np.full(n, 1 / n), np.full(m, 1 / m)
    rows, power = max(1, _ENTRIES // m), 1.0
    with np.errstate(all="ignore"):  # what leaves the floating range is looked at below
        for _ in range(_ITERATIONS):
            reached = np.zeros(m)
            for start in range(0, n, rows):
                part = slice(start, start + rows)
                u[part] *= (1 / n / (kernel[part] @ v * u[part])) ** power
                reached += u[part] @ kernel[part]
            error = float(np.linalg.norm(reached * v - 1 / m))
            if error <= _TOLERANCE:
                return (np.log(u), np.log(v)) if u.all() and v.all() else None
            if not np.isfinite(error):
                return None
            power = _RELAXATION if error < _NEAR else 1.0
            v *= (1 / m / (reached * v)) ** power
    return None


def _in_log_domain(cost: NDArray[np.float64], epsilon: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Dual potentials in units of ``epsilon``, by POT."""
    import ot

    a, b = (np.full(length, 1 / length) for length in cost.shape)
    options = {"stopThr": _TOLERANCE, "numItermax": _ITERATIONS, "warn": False, "log": True}
    with warnings.catch_warnings():  # the cost's fall below the floating range is meant
        warnings.simplefilter("ignore")
        _, log = ot.sinkhorn(a, b, cost, epsilon, method="sinkhorn_log", **options)
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
    if not epsilon > 0:
        return float("nan")
    between, first, second = (entropic_cost(a, b, epsilon) for a, b in ((x, y), (x, x), (y, y)))
    return between - first / 2 - second / 2

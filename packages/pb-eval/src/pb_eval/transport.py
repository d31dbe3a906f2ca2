"""Optimal transport between two groups of cells, by the POT library.

POT is imported where it is used: it looks for every deep learning library there is, which takes seconds.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.distance import cdist

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["entropic_cost", "sinkhorn_divergence", "wasserstein"]

_TOLERANCE = 1e-6  # of the marginals; the dual value's error goes with its square
_ITERATIONS = 5000


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


def entropic_cost(x: NDArray[np.float64], y: NDArray[np.float64], epsilon: float) -> float:
    """Entropic transport cost, ``min_P <P, C> + e KL(P | a b)`` with ``C`` the squared Euclidean distances.

    The value of the dual problem, ``<f, a> + <g, b>``, whose error goes with the square of the marginals'. Solved by
    scaling the kernel of the cost less its row and column minima, and in the log domain where that leaves the floating
    range. Cuturi (2013); Feydy et al. (2019), equations 1 and 8.

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
    cost = cdist(x, y, "sqeuclidean")
    rows = cost.min(axis=1, keepdims=True)
    cost -= rows
    columns = cost.min(axis=0)
    cost -= columns
    return float(rows.mean() + columns.mean() + epsilon * _dual(cost, epsilon))


def _dual(cost: NDArray[np.float64], epsilon: float) -> float:
    """Value of the dual problem in units of ``epsilon``."""
    import ot

    a, b = (np.full(length, 1 / length) for length in cost.shape)
    options = {"stopThr": _TOLERANCE, "numItermax": _ITERATIONS, "warn": False, "log": True}
    with warnings.catch_warnings():  # POT reports what leaves the floating range, which is looked at here
        warnings.simplefilter("ignore")
        _, log = ot.sinkhorn(a, b, cost, epsilon, method="sinkhorn", **options)
        scales = np.concatenate([log["u"], log["v"]])
        if np.isfinite(scales).all() and (scales > 0).all() and log["err"] and log["err"][-1] <= _TOLERANCE:
            u, v = np.log(log["u"]), np.log(log["v"])
        else:
            _, log = ot.sinkhorn(a, b, cost, epsilon, method="sinkhorn_log", **options)
            u, v = log["log_u"], log["log_v"]
    return float(u.mean() + v.mean() - np.log(a[0] * b[0]))


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

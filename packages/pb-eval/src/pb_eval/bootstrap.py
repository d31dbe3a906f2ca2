"""Distances of resampled groups from one pass over the pairs of cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pb_eval.distances import centred, squared_blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["energy_distance_draws"]


def energy_distance_draws(
    x: NDArray[np.float64], y: NDArray[np.float64], draws: int = 100, seed: int = 0
) -> NDArray[np.float64]:
    """Energy distances (U) of resampled groups, from one pass over the pairs, ``(draws,)``.

    Each draw takes ``n`` and ``m`` cells with replacement. With ``w`` the times each cell was taken and ``D`` the
    distances, the sums of :func:`energy_distance` are ``w D v``; a cell taken twice is at distance 0 from itself.

    Parameters
    ----------
    x, y
        ``(cells, dimensions)``, two cells at least.

    Examples
    --------
    >>> energy_distance_draws(np.array([[0.0], [2.0]]), np.array([[5.0], [7.0]]), draws=2).shape
    (2,)
    """
    n, m = len(x), len(y)
    rng = np.random.default_rng(seed)
    w, v = (rng.multinomial(size, np.full(size, 1 / size), draws).astype(np.float64) for size in (n, m))
    x, y = centred(x, y)
    between, within_x, within_y = _weighted_sums(w, v, x, y), _weighted_sums(w, w, x), _weighted_sums(v, v, y)
    return np.asarray(2 * between / (n * m) - within_x / (n * (n - 1)) - within_y / (m * (m - 1)))


def _weighted_sums(
    w: NDArray[np.float64], v: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Sum of ``w_i D_ij v_j`` for each draw, ``(draws,)``."""
    total = np.zeros(len(w))
    for start, squared in squared_blocks(x, y):
        distances = np.sqrt(squared, out=squared)
        total += np.einsum("dj,dj->d", w[:, start : start + len(distances)] @ distances, v)
    return total

"""The reference benchmark's own metrics, value for value, for comparison with its published tables only.

They are taken in a PCA fitted on the true, predicted and control cells together, so that the space moves with the
prediction, over groups of unequal size, by biased estimators, as ratios that reward being far from control. Its
resampled correlations are ``r2_mean_all_resampled``, ``r2_mean_top100_resampled`` and ``r2_mean_top20_resampled``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pb_eval import distances, transport
from pb_eval.genes import rank_up_regulated
from pb_eval.matrix import ROUNDING
from pb_eval.spaces import joint_basis

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pb_eval.reference import Cells, Reference

__all__ = ["CLASSIC", "JointCoordinates", "common_genes", "distance", "joint_coordinates", "regularised_cost"]

CLASSIC = (
    "classic_common_top100",
    "r2_mean_all_resampled",
    "r2_mean_top20_resampled",
    "r2_mean_top100_resampled",
    "classic_edistance",
    "classic_edistance_squared",
    "classic_wasserstein",
    "classic_euclidean",
    "classic_mean_pairwise",
    "classic_mmd",
)
"""What the reference benchmark reports, by the names here."""


class JointCoordinates(NamedTuple):
    """Coordinates of the three groups in the PCA of all of them, ``(cells, components)`` each."""

    truth: NDArray[np.float64]
    prediction: NDArray[np.float64]
    control: NDArray[np.float64]


def joint_coordinates(prediction: Cells, reference: Reference) -> JointCoordinates:
    """Fit 50 principal components to true, predicted and control cells together and project all of them.

    Raises
    ------
    ValueError
        As :func:`pb_eval.spaces.joint_basis`.
    """
    groups = reference.truth, prediction, reference.control
    basis = joint_basis([cells.matrix for cells in groups], [cells.moments for cells in groups])
    return JointCoordinates(*(basis.transform(cells.matrix) for cells in groups))


def regularised_cost(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Entropic transport cost with ``e`` a twentieth of the standard deviation of the squared distances.

    What pertpy's "wasserstein" is (ott-jax's regularised cost), which is not 0 between a group and itself.

    Examples
    --------
    >>> regularised_cost(np.array([[0.0]]), np.array([[5.0]]))
    25.0
    """
    mean, variance = transport.cost_moments(x, y)
    epsilon = 0.05 * variance**0.5
    return transport.entropic_cost(x, y, epsilon) if epsilon > ROUNDING * mean else mean


def common_genes(prediction: Cells, reference: Reference) -> float:
    """Count the genes that are among the 100 with the highest signed Welch t score of truth and of prediction."""
    truth, predicted = (
        rank_up_regulated(cells.t_test.score, cells.shift, reference.genes)[:100]
        for cells in (reference.truth, prediction)
    )
    return float(np.intersect1d(truth, predicted).size)


def distance(prediction: Cells, reference: Reference, *, of: str) -> float:
    """Distance of truth and prediction over that of control and prediction; infinite where the latter is 0.

    Parameters
    ----------
    of
        ``edistance``, ``edistance_squared``, ``wasserstein``, ``euclidean``, ``mean_pairwise`` or ``mmd``.
    """
    cells = prediction.remember("joint coordinates", lambda: joint_coordinates(prediction, reference))
    error, shift = (_DISTANCES[of](group, cells.prediction) for group in (cells.truth, cells.control))
    return error / shift if shift > 0 else float("inf")


def _energy(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Energy distance, 0 for a copy, of which each cell's distance to itself would leave the root of a rounding."""
    return 0.0 if np.array_equal(x, y) else distances.energy_distance(x, y, "V")


_DISTANCES: dict[str, Callable[[NDArray[np.float64], NDArray[np.float64]], float]] = {
    "edistance": _energy,
    "edistance_squared": lambda x, y: 2 * distances.mmd_linear(x, y, "V"),
    "wasserstein": regularised_cost,
    "euclidean": distances.euclidean,
    "mean_pairwise": distances.mean_pairwise,
    "mmd": lambda x, y: distances.mmd_linear(x, y, "V"),
}

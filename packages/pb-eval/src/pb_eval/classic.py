"""The reference benchmark's own metrics, value for value, for comparison with its published tables only.

They are taken in a PCA fitted on the true, predicted and control cells together, so that the space moves with the
prediction, over groups of unequal size, by biased estimators, as ratios that reward being far from control. Its
resampled correlations are ``r2_mean_all_resampled``, ``r2_mean_top100_resampled`` and ``r2_mean_top20_resampled``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pb_eval import distances, transport
from pb_eval.distances import centred
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


_TOLERANCE = 1e-5  # of the transport's marginals, at which the cost of 3,000 cells a group is good to 2e-8


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
    return transport.entropic_cost(x, y, epsilon, _TOLERANCE) if epsilon > ROUNDING * mean else mean


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
    groups = prediction.remember("joint coordinates", lambda: _JointGroups(joint_coordinates(prediction, reference)))
    error, shift = (_DISTANCES[of](groups, name) for name in ("truth", "control"))
    return error / shift if shift > 0 else float("inf")


class _JointGroups:
    """The groups by name, and the mean distance of the pairs of two of them, computed once."""

    def __init__(self, groups: JointCoordinates) -> None:
        self.cells = groups._asdict()
        self._means: dict[tuple[str, str], float] = {}

    def mean_distance(self, first: str, second: str) -> float:
        """Mean Euclidean distance over all pairs, within a group those of a cell with itself among them."""
        if (first, second) not in self._means:
            x, y = self.cells[first], self.cells[second]
            within = first == second
            total = distances.distance_sum(x - x.mean(axis=0)) if within else distances.distance_sum(*centred(x, y))
            self._means[first, second] = total / (len(x) * len(y))
        return self._means[first, second]

    def energy_distance(self, name: str) -> float:
        """Energy distance to the prediction, 0 for a copy, of which each cell to itself would leave a rounding."""
        if np.array_equal(self.cells[name], self.cells["prediction"]):
            return 0.0
        within = self.mean_distance(name, name) + self.mean_distance("prediction", "prediction")
        return 2 * self.mean_distance(name, "prediction") - within

    def of(self, compute: Callable[[NDArray[np.float64], NDArray[np.float64]], float], name: str) -> float:
        """Another distance to the prediction."""
        return compute(self.cells[name], self.cells["prediction"])


_DISTANCES: dict[str, Callable[[_JointGroups, str], float]] = {
    "edistance": _JointGroups.energy_distance,
    "edistance_squared": lambda groups, name: 2 * groups.of(_squared_distance_of_means, name),
    "wasserstein": lambda groups, name: groups.of(regularised_cost, name),
    "euclidean": lambda groups, name: groups.of(distances.euclidean, name),
    "mean_pairwise": lambda groups, name: groups.mean_distance(name, "prediction"),
    "mmd": lambda groups, name: groups.of(_squared_distance_of_means, name),
}


def _squared_distance_of_means(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    return distances.mmd_linear(x, y, "V")

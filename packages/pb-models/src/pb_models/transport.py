"""A baseline that moves cells by the optimal transport between a training context's controls and perturbed cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import ot
from sklearn.neighbors import NearestNeighbors

from pb_models.baselines import dense, mean_profile
from pb_models.pca_shifts import InPca, PcaSettings
from pb_models.shifts import context_shifts, pearson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pb_models.cells import Matrix, TrainingData
    from pb_models.settings import Settings

__all__ = ["OtMap", "OtSettings", "barycentric_displacement", "neighbour_displacement"]

_MAX_PIVOTS = 100_000_000  # the network simplex ends by itself; POT's default of 100,000 stops it early at 2,000 cells


@dataclass(frozen=True, kw_only=True)
class OtSettings(PcaSettings):
    """Neighbours averaged over, and how many cells of a group enter the transport problem at most.

    15 neighbours did best of 1, 5, 15 and 50 when each training cell type of the Kang PBMC data was left out in turn.
    """

    n_neighbors: int = 15
    max_cells: int = 3000

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least("n_neighbors", 1)
        self.at_least("max_cells", 2)


def barycentric_displacement(source: NDArray[np.floating], target: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return T(x_i) - x_i, T(x_i) = sum_j P_ij y_j / sum_j P_ij, for every source point x_i, (n, k).

    P is the exact optimal transport plan between the two uniform point clouds under squared Euclidean cost
    (barycentric projection: Ferradans et al., SIAM J. Imaging Sci. 2014; as in POT's `EMDTransport`).

    Parameters
    ----------
    source, target
        Points (n, k) and (m, k).

    Examples
    --------
    >>> barycentric_displacement(np.array([[0.0], [1.0]]), np.array([[11.0], [10.0]])).tolist()
    [[10.0], [10.0]]
    """
    cost = ot.dist(source, target)  # (n, m)
    uniform = [np.full(len(points), 1 / len(points)) for points in (source, target)]
    plan = ot.emd(*uniform, cost, numItermax=_MAX_PIVOTS)
    return np.asarray(plan @ target / plan.sum(axis=1, keepdims=True) - source)


def neighbour_displacement(
    points: NDArray[np.floating],
    source: NDArray[np.floating],
    displacement: NDArray[np.floating],
    n_neighbors: int,
) -> NDArray[np.float64]:
    """Return for each point the mean displacement of its nearest source points (all of them, where there are fewer)."""
    index = NearestNeighbors(n_neighbors=min(n_neighbors, len(source))).fit(source)
    return np.asarray(displacement[index.kneighbors(points, return_distance=False)].mean(axis=1))


def _thinned(points: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """Return at most so many points, evenly spaced along the first axis: the choice does not depend on row order."""
    if len(points) <= most:
        return points
    order = np.lexsort(points.T[::-1])
    return np.asarray(points[order[np.linspace(0, len(points) - 1, most).round().astype(int)]])


class OtMap(InPca):
    """Move each cell as like control cells of the nearest training context move: x' = x + V^T mean_k(T(z_k) - z_k).

    Nearest is the training context whose mean control cell has the highest Pearson correlation with the target's. T is
    the barycentric projection of the exact optimal transport plan between that context's control and perturbed PCA
    scores; z_k are its control scores nearest to the cell's. What lies outside the axes is left as it is.
    """

    name = "ot-map"
    summary = "Moves control cells by the optimal-transport displacements of the nearest training context."
    profiles: ClassVar[Mapping[str, Settings]] = {"default": OtSettings()}
    settings: OtSettings

    def _fit_condition(self, data: TrainingData, condition: str) -> dict[str, Any]:
        means = context_shifts(data, condition)
        self._arrays[f"profiles/{condition}"] = means.profiles.astype(np.float32)
        for i, context in enumerate(means.contexts):
            groups = (data.rows(context), data.rows(context, condition))
            source, target = (_thinned(self.basis.scores(data.X[rows]), self.settings.max_cells) for rows in groups)
            self._arrays[f"source-{i}/{condition}"] = source.astype(np.float32)
            self._arrays[f"move-{i}/{condition}"] = barycentric_displacement(source, target).astype(np.float32)
        return {"contexts": means.contexts}

    def _predict_context(self, X: Matrix, condition: str) -> NDArray[np.floating]:
        nearest = int(np.argmax(pearson(self._arrays[f"profiles/{condition}"], mean_profile(X))))
        source, move = self._arrays[f"source-{nearest}/{condition}"], self._arrays[f"move-{nearest}/{condition}"]
        moves = neighbour_displacement(self.basis.scores(X), source, move, self.settings.n_neighbors)
        return dense(X) + moves.astype(np.float32) @ self.basis.components

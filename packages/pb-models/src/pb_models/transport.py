"""A baseline that moves cells by the optimal transport between a training context's controls and perturbed cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import ot
from sklearn.neighbors import NearestNeighbors

from pb_models.baselines import dense, mean_profile
from pb_models.pca_shifts import InPca, PcaSettings
from pb_models.shifts import context_shifts, first_best, pearson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pb_models.cells import Matrix, TrainingData
    from pb_models.settings import Settings

__all__ = ["OtMap", "OtSettings", "barycentric_displacement", "choose_neighbors", "neighbour_displacement"]

_NEIGHBORS = (50, 15, 5, 1)  # from the most to the least smoothing
_MAX_PIVOTS = 100_000_000  # the network simplex ends by itself; POT's default of 100,000 stops it early at 2,000 cells


@dataclass(frozen=True, kw_only=True)
class OtSettings(PcaSettings):
    """Neighbours averaged over, and how many cells of a group enter the transport problem at most.

    `n_neighbors` None chooses 50, 15, 5 or 1 by leave-one-context-out in training.
    """

    n_neighbors: int | None = None
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


def choose_neighbors(
    profiles: NDArray[np.floating],
    steps: NDArray[np.floating],
    sources: Sequence[NDArray[np.floating]],
    moves: Sequence[NDArray[np.floating]],
) -> int:
    """Return the number of neighbours that best predicts each context's mean step from its nearest other context.

    The error is the mean over contexts i of |mean_x m(x) - d_i|^2, x the control scores of i, m(x) the mean
    displacement of the nearest control scores of the other context with the most similar profile. With one context it
    is 15.

    Parameters
    ----------
    profiles
        Mean control cell of every context, (contexts, genes).
    steps
        d_i, difference of mean scores between perturbed and control cells, (contexts, k).
    sources, moves
        Control scores and their displacements, one pair of (cells, k) arrays a context.
    """
    if len(profiles) < 2:
        return _NEIGHBORS[1]
    others = [[j for j in range(len(profiles)) if j != i] for i in range(len(profiles))]
    nearest = [rest[int(np.argmax(pearson(profiles[rest], profiles[i])))] for i, rest in enumerate(others)]
    errors = [
        float(
            np.mean(
                [
                    np.sum((neighbour_displacement(sources[i], sources[j], moves[j], n).mean(axis=0) - steps[i]) ** 2)
                    for i, j in enumerate(nearest)
                ]
            )
        )
        for n in _NEIGHBORS
    ]
    return first_best(_NEIGHBORS, errors)


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
    scores; z_k are its control scores nearest to the cell's, 50, 15, 5 or 1 of them, as best predicts each training
    context from the others. What lies outside the axes is left as it is.
    """

    name = "ot-map"
    summary = "Moves control cells by the optimal-transport displacements of the nearest training context."
    profiles: ClassVar[Mapping[str, Settings]] = {"default": OtSettings()}
    settings: OtSettings

    def _fit_condition(self, data: TrainingData, condition: str) -> dict[str, Any]:
        means = context_shifts(data, condition)
        sources, moves = [], []
        for context in means.contexts:
            groups = (data.rows(context), data.rows(context, condition))
            source, target = (_thinned(self.basis.scores(data.X[rows]), self.settings.max_cells) for rows in groups)
            sources.append(source.astype(np.float32))
            moves.append(barycentric_displacement(source, target).astype(np.float32))
        steps = means.shifts @ self.basis.components.T
        n_neighbors = self.settings.n_neighbors or choose_neighbors(means.profiles, steps, sources, moves)
        self._arrays |= {f"source-{i}/{condition}": source for i, source in enumerate(sources)}
        self._arrays |= {f"move-{i}/{condition}": move for i, move in enumerate(moves)}
        self._arrays[f"profiles/{condition}"] = means.profiles.astype(np.float32)
        self._arrays[f"n_neighbors/{condition}"] = np.array([n_neighbors])
        return {"contexts": means.contexts, "n_neighbors": n_neighbors}

    def _predict_context(self, X: Matrix, condition: str) -> NDArray[np.floating]:
        nearest = int(np.argmax(pearson(self._arrays[f"profiles/{condition}"], mean_profile(X))))
        source, move = self._arrays[f"source-{nearest}/{condition}"], self._arrays[f"move-{nearest}/{condition}"]
        n_neighbors = int(self._arrays[f"n_neighbors/{condition}"][0])
        moves = neighbour_displacement(self.basis.scores(X), source, move, n_neighbors)
        return dense(X) + moves.astype(np.float32) @ self.basis.components

"""One model in one file: every cell is predicted to be the mean perturbed training cell."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pb_models import Model, Progress, Query
from pb_models.cells import TrainingData
from pb_models.settings import Settings


class MeanOfPerturbed(Model):
    """Predicts the mean of all training cells under the perturbation, whatever the target context."""

    name: ClassVar[str] = "plugin-mean"
    summary: ClassVar[str] = "Predicts the mean of all training cells under the perturbation."
    profiles: ClassVar[Mapping[str, Settings]] = {"default": Settings()}

    def _fit(self, data: TrainingData, *, seed: int, device: str, progress: Progress | None) -> dict[str, Any]:
        rows = {label: ~data.control & (data.perturbations == label) for label in data.perturbation_names}
        self.means = {label: np.asarray(data.X[cells].mean(axis=0)).ravel() for label, cells in rows.items()}
        return {}

    def _predict(self, query: Query) -> NDArray[np.float32]:
        return np.tile(self.means[query.perturbation], (query.X.shape[0], 1)).astype(np.float32)

    def _state(self) -> dict[str, NDArray[Any]]:
        return dict(self.means)

    def _restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.means = dict(state)

"""Baselines that work on principal axes of the training cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.linear_model import Ridge

from pb_models.baselines import BaselineSettings, ContextBaseline, dense, mean_profile
from pb_models.shifts import PcaBasis, context_shifts, fit_pca, leave_one_out

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pb_models.cells import Matrix, TrainingData
    from pb_models.settings import Settings

__all__ = ["InPca", "LinearSettings", "LinearShift", "PcaArithmetic", "PcaSettings"]

PENALTIES = tuple(10.0**-power for power in range(-3, 7))  # 1000 (nearly the plain mean) ... 1e-6 (nearly exact)


@dataclass(frozen=True, kw_only=True)
class PcaSettings(BaselineSettings):
    """`n_components` principal axes of the training cells."""

    n_components: int = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least("n_components", 1)


@dataclass(frozen=True, kw_only=True)
class LinearSettings(PcaSettings):
    """`penalty` of the ridge, relative to the spread of the profiles; None chooses it by leave-one-context-out."""

    penalty: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least("penalty", 0, strictly=True)


class InPca(ContextBaseline):
    """A baseline that works on PCA scores of all training cells."""

    settings: PcaSettings

    def _fit_shared(self, data: TrainingData) -> dict[str, Any]:
        basis = fit_pca(data.X, self.settings.n_components)
        self._arrays |= {"components": basis.components, "mean": basis.mean}
        return {"n_components": len(basis.components)}

    @property
    def basis(self) -> PcaBasis:
        """The principal axes fitted."""
        return PcaBasis(self._arrays["components"], self._arrays["mean"])


def _ridge(profiles: NDArray[np.float64], shifts: NDArray[np.float64], penalty: float) -> Ridge:
    spread = np.mean(np.sum((profiles - profiles.mean(axis=0)) ** 2, axis=1))
    return Ridge(alpha=penalty * max(float(spread), np.finfo(np.float64).tiny)).fit(profiles, shifts)


def _ridge_predict(
    profiles: NDArray[np.float64], shifts: NDArray[np.float64], target: NDArray[np.float64], penalty: float
) -> NDArray[np.float64]:
    return np.asarray(_ridge(profiles, shifts, penalty).predict(target[None])).ravel()


class LinearShift(InPca):
    """Add the shift that a ridge regression predicts from the control profile, in PCA space: x' = x + V^T (b + B z).

    z are the PCA scores of the mean control cell. B minimises sum_i |d_i - b - B z_i|^2 + alpha |B|^2 over the training
    contexts i, d_i = V s_i; b is not penalised; alpha = penalty * mean_i |z_i - mean z|^2. The penalty is one of 1000,
    100, ..., 1e-6, the one that best predicts each training context from the others; with two contexts it is 1000.
    With penalty -> 0 this is the minimum-norm regression of scVIDR (Kana et al., Patterns 2023), on PCA scores.
    """

    name = "linear"
    summary = (
        "Adds the shift that a ridge regression from control profile to shift, in PCA space, predicts for the target."
    )
    profiles: ClassVar[Mapping[str, Settings]] = {"default": LinearSettings()}
    settings: LinearSettings

    def _fit_condition(self, data: TrainingData, condition: str) -> dict[str, Any]:
        means = context_shifts(data, condition, at_least=2, model=self.name)
        scores = self.basis.scores(means.profiles)
        moves = means.shifts @ self.basis.components.T.astype(np.float64)  # (contexts, k)
        chosen = self.settings.penalty
        penalty = leave_one_out(_ridge_predict, scores, moves, PENALTIES) if chosen is None else chosen
        ridge = _ridge(scores, moves, penalty)
        self._arrays[f"slope/{condition}"] = np.atleast_2d(ridge.coef_)
        self._arrays[f"intercept/{condition}"] = np.atleast_1d(ridge.intercept_)
        return {"contexts": means.contexts, "penalty": penalty}

    def _predict_context(self, X: Matrix, condition: str) -> NDArray[np.floating]:
        profile = self.basis.scores(mean_profile(X)[None])[0]
        move = self._arrays[f"slope/{condition}"] @ profile + self._arrays[f"intercept/{condition}"]
        return np.asarray(dense(X) + (move @ self.basis.components).astype(np.float32))


class PcaArithmetic(InPca):
    """Shift cells in PCA space and map them back to genes: x' = mean + V^T (V (x - mean) + (1/n) sum_i d_i).

    d_i is the difference of mean scores between perturbed and control cells of training context i: scGen's latent
    arithmetic (Lotfollahi et al., Nat Methods 2019) with PCA in place of the network, every context counting the same,
    and the target's controls left out of the difference. A cell's part outside the axes is lost.
    """

    name = "pca-arithmetic"
    summary = "Adds the mean shift of the training contexts in PCA space and maps back to genes."
    profiles: ClassVar[Mapping[str, Settings]] = {"default": PcaSettings()}

    def _fit_condition(self, data: TrainingData, condition: str) -> dict[str, Any]:
        means = context_shifts(data, condition)
        move = means.shifts.mean(axis=0) @ self.basis.components.T
        self._arrays[f"move/{condition}"] = move.astype(np.float32)
        return {"contexts": means.contexts}

    def _predict_context(self, X: Matrix, condition: str) -> NDArray[np.floating]:
        moved = (self.basis.scores(X) + self._arrays[f"move/{condition}"]).astype(np.float32)
        return np.asarray(moved @ self.basis.components + self.basis.mean)

"""What every baseline is, and those that add a shift learned from the training contexts; what a network has to beat."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy import sparse

from pb_models.base import Model, Progress
from pb_models.doses import dose_shares
from pb_models.settings import Settings
from pb_models.shifts import context_shifts, leave_one_out, softmax_weights

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from pb_models.cells import Matrix, TrainingData
    from pb_models.query import Query

__all__ = [
    "Baseline",
    "BaselineSettings",
    "ContextBaseline",
    "ControlCopy",
    "MeanShift",
    "SimilaritySettings",
    "SimilarityShift",
    "dense",
    "mean_profile",
]

TEMPERATURES = tuple(2.0**-power for power in range(8))  # 1 (nearly the plain mean) ... 1/128 (nearly the nearest one)


@dataclass(frozen=True, kw_only=True)
class BaselineSettings(Settings):
    """`clip` sets negative predictions to 0.

    Off by default: expression below zero cannot be, but the mean over cells is then exactly what the formula says,
    while clipping cell by cell raises the mean of every gene that goes down.
    """

    clip: bool = False


@dataclass(frozen=True, kw_only=True)
class SimilaritySettings(BaselineSettings):
    """`temperature` of the softmax over similarities; None chooses it by leave-one-context-out in training."""

    temperature: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least("temperature", 0, strictly=True)


def dense(X: Matrix) -> NDArray[np.float32]:
    """Return X (cells, genes) as a dense float32 array."""
    is_sparse = bool(sparse.issparse(X))
    return np.asarray(X.toarray() if is_sparse else X, dtype=np.float32)


class Baseline(Model):
    """A model of closed formulas, fitted on all training cells.

    No seed and no validation cells are used: the same training cells give the same prediction, bit for bit. Where
    control cells of several contexts are handed to `predict`, every context is predicted by itself. A dose that was not
    seen is predicted from its neighbours among the seen ones and the control dose, as `dose_shares` says.
    """

    is_baseline = True
    multi_dose = True
    unseen_doses = True
    profiles: ClassVar[Mapping[str, Settings]] = {"default": BaselineSettings()}

    def __init__(self, settings: Settings | None = None, *, profile: str | None = None) -> None:
        super().__init__(settings, profile=profile)
        self._arrays: dict[str, NDArray[Any]] = {}

    @abstractmethod
    def _predict_at(
        self, X: Matrix, perturbation: str, dose: float | None, context: str | None
    ) -> NDArray[np.floating]:
        """Predict from the control cells of one context (None: not known which)."""

    def _predict(self, query: Query) -> NDArray[np.float32]:
        seen = self.seen_doses(query.perturbation)
        if query.dose is not None and seen and query.dose > max(seen):
            msg = (
                f"dose {query.dose:g} lies beyond the highest one seen, {max(seen):g}: predicted is the effect of that"
            )
            warnings.warn(msg, stacklevel=2)
        X = np.empty(query.X.shape, dtype=np.float32)
        for context, rows in _groups(query):
            X[rows] = self._predict_at(query.X[rows], query.perturbation, query.dose, context)
        clip = getattr(self.settings, "clip", False)
        return np.maximum(X, 0, out=X) if clip else X

    def _state(self) -> dict[str, NDArray[Any]]:
        return self._arrays

    def _restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self._arrays = dict(state)


class ContextBaseline(Baseline):
    """A baseline of one formula for every perturbation (at one dose), learned from the training contexts.

    State is kept as `<array>/<perturbation>`.
    """

    def _fit_shared(self, data: TrainingData) -> dict[str, Any]:
        """Fit what all perturbations share; nothing unless a subclass says otherwise."""
        del data
        return {}

    @abstractmethod
    def _fit_condition(self, data: TrainingData, condition: str) -> dict[str, Any]:
        """Fit one perturbation (at one dose)."""

    @abstractmethod
    def _predict_context(self, X: Matrix, condition: str) -> NDArray[np.floating]:
        """Predict from the control cells of one context."""

    def _fit(self, data: TrainingData, *, seed: int, device: str, progress: Progress | None) -> dict[str, Any]:
        del seed, device, progress
        data = _label_doses(data)
        self._arrays = {}
        record = {"shared": self._fit_shared(data)}
        return record | {name: self._fit_condition(data, name) for name in data.perturbation_names}

    def _predict_at(
        self, X: Matrix, perturbation: str, dose: float | None, context: str | None
    ) -> NDArray[np.floating]:
        del context
        seen, control_dose = self.doses[perturbation], self.keys.control_dose
        if dose is None or not seen:
            return self._predict_context(X, perturbation)
        first, *others = (
            share
            * (dense(X) if near == control_dose else self._predict_context(X, _condition_name(perturbation, near)))
            for near, share in dose_shares(dose, seen, control_dose=control_dose).items()
        )
        return sum(others, start=first)

    def _condition(self, perturbation: str, dose: float | None) -> str:
        seen = self.doses[perturbation]
        if seen and dose not in seen:
            msg = f"{self.name} has not seen dose {dose} of {perturbation!r} (seen: {', '.join(map(str, seen))})"
            raise ValueError(msg)
        return _condition_name(perturbation, dose) if seen and dose is not None else perturbation


def _condition_name(perturbation: str, dose: float) -> str:
    return f"{perturbation} at dose {float(dose)!r}"


def _label_doses(data: TrainingData) -> TrainingData:
    """Return the data with every dose of a perturbation as a perturbation of its own."""
    if data.doses is None:
        return data
    pairs = zip(data.perturbations, data.doses, strict=True)
    return replace(data, perturbations=np.array([_condition_name(str(name), dose) for name, dose in pairs]))


def _groups(query: Query) -> Iterator[tuple[str | None, NDArray[np.int64]]]:
    if query.contexts is None:
        yield None, np.arange(query.X.shape[0])
        return
    for context in np.unique(query.contexts):
        yield str(context), np.flatnonzero(query.contexts == context)


def mean_profile(X: Matrix) -> NDArray[np.float64]:
    """Return the mean cell (genes,) of X (cells, genes), summed in float64."""
    return np.asarray(X.mean(axis=0, dtype=np.float64)).ravel()


class ControlCopy(Baseline):
    """Return the control cells unchanged, x' = x, whatever the perturbation and dose."""

    name = "control"
    profiles: ClassVar[Mapping[str, Settings]] = {"default": Settings()}
    summary = "Returns the control cells unchanged: the perturbation does nothing."
    unseen_perturbations = True
    made_for = "any"

    def _fit(self, data: TrainingData, *, seed: int, device: str, progress: Progress | None) -> dict[str, Any]:
        del data, seed, device, progress
        return {}

    def _predict_at(
        self, X: Matrix, perturbation: str, dose: float | None, context: str | None
    ) -> NDArray[np.floating]:
        del perturbation, dose, context
        return dense(X)


class MeanShift(ContextBaseline):
    """Add the unweighted mean over the n training contexts of their shifts, x' = x + (1/n) sum_i s_i.

    The "general" baseline of Wenkel et al. (TxPert, 2025) for unseen contexts, in whose code a context counts as often
    as it has cells.
    """

    name = "mean-shift"
    summary = "Adds the mean shift of the training contexts, every context counting the same."

    def _fit_condition(self, data: TrainingData, condition: str) -> dict[str, Any]:
        means = context_shifts(data, condition)
        self._arrays[f"shift/{condition}"] = means.shifts.mean(axis=0).astype(np.float32)
        return {"contexts": means.contexts}

    def _predict_context(self, X: Matrix, condition: str) -> NDArray[np.floating]:
        return np.asarray(dense(X) + self._arrays[f"shift/{condition}"])


def _weighted(
    profiles: NDArray[np.float64], shifts: NDArray[np.float64], target: NDArray[np.float64], temperature: float
) -> NDArray[np.float64]:
    return np.asarray(softmax_weights(profiles, target, temperature) @ shifts)


class SimilarityShift(ContextBaseline):
    """Add the training contexts' shifts, weighted by how similar their control profiles are: x' = x + sum_i w_i s_i.

    w = softmax(r / temperature), r_i the Pearson correlation over all genes of training context i's mean control cell
    with the mean of the control cells given (a kernel average over contexts: Nadaraya 1964, Watson 1964). The
    temperature is one of 1, 1/2, ..., 1/128, the one whose weights best predict each training context's shift from the
    other training contexts; with fewer than three it is 1.
    """

    name = "similarity-shift"
    summary = "Adds the training contexts' shifts, weighted by how similar their control profiles are to the target's."
    profiles: ClassVar[Mapping[str, Settings]] = {"default": SimilaritySettings()}
    settings: SimilaritySettings

    def _fit_condition(self, data: TrainingData, condition: str) -> dict[str, Any]:
        means = context_shifts(data, condition)
        chosen = self.settings.temperature
        temperature = leave_one_out(_weighted, means.profiles, means.shifts, TEMPERATURES) if chosen is None else chosen
        self._arrays[f"profiles/{condition}"] = means.profiles.astype(np.float32)
        self._arrays[f"shifts/{condition}"] = means.shifts.astype(np.float32)
        self._arrays[f"temperature/{condition}"] = np.array([temperature])
        return {"contexts": means.contexts, "temperature": temperature}

    def weights(self, X: Matrix, perturbation: str, dose: float | None = None) -> NDArray[np.float64]:
        """Return the weights (contexts,) that control cells X of one context give the training contexts."""
        condition = self._condition(perturbation, dose)
        temperature = float(self._arrays[f"temperature/{condition}"][0])
        return softmax_weights(self._arrays[f"profiles/{condition}"], mean_profile(X), temperature)

    def _predict_context(self, X: Matrix, condition: str) -> NDArray[np.floating]:
        profiles, shifts = self._arrays[f"profiles/{condition}"], self._arrays[f"shifts/{condition}"]
        shift = _weighted(profiles, shifts, mean_profile(X), float(self._arrays[f"temperature/{condition}"][0]))
        return dense(X) + shift.astype(np.float32)

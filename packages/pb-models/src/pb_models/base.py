"""The Model protocol: fit on training cells, predict from control cells, save, load."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
from anndata import AnnData
from pb_data.keys import Keys

from pb_models.cells import TrainingData, expression
from pb_models.checkpoint import read_checkpoint, write_checkpoint
from pb_models.query import Query, check_control, check_perturbation, resolve_dose

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from pb_models.registry import MadeFor
    from pb_models.resumable import Resumable
    from pb_models.settings import Settings

__all__ = ["Model", "NotFittedError", "PausedError", "Progress", "TrainingStep"]


class TrainingStep(NamedTuple):
    """One epoch's news for a progress callback; `monitor` is what early stopping watches (None: nothing)."""

    epoch: int
    n_epochs: int
    loss: float
    monitor: float | None
    seconds_left: float


Progress = Callable[[TrainingStep], None]


class NotFittedError(RuntimeError):
    """A model was asked to predict or to be saved before it was fitted."""


class PausedError(RuntimeError):
    """A training stopped because it was asked to; `path` keeps its state, after `n_epochs` epochs of all phases."""

    def __init__(self, path: Path, n_epochs: int) -> None:
        super().__init__(f"paused after epoch {n_epochs}; the same fit, given {path} again, goes on from there")
        self.path, self.n_epochs = path, n_epochs


class Model(ABC):
    """A perturbation-response model; it never receives the held-out perturbed cells.

    A subclass names itself (`name`, `summary`, `is_baseline`, `profiles`; the first profile is the default) and gives
    `_fit`, `_predict`, `_state` and `_restore`. Gene names, keys, doses, timing and files are dealt with here.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    is_baseline: ClassVar[bool] = False
    profiles: ClassVar[Mapping[str, Settings]]
    #: whether one fitted model answers for every dose of its training data, or only for one
    multi_dose: ClassVar[bool] = False
    #: whether doses that were not in the training data can be asked for
    unseen_doses: ClassVar[bool] = False
    #: whether perturbations that were not in the training data can be asked for
    unseen_perturbations: ClassVar[bool] = False
    #: which kind of split the model is for, see `pb_models.registry.ModelEntry`
    made_for: ClassVar[MadeFor] = "contexts"
    #: whether `fit_together` can train several as one; such a class is a `TogetherFitted`
    can_stack: ClassVar[bool] = False

    settings: Settings
    #: during a fit, what its training is stopped and continued by (None: it runs through)
    resumable: Resumable | None = None

    def __init__(self, settings: Settings | None = None, *, profile: str | None = None) -> None:
        self.profile = next(iter(self.profiles)) if profile is None else profile
        if self.profile not in self.profiles:
            msg = f"{self.name} has no profile {self.profile!r} (choose from: {', '.join(self.profiles)})"
            raise ValueError(msg)
        self.settings = self.profiles[self.profile] if settings is None else settings
        self.genes: list[str] = []
        self.doses: dict[str, list[float]] = {}
        self.seed = 0
        self.fit_record: dict[str, Any] = {}
        self._keys: Keys | None = None

    # --- what a subclass gives ---------------------------------------------------------------------------------------

    @abstractmethod
    def _fit(self, data: TrainingData, *, seed: int, device: str, progress: Progress | None) -> dict[str, Any]:
        """Fit, and return what is worth recording as a JSON-able dict (epochs, trace, ...)."""

    @abstractmethod
    def _predict(self, query: Query) -> NDArray[np.float32]:
        """Return predicted log1p expression (cells, genes), one row for each control cell, in order."""

    @abstractmethod
    def _state(self) -> dict[str, NDArray[Any]]:
        """Return everything fitted, as arrays by name."""

    @abstractmethod
    def _restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `_state` returned; genes, keys and doses are already restored."""

    # --- what everybody uses -----------------------------------------------------------------------------------------

    def fit(
        self,
        train: AnnData,
        *,
        keys: Keys,
        validation: NDArray[np.bool_] | None = None,
        seed: int = 0,
        device: str = "auto",
        progress: Progress | None = None,
        resumable: Resumable | None = None,
    ) -> Self:
        """Fit on training cells.

        Parameters
        ----------
        train
            Training cells; X holds log1p expression, CSR or dense, (cells, genes). A context may have controls only.
        keys
            Names of the obs columns and the control label.
        validation
            Mask over the training cells (cells,): True where a cell is set aside for early stopping.
        seed
            The one source of randomness.
        device
            "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", ...; baselines ignore it.
        progress
            Called once an epoch.
        resumable
            Asked after every epoch whether to stop, and a file to go on from; models that train in seconds ignore it.

        Raises
        ------
        ValueError
            Where the cells cannot be used; the message says what to mend.
        PausedError
            Where training was asked to stop; the same fit with the same `resumable` file goes on from there.
        """
        data = TrainingData.from_anndata(train, keys, validation)
        self.begin_fit(data, seed)
        start = time.perf_counter()
        if resumable is not None:
            resumable.begin(lambda: self.identity(data))
        self.resumable = resumable
        try:
            record = self._fit(data, seed=seed, device=device, progress=progress)
        finally:
            self.resumable = None
        seconds = time.perf_counter() - start
        if resumable is not None:
            record, seconds = resumable.add_before(record, seconds)
        self.end_fit(record, keys, n_cells=len(data.control), seconds=seconds)
        return self

    def identity(self, data: TrainingData) -> dict[str, Any]:
        """Say which fit this is, so that no other's state is taken up."""
        from pb_models.resumable import data_hash

        return {"model": self.name, "settings": self.settings.to_dict(), "seed": self.seed, "cells": data_hash(data)}

    def begin_fit(self, data: TrainingData, seed: int) -> None:
        """Note what is to be fitted; until `end_fit` the model counts as not fitted."""
        doses = self._doses_of(data)
        self.genes, self.doses, self.seed, self._keys = data.genes, doses, seed, None

    def end_fit(self, record: Mapping[str, Any], keys: Keys, *, n_cells: int, seconds: float) -> None:
        """Complete the record of the fit; the model now predicts."""
        self.fit_record = {"seed": self.seed, "n_cells": n_cells, "seconds": seconds, **record}
        self._keys = keys

    def predict(self, control: AnnData, *, perturbation: str, dose: float | None = None) -> AnnData:
        """Predict what control cells look like under a perturbation.

        Parameters
        ----------
        control
            Control cells of the target context, X log1p, with the genes of the training data in the same order.
        perturbation
            A label of the training data, or any other where the model answers for unseen perturbations.
        dose
            In the unit of the training data's dose column; may be left out where only one dose was seen.

        Returns
        -------
        AnnData
            The same cells and genes, dense float32 X, and the perturbation (and dose) asked for in obs.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            Where genes are missing or in another order, a cell is no control cell, or perturbation or dose are unknown.
        """
        keys = self.keys
        check_control(self, control)
        check_perturbation(self, perturbation)
        dose = resolve_dose(self, perturbation, dose)
        contexts = control.obs[keys.context].to_numpy().astype(np.str_) if keys.context in control.obs else None
        X = self._predict(Query(expression(control), perturbation, dose, contexts))
        obs = control.obs.copy()
        obs[keys.perturbation] = perturbation
        obs[keys.perturbation] = obs[keys.perturbation].astype("category")
        if keys.dose is not None:
            obs[keys.dose] = dose
        return AnnData(X=np.asarray(X, dtype=np.float32), obs=obs, var=control.var.copy())

    @property
    def keys(self) -> Keys:
        """Names of the obs columns the model was fitted with."""
        if self._keys is None:
            msg = f"this {self.name} model is not fitted; call fit(train, keys=...) or load it from a folder"
            raise NotFittedError(msg)
        return self._keys

    def seen_doses(self, perturbation: str) -> list[float]:
        """Return the doses a perturbation was seen at; of an unseen one, those that any other was seen at."""
        return self.doses.get(perturbation, sorted({dose for doses in self.doses.values() for dose in doses}))

    @property
    def n_parameters(self) -> int:
        """How many numbers were fitted; networks count their trainable parameters."""
        return sum(int(array.size) for array in self._state().values())

    def save(self, folder: Path) -> None:
        """Write the fitted model into a folder (safetensors and JSON), whole or not at all."""
        description = {
            "model": self.name,
            "profile": self.profile,
            "settings": self.settings.to_dict(),
            "seed": self.seed,
            "keys": self.keys.to_dict(),
            "doses": self.doses,
            "fit_record": self.fit_record,
            "genes": self.genes,
        }
        write_checkpoint(folder, description, self._state())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a model of this class back; where the class is not known beforehand, use `pb_models.load_model`.

        Raises
        ------
        FileNotFoundError
            Where the folder holds no model.
        ValueError
            Where it holds another model, or files that do not belong together.
        """
        description, arrays = read_checkpoint(folder)
        if description["model"] != cls.name:
            msg = f"{folder} holds a {description['model']!r} model, not {cls.name!r}; use pb_models.load_model(folder)"
            raise ValueError(msg)
        model = cls(profile=description["profile"])
        model.settings = model.settings.replace(**description["settings"])
        model.genes, model.doses, model.seed = description["genes"], description["doses"], description["seed"]
        model.fit_record, model._keys = description["fit_record"], Keys.from_dict(description["keys"])
        model._restore(arrays)
        return model

    def _doses_of(self, data: TrainingData) -> dict[str, list[float]]:
        """Return the doses seen of every perturbation; empty lists where the data have no dose column."""
        doses: dict[str, list[float]] = {name: [] for name in data.perturbation_names}
        if data.doses is None:
            return doses
        for name in doses:
            doses[name] = [float(dose) for dose in np.unique(data.doses[~data.control & (data.perturbations == name)])]
            if len(doses[name]) > 1 and not self.multi_dose:
                msg = f"{self.name} learns one dose at a time, but {name!r} has {doses[name]}; train it on one of them"
                raise ValueError(msg)
        return doses

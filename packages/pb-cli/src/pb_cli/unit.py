"""One held-out unit: its split, its preprocessed cells and what predictions of it are compared with."""

import dataclasses
import json
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray
from pb_data import (
    Keys,
    PerturbationData,
    Preprocessor,
    PreprocessSettings,
    Split,
    fit_preprocessor,
    get_split,
    label_array,
    load_source,
    make_split,
)
from pb_eval import Basis, Reference, fit_basis

from pb_cli.references import Condition, ceilings, references
from pb_cli.shared import ALONE, Shared

__all__ = ["Unit", "prepare"]


class Unit(NamedTuple):
    """What all models of one held-out unit share; the truth is only inside `references`."""

    keys: Keys
    split: Split
    preprocessor: Preprocessor
    training: AnnData
    validation: NDArray[np.bool_]
    control: AnnData
    references: dict[Condition, Reference]
    shared: Shared = ALONE

    def inputs(self, condition: Condition) -> AnnData:
        """Return the control cells to predict a condition from: those of its context."""
        own = label_array(self.control.obs, self.keys.context) == condition.context
        return self.control if own.all() else self.control[own]

    def ceilings(self, condition: Condition) -> dict[str, float]:
        """Return what a replicate of a condition scores, by metric: once a run, where its tasks share it."""
        key = {**key_of(self.split, self.preprocessor), "condition": condition._asdict()}
        return ceilings(self.references[condition], key, self.shared)

    def at_dose(self, dose: float | None) -> Self:
        """Return the unit for a model of one dose: it trains on controls and cells at that dose, and predicts these."""
        if dose is None or self.keys.dose is None:
            return self
        measured = self.training.obs[self.keys.dose].to_numpy(dtype=np.float64)
        cells = self.keys.is_control(self.training.obs) | (measured == dose)
        asked = {condition: reference for condition, reference in self.references.items() if condition.dose == dose}
        return self._replace(training=self.training[cells], validation=self.validation[cells], references=asked)


def key_of(split: Split, preprocessor: Preprocessor) -> dict[str, str]:
    """Name preprocessed cells by the hashes of what they follow from."""
    return {"split": split.hash, "preprocessor": preprocessor.hash}


def prepare(
    source: dict[str, Any],
    split: str,
    parameters: dict[str, Any],
    split_hash: str,
    preprocess: dict[str, Any],
    shared: Path | None = None,
) -> Unit:
    """Load the data, make the split, fit the preprocessing and the PCA on training cells; the last unit is kept.

    What is fitted, and the ceilings once they are asked for, are kept in the folder `shared` and found there.

    Raises
    ------
    ValueError
        If the split made from these data is not the planned one: the data or the software have changed.
    """
    texts = (json.dumps(part, sort_keys=True) for part in (source, parameters, preprocess))
    return _prepare(split, split_hash, *texts, shared)


@lru_cache(maxsize=1)
def _prepare(name: str, split_hash: str, source: str, parameters: str, preprocess: str, folder: Path | None) -> Unit:
    """Do the work of `prepare` for hashable arguments."""
    data = _load(source)
    split = make_split(name, data, **json.loads(parameters))
    if split.hash != split_hash:
        msg = (
            f"The split of {split.held_out!r} hashes to {split.hash[:12]}, planned was {split_hash[:12]}: "
            "the data or pb have changed since. Plan anew in another folder."
        )
        raise ValueError(msg)
    shared = Shared(folder)
    preprocessor = _preprocessor(data, split, PreprocessSettings(**json.loads(preprocess)), shared)
    cells, validation = split.training(data.adata)
    training = preprocessor.transform(cells)
    key = key_of(split, preprocessor)
    found = references(
        preprocessor.transform(data.adata[split.truth]),
        preprocessor.transform(data.adata[split.reference_control]),
        training,
        data.keys,
        get_split(name).unseen,
        basis=_basis(training, key, shared),
    )
    return Unit(
        data.keys,
        split,
        preprocessor,
        training,
        validation,
        preprocessor.transform(data.adata[split.input_control]),
        found,
        shared,
    )


def _preprocessor(data: PerturbationData, split: Split, settings: PreprocessSettings, shared: Shared) -> Preprocessor:
    """Fit the preprocessing, or take what another task of the run has fitted."""
    key = {"what": "preprocessor", "split": split.hash, "settings": dataclasses.asdict(settings)}
    text = shared.text(key, lambda: json.dumps(fit_preprocessor(data.adata, data.keys, split, settings).to_dict()))
    return Preprocessor.from_dict(json.loads(text))


def _basis(training: AnnData, key: dict[str, str], shared: Shared) -> Basis:
    """Fit the PCA of the training cells, or take what another task of the run has fitted."""
    return Basis(**shared.arrays({"what": "basis", **key}, lambda: vars(fit_basis(training.X))))


@lru_cache(maxsize=1)
def _load(source: str) -> PerturbationData:
    """Load a data set once for all its units."""
    return load_source(json.loads(source))

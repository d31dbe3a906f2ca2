"""One held-out unit: its split, its preprocessed cells and what predictions of it are compared with."""

import json
from functools import lru_cache
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
from pb_eval import Reference

from pb_cli.references import Condition, references

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

    def inputs(self, condition: Condition) -> AnnData:
        """Return the control cells to predict a condition from: those of its context."""
        own = label_array(self.control.obs, self.keys.context) == condition.context
        return self.control if own.all() else self.control[own]

    def at_dose(self, dose: float | None) -> Self:
        """Return the unit for a model of one dose: it trains on controls and cells at that dose, and predicts these."""
        if dose is None or self.keys.dose is None:
            return self
        measured = self.training.obs[self.keys.dose].to_numpy(dtype=np.float64)
        cells = self.keys.is_control(self.training.obs) | (measured == dose)
        asked = {condition: reference for condition, reference in self.references.items() if condition.dose == dose}
        return self._replace(training=self.training[cells], validation=self.validation[cells], references=asked)


def prepare(
    source: dict[str, Any], split: str, parameters: dict[str, Any], split_hash: str, preprocess: dict[str, Any]
) -> Unit:
    """Load the data, make the split, fit the preprocessing and the PCA on training cells; the last unit is kept.

    Raises
    ------
    ValueError
        If the split made from these data is not the planned one: the data or the software have changed.
    """
    texts = (json.dumps(part, sort_keys=True) for part in (source, parameters, preprocess))
    return _prepare(split, split_hash, *texts)


@lru_cache(maxsize=1)
def _prepare(name: str, split_hash: str, source: str, parameters: str, preprocess: str) -> Unit:
    """Do the work of `prepare` for hashable arguments."""
    data = _load(source)
    split = make_split(name, data, **json.loads(parameters))
    if split.hash != split_hash:
        msg = (
            f"The split of {split.held_out!r} hashes to {split.hash[:12]}, planned was {split_hash[:12]}: "
            "the data or pb have changed since. Plan anew in another folder."
        )
        raise ValueError(msg)
    preprocessor = fit_preprocessor(data.adata, data.keys, split, PreprocessSettings(**json.loads(preprocess)))
    cells, validation = split.training(data.adata)
    training = preprocessor.transform(cells)
    return Unit(
        data.keys,
        split,
        preprocessor,
        training,
        validation,
        preprocessor.transform(data.adata[split.input_control]),
        references(
            preprocessor.transform(data.adata[split.truth]),
            preprocessor.transform(data.adata[split.reference_control]),
            training,
            data.keys,
            get_split(name).unseen,
        ),
    )


@lru_cache(maxsize=1)
def _load(source: str) -> PerturbationData:
    """Load a data set once for all its units."""
    return load_source(json.loads(source))

"""One held-out unit: its split, its preprocessed cells and what predictions of it are compared with."""

import json
from functools import lru_cache
from typing import Any, NamedTuple

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
    load_source,
    make_split,
)
from pb_eval import Reference, fit_basis

__all__ = ["Condition", "Unit", "prepare"]


class Condition(NamedTuple):
    """A perturbation, and its dose where the data have doses."""

    perturbation: str
    dose: float | None


class Unit(NamedTuple):
    """What all models of one held-out context share; the truth is only inside `references`."""

    keys: Keys
    split: Split
    preprocessor: Preprocessor
    training: AnnData
    validation: NDArray[np.bool_]
    control: AnnData
    references: dict[Condition, Reference]


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
        _references(data, split, preprocessor, training),
    )


@lru_cache(maxsize=1)
def _load(source: str) -> PerturbationData:
    """Load a data set once for all its units."""
    return load_source(json.loads(source))


def _references(
    data: PerturbationData, split: Split, preprocessor: Preprocessor, training: AnnData
) -> dict[Condition, Reference]:
    """Collect truth and measured control of every held-out condition, in the PCA of the training cells."""
    basis = fit_basis(training.X)
    control = preprocessor.transform(data.adata[split.reference_control])
    truth = preprocessor.transform(data.adata[split.truth])
    return {
        condition: Reference(truth.X[rows], control.X, genes=list(truth.var_names), basis=basis)
        for condition, rows in _conditions(truth, data.keys).items()
    }


def _conditions(truth: AnnData, keys: Keys) -> dict[Condition, NDArray[np.intp]]:
    """Group cells by perturbation and dose, sorted."""
    columns = [keys.perturbation] + ([keys.dose] if keys.dose else [])
    groups = truth.obs.groupby(columns, observed=True, sort=True).indices
    return {_condition(label): np.sort(rows) for label, rows in groups.items()}


def _condition(label: Any) -> Condition:
    """Name a group: pandas gives a scalar or a tuple."""
    parts = label if isinstance(label, tuple) else (label,)
    return Condition(str(parts[0]), float(parts[1]) if len(parts) > 1 else None)

"""Several models of one kind fitted in one pass: seeds on the same cells, or folds of cells."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, cast

from pb_models.cells import TrainingData
from pb_models.registry import MODELS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from anndata import AnnData
    from numpy.typing import NDArray
    from pb_data.keys import Keys

    from pb_models.base import Model, Progress
    from pb_models.resumable import Resumable

    Mask = NDArray[np.bool_] | None

__all__ = ["TogetherFitted", "fit_together"]


class TogetherFitted(Protocol):
    """What a model class with `can_stack` has besides."""

    def fit_members(
        self,
        models: Sequence[Model],
        data: Sequence[TrainingData],
        *,
        seeds: Sequence[int],
        device: str,
        progress: Progress | None,
    ) -> list[dict[str, Any]]:
        """Fit models of equal settings in one pass and return their records, as `Model._fit` does one's.

        What stops and continues the pass is the `resumable` of every model.
        """
        ...


def fit_together(
    models: Sequence[Model],
    train: AnnData | Sequence[AnnData],
    *,
    keys: Keys,
    validation: Mask | Sequence[Mask] = None,
    seeds: Sequence[int],
    device: str = "auto",
    progress: Progress | None = None,
    resumable: Resumable | None = None,
) -> list[Model]:
    """Fit models of one class and equal settings in one pass; each is then what `fit` makes it, but for rounding.

    Parameters
    ----------
    models
        Unfitted models, `can_stack` of whose class is true; they are fitted in place.
    train
        Training cells of all of them, or a list with those of each (folds); as in `Model.fit`.
    keys
        Names of the obs columns and the control label.
    validation
        Mask over the training cells, of all models or a list of each one's.
    seeds
        Of each model; two may be equal.
    device
        As in `Model.fit`.
    progress
        Called once an epoch for all: loss and monitor are means over the models still in training, and `seconds_left`
        is that of the whole.
    resumable
        As in `Model.fit`: asked after every epoch whether to stop all of them, and one file to go on from.

    Returns
    -------
    list
        The models, in order. In their records `seconds` is the time of the whole divided by the number of models, and
        `together` that number.

    Raises
    ------
    ValueError
        Where models cannot be trained together (class, settings, numbers of genes or of training cells), or cells
        cannot be used.
    DivergedError
        Where one of them diverges, named by its place and seed; none of them is fitted then.
    PausedError
        Where training was asked to stop; the same models, cells and seeds with the same `resumable` file go on.

    Examples
    --------
    >>> [name for name, entry in MODELS.items() if entry.can_stack]
    ['scgen', 'scvidr', 'scvidr-multi']
    """
    models = list(models)
    _require_equal_models(models)
    data = _training_data(_one_each(train, models, "train"), _one_each(validation, models, "validation"), keys)
    seeds = _one_each(list(seeds), models, "seeds")
    _require_equal_genes(data)
    for model, own, seed in zip(models, data, seeds, strict=True):
        model.begin_fit(own, seed)
    start = time.perf_counter()
    kind = cast("TogetherFitted", type(models[0]))
    with _resumed(models, data, resumable):
        records = kind.fit_members(models, data, seeds=seeds, device=device, progress=progress)
    whole, seconds = {"together": len(models)}, time.perf_counter() - start
    if resumable is not None:
        whole, seconds = resumable.add_before(whole, seconds)
    for model, own, record in zip(models, data, records, strict=True):
        model.end_fit({**record, **whole}, keys, n_cells=len(own.control), seconds=seconds / len(models))
    return models


@contextmanager
def _resumed(models: Sequence[Model], data: Sequence[TrainingData], resumable: Resumable | None) -> Iterator[None]:
    """Give all models what stops and continues them inside the block."""
    if resumable is not None:
        resumable.begin(lambda: _identity(models, data))
    for model in models:
        model.resumable = resumable
    try:
        yield
    finally:
        for model in models:
            model.resumable = None


def _identity(models: Sequence[Model], data: Sequence[TrainingData]) -> dict[str, Any]:
    """Say which fit this is, as `Model.identity` does of one model, with the seeds and cells of each."""
    from pb_models.resumable import data_hash

    of_data = {key: data_hash(own) for key, own in {id(own): own for own in data}.items()}
    own = [{"seed": model.seed, "cells": of_data[id(cells)]} for model, cells in zip(models, data, strict=True)]
    return {"model": models[0].name, "settings": models[0].settings.to_dict(), "members": own}


def _one_each(given: Any, models: Sequence[Model], name: str) -> list[Any]:
    """Return one value for each model; what is no list is the same for all."""
    values = list(given) if isinstance(given, list | tuple) else [given] * len(models)
    if len(values) != len(models):
        msg = f"{name} has {len(values)} entries for {len(models)} models; give one for each"
        raise ValueError(msg)
    return values


def _training_data(train: list[AnnData], validation: list[Mask], keys: Keys) -> list[TrainingData]:
    """Read every pair of cells and mask once, so that models with the same ones share them."""
    read: dict[tuple[int, int], TrainingData] = {}
    pairs = list(zip(train, validation, strict=True))
    for cells, mask in pairs:
        if (id(cells), id(mask)) not in read:
            read[id(cells), id(mask)] = TrainingData.from_anndata(cells, keys, mask)
    return [read[id(cells), id(mask)] for cells, mask in pairs]


def _require_equal_models(models: Sequence[Model]) -> None:
    if not models:
        msg = "there is no model to fit; give at least one"
        raise ValueError(msg)
    first = models[0]
    if not first.can_stack:
        able = ", ".join(name for name, entry in MODELS.items() if entry.can_stack)
        msg = f"{first.name} models cannot be trained together (those that can: {able}); fit them one by one"
        raise ValueError(msg)
    if len({id(model) for model in models}) < len(models):
        msg = "the same model is given twice; build one for each seed or fold"
        raise ValueError(msg)
    for number, model in enumerate(models):
        if type(model) is not type(first):
            msg = f"model 0 is {first.name!r} and model {number} is {model.name!r}; only one kind is trained together"
            raise ValueError(msg)
        if model.settings != first.settings:
            ours, theirs = first.settings.to_dict(), model.settings.to_dict()
            name = next(name for name in ours if ours[name] != theirs[name])
            msg = f"models 0 and {number} differ in {name} ({ours[name]}, {theirs[name]}); settings have to be equal"
            raise ValueError(msg)


def _require_equal_genes(data: Sequence[TrainingData]) -> None:
    for number, own in enumerate(data):
        if len(own.genes) != len(data[0].genes):
            counts = f"{len(data[0].genes)} and {len(own.genes)} genes"
            msg = f"models 0 and {number} have {counts}; select equal numbers, or fit them one by one"
            raise ValueError(msg)

"""What a task trains on: data, folds, labels (noisy where asked), features standardised for each fold."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pb_data import (
    Folds,
    LabelledData,
    confusable_classes,
    corrupt_labels,
    fit_standardiser,
    inner_folds,
    load_labelled_source,
    make_folds,
)

from pb_cli.supervised.task import SupervisedTask

SMALL = 64 * 2**20
"""Bytes up to which sparse features are made dense, which is faster for many small networks, and up to which folds that
are trained together have copies of the features."""

__all__ = ["Inputs", "Problem", "divide_again", "join_targets", "prepare"]


class Inputs(NamedTuple):
    """Features of all samples as one fold sees them, and what to add to each row where they are sparse."""

    x: Any
    shift: NDArray[np.float32] | None


class Problem(NamedTuple):
    """Data with clean labels, the labels trained and validated on, folds, and their inner ones in nested selection."""

    data: LabelledData
    y: NDArray[Any]
    folds: Folds
    standardise: Any
    inner: list[list[tuple[NDArray[np.int64], NDArray[np.int64]]]]

    @property
    def is_nested(self) -> bool:
        """Whether inner folds of the training rows choose, so that a fold's validation rows can be scored."""
        return bool(self.inner)

    def scored(self, fold: int) -> NDArray[np.int64]:
        """Return the rows that are scored: the test rows, or with nested selection the fold's own."""
        return self.folds.folds[fold][1] if self.is_nested else self.folds.test

    @property
    def n_classes(self) -> tuple[int, ...]:
        """Number of classes of each target; empty for regression."""
        return tuple(map(len, self.data.classes))

    @property
    def n_outputs(self) -> int:
        """What a network has to predict: a number for each target, or for each class of each target."""
        return sum(self.n_classes) or len(self.data.targets)

    def inputs(self, train: NDArray[np.int64]) -> Inputs:
        """Standardise features as fitted on training rows."""
        data = self.data
        if not isinstance(data.X, np.ndarray) and 4 * np.prod(data.X.shape) <= SMALL:
            data = data._replace(X=data.X.toarray())
        if self.standardise == "none":
            return Inputs(data.X, None)
        fitted = fit_standardiser(data, train, using=self.standardise)
        return Inputs(fitted.transform(data.X), None if isinstance(data.X, np.ndarray) else fitted.shift)


def prepare(task: SupervisedTask, path: Path | None = None) -> Problem:
    """Load the data, draw the folds, add the noise; `path` is where the data file lies now.

    Raises
    ------
    ValueError
        If the folds are not the planned ones: the data or the software have changed.
    """
    source = task.source if path is None else task.source | {"path": str(path.absolute())}
    data = _load(json.dumps(source, sort_keys=True), task.preprocess["joint"])
    chosen = task.split_parameters
    folds = make_folds(task.split, data, n_folds=chosen["n_folds"], seed=chosen["seed"])
    if folds.hash != task.split_hash:
        msg = (
            f"The folds hash to {folds.hash[:12]}, planned was {task.split_hash[:12]}: the data or pb have changed "
            "since. Plan anew in another folder."
        )
        raise ValueError(msg)
    y = data.y if chosen["noise"] is None else _noisy(data, folds, chosen["noise"])
    inner = divide_again(data, folds, task.settings.get("inner_folds", 0))
    return Problem(data, y, folds, task.preprocess["standardise"], inner)


def divide_again(
    data: LabelledData, folds: Folds, n_inner: int
) -> list[list[tuple[NDArray[np.int64], NDArray[np.int64]]]]:
    """Divide the training rows of each fold by the rule of the folds; nothing for 0 inner folds.

    Raises
    ------
    ValueError
        Where inner folds cannot be drawn or train on nothing that can be learned; the outer fold is named.
    """
    divided = []
    for number, (train, _) in enumerate(folds.folds if n_inner else (), 1):
        try:
            divided.append(inner_folds(folds.name, data, train, n_folds=n_inner, seed=number))
        except ValueError as error:
            msg = f"Fold {number} cannot be divided again for nested selection: {error}."
            raise ValueError(msg) from None
    return divided


@lru_cache(maxsize=1)
def _load(source: str, joint: bool) -> LabelledData:
    """Load a data set once for all its tasks."""
    data = load_labelled_source(json.loads(source))
    return join_targets(data) if joint else data


def join_targets(data: LabelledData) -> LabelledData:
    """Make one target of several: its classes are all combinations of theirs; a sample that lacks one lacks all.

    Raises
    ------
    ValueError
        For a regression, or a single target.
    """
    if data.task != "classification" or len(data.targets) < 2:
        msg = (
            f"{data.name} has {len(data.targets)} target of {data.task}; only several targets of classes can be joined."
        )
        raise ValueError(msg)
    sizes = [len(names) for names in data.classes]
    joint = np.ravel_multi_index(tuple(np.maximum(data.y, 0).T), tuple(sizes))
    missing = (data.y < 0).any(axis=1)
    names = [
        " & ".join(data.classes[t][k] for t, k in enumerate(np.unravel_index(c, sizes))) for c in range(np.prod(sizes))
    ]
    y = np.where(missing, -1, joint)[:, None].astype(np.int64)
    return data._replace(y=y, targets=(" & ".join(data.targets),), classes=(tuple(names),))


def _noisy(data: LabelledData, folds: Folds, noise: dict[str, Any]) -> NDArray[np.int64]:
    """Corrupt the labels of all but the test rows."""
    columns = []
    for number, classes in enumerate(data.classes):
        pairs = confusable_classes(data.name, classes) if noise["kind"] == "class-dependent" else None
        options = {"kind": noise["kind"], "rate": noise["rate"], "seed": noise["seed"] + number, "pairs": pairs}
        columns.append(corrupt_labels(data.y[:, number], len(classes), **options))
    y = np.column_stack(columns)
    y[folds.test] = data.y[folds.test]
    return y

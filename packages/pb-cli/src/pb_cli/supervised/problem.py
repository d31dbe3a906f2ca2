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
    load_labelled_source,
    make_folds,
)

from pb_cli.supervised.task import SupervisedTask

SMALL = 64 * 2**20
"""Bytes up to which sparse features are made dense, which is faster for many small networks."""

__all__ = ["Inputs", "Problem", "join_targets", "prepare"]


class Inputs(NamedTuple):
    """Features of all samples as one fold sees them, and what to add to each row where they are sparse."""

    x: Any
    shift: NDArray[np.float32] | None


class Problem(NamedTuple):
    """Data with clean labels, the labels trained and validated on, and folds."""

    data: LabelledData
    y: NDArray[Any]
    folds: Folds
    standardise: Any

    @property
    def n_classes(self) -> tuple[int, ...]:
        """Number of classes of each target; empty for regression."""
        return tuple(map(len, self.data.classes))

    @property
    def n_outputs(self) -> int:
        """What a network has to predict: a number for each target, or for each class of each target."""
        return sum(self.n_classes) or len(self.data.targets)

    def inputs(self, fold: int) -> Inputs:
        """Standardise features as fitted on the fold's training rows."""
        data = self.data
        if not isinstance(data.X, np.ndarray) and 4 * np.prod(data.X.shape) <= SMALL:
            data = data._replace(X=data.X.toarray())
        if self.standardise == "none":
            return Inputs(data.X, None)
        fitted = fit_standardiser(data, self.folds.folds[fold][0], using=self.standardise)
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
    return Problem(data, y, folds, task.preprocess["standardise"])


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

"""What folds can and cannot train and validate on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pb_data.problems import some

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pb_data.labelled.cards import LabelledData

__all__ = ["check_training", "missing_in_validation"]

FoldRows = list[tuple["NDArray[np.int64]", "NDArray[np.int64]"]]


def check_training(name: str, data: LabelledData, folds: FoldRows) -> None:
    """Raise where a fold trains without a class that the data have, or on a constant target."""
    for number, (train, _) in enumerate(folds, 1):
        for column, target in enumerate(data.targets):
            values = data.y[train, column]
            if data.task == "classification":
                require_classes(name, data, column, f"fold {number} of {name!r}", values)
            elif np.unique(values[~np.isnan(values)]).size < 2:
                msg = (
                    f"fold {number} of {name!r} trains on fewer than two values of target {target!r}; take fewer "
                    "folds, another seed or other folds"
                )
                raise ValueError(msg)


def require_classes(name: str, data: LabelledData, column: int, fold: str, values: NDArray[np.int64]) -> None:
    """Raise where training labels lack a class of the data."""
    missing = np.setdiff1d(present_classes(data.y[:, column]), values)
    if not missing.size:
        return
    msg = (
        f"{fold} trains without class {data.classes[column][missing[0]]!r} of target {data.targets[column]!r}, which "
        f"has {whereabouts(data, data.y[:, column] == missing[0])}; take another seed, fewer folds, or "
        + ("leave the class out" if name == "stratified" else "the folds 'stratified'")
    )
    raise ValueError(msg)


def whereabouts(data: LabelledData, rows: NDArray[np.bool_]) -> str:
    """Say how many samples, of how many groups, a class has."""
    n_samples = int(rows.sum())
    where = f"{n_samples} sample{'s' * (n_samples > 1)}"
    if data.groups is None:
        return where
    n_groups = len(set(data.groups[rows]))
    return f"{where} of {n_groups} {data.group_name}{'s' * (n_groups > 1)}"


def present_classes(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the class numbers that occur."""
    return np.unique(labels[labels >= 0])


def missing_in_validation(data: LabelledData, folds: FoldRows) -> tuple[str, ...]:
    """Name the classes that some fold has no validation sample of: ranks of such a class have no value there."""
    if data.task == "regression":
        return ()
    notes = []
    for number, (_, validation) in enumerate(folds, 1):
        for column, target in enumerate(data.targets):
            missing = np.setdiff1d(present_classes(data.y[:, column]), data.y[validation, column])
            if missing.size:
                names = some([data.classes[column][k] for k in missing])
                notes.append(f"fold {number} validates on no sample of {names} of target {target!r}")
    return tuple(notes)

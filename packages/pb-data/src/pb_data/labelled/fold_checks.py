"""What folds can and cannot train and validate on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pb_data.problems import some

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pb_data.labelled.cards import LabelledData

__all__ = ["check_training", "missing_classes"]

FoldRows = list[tuple["NDArray[np.int64]", "NDArray[np.int64]"]]


def check_training(name: str, data: LabelledData, folds: FoldRows) -> None:
    """Raise where nothing could be learned: a constant target, a single class, or only other classes to validate on."""
    for number, (train, validation) in enumerate(folds, 1):
        for column, target in enumerate(data.targets):
            fold = f"fold {number} of {name!r}"
            if data.task == "classification":
                require_seen_classes(data, column, fold, train, validation)
                continue
            values = data.y[train, column]
            if np.unique(values[~np.isnan(values)]).size < 2:
                msg = (
                    f"{fold} trains on fewer than two values of target {target!r}; take another seed, fewer folds or "
                    "other folds"
                )
                raise ValueError(msg)


def require_seen_classes(
    data: LabelledData, column: int, fold: str, train: NDArray[np.int64], validation: NDArray[np.int64]
) -> None:
    """Raise where fewer than two classes train, or none of those that validate does."""
    trained, validated = (present_classes(data.y[rows, column]) for rows in (train, validation))
    target, names = data.targets[column], data.classes[column]
    if len(trained) < 2:
        n_classes = f"{len(trained)} class{'' if len(trained) == 1 else 'es'}"
        msg = f"{fold} trains on {n_classes} of target {target!r}; take another seed, or the folds 'stratified'"
        raise ValueError(msg)
    if len(validated) and not np.isin(validated, trained).any():
        msg = (
            f"{fold} validates only on classes of target {target!r} that it does not train on "
            f"({some([names[k] for k in validated])}; {extent(data, column, validated[0])}); take folds over cells"
        )
        raise ValueError(msg)


def extent(data: LabelledData, column: int, label: int) -> str:
    """Say how many samples, of how many groups, a class has."""
    rows = data.y[:, column] == label
    n_samples = int(rows.sum())
    where = f"{data.classes[column][label]!r} has {n_samples} sample{'s' * (n_samples > 1)}"
    if data.groups is None:
        return where
    n_groups = len(set(data.groups[rows]))
    return f"{where} of {n_groups} {data.group_name}{'s' * (n_groups > 1)}"


def present_classes(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the class numbers that occur."""
    return np.unique(labels[labels >= 0])


def missing_classes(data: LabelledData, test: NDArray[np.int64], folds: FoldRows) -> tuple[str, ...]:
    """Name the classes that some fold does not train on, and so cannot predict, or has none of to score."""
    if data.task == "regression":
        return ()
    parts = [("no test sample is", test)] if len(test) else []
    for number, (train, validation) in enumerate(folds, 1):
        parts += [(f"fold {number} trains on no sample", train), (f"fold {number} validates on no sample", validation)]
    return tuple(f"{what} of {lacking}" for what, rows in parts for lacking in lacking_classes(data, rows))


def lacking_classes(data: LabelledData, rows: NDArray[np.int64]) -> Iterator[str]:
    """Name, for each target that has some, the classes of which there are no rows, and the extent of the first."""
    for column, target in enumerate(data.targets):
        missing = np.setdiff1d(present_classes(data.y[:, column]), data.y[rows, column])
        if missing.size:
            names = some([data.classes[column][k] for k in missing])
            yield f"{names} of target {target!r} ({extent(data, column, missing[0])})"

"""What a score on folds supports, measured on the folds themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pb_data.labelled.cards import LabelledData
    from pb_data.labelled.folds import FoldRule

__all__ = ["claim_of"]


def claim_of(
    rule: FoldRule,
    data: LabelledData,
    test: NDArray[np.int64],
    folds: list[tuple[NDArray[np.int64], NDArray[np.int64]]],
    parameters: dict[str, Any],
) -> str:
    """Return what validation and test scores support, how much they share with training, and what was left out."""
    sentences = [support(rule, data, folds), test_support(data, test, folds, parameters["test"])]
    if parameters["unlabelled"]:
        sentences.append(f"{parameters['unlabelled']} samples without any label are in no part")
    return "; ".join(sentences)


def support(rule: FoldRule, data: LabelledData, folds: list[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> str:
    """Say what validation scores support."""
    what = data.group_name
    if rule.by_group:
        return f"unseen {what}s: no {what} lies in two of training, validation and test"
    if data.groups is None:
        return "new rows like those trained on: rows are taken as independent"
    shared = 100 * float(np.mean([seen(data.groups, train, validation).mean() for train, validation in folds]))
    claim = f"new samples: {shared:.0f} % of those validated on are of a {what} that trains, too"
    if labels_are_shared(data):
        claim += f", and as all samples of a {what} share their labels, to recognise the {what} is to know them"
    return claim


def test_support(
    data: LabelledData,
    test: NDArray[np.int64],
    folds: list[tuple[NDArray[np.int64], NDArray[np.int64]]],
    origin: str,
) -> str:
    """Say where the test rows come from and how many are of a group that trains."""
    text = f"{len(test)} test samples, {'fixed by the data set' if origin == 'fixed' else 'drawn by the seed'}"
    if data.groups is None or len(test) == 0:
        return text
    rest = np.concatenate(folds[0])
    return f"{text}, {100 * seen(data.groups, rest, test).mean():.0f} % of them of a {data.group_name} that trains"


def seen(groups: NDArray[np.object_], train: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark the rows whose group is among the training rows'."""
    return np.isin(groups[rows].astype(str), np.unique(groups[train].astype(str)))


def labels_are_shared(data: LabelledData) -> bool:
    """Return whether the samples of each group share their labels, and groups are not what is to be recognised."""
    assert data.groups is not None
    names, first, group = np.unique(data.groups.astype(str), return_index=True, return_inverse=True)
    if len(names) == len(group) or not np.array_equal(data.y, data.y[first][group], equal_nan=True):
        return False
    return data.task == "regression" or len(np.unique(data.y[first], axis=0)) < len(names)

"""Which labelled samples train, validate and test, with the claim such folds support."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pb_data.hashing import canonical_json, text_sha256
from pb_data.named import look_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pb_data.labelled.cards import LabelledData

__all__ = ["FOLDS", "FoldRule", "Folds", "fold_names", "get_fold_rule", "inner_folds", "make_folds"]

FOLDS: dict[str, str] = {
    "cells-unshuffled": "pb_data.labelled.fold_rules:CELLS_UNSHUFFLED",
    "cells": "pb_data.labelled.fold_rules:CELLS",
    "stratified": "pb_data.labelled.fold_rules:STRATIFIED",
    "genes": "pb_data.labelled.fold_rules:GENES",
}


class Folds(NamedTuple):
    """Sorted row numbers of labelled data, and what a score on them says.

    Parameters
    ----------
    claim
        What a good score supports, in words.
    test
        Rows that neither train nor validate in any fold.
    folds
        Training and validation rows of each fold; every row outside `test` that has a label validates once.
    hash
        SHA-256 over the other fields and the data's recipe without its path, in hex; the same on every platform.
    parameters
        Everything that decided the division, JSON-able.
    notes
        What the folds cannot show, one sentence each: a class that is not tested, or that some fold does not train or
        validate on.
    """

    name: str
    claim: str
    test: NDArray[np.int64]
    folds: list[tuple[NDArray[np.int64], NDArray[np.int64]]]
    hash: str
    parameters: dict[str, Any]
    notes: tuple[str, ...] = ()


class FoldRule(NamedTuple):
    """How samples are dealt out, how test rows are drawn where the data fix none, and what the folds support.

    Parameters
    ----------
    deal
        `deal(data, rows, n_parts, rng)` returns the part of each row, 0 to n_parts - 1.
    draw_test
        `draw_test(data, rows, rng)` returns a mask of the rows to test on.
    fixed_test
        Whether the test rows that the data were published with are taken, where there are any.
    by_group
        Whether a group is kept whole.
    summary
        What the folds support, in one line.
    """

    deal: Callable[[LabelledData, NDArray[np.int64], int, np.random.Generator], NDArray[np.int64]]
    draw_test: Callable[[LabelledData, NDArray[np.int64], np.random.Generator], NDArray[np.bool_]]
    fixed_test: bool
    by_group: bool
    summary: str


def fold_names() -> list[str]:
    """Return the names of all kinds of folds.

    Examples
    --------
    >>> fold_names()
    ['cells-unshuffled', 'cells', 'stratified', 'genes']
    """
    return list(FOLDS)


def get_fold_rule(name: str) -> FoldRule:
    """Return how folds are drawn.

    Raises
    ------
    ValueError
        Where no folds have this name.
    """
    rule: FoldRule = look_up("there are no folds", name, FOLDS)
    return rule


def make_folds(name: str, data: LabelledData, *, n_folds: int = 5, seed: int = 0) -> Folds:
    """Set test rows aside and divide the others for cross-validation.

    Samples without any label are in no part; they are counted in the parameter `unlabelled`. A sample with some labels
    is in a part, its missing labels NaN or -1.

    Raises
    ------
    ValueError
        Where the name is unknown, there are fewer samples or groups than folds, the data have no groups to keep whole,
        or a fold would train on a single class or a constant target, or validate only on classes that do not train.

    Examples
    --------
    >>> from pb_data import load_labelled
    >>> folds = make_folds("cells-unshuffled", load_labelled("concrete", task="regression"))
    >>> folds.test.size, [validation.size for _, validation in folds.folds]
    (206, [165, 165, 165, 165, 164])
    """
    from pb_data.labelled.fold_checks import check_training, missing_classes
    from pb_data.labelled.fold_claims import claim_of

    rule = get_fold_rule(name)
    rng = np.random.default_rng(seed)
    labelled = labelled_rows(data)
    is_fixed = rule.fixed_test and data.test is not None
    in_test = data.test[labelled] if is_fixed and data.test is not None else rule.draw_test(data, labelled, rng)
    test, rest = labelled[in_test], labelled[~in_test]
    folds = divide(rule, data, rest, n_folds, rng)
    check_training(name, data, folds)
    parameters = {
        "n_folds": n_folds,
        "seed": seed,
        "test": "fixed" if is_fixed else "drawn",
        "n_samples": len(data.y),
        "unlabelled": len(data.y) - len(labelled),
    }
    claim = claim_of(rule, data, test, folds, parameters)
    content = {
        "name": name,
        "claim": claim,
        "test": test.tolist(),
        "folds": [[train.tolist(), validation.tolist()] for train, validation in folds],
        "parameters": parameters,
        "source": {key: value for key, value in data.source.items() if key != "path"},
    }
    notes = missing_classes(data, test, folds)
    return Folds(name, claim, test, folds, text_sha256(canonical_json(content)), parameters, notes)


def inner_folds(
    name: str, data: LabelledData, rows: NDArray[np.int64], *, n_folds: int = 5, seed: int = 0
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Divide the training rows of a fold by the same rule, for a selection of settings that its validation never sees.

    Raises
    ------
    ValueError
        As `make_folds`.

    Examples
    --------
    >>> from pb_data import load_labelled
    >>> data = load_labelled("concrete", task="regression")
    >>> train, validation = make_folds("cells", data).folds[0]
    >>> bool(np.isin(inner_folds("cells", data, train)[0][1], validation).any())
    False
    """
    from pb_data.labelled.fold_checks import check_training

    folds = divide(get_fold_rule(name), data, rows, n_folds, np.random.default_rng(seed))
    check_training(name, data, folds)
    return folds


def labelled_rows(data: LabelledData) -> NDArray[np.int64]:
    """Return the rows with a label for at least one target."""
    present = ~np.isnan(data.y) if data.task == "regression" else data.y >= 0
    return np.flatnonzero(present.any(axis=1))


def divide(
    rule: FoldRule, data: LabelledData, rows: NDArray[np.int64], n_folds: int, rng: np.random.Generator
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Deal rows out and let each part validate once."""
    if n_folds < 2:
        msg = f"{n_folds} folds were asked for; cross-validation needs at least 2"
        raise ValueError(msg)
    if len(rows) < n_folds:
        msg = (
            f"{data.name} has {len(rows)} labelled samples to divide, fewer than the {n_folds} folds; take fewer folds"
        )
        raise ValueError(msg)
    part = rule.deal(data, rows, n_folds, rng)
    return [(rows[part != fold], rows[part == fold]) for fold in range(n_folds)]

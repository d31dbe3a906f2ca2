"""How the samples of labelled data are dealt out to folds: in order, at random, by class, by gene."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pb_data.labelled.folds import FoldRule

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pb_data.labelled.cards import LabelledData

__all__ = ["CELLS", "CELLS_UNSHUFFLED", "GENES", "STRATIFIED"]

TEST_PARTS = 5  # a fifth is for testing where the data fix no test rows
DRAWS = 256  # divisions of groups drawn, of which the most even is taken
QUANTILES = 10


def in_order(
    _data: LabelledData, rows: NDArray[np.int64], n_parts: int, _rng: np.random.Generator
) -> NDArray[np.int64]:
    """Deal rows out in runs, as scikit-learn's KFold without shuffling does."""
    sizes = [len(part) for part in np.array_split(rows, n_parts)]
    return np.repeat(np.arange(n_parts), sizes)


def shuffled(_data: LabelledData, rows: NDArray[np.int64], n_parts: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Deal shuffled rows out, one to each part in turn."""
    return rng.permutation(len(rows)) % n_parts


def by_stratum(
    data: LabelledData, rows: NDArray[np.int64], n_parts: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Deal each stratum out in turn, so that its samples differ by at most one between parts."""
    order = rng.permutation(len(rows))
    order = order[np.argsort(strata_of(data, rows)[order], kind="stable")]
    part = np.empty(len(rows), dtype=np.int64)
    part[order] = np.arange(len(rows)) % n_parts
    return part


def strata_of(data: LabelledData, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return joint classes, or tenths of the first target's values, those that are missing last."""
    y = data.y[rows]
    if data.task == "classification":
        joint: NDArray[np.int64] = np.unique(y, axis=0, return_inverse=True)[1].reshape(-1)
        return joint
    return y[:, 0].argsort(kind="stable").argsort(kind="stable") * QUANTILES // len(rows)


def by_group(data: LabelledData, rows: NDArray[np.int64], n_parts: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Deal whole groups out to parts of even size and like labels.

    Groups are ordered by their labels and then by size; each run of `n_parts` groups gives one group to each part, in
    random order, in the most even of 256 draws (`most_even`).

    Raises
    ------
    ValueError
        Where the data have no groups, or fewer than parts.
    """
    if data.groups is None:
        msg = f"{data.name} does not say which gene its samples are of; name the groups, or take folds over cells"
        raise ValueError(msg)
    names, group = np.unique(data.groups[rows].astype(str), return_inverse=True)
    if len(names) < n_parts:
        what = data.group_name
        msg = f"{data.name} has {len(names)} labelled {what}s to divide, fewer than {n_parts} parts; take fewer folds"
        raise ValueError(msg)
    sizes, labels = np.bincount(group), group_labels(data, rows, group)
    order = np.lexsort((rng.random(len(names)), -sizes, labels))
    classes = None if data.task == "regression" else np.unique(labels[order], return_inverse=True)[1]
    part = np.empty(len(names), dtype=np.int64)
    part[order] = most_even(sizes[order], n_parts, rng, classes)
    return part[group]


def group_labels(data: LabelledData, rows: NDArray[np.int64], group: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return one number for the labels of each group, alike for like labels.

    That is the joint class (-1 where samples differ), or the mean of the first target (NaN where it has none).
    """
    if data.task == "regression":
        known = ~np.isnan(data.y[rows, 0])
        counts = np.bincount(group[known], minlength=group.max() + 1)
        sums = np.bincount(group[known], weights=data.y[rows[known], 0], minlength=len(counts))
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    stratum = strata_of(data, rows)
    shared = stratum[np.unique(group, return_index=True)[1]].astype(np.float64)
    shared[group[stratum != shared[group]]] = -1
    return shared


def most_even(
    sizes: NDArray[np.int64], n_parts: int, rng: np.random.Generator, classes: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Return the part of each group, one of each run of `n_parts` groups to each part.

    Of the draws that spread the groups of each class best, the one with the smallest difference in size is taken.

    Examples
    --------
    >>> part = most_even(np.array([9, 8, 5, 4, 3]), 2, np.random.default_rng(0))
    >>> sorted(np.bincount(part, weights=[9, 8, 5, 4, 3]).tolist())
    [14.0, 15.0]
    """
    n_runs = -(-len(sizes) // n_parts)
    parts = rng.random((DRAWS, n_runs, n_parts)).argsort(axis=2).reshape(DRAWS, -1)[:, : len(sizes)]
    draw = np.arange(DRAWS)[:, None]
    totals = np.zeros((DRAWS, n_parts))
    np.add.at(totals, (draw, parts), sizes)
    crowding = np.zeros(DRAWS)
    if classes is not None:
        counts = np.zeros((DRAWS, n_parts, classes.max() + 1))
        np.add.at(counts, (draw, parts, classes), 1)
        crowding = (counts**2).sum(axis=(1, 2))  # least where a class has as many groups in one part as in another
    best: NDArray[np.int64] = parts[np.lexsort((np.ptp(totals, axis=1), crowding))[0]]
    return best


def first_of(part: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark the first part."""
    first: NDArray[np.bool_] = part == 0
    return first


def random_tenth(_data: LabelledData, rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw a tenth of the rows, one at least."""
    drawn: NDArray[np.bool_] = rng.permutation(len(rows)) < max(len(rows) // 10, 1)
    return drawn


def random_fifth(data: LabelledData, rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw a fifth of the rows."""
    return first_of(shuffled(data, rows, TEST_PARTS, rng))


def stratified_fifth(data: LabelledData, rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw a fifth of each stratum."""
    return first_of(by_stratum(data, rows, TEST_PARTS, rng))


def fifth_of_groups(data: LabelledData, rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw groups that hold a fifth of the rows."""
    return first_of(by_group(data, rows, TEST_PARTS, rng))


CELLS_UNSHUFFLED = FoldRule(
    in_order,
    random_tenth,
    fixed_test=True,
    by_group=False,
    summary="The reference's: runs of cells in the order of the data; cells of one gene train and validate.",
)
CELLS = FoldRule(
    shuffled,
    random_fifth,
    fixed_test=True,
    by_group=False,
    summary="New cells of seen genes: cells are dealt out at random; cells of one gene train and validate.",
)
STRATIFIED = FoldRule(
    by_stratum,
    stratified_fifth,
    fixed_test=True,
    by_group=False,
    summary="New cells of seen genes: each class (or tenth of the values) is dealt out evenly.",
)
GENES = FoldRule(
    by_group,
    fifth_of_groups,
    fixed_test=False,
    by_group=True,
    summary="Unseen genes: all cells of a gene train, validate or test; labels and sizes as even as genes allow.",
)

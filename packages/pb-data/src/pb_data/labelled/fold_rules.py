"""How the samples of labelled data are dealt out to folds: in order, at random, by class, by gene."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pb_data.labelled.folds import FoldRule

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pb_data.labelled.cards import LabelledData

__all__ = ["CELLS", "CELLS_UNSHUFFLED", "GENES", "STRATIFIED"]

TEST_PARTS = 5  # a fifth is for testing where the data fix no test rows
DRAWS = 64  # divisions of groups drawn, of which the most even is taken
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
    """Return joint classes, or tenths of the mean rank over the targets."""
    y = data.y[rows]
    if data.task == "classification":
        joint: NDArray[np.int64] = np.unique(y, axis=0, return_inverse=True)[1].reshape(-1)
        return joint
    ranks = np.where(np.isnan(y), np.nan, ranks_of(y))
    tenths: NDArray[np.int64] = ranks_of(np.nanmean(ranks, axis=1)) * QUANTILES // len(rows)
    return tenths


def ranks_of(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return the rank of each value in its column, ties in the order of the rows."""
    return values.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")


def by_group(data: LabelledData, rows: NDArray[np.int64], n_parts: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Deal whole groups out to parts of even size.

    Groups are ordered by class, where all their samples share one, and by size; each run of `n_parts` groups gives one
    group to each part, in random order. Of 64 such draws the one with the smallest difference in size is taken.

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
    sizes = np.bincount(group)
    order = np.lexsort((rng.random(len(names)), -sizes, shared_class(data, rows, group)))
    part = np.empty(len(names), dtype=np.int64)
    part[order] = most_even(sizes[order], n_parts, rng)
    return part[group]


def shared_class(data: LabelledData, rows: NDArray[np.int64], group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the joint class of each group, -1 where its samples differ or are not classified."""
    shared = np.full(group.max() + 1, -1)
    if data.task == "regression":
        return shared
    stratum = strata_of(data, rows)
    first = stratum[np.unique(group, return_index=True)[1]]
    differing = np.unique(group[stratum != first[group]])
    shared[:] = first
    shared[differing] = -1
    return shared


def most_even(sizes: NDArray[np.int64], n_parts: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the part of each group, one of each run of `n_parts` groups to each part.

    Examples
    --------
    >>> part = most_even(np.array([9, 8, 5, 4, 3]), 2, np.random.default_rng(0))
    >>> sorted(np.bincount(part, weights=[9, 8, 5, 4, 3]).tolist())
    [14.0, 15.0]
    """
    n_runs = -(-len(sizes) // n_parts)
    slots = np.zeros((n_runs, n_parts))
    slots.flat[: len(sizes)] = sizes
    parts = rng.random((DRAWS, n_runs, n_parts)).argsort(axis=2)
    totals = np.zeros((DRAWS, n_parts))
    np.add.at(totals, (np.arange(DRAWS)[:, None, None], parts), slots)
    best: NDArray[np.int64] = parts[np.ptp(totals, axis=1).argmin()].reshape(-1)
    return best[: len(sizes)]


def first_of(part: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark the first part."""
    first: NDArray[np.bool_] = part == 0
    return first


def random_tenth(_data: LabelledData, rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw a tenth of the rows."""
    drawn: NDArray[np.bool_] = rng.permutation(len(rows)) < len(rows) // 10
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
    summary="Unseen genes: all cells of a gene train, validate or test; sizes and classes as even as genes allow.",
)

"""Labels as numbers: values with NaN, class numbers with -1, and classes cut from values."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from pb_data.problems import DataFileError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from pb_data.labelled.cards import Task

__all__ = ["classes_of", "encode", "names_of", "require_learnable"]


def classes_of(values: NDArray[np.floating[Any]], thresholds: Sequence[float]) -> NDArray[np.int64]:
    """Return the classes that cut points make of values: the outermost classes contain their cut point; NaN is -1.

    With cut points .05 and .95: 0 where p <= .05, 2 where p >= .95, 1 between. A single cut point belongs above.

    Raises
    ------
    ValueError
        Where the cut points do not rise.

    Examples
    --------
    >>> classes_of(np.array([0.05, 0.5, 0.95, np.nan], dtype=np.float32), (0.05, 0.95)).tolist()
    [0, 1, 2, -1]
    """
    cuts = np.asarray(thresholds, dtype=values.dtype)  # compared as the values are stored
    if cuts.size == 0 or (np.diff(cuts) <= 0).any():
        msg = f"the cut points are {list(thresholds)}; give one or more, from low to high"
        raise ValueError(msg)
    above = (values[..., None] > cuts[:-1]).sum(axis=-1) + (values >= cuts[-1])
    return np.where(np.isnan(values), -1, above).astype(np.int64)


def names_of(thresholds: Sequence[float]) -> tuple[str, ...]:
    """Return names of the classes that cut points make.

    Examples
    --------
    >>> names_of([0.05, 0.95])
    ('<= 0.05', '0.05 to 0.95', '>= 0.95')
    >>> names_of([1.5])
    ('< 1.5', '>= 1.5')
    """
    cuts = [f"{cut:.15g}" for cut in thresholds]
    between = [f"{low} to {high}" for low, high in pairwise(cuts)]
    return (f"{'<' if len(cuts) == 1 else '<='} {cuts[0]}", *between, f">= {cuts[-1]}")


def encode(
    values: pd.DataFrame, task: Task, thresholds: Sequence[float] = ()
) -> tuple[NDArray[Any], tuple[tuple[str, ...], ...]]:
    """Return labels (samples, targets) and the names of each target's classes, sorted; numbers sort as numbers.

    With cut points the classes are those that they make of the values.

    Raises
    ------
    ValueError
        Where a value to regress is no number or infinite.
    """
    if task == "regression":
        return regressed(values), ()
    if thresholds:
        return classes_of(regressed(values), thresholds), (names_of(thresholds),) * values.shape[1]
    coded = [coded_column(values[name]) for name in values.columns]
    return np.column_stack([codes for codes, _ in coded]), tuple(names for _, names in coded)


def regressed(values: pd.DataFrame) -> NDArray[np.float32]:
    """Return numbers, NaN where one is missing."""
    for name in values.columns:
        if values[name].dtype.kind not in "biuf" or np.isinf(values[name].to_numpy(dtype=np.float64)).any():
            msg = (
                f"target {str(name)!r} does not hold finite numbers; for names of classes choose task 'classification'"
            )
            raise ValueError(msg)
    return values.to_numpy(dtype=np.float32)


def coded_column(column: pd.Series[Any]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return class numbers, -1 where the label is missing, and the classes' names."""
    import pandas as pd

    codes, names = pd.factorize(column.to_numpy(dtype=object) if column.dtype == "category" else column, sort=True)
    return codes.astype(np.int64), tuple(class_name(name) for name in names)


def class_name(value: Any) -> str:
    """Write a class: whole numbers, which a missing label turns to floats, without a point."""
    return str(int(value)) if isinstance(value, float | np.floating) and value == int(value) else str(value)


def require_learnable(name: str, y: NDArray[Any], targets: Sequence[str], classes: Sequence[Sequence[str]]) -> None:
    """Raise where a target has no label, is constant, or has a single class."""
    for column, target in enumerate(targets):
        values = y[:, column]
        found = np.unique(values[values >= 0] if classes else values[~np.isnan(values)])
        if len(found) == 0:
            msg = f"{name}: target {target!r} has no label at all; name another column"
            raise DataFileError(msg)
        if len(found) == 1 and classes:
            msg = f"{name}: target {target!r} has a single class, {classes[column][found[0]]!r}; two are needed"
            raise DataFileError(msg)
        if len(found) == 1:
            msg = f"{name}: target {target!r} is constant, {found[0]:g}; there is nothing to predict"
            raise DataFileError(msg)

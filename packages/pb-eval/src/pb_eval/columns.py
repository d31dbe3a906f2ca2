"""Columns and labels of other tools' files: named by the user, declared in the file, or found where only one fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from pb_eval._checks import near
from pb_eval.artefact import ArtefactError
from pb_eval.usual import CONTROLS, MEASURED, PREDICTED

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from numpy.typing import NDArray

    from pb_eval.cellfile import CellFile

__all__ = [
    "Columns",
    "common_column",
    "control_label",
    "group_column",
    "group_labels",
    "labels",
    "numbers",
    "some",
    "tells_groups",
]

_FLAGS = {
    "group": "--group-key",
    "context": "--context-key",
    "perturbation": "--perturbation-key",
    "dose": "--dose-key",
}


class Columns(NamedTuple):
    """What is said of the files' `obs` columns and labels; None is looked for.

    Attributes
    ----------
    group
        Column that tells predicted, measured and control cells of one file apart.
    context, perturbation, dose
        Columns that tell conditions apart.
    control, predicted, measured
        Labels; that of control is in the perturbation column where there is no group column.
    control_dose
        Dose of control cells.
    """

    group: str | None = None
    context: str | None = None
    perturbation: str | None = None
    dose: str | None = None
    control: str | None = None
    predicted: str | None = None
    measured: str | None = None
    control_dose: float = 0.0


def labels(file: CellFile, column: str) -> NDArray[Any]:
    """Return a column's labels as text, ``(cells,)``.

    Raises
    ------
    ArtefactError
        Where the column is absent, or holds missing values.
    """
    values = _column(file, column).astype("category").cat
    return np.array(values.categories.astype(str), dtype=object)[values.codes.to_numpy()]


def numbers(file: CellFile, column: str) -> NDArray[np.float64]:
    """Return a column of numbers, ``(cells,)``.

    Raises
    ------
    ArtefactError
        As :func:`labels`, and where it holds something else than numbers.
    """
    values = _column(file, column)
    values = values.astype(values.cat.categories.dtype) if isinstance(values.dtype, pd.CategoricalDtype) else values
    try:
        return values.to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = f"{file.path}: obs[{column!r}] should hold doses, but not all are numbers ({error}): mend it."
        raise ArtefactError(msg) from error


def _column(file: CellFile, column: str) -> pd.Series[Any]:
    if column not in file.obs:
        present = [str(name) for name in file.obs.columns]
        msg = (
            f"{file.path}: obs has no column {column!r}{near(column, present)}; it has {some(present)}: name another, "
            "or add it."
        )
        raise ArtefactError(msg)
    values = file.obs[column]
    if missing := int(values.isna().sum()):
        msg = f"{file.path}: obs[{column!r}] has {missing} missing values: fill them or drop those cells."
        raise ArtefactError(msg)
    return values


def common_column(
    meaning: str,
    said: str | None,
    files: Sequence[CellFile],
    names: Collection[str],
    notes: list[str],
    *,
    taken: Collection[str | None] = (),
    holding: str | None = None,
) -> str | None:
    """Return the column of a meaning: the one that is `said`, or the only usual one that all files have, or None.

    Parameters
    ----------
    names
        Usual names, in lower case.
    taken
        Columns that have another meaning already.
    holding
        A label that the column must hold; then its name need not be a usual one where only one holds it.

    Raises
    ------
    ArtefactError
        Where the named column is absent, or several usual ones are there.
    """
    if said is not None:
        for file in files:
            _column(file, said)
        return said
    shared = [str(name) for name in files[0].obs.columns if all(name in file.obs for file in files)]
    fitting = [name for name in shared if name.casefold() in names and name not in taken]
    if holding is not None:
        held = [name for name in shared if name not in taken and _holds(files[0], name, holding)]
        fitting = [name for name in fitting if name in held] or held or fitting
    if len(fitting) > 1:
        msg = f"{files[0].path}: {some(fitting)} could each be the {meaning} column: name it with {_FLAGS[meaning]}."
        raise ArtefactError(msg)
    if fitting:
        notes.append(f"The {meaning} column is {fitting[0]!r} ({_FLAGS[meaning]} names another).")
    return fitting[0] if fitting else None


def _holds(file: CellFile, column: str, label: str) -> bool:
    values = file.obs[column]
    distinct = values.cat.categories if isinstance(values.dtype, pd.CategoricalDtype) else values.unique()
    return label in {str(value) for value in distinct}


def control_label(files: Sequence[CellFile], columns: Columns, notes: list[str], *, needed: bool) -> str | None:
    """Return the label of control cells in the perturbation column: the one that is said, or the only usual one.

    Raises
    ------
    ArtefactError
        Where the label is absent though needed, or could be several.
    """
    column = str(columns.perturbation)
    present = sorted({str(label) for file in files if column in file.obs for label in set(labels(file, column))})
    if columns.control is not None:
        if columns.control not in present and needed:
            msg = (
                f"{files[0].path}: no cell has the control label {columns.control!r} in obs[{column!r}]"
                f"{near(columns.control, present)}; it holds {some(present)}."
            )
            raise ArtefactError(msg)
        return columns.control
    usual = [label for label in present if label.casefold() in CONTROLS]
    if len(usual) == 1:
        notes.append(f"Control cells are those with {column} {usual[0]!r} (--control names another label).")
        return usual[0]
    if needed and columns.dose is None:
        which = f"{some(usual)} could each be control" if usual else f"none of {some(present)} is known as control"
        msg = f"{files[0].path}: {which} in obs[{column!r}]: name the label with --control."
        raise ArtefactError(msg)
    return None


def group_column(file: CellFile, columns: Columns, notes: list[str]) -> str:
    """Return the column that tells predicted from measured cells: the one that is said, or the only one that can.

    Raises
    ------
    ArtefactError
        Where there is none, or several.
    """
    if columns.group is not None:
        _column(file, columns.group)
        return columns.group
    usual = PREDICTED if columns.predicted is None else {columns.predicted.casefold()}
    fitting = [str(name) for name in file.obs.columns if any(x.casefold() in usual for x in _distinct(file, name))]
    if len(fitting) == 1:
        notes.append(f"Predicted and measured cells are told apart by obs[{fitting[0]!r}] (--group-key names another).")
        return fitting[0]
    which = (
        f"{some(fitting)} could each tell" if fitting else f"none of its obs columns ({some(file.obs.columns)}) tells"
    )
    msg = (
        f"{file.path}: {which} predicted from measured cells: name the column with --group-key, or give the measured "
        "cells with --truth FILE."
    )
    raise ArtefactError(msg)


def _distinct(file: CellFile, column: Any) -> list[str]:
    """Labels of a column, none where it holds numbers."""
    values = file.obs[column]
    if isinstance(values.dtype, pd.CategoricalDtype):
        return [str(value) for value in values.cat.categories]
    return [] if values.dtype.kind in "iufb" else sorted({str(value) for value in values.dropna().unique()})


def group_labels(
    file: CellFile, column: str, columns: Columns, *, needs_control: bool, notes: list[str]
) -> tuple[str, str, str | None]:
    """Return the labels of predicted, measured and control cells in the group column; each said, usual, or left over.

    Raises
    ------
    ArtefactError
        Where one is absent or could be several.
    """
    present = sorted(set(labels(file, column)))
    predicted = _group_label(file, column, present, columns.predicted, PREDICTED, "predicted", "--predicted-label")
    rest = [label for label in present if label != predicted]
    control = None
    if needs_control:
        control = _group_label(file, column, rest, columns.control, CONTROLS, "control", "--control")
        rest = [label for label in rest if label != control]
    said = columns.measured or (rest[0] if len(rest) == 1 else None)
    measured = _group_label(file, column, rest, said, MEASURED, "measured", "--measured-label")
    notes.append(
        f"In {column!r}, {predicted!r} is predicted, {measured!r} measured"
        + (f", {control!r} control." if control is not None else ".")
    )
    if others := [label for label in rest if label != measured]:
        notes.append(f"Cells with other labels in {column!r} are not used: {some(others)}.")
    return predicted, measured, control


def _group_label(
    file: CellFile, column: str, present: Sequence[str], said: str | None, usual: Collection[str], what: str, flag: str
) -> str:
    """Return the label of one group."""
    fitting = [label for label in present if (label == said if said is not None else label.casefold() in usual)]
    if len(fitting) == 1:
        return fitting[0]
    if said is not None:
        which = f"no cell has the label {said!r}{near(said, present)}"
    else:
        which = f"{some(fitting)} could each be the label" if fitting else "no label is known to be that"
    msg = f"{file.path}: {which} of {what} cells in obs[{column!r}] (labels: {some(present)}): name it with {flag}."
    raise ArtefactError(msg)


def some(names: Iterable[Any], limit: int = 6, *, quoted: bool = True) -> str:
    """List a few names.

    Examples
    --------
    >>> some("abc", limit=2), some([])
    ("'a', 'b' and 1 more", 'none')
    """
    listed = [repr(str(name)) if quoted else str(name) for name in names]
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more if listed else "none"


def tells_groups(file: CellFile) -> bool:
    """Tell whether a column of a file has a usual label of predicted cells."""
    return any(label.casefold() in PREDICTED for column in file.obs.columns for label in _distinct(file, column))

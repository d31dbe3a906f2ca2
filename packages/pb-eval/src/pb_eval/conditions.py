"""Groups of cells of one condition, as rows of files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pb_eval.columns import Columns, labels, numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pb_eval.cellfile import CellFile

__all__ = ["Condition", "Group", "Layout", "Part", "by_condition", "by_context"]

_EVERY = "all"  # context where the files tell none apart


class Condition(NamedTuple):
    """A perturbation of one context, and its dose where the files have doses."""

    context: str
    perturbation: str
    dose: float | None

    def words(self) -> str:
        """Name it for people.

        Examples
        --------
        >>> Condition("B cells", "TCDD", 0.3).words(), Condition("all", "IFNB", None).words()
        ("'TCDD' at dose 0.3 in 'B cells'", "'IFNB'")
        """
        dose = "" if self.dose is None else f" at dose {self.dose:g}"
        return f"{self.perturbation!r}{dose}" + ("" if self.context == _EVERY else f" in {self.context!r}")


class Part(NamedTuple):
    """Cells of a file: sorted rows."""

    file: CellFile
    rows: NDArray[np.intp]


class Group(NamedTuple):
    """Predicted, measured and control cells of one condition."""

    condition: Condition
    predicted: Part
    truth: Part
    control: Part


class Layout(NamedTuple):
    """What can be compared in some files, and what was found out or left out on the way, in sentences."""

    groups: list[Group]
    measured: dict[Condition, tuple[Part, Part]]
    notes: list[str]


def by_condition(part: Part, columns: Columns, name: str) -> dict[Condition, Part]:
    """Sort rows by context, perturbation and dose.

    Parameters
    ----------
    name
        Of the perturbation, where no column tells.
    """
    keys = _key_columns(part, columns, name)
    order = np.lexsort(keys[::-1])
    sorted_keys = [key[order] for key in keys]
    changes = np.any([key[1:] != key[:-1] for key in sorted_keys], axis=0)
    pieces = np.split(order, np.flatnonzero(changes) + 1)
    return {_condition([key[piece[0]] for key in keys]): Part(part.file, np.sort(part.rows[piece])) for piece in pieces}


def _key_columns(part: Part, columns: Columns, name: str) -> list[NDArray[Any]]:
    """Context, perturbation and dose of each row; doses to six digits, for files store them differently."""
    n = len(part.rows)
    context = _own(part, columns.context, _EVERY)
    perturbation = _own(part, columns.perturbation, name)
    if columns.dose is None:
        return [context, perturbation, np.full(n, -1.0)]
    doses = numbers(part.file, columns.dose)[part.rows]
    distinct, codes = np.unique(doses, return_inverse=True)
    return [context, perturbation, np.array([float(f"{dose:.6g}") for dose in distinct])[codes]]


def _own(part: Part, column: str | None, otherwise: str) -> NDArray[Any]:
    """Labels of the rows, or one word for all where there is no column."""
    if column is None:
        return np.full(len(part.rows), otherwise)
    return labels(part.file, column)[part.rows]


def _condition(key: Sequence[Any]) -> Condition:
    context, perturbation, dose = key
    return Condition(str(context), str(perturbation), None if dose < 0 else float(dose))


def by_context(part: Part, columns: Columns) -> dict[str, Part]:
    """Sort rows by context."""
    found = _own(part, columns.context, _EVERY)
    return {str(name): Part(part.file, part.rows[found == name]) for name in np.unique(found)}

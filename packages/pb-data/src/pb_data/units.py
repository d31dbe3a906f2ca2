"""What a split can hold out of some data, by name or index."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pb_data.keys import label_array
from pb_data.nearest import nearest
from pb_data.splits import get_split

if TYPE_CHECKING:
    from pb_data.datasets.cards import PerturbationData

__all__ = ["contexts", "resolve_context", "resolve_unit", "split_units"]

LISTED = 30  # how many units an error lists


def split_units(name: str, data: PerturbationData) -> list[str]:
    """Return the sorted units that a split can hold out of the data; doses are sorted as numbers.

    Raises
    ------
    ValueError
        Where no split has this name, or the data cannot have it.

    Examples
    --------
    >>> from pb_data import load
    >>> split_units("random", load("pbmc"))[:2]
    ['B cells', 'CD14+ Monocytes']
    """
    return get_split(name).units(data)


def resolve_unit(name: str, data: PerturbationData, name_or_index: str | int) -> str:
    """Return a unit's name, given its name or its index into the sorted `split_units`; a name comes before an index.

    The parts of a combination may be named in any order. A dose is named by its number, never by an index.

    Raises
    ------
    ValueError
        Where the split cannot hold out such a unit; the nearest names are suggested.

    Examples
    --------
    >>> from pb_data import load
    >>> resolve_unit("leave-context-out", load("pbmc"), 4)
    'Dendritic cells'
    """
    rule, text = get_split(name), str(name_or_index)
    if rule.units is contexts:
        return resolve_context(data, text)
    known = rule.units(data)
    if rule.unseen == "dose":  # a number that is no dose of the data is a mistake, not an index
        known_doses = {float(unit): unit for unit in known}
        if (unit := known_doses.get(number(text))) is not None:
            return unit
        msg = f"split {name!r} of {data.name!r} has no dose {text!r} to hold out (doses: {', '.join(known)})"
        raise ValueError(msg)
    if (unit := pick(text, known)) is not None:
        return unit
    if rule.unseen == "perturbation":
        for unit in known:
            if data.keys.parts(unit) == data.keys.parts(text):
                return unit
    msg = f"split {name!r} of {data.name!r} has no unit {text!r}{nearest(text, known)} (units: {listing(known)})"
    raise ValueError(msg)


def contexts(data: PerturbationData) -> list[str]:
    """Return the sorted contexts with both control and perturbed cells: those that can be held out.

    Examples
    --------
    >>> from pb_data import load
    >>> contexts(load("pbmc"))[:2]
    ['B cells', 'CD14+ Monocytes']
    """
    labels = label_array(data.adata.obs, data.keys.context)
    control = data.keys.is_control(data.adata.obs)
    return sorted({str(name) for name in labels[control]} & {str(name) for name in labels[~control]})


def resolve_context(data: PerturbationData, name_or_index: str | int) -> str:
    """Return a context's name, given its name or its index into the sorted `contexts`.

    Raises
    ------
    ValueError
        Where there is no such context, or it lacks control or perturbed cells.

    Examples
    --------
    >>> from pb_data import load
    >>> resolve_context(load("pbmc"), "4")
    'Dendritic cells'
    """
    known, text = contexts(data), str(name_or_index)
    if (context := pick(text, known)) is not None:
        return context
    labels = label_array(data.adata.obs, data.keys.context)
    if text in labels:
        side = "perturbed" if data.keys.is_control(data.adata.obs)[labels == text].all() else "control"
        msg = f"context {text!r} of {data.name!r} has no {side} cells and cannot be held out"
        raise ValueError(msg)
    listed = listing(known) or "none has control and perturbed cells"
    msg = f"data set {data.name!r} has no context {text!r}{nearest(text, known)} (contexts: {listed})"
    raise ValueError(msg)


def number(text: str) -> float:
    """Return the number that a text is, or NaN."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def pick(text: str, known: list[str]) -> str | None:
    """Return the name that a text is or is the index of, or None."""
    if text in known:
        return text
    return known[int(text)] if text.isdecimal() and int(text) < len(known) else None


def listing(known: list[str]) -> str:
    """List names with their index.

    Examples
    --------
    >>> listing(["a", "b"])
    '0 a, 1 b'
    """
    listed = ", ".join(f"{index} {name}" for index, name in enumerate(known[:LISTED]))
    return listed if len(known) <= LISTED else f"{listed} and {len(known) - LISTED} more"

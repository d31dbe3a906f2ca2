"""What stands under a name, here or in an installed package, and what may be said to a reader by name."""

from __future__ import annotations

import inspect
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from pb_data.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from importlib.metadata import EntryPoint

__all__ = ["check_option", "complete_options", "installed", "look_up"]


def look_up(absent: str, name: str, entries: Mapping[str, str]) -> Any:
    """Import what a name stands for, an entry `module:attribute`.

    Raises
    ------
    ValueError
        Where no entry has the name: `absent`, such as "there is no split", then the nearest names.

    Examples
    --------
    >>> look_up("there is no array", "zeros", {"zeros": "numpy:zeros"})(2).tolist()
    [0.0, 0.0]
    """
    if name not in entries:
        msg = f"{absent} {name!r}{nearest(name, entries)} (choose from: {', '.join(entries)})"
        raise ValueError(msg)
    module, _, attribute = entries[name].partition(":")
    return getattr(import_module(module), attribute)


def installed(group: str, entries: Mapping[str, str]) -> list[EntryPoint]:
    """Return the entry points of a group, which installed packages add to built-in entries.

    Raises
    ------
    ValueError
        Where one claims the name of another.

    Examples
    --------
    >>> installed("a group of nobody", {})
    []
    """
    taken, found = dict(entries), []
    for point in entry_points(group=group):
        if point.name in taken:
            msg = f"the installed entry point {point.name!r} ({point.value}) takes the name of {taken[point.name]}"
            raise ValueError(msg)
        taken[point.name] = point.value
        found.append(point)
    return found


def complete_options(dataset: str, read: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return all options of a data set's reader, its keyword-only parameters, given or default.

    Raises
    ------
    ValueError
        Where an option is unknown to the reader, or its value is of another kind than the default.

    Examples
    --------
    >>> complete_options("toy", lambda file, *, labelled=True, depth=1: None, {"depth": 2})
    {'labelled': True, 'depth': 2}
    """
    parameters = inspect.signature(read).parameters.values()
    defaults = {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}
    for name, value in options.items():
        if name not in defaults:
            choices = f"options: {', '.join(defaults)}" if defaults else "it has none"
            msg = f"data set {dataset!r} has no option {name!r}{nearest(name, defaults)} ({choices})"
            raise ValueError(msg)
        check_option(dataset, name, value, defaults[name])
    return {**defaults, **options}


def check_option(dataset: str, option: str, value: Any, default: Any) -> None:
    """Raise where a value is of another kind than the default; a default of None takes anything."""
    kinds: dict[type, tuple[tuple[type, ...], str]] = {
        bool: ((bool,), "true or false"),
        int: ((int,), "a whole number"),
        float: ((int, float), "a number"),
        str: ((str,), "a text"),
    }
    kind, wanted = kinds.get(type(default), ((object,), ""))
    if not isinstance(value, kind) or (isinstance(value, bool) and type(default) in (int, float)):
        msg = f"option {option} of {dataset!r} is {value!r}; write {wanted}"
        raise ValueError(msg)

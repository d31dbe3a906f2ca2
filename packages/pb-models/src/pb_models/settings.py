"""Settings of a model: a frozen dataclass whose values are checked against their annotations."""

from __future__ import annotations

import dataclasses
import types
from typing import Any, Literal, Self, Union, get_args, get_origin, get_type_hints

from pb_data.nearest import nearest

__all__ = ["Settings"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What a user may choose about a model; a model with nothing to choose uses this class as it is.

    Subclasses are frozen dataclasses of plain values (numbers, strings, flags, tuples of those), each with a default.
    The annotations are enforced, because values arrive from command lines and TOML files.

    Raises
    ------
    ValueError
        Where a value does not fit its annotation.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True, kw_only=True)
    ... class Ridge(Settings):
    ...     penalty: float = 1.0
    >>> Ridge().replace(penalty=2)
    Ridge(penalty=2.0)
    """

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value = _fitted(getattr(self, field.name), hints[field.name])
            if value is _MISFIT:
                given, wanted = getattr(self, field.name), _words(hints[field.name])
                msg = f"{type(self).__name__}.{field.name} is {given!r}; it has to be {wanted}"
                raise ValueError(msg)
            object.__setattr__(self, field.name, value)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some settings changed.

        Raises
        ------
        ValueError
            Where a name is no setting of this model (the nearest name is suggested) or a value does not fit.
        """
        names = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in names:
                known = f"{nearest(name, names)} (choose from: {', '.join(names) or 'none'})"
                msg = f"{type(self).__name__} has no setting {name!r}{known}"
                raise ValueError(msg)
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as a JSON-able dict."""
        return dataclasses.asdict(self)

    def at_least(self, name: str, minimum: float, *, strictly: bool = False) -> None:
        """Raise ValueError where a numeric setting lies below its minimum; for `__post_init__` of subclasses."""
        value = getattr(self, name)
        if value is not None and (value < minimum or (strictly and value == minimum)):
            bound = f"greater than {minimum}" if strictly else f"at least {minimum}"
            msg = f"{type(self).__name__}.{name} is {value}; it has to be {bound}"
            raise ValueError(msg)


_MISFIT = object()


def _fitted(value: Any, hint: Any) -> Any:
    """Return the value as its annotation wants it (an int becomes a float, a list a tuple), or `_MISFIT`."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value if value in arguments else _MISFIT
    if origin in (Union, types.UnionType):
        fits = (_fitted(value, argument) for argument in arguments)
        return next((fit for fit in fits if fit is not _MISFIT), _MISFIT)
    if origin is tuple:
        return _fitted_tuple(value, arguments)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, bool):
        return _MISFIT
    return value if isinstance(value, hint) else _MISFIT


def _fitted_tuple(value: Any, arguments: tuple[Any, ...]) -> Any:
    if not isinstance(value, list | tuple):
        return _MISFIT
    hints = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
    if len(hints) != len(value):
        return _MISFIT
    items = tuple(_fitted(item, hint) for item, hint in zip(value, hints, strict=True))
    return _MISFIT if any(item is _MISFIT for item in items) else items


def _words(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(repr(choice) for choice in get_args(hint))
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint).replace("typing.", "")

"""Independent pieces of a computation on several cores, and what of an object is computed once."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["once", "spread", "threads"]

S = TypeVar("S")
T = TypeVar("T")

_place = threading.local()


def threads() -> int:
    """Return how many threads may work on one computation: what OMP_NUM_THREADS says, one where it says nothing.

    Examples
    --------
    >>> threads() >= 1
    True
    """
    said = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, int(said)) if said.isdecimal() else 1


def spread(function: Callable[[S], T], items: Iterable[S]) -> list[T]:
    """Apply a function to each item, in threads; the results in the order of the items.

    The pieces must not depend on each other, so that no number depends on how many threads there are. A piece that
    spreads its own pieces works through them alone. Threads gain where numpy works, which lets other threads run.

    Examples
    --------
    >>> spread(abs, [-2, 1])
    [2, 1]
    """
    pieces = list(items)
    n_threads = 1 if getattr(_place, "inside", False) else min(threads(), len(pieces))
    if n_threads < 2:
        return [function(piece) for piece in pieces]
    with ThreadPoolExecutor(n_threads, initializer=_enter) as pool:
        return list(pool.map(function, pieces))


def _enter() -> None:
    """Mark a thread as one that works on pieces."""
    _place.inside = True


class once(cached_property[T]):  # noqa: N801 - used as a decorator
    """A property that is computed on first use.

    Python 3.11's own lets one object at a time compute a property, so that threads would wait for each other.
    """

    if not TYPE_CHECKING:

        def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
            if instance is None:
                return self
            value = self.func(instance)
            vars(instance)[self.attrname] = value
            return value

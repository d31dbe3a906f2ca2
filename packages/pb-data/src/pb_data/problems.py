"""What is wrong with data, and the words for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["DataFileError", "Problem", "SchemaError", "some"]


class Problem(NamedTuple):
    """One thing to mend: a short code for programs and a sentence for people."""

    code: str
    message: str


class DataFileError(ValueError):
    """A data file that is missing, unreadable, or not the one it should be."""


class SchemaError(ValueError):
    """Data that do not fit their keys; `problems` holds every `Problem`."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        lines = "".join(f"\n- {problem.message}" for problem in problems)
        super().__init__(f"the data have {len(problems)} problem{'s' * (len(problems) > 1)}:{lines}")


def some(names: Collection[object], limit: int = 3) -> str:
    """Return the first few names, and how many more there are.

    Examples
    --------
    >>> some(["a", "b", "c", "d"])
    "'a', 'b', 'c' and 1 more"
    """
    listed = ", ".join(repr(str(name)) for name in list(names)[:limit])
    return listed if len(names) <= limit else f"{listed} and {len(names) - limit} more"

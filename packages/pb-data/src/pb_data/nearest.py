"""Suggestions for misspelt names."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["nearest"]


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return `; did you mean ...?` with the nearest choices, or nothing where none is near.

    Examples
    --------
    >>> nearest("pmbc", ["pbmc", "nault"])
    "; did you mean 'pbmc'?"
    >>> nearest("zebrafish", ["pbmc", "nault"])
    ''
    """
    folded = {choice.casefold(): choice for choice in choices}
    near = [folded[match] for match in get_close_matches(name.casefold(), folded, n=2)]
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""

"""What a perturbation AnnData must hold; every problem is named at once, with what to mend."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pb_data.nearest import nearest

if TYPE_CHECKING:
    from anndata import AnnData

    from pb_data.keys import Keys

__all__ = ["Problem", "SchemaError", "check", "validate"]


class Problem(NamedTuple):
    """One thing to mend: a short code for programs and a sentence for people."""

    code: str
    message: str


class SchemaError(ValueError):
    """Data that do not fit their keys; `problems` holds every `Problem`."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        lines = "".join(f"\n- {problem.message}" for problem in problems)
        super().__init__(f"the data have {len(problems)} problem{'s' * (len(problems) > 1)}:{lines}")


def validate(adata: AnnData, keys: Keys, *, min_cells: int = 2) -> list[Problem]:
    """Return every problem of the data."""
    present = [str(name) for name in adata.obs.columns]
    return [
        Problem(
            "missing-column",
            f"obs has no {meaning} column {column!r}{nearest(column, present)} (columns: {', '.join(present) or 'none'})",
        )
        for meaning, column in keys.columns.items()
        if column not in present
    ]


def check(adata: AnnData, keys: Keys, *, min_cells: int = 2) -> None:
    """Raise where the data have problems.

    Raises
    ------
    SchemaError
        With every problem, one a line.
    """
    if problems := validate(adata, keys, min_cells=min_cells):
        raise SchemaError(problems)

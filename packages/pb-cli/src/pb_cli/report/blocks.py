"""What a report is made of, free of any layout: sections of text, tables, figures and folds."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple

__all__ = [
    "Block",
    "Cell",
    "Code",
    "Column",
    "Document",
    "Facts",
    "Figure",
    "Figures",
    "Fold",
    "Prose",
    "Row",
    "Section",
    "Table",
    "anchor",
]

Kind = Literal["", "baseline", "ceiling"]


class Cell(NamedTuple):
    """One cell of a table.

    `sort` is what its column is ordered by, where not the text; `note` stands small below; `mark` is `best`, `good`,
    `bad` or nothing; `heat` a shade from 0 to 1.
    """

    text: str
    sort: float | None = None
    note: str = ""
    mark: str = ""
    heat: float | None = None


class Row(NamedTuple):
    """One row of a table, and what it is."""

    cells: list[Cell]
    kind: Kind = ""


class Column(NamedTuple):
    """The head of a column; numbers stand to the right."""

    name: str
    is_number: bool = True


@dataclass(frozen=True)
class Prose:
    """A paragraph; `tone` is `lead`, `warning`, `note` or nothing."""

    text: str
    tone: str = ""
    kind: ClassVar[str] = "prose"


@dataclass(frozen=True)
class Table:
    """A table with a caption; a reader can sort it, and where `can_filter`, narrow it down."""

    caption: str
    columns: list[Column]
    rows: list[Row]
    can_filter: bool = False
    kind: ClassVar[str] = "table"

    @property
    def is_shaded(self) -> bool:
        """Whether shades tell good cells from bad ones."""
        return any(cell.heat is not None for row in self.rows for cell in row.cells)


@dataclass(frozen=True)
class Figure:
    """An SVG, and in words what it shows."""

    svg: str
    alt: str
    caption: str
    kind: ClassVar[str] = "figure"


@dataclass(frozen=True)
class Figures:
    """Figures side by side, where there is room."""

    figures: list[Figure]
    kind: ClassVar[str] = "figures"


@dataclass(frozen=True)
class Facts:
    """Names with their values."""

    items: list[tuple[str, str]]
    kind: ClassVar[str] = "facts"


@dataclass(frozen=True)
class Code:
    """Text to copy as it is."""

    text: str
    kind: ClassVar[str] = "code"


@dataclass(frozen=True)
class Fold:
    """Blocks behind a title that opens them."""

    title: str
    blocks: "list[Block]"
    is_open: bool = False
    kind: ClassVar[str] = "fold"


Block = Prose | Table | Figure | Figures | Facts | Code | Fold


@dataclass(frozen=True)
class Section:
    """A part of a report with a heading; `level` 1 is a run, 2 a part of one."""

    title: str
    blocks: list[Block]
    anchor: str
    level: int = 2


@dataclass(frozen=True)
class Document:
    """A report."""

    title: str
    sections: list[Section] = field(default_factory=list)


def anchor(*parts: str) -> str:
    """Name a place in a page after what stands there.

    >>> anchor("pbmc quick", "By metric")
    'pbmc-quick-by-metric'
    """
    kept = ["".join(char if char.isalnum() else "-" for char in part.lower()).strip("-") for part in parts]
    return "-".join(part for part in kept if part)

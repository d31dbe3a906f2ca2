"""Two consoles: messages go to stderr, data to stdout, so that output survives a pipe."""

import json
import math
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = [
    "count",
    "messages",
    "output",
    "print_data",
    "print_fact",
    "print_json",
    "print_table",
    "show_table",
    "shown",
]

NARROW = 13  # columns that a table's column needs to be read
CUT = "…"  # what rich puts where it cuts a word off
PIPED = 160  # columns of what no terminal shows, where COLUMNS does not say otherwise


def _width(stream: TextIO) -> int | None:
    """Leave the width of a terminal to rich, which would take a pipe for 80 columns and fold tables into them."""
    return None if stream.isatty() or "COLUMNS" in os.environ else PIPED


class Messages(Console):
    """What is said on stderr; with `level` below 0 only warnings (yellow) and errors (red), above 0 more than usual."""

    level = 0

    def reset(self) -> None:
        """Say as much as usual again."""
        self.level = 0

    def print(self, *objects: Any, **settings: Any) -> None:
        """Print a message, unless quiet was asked for and it is no warning."""
        if self.level >= 0 or settings.get("style") in ("yellow", "red"):
            super().print(*objects, **settings)


messages = Messages(stderr=True, highlight=False, markup=False, width=_width(sys.stderr))
output = Console(highlight=False, markup=False, width=_width(sys.stdout))


def print_json(value: Any) -> None:
    """Print data for machines: plain JSON on stdout, NaN as null."""
    print_data(json.dumps(_finite(value), indent=2, ensure_ascii=False, default=str) + "\n")


def print_data(text: str) -> None:
    r"""Print JSON on stdout, with \u escapes where its encoding is not Unicode."""
    if not output.encoding.startswith("utf"):
        text = re.sub(r"[^\x00-\x7f]", lambda found: json.dumps(found[0])[1:-1], text)
    click.echo(text, nl=False)


def print_fact(name: Text, value: Text) -> None:
    """Print a name and what there is to say of it; lines are folded only where a width is known."""
    folded = sys.stdout.isatty() or "COLUMNS" in os.environ
    output.print(Text.assemble(name, value), soft_wrap=not folded)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table whose cells are plain text; where it would be too narrow to read, a paragraph for each row."""
    if output.width < NARROW * len(columns):
        _print_rows(title, columns, rows)
        return
    table = Table(title=Text(title), title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    output.print(table)


def show_table(table: Table) -> None:
    """Print a table laid out already; where a narrow terminal would cut words off, a paragraph for each row."""
    if CUT not in "".join(part.text for part in output.render(table)):
        output.print(table)
        return
    columns = [_one_line(column.header) for column in table.columns]
    rows = zip(*(map(_one_line, column.cells) for column in table.columns), strict=True)
    _print_rows(_one_line(table.title), columns, rows)


@contextmanager
def shown(bar: "Progress") -> Iterator[None]:
    """Show a progress bar inside the block, unless disabled: before rich 15 such a one ends with an empty line."""
    if bar.disable:
        yield
        return
    with bar:
        yield


def _one_line(text: object) -> str:
    """Write a head or cell of several lines as one."""
    return str(text).replace("-\n", "").replace("\n", " ").strip()


def _print_rows(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print each row as lines of column and value."""
    output.print(Text(title, style="bold"))
    for row in rows:
        output.print()
        for column, value in zip(columns, row, strict=True):
            if value:
                output.print(Text(f"{column}: ", style="bold").append(Text(value, style="not bold")))


def _finite(value: Any) -> Any:
    """Replace NaN and infinities, which JSON does not know, by None."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def count(n: int, noun: str) -> str:
    """Write a number with its noun."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"

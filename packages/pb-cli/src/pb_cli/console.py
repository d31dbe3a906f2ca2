"""Two consoles: messages go to stderr, data to stdout, so that output survives a pipe."""

import json
import math
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["messages", "output", "print_json", "print_table"]

PIPED = 160  # columns of what no terminal shows, where COLUMNS does not say otherwise


def _width(stream: TextIO) -> int | None:
    """Leave the width of a terminal to rich, which would take a pipe for 80 columns and fold tables into them."""
    return None if stream.isatty() or "COLUMNS" in os.environ else PIPED


messages = Console(stderr=True, highlight=False, markup=False, width=_width(sys.stderr))
output = Console(highlight=False, markup=False, width=_width(sys.stdout))


def print_json(value: Any) -> None:
    """Print data for machines: plain JSON on stdout, NaN as null."""
    click.echo(json.dumps(_finite(value), indent=2, ensure_ascii=False, default=str))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table whose cells are plain text."""
    table = Table(title=Text(title), title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    output.print(table)


def _finite(value: Any) -> Any:
    """Replace NaN and infinities, which JSON does not know, by None."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

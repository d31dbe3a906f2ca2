"""Scores of a prediction of many conditions, summed up."""

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from pb_cli.board import label
from pb_cli.console import output

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["show_summary"]


def show_summary(rows: "pd.DataFrame") -> None:
    """Print mean and extremes of each metric over conditions, mean floor and ceiling, and the share above the floor.

    Parameters
    ----------
    rows
        Result rows of one prediction, with a column `condition`.
    """
    first = rows.iloc[0]
    title = f"{label(first['model'], first['profile'])}, {rows['condition'].nunique():,} conditions, {first['dataset']}"
    table = Table(title=Text(title), title_justify="left")
    table.add_column("metric", no_wrap=True)
    for head in ("mean", "lowest", "highest", "floor", "ceiling", "above floor"):
        table.add_column(head, justify="right")
    for metric, of_metric in rows.groupby("metric", sort=False):
        value = of_metric["value"]
        numbers = value.mean(), value.min(), value.max(), of_metric["floor"].mean(), of_metric["ceiling"].mean()
        table.add_row(str(metric), *(f"{number:.3f}" for number in numbers), _share(of_metric, str(metric)))
    output.print(table)


def _share(rows: "pd.DataFrame", metric: str) -> str:
    """Write the share of conditions in which a prediction is better than the floor."""
    from pb_eval import get_metric

    known = rows.dropna(subset=["value", "floor"])
    if known.empty:
        return "-"
    declared, value, floor = get_metric(metric), known["value"], known["floor"]
    if declared.direction == "target":
        value, floor = (value - declared.perfect).abs(), (floor - declared.perfect).abs()
    better = value > floor if declared.direction == "higher" else value < floor
    return f"{better.mean():.0%}"

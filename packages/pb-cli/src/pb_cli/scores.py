"""Scores of one prediction file beside those of a copied control, as a table."""

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from pb_cli.board import label
from pb_cli.console import output

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["show_scores"]

_COLUMNS = 3
_UNIT = ["context", "perturbation", "dose"]


def show_scores(rows: "pd.DataFrame", floor: "pd.DataFrame", conditions: "pd.Series[str]") -> None:
    """Print a value and a copied control's for each metric and condition; of many conditions, what sums them up."""
    first = rows.iloc[0]
    title = f"{label(first['model'], first['profile'])}, {first['dataset']}"
    caption = None if floor.empty else "floor: measured control cells in the prediction's place"
    table = Table(title=Text(title), title_justify="left", caption=caption, caption_justify="left")
    table.add_column("metric", no_wrap=True)
    named = rows.assign(condition=conditions)
    if not floor.empty:
        named = named.merge(floor[[*_UNIT, "metric", "value"]], on=[*_UNIT, "metric"], suffixes=("", "_floor"))
    (_one_by_one if named["condition"].nunique() <= _COLUMNS else _summed_up)(named, table)
    output.print(table)


def _one_by_one(named: "pd.DataFrame", table: Table) -> None:
    """Give each condition a column, and one for a copied control."""
    values = [name for name in ("value", "value_floor") if name in named]
    wide = named.pivot_table(index="metric", columns="condition", values=values, sort=False, dropna=False)
    shown = list(named["condition"].unique())
    for condition in shown:
        table.add_column(Text(str(condition)), justify="right")
        if len(values) > 1:
            table.add_column("floor", justify="right", style="dim")
    for metric, row in wide.iterrows():
        table.add_row(str(metric), *(f"{row[value, condition]:.6f}" for condition in shown for value in values))
    for name, words in (("n_predicted", "predicted cells"), ("n_true", "measured cells")):
        counts = named.groupby("condition", sort=False)[name].first()
        table.add_row(words, *(cell for one in shown for cell in (f"{counts[one]:,}", "")[: len(values)]))


def _summed_up(named: "pd.DataFrame", table: Table) -> None:
    """Give mean, extremes, and the share of conditions in which the prediction beats a copied control."""
    from pb_eval import get_metric

    heads = ["mean", "lowest", "highest"] + ["floor", "beats floor"] * ("value_floor" in named)
    for head in heads:
        table.add_column(head, justify="right")
    for metric, of_metric in named.groupby("metric", sort=False):
        value = of_metric["value"]
        cells = [f"{number:.4f}" for number in (value.mean(), value.min(), value.max())]
        if "value_floor" in named:
            declared, other = get_metric(str(metric)), of_metric["value_floor"]
            cells.append(f"{other.mean():.4f}")
            cells.append(f"{_better(value, other, declared.direction, declared.perfect).mean():.0%}")
        table.add_row(str(metric), *cells)
    table.add_row("conditions", f"{named['condition'].nunique():,}")


def _better(value: "pd.Series[float]", other: "pd.Series[float]", direction: str, perfect: float) -> "pd.Series[bool]":
    """Tell where a value is better than another."""
    if direction == "target":
        return (value - perfect).abs() < (other - perfect).abs()
    return value > other if direction == "higher" else value < other

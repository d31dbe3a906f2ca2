"""Scores of one prediction file between their floor and their ceiling, as a table."""

from math import isnan
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from pb_cli.board import label
from pb_cli.console import show_table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["show_scores"]

_COLUMNS = 3


def show_scores(rows: "pd.DataFrame") -> None:
    """Print the scores of each condition; of many conditions, what sums them up."""
    first = rows.iloc[0]
    contexts = rows["context"].unique()
    where = ", ".join(contexts) if len(contexts) <= _COLUMNS else f"{len(contexts)} contexts"
    parts = [label(first["model"], first["profile"]), where, f"seed {first['seed']}", first["dataset"]]
    table = Table(title=Text(", ".join(part for part in parts if part)), title_justify="left")
    table.add_column("metric", no_wrap=True)
    named = rows.assign(condition=_conditions(rows))
    named["shown"] = list(map(_shown, named["value"], named["low"], named["high"]))
    if not named[["floor", "ceiling"]].notna().any(axis=None):
        named = named.drop(columns=["floor", "ceiling", "scaled"])
    n_conditions = len(named["condition"].unique())
    lay_out = _alone if n_conditions == 1 else _one_by_one if n_conditions <= _COLUMNS else _summed_up
    lay_out(named, table)
    show_table(table)


def _alone(named: "pd.DataFrame", table: Table) -> None:
    """Give the scores of one condition, their floor, their ceiling and their place between them."""
    limits = "scaled" in named
    for column in (str(named["condition"].iloc[0]), *(("floor", "ceiling", "scaled") if limits else ())):
        table.add_column(Text(column), justify="right")
    for row in named.to_dict(orient="records"):
        cells = [f"{row['floor']:.6f}", f"{row['ceiling']:.6f}", _place(row["scaled"])] if limits else []
        table.add_row(row["metric"], Text(row["shown"]), *cells)
    for name, words in (("n_predicted", "predicted cells"), ("n_true", "measured cells")):
        table.add_row(words, f"{named[name].iloc[0]:,}")


def _one_by_one(named: "pd.DataFrame", table: Table) -> None:
    """Give each condition a column, and one for its place between floor and ceiling."""
    limits = "scaled" in named
    shown = list(named["condition"].unique())
    for condition in shown:
        table.add_column(Text(condition), justify="right")
        if limits:
            table.add_column("scaled", justify="right", style="dim")
    by = named.set_index(["metric", "condition"])
    for metric in named["metric"].unique():
        cells = []
        for condition in shown:
            row = by.loc[(metric, condition)] if (metric, condition) in by.index else None
            cells.append(Text("" if row is None else row["shown"]))
            cells += [Text("" if row is None else _place(row["scaled"]))] if limits else []
        table.add_row(str(metric), *cells)
    for name, words in (("n_predicted", "predicted cells"), ("n_true", "measured cells")):
        counts = named.groupby("condition", sort=False)[name].first()
        table.add_row(words, *(cell for one in shown for cell in (f"{counts[one]:,}", "")[: 1 + limits]))


def _summed_up(named: "pd.DataFrame", table: Table) -> None:
    """Give mean and extremes, the mean floor and ceiling, and the share of conditions in which the floor is beaten."""
    from pb_eval.goals import goals_of, merits

    limits = "scaled" in named
    for head in ("mean", "lowest", "highest", *(("floor", "ceiling", "beats floor") if limits else ())):
        table.add_column(head, justify="right")
    if limits:
        goals = goals_of(named)
        named = named.assign(beats=merits(named, goals) > merits(named, goals, "floor"))
    for metric, of_metric in named.groupby("metric", sort=False):
        value = of_metric["value"]
        numbers = [value.mean(), value.min(), value.max()]
        cells = [
            f"{number:.4f}" for number in (numbers + [of_metric[name].mean() for name in ("floor", "ceiling")] * limits)
        ]
        table.add_row(str(metric), *cells, *([f"{of_metric['beats'].mean():.0%}"] if limits else []))
    table.add_row("conditions", f"{named['condition'].nunique():,}")


def _conditions(rows: "pd.DataFrame") -> "pd.Series[str]":
    """Name each row's condition: the perturbation, its dose if it has one, and the context where there are several."""
    doses = rows["dose"].map(lambda dose: "" if dose != dose else f" {dose:g}")
    contexts = ", " + rows["context"] if len(rows["context"].unique()) > 1 else ""
    return rows["perturbation"].astype(str) + doses + contexts


def _shown(value: float, low: float, high: float) -> str:
    """Write a value, with its interval where it has one."""
    return f"{value:.6f}" if isnan(low) else f"{value:.6f} [{low:.4g}, {high:.4g}]"


def _place(scaled: float) -> str:
    """Write a scaled score; `-` where the ceiling is no better than the floor."""
    return "-" if isnan(scaled) else f"{scaled:.3f}"

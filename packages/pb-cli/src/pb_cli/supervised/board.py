"""Leaderboards of losses as rich tables, and what they say in words."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from pb_cli.console import messages, output, show_table
from pb_cli.costs import Cost, cost_cells, cost_heads
from pb_cli.supervised.comparison import Board, gaps

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["board_dict", "markdown", "show_boards"]

LEVEL = 0.05


def show_boards(
    boards: Sequence[Board], claims: Mapping[str, str], costs: Mapping[tuple[str, str], Cost] | None = None
) -> None:
    """Print a table for each kind of folds and noise, what it supports, and the gap between kinds of folds."""
    for board in boards:
        show_table(_table(board, costs or {}))
        for line in words(board):
            messages.print(line, soft_wrap=True)
        kind = board.split.partition(",")[0]
        if kind in claims:
            messages.print(f"Folds {kind} support: {claims[kind]}.", soft_wrap=True)
    if rows := gaps(boards):
        show_table(_gap_table(rows, boards[0]))
    output.print(
        Text(
            "mean ± standard deviation over folds; bold: best; dim: baselines; ‡: no better than a baseline",
            style="dim",
        )
    )


def words(board: Board) -> list[str]:
    """Say which losses the best cannot be told from, which do not beat the baselines, and which have no score."""
    first = board.table["metric"].iloc[0]
    rows = board.table[(board.table["metric"] == first) & ~board.table["is_baseline"]]
    if rows.empty:
        return []
    if rows["mean"].isna().all():
        return [f"No loss has a {first} in all folds: trainings diverged, or it is undefined there."]
    best = rows["model"].iloc[0]
    told = rows[rows["mean"].notna() & (rows["model"] != best)]
    alike = told[~(told["p_corrected"] < LEVEL)]["model"].tolist()
    weak = rows[rows["mean"].notna() & (rows["beats_baselines"] == False)]["model"].tolist()  # noqa: E712 - the column holds None, too
    lines = [f"Best loss by {first}: {best}."]
    if alike:
        tested = f"not distinguishable from it (paired t-test over folds, Holm, {LEVEL})"
        lines = [f"Best loss by {first}: {best}; {tested}: {', '.join(alike)}."]
    if weak and board.table["is_baseline"].any():
        lines.append(f"No better than the best baseline by {first}: {', '.join(weak)}.")
    if none := rows[rows["mean"].isna()]["model"].tolist():
        why = "in some fold all trainings diverged, or it is undefined there"
        lines.append(f"Without a {first} to compare ({why}): {', '.join(none)}.")
    return lines


def board_dict(boards: Sequence[Board]) -> dict[str, Any]:
    """Return boards and gaps as plain data."""
    return {
        "boards": [
            {"dataset": board.dataset, "split": board.split, "words": words(board), "rows": _records(board.table)}
            for board in boards
        ],
        "gaps": gaps(boards),
    }


def markdown(boards: Sequence[Board]) -> str:
    """Write the boards as Markdown tables, mean (standard deviation) over folds, and the gap between kinds of folds."""
    parts = []
    for board in boards:
        metrics = list(dict.fromkeys(board.table["metric"]))
        lines = [f"## {board.dataset}, folds {board.split}", "", "| model | " + " | ".join(metrics) + " |"]
        lines.append("|" + "---|" * (len(metrics) + 1))
        for model, cells in _by_model(board).items():
            values = [f"{cells[m]['mean']:.3f} ({cells[m]['sd']:.3f})" if m in cells else "-" for m in metrics]
            lines.append(f"| {model}{_mark(cells[metrics[0]])} | {' | '.join(values)} |")
        parts.append("\n".join([*lines, "", *words(board)]))
    if rows := gaps(boards):
        parts.append(_gap_markdown(rows))
    return "\n\n".join(parts) + "\n"


def _table(board: Board, costs: Mapping[tuple[str, str], Cost]) -> Table:
    metrics = list(dict.fromkeys(board.table["metric"]))
    heads = cost_heads(costs)
    shown = metrics[: max(2, (output.width - 20 - 11 * len(heads)) // 17)]
    table = Table(title=f"{board.dataset}, folds {board.split}", title_justify="left", title_style="bold")
    table.add_column("model", overflow="fold")
    for name in shown:
        table.add_column(f"{name} {_arrow(name)}", justify="right")
    for head in heads:
        table.add_column(head, justify="right", style="dim")
    for model, cells in _by_model(board).items():
        first = cells[metrics[0]]
        style = "dim" if first["is_baseline"] else ""
        cost = map(Text, cost_cells(costs, (model, "default")))
        table.add_row(Text(f"{model}{_mark(first)}", style=style), *(_cell(cells.get(n)) for n in shown), *cost)
    return table


def _gap_table(rows: list[dict[Any, Any]], board: Board) -> Table:
    """Lay the first metric out: seen against unseen genes."""
    first = board.table["metric"].iloc[0]
    table = Table(title=f"{first}: cells of seen genes against unseen genes", title_justify="left", title_style="bold")
    for name in ("model", "folds", "seen genes", "unseen genes", "gap"):
        table.add_column(name)
    for row in rows:
        if row["metric"] == first:
            seen, unseen = row["seen_genes"], row["unseen_genes"]
            values = (f"{seen:.3f}", f"{unseen:.3f}", f"{unseen - seen:+.3f}")
            table.add_row(row["model"], row["folds"], *values)
    return table


def _gap_markdown(rows: list[dict[Any, Any]]) -> str:
    lines = ["## Cells of seen genes against unseen genes", "", "| model | metric | folds | seen | unseen | gap |"]
    lines.append("|" + "---|" * 6)
    for row in rows:
        seen, unseen = row["seen_genes"], row["unseen_genes"]
        head = f"| {row['model']} | {row['metric']} | {row['folds']} |"
        lines.append(f"{head} {seen:.3f} | {unseen:.3f} | {unseen - seen:+.3f} |")
    return "\n".join(lines)


def _by_model(board: Board) -> dict[str, dict[str, dict[str, Any]]]:
    """Rows by model, best first by the first metric, then by metric."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in board.table.to_dict(orient="records"):
        found.setdefault(str(row["model"]), {})[str(row["metric"])] = {str(key): value for key, value in row.items()}
    return found


def _cell(cell: dict[str, Any] | None) -> Text:
    if cell is None or math.isnan(cell["mean"]):
        return Text("undefined" if cell else "-", style="dim")
    return Text(f"{cell['mean']:.3f} ±{cell['sd']:.3f}", style="bold" if cell["best"] else "")


def _mark(cell: dict[str, Any]) -> str:
    return " ‡" if cell["beats_baselines"] is False else ""


def _arrow(metric: str) -> str:
    from pb_eval.supervised import SUPERVISED

    return "↑" if SUPERVISED[metric].direction == "higher" else "↓"


def _records(table: "pd.DataFrame") -> list[dict[str, Any]]:
    return [{str(key): value for key, value in record.items()} for record in table.to_dict(orient="records")]

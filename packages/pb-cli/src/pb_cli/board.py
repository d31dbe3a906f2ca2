"""The leaderboard as rich tables: scores, then gains over the best baseline."""

import math
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from pb_cli.console import messages, output, show_table
from pb_cli.costs import KIND, cost_cells, cost_heads

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from pb_eval import Comparison, Leaderboard

    from pb_cli.costs import Cost

    Costs = Mapping[tuple[str, str], Cost]

__all__ = ["SHOWN", "board_of", "comparison_of", "gain_text", "known_baselines", "label", "number", "show_board"]

SHOWN = (
    "r2_mean_all",
    "r2_mean_top100",
    "pearson_delta",
    "edistance",
    "overlap_top100",
    "mse_mean",
    "direction_match",
    "variance_ratio",
)
CEILING = "ceiling (replicate)"
_COST_WIDTH = 11
_ARROWS = {"higher": "↑", "lower": "↓", "target": "→"}


def board_of(results: "pd.DataFrame") -> "Leaderboard":
    """Rank the models of a results table; the registry says which of them are baselines."""
    from pb_eval import leaderboard

    return leaderboard(results, known_baselines(results))


def comparison_of(results: "pd.DataFrame") -> "Comparison":
    """Test all pairs of models of a results table."""
    from pb_eval import compare

    return compare(results, known_baselines(results))


def known_baselines(results: "pd.DataFrame") -> list[str]:
    """Name the models of a results table that the registry knows as baselines."""
    from pb_models.registry import model_entries

    entries = model_entries()
    return [name for name in results["model"].unique() if name in entries and entries[name].is_baseline]


def show_board(board: "Leaderboard", comparison: "Comparison | None" = None, costs: "Costs | None" = None) -> None:
    """Print mean scores with their spread over seeds, the gains, and what was left out to compare equals.

    With paired tests, ranks that ties share, and intervals of the gains; with costs, what each model took.
    """
    costs = costs or {}
    metrics = _fitting(board, [name for name in SHOWN if name in board.goals] or list(board.goals), costs)
    n_units = int(board.table["n_units"].max())
    first = next(iter(board.goals))
    if comparison is not None and (first not in comparison.verdicts or not comparison.verdicts[first].n_pairs):
        comparison = None  # one model alone
    ranks = {} if comparison is None else _ranks(comparison, first)
    title = f"Mean over {n_units} held-out unit{'s' * (n_units != 1)}, by {first}"
    show_table(_scores(board, metrics, title, ranks, costs))
    if not board.table["is_baseline"].all() and any(board.best_baseline.values()):
        show_table(_gains(board, metrics, {} if comparison is None else _bounds(comparison)))
    output.print(_legend(board, metrics, ranked=bool(ranks), costs=bool(costs)))
    if comparison is not None:
        messages.print(f"{first}: {comparison.verdicts[first].words}", soft_wrap=True)
    if caveats := _caveats(metrics):
        output.print(caveats)
    if hidden := len(board.goals) - len(metrics):
        messages.print(f"{hidden} more metrics in results.csv, and with --json.")
    for row in board.dropped[board.dropped["metric"].isin(metrics)].itertuples():
        messages.print(
            f"{row.metric}: {row.context}, {row.perturbation} left out for all: {row.reason}", soft_wrap=True
        )


def _fitting(board: "Leaderboard", metrics: list[str], costs: "Costs") -> list[str]:
    """Take the first metrics that fit the width of the terminal, at least two."""
    width = 17 if board.table["spread"].notna().any() else 12
    return metrics[: max(2, (output.width - 21 - _COST_WIDTH * len(cost_heads(costs))) // width)]


def label(model: object, profile: object) -> str:
    """Name a model with its profile, where it has more than one."""
    return str(model) if profile == "default" else f"{model} ({profile})"


def _ranks(comparison: "Comparison", metric: str) -> dict[Any, str]:
    """Write rank and letters of each model by one metric."""
    rows = comparison.models[comparison.models["metric"] == metric].dropna(subset=["rank"])
    return {(row["model"], row["profile"]): f"{row['rank']:.0f} {row['groups']}" for _, row in rows.iterrows()}


def _bounds(comparison: "Comparison") -> dict[Any, tuple[float, float]]:
    """Intervals of the gains by model, profile and metric."""
    rows = comparison.models.to_dict(orient="records")
    return {(row["model"], row["profile"], row["metric"]): (row["gain_low"], row["gain_high"]) for row in rows}


def _scores(board: "Leaderboard", metrics: list[str], title: str, ranks: dict[Any, str], costs: "Costs") -> Table:
    """Lay out models x metrics, then costs; best value bold, best baseline marked with a star."""
    table = _table(board, metrics, title, ranked=bool(ranks))
    for head in cost_heads(costs):
        table.add_column(head, justify="right", style="dim")
    for (model, profile), rows in board.table.groupby(["model", "profile"], sort=False):
        cells: dict[Any, dict[Any, Any]] = rows.set_index("metric").to_dict(orient="index")
        style = "dim" if rows["is_baseline"].any() else ""
        values = [_value(cells[name], best_baseline=board.best_baseline[name] == (model, profile)) for name in metrics]
        rank = [Text(ranks.get((model, profile), ""))] if ranks else []
        cost = map(Text, cost_cells(costs, (str(model), str(profile))))
        table.add_row(Text(label(model, profile), style=style), *rank, *values, *cost)
    if not all(math.isnan(board.ceilings[name]) for name in metrics):
        table.add_section()
        empty = [Text("")] if ranks else []
        table.add_row(Text(CEILING, style="italic"), *empty, *(_limit(board.ceilings[name]) for name in metrics))
    return table


def _limit(value: float) -> Text:
    """Write a mean ceiling."""
    return Text("-" if math.isnan(value) else number(value) + " ", style="italic")


def _value(cell: dict[Any, Any], *, best_baseline: bool) -> Text:
    """Write one score: mean, spread over seeds where there is one, a star on the best baseline."""
    mean, spread = cell["mean"], cell["spread"]
    if math.isnan(mean):
        return Text("undefined" if cell["n_nan"] else "missing", style="dim")
    text = number(mean) + ("" if math.isnan(spread) else f" ±{number(spread)}") + ("*" if best_baseline else " ")
    return Text(text, style="bold" if cell["best"] else "")


def _gains(board: "Leaderboard", metrics: list[str], bounds: dict[Any, tuple[float, float]]) -> Table:
    """Lay out how much better than the best baseline each model is; green where it is, red where it is not."""
    table = _table(board, metrics, "Gain over each metric's best baseline (positive: better)")
    models = board.table[~board.table["is_baseline"]]
    for (model, profile), rows in models.groupby(["model", "profile"], sort=False):
        gains = rows.set_index("metric")["gain"]
        none = (math.nan, math.nan)
        cells = [gain_text(float(gains[name]), *bounds.get((model, profile, name), none)) for name in metrics]
        table.add_row(label(model, profile), *cells)
    return table


def gain_text(value: float, low: float = math.nan, high: float = math.nan) -> Text:
    """Write one gain with its sign, and its interval below; green where it is above 0, red where it is not."""
    if math.isnan(value):
        return Text("-", style="dim")
    text = Text(_signed(value) + " ", style="green" if value > 0 else "red")
    return text if math.isnan(low) else text.append(f"\n{_signed(low)} to {_signed(high)}", style="dim")


def _signed(value: float) -> str:
    return ("+" if value >= 0 else "-") + number(abs(value))


def _table(board: "Leaderboard", metrics: list[str], title: str, *, ranked: bool = False) -> Table:
    """Start a table with a column for models and one for each metric."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    table.add_column("model", overflow="fold")
    if ranked:
        table.add_column("rank")
    for name in metrics:
        first, _, last = name.rpartition("_")
        arrow = _ARROWS[board.goals[name].direction]
        table.add_column(f"{first}\n{last} {arrow}" if first else f"{last} {arrow}", justify="right")
    return table


def _legend(board: "Leaderboard", metrics: list[str], *, ranked: bool, costs: bool) -> Text:
    """Explain the marks that were used."""
    parts = ["↑ higher is better", "↓ lower is better", "bold: best", "*: best baseline", "dim: baselines"]
    if board.table["spread"].notna().any():
        parts.append("±: standard deviation over seeds")
    if not all(math.isnan(board.ceilings[name]) for name in metrics):
        parts.append("ceiling: what a repeat of the measurement scores")
    if ranked:
        parts.append("rank: models that share a letter do not differ")
    if costs:
        parts.append(f"time: of fit and prediction; {KIND}")
    if any(board.goals[name].direction == "target" for name in metrics):
        parts.append("→ nearest to its target is best")
    return Text("; ".join(parts), style="dim")


def _caveats(metrics: list[str]) -> Text | None:
    """Say what the shown metrics fall for, by the audit's cases."""
    from pb_eval import get_metric

    said = [f"{name} {caveat}" for name in metrics if (caveat := get_metric(name).caveat)]
    return Text(f"faults found by pb eval audit: {'; '.join(said)}", style="dim") if said else None


def number(value: float) -> str:
    """Three decimals; two digits where that would show nothing but zeros, three where it would show many before them.

    >>> number(0.5), number(0.00123), number(-9.43e31)
    ('0.500', '0.0012', '-9.43e+31')
    """
    if 1e6 <= abs(value) < math.inf:
        return f"{value:.3g}"
    return f"{value:.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2g}"

"""The leaderboard of a report, and what it says in words."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pb_cli.board import SHOWN, board_of, comparison_of, label, number
from pb_cli.costs import KIND, summarise
from pb_cli.report.blocks import Block, Cell, Column, Prose, Row, Table
from pb_cli.report.material import Material, records

if TYPE_CHECKING:
    import pandas as pd
    from pb_eval import Comparison, Leaderboard

__all__ = ["ARROWS", "Standing", "findings", "gain_table", "mean_of", "score_table", "signed", "spent", "standing_of"]

ARROWS = {"higher": "↑", "lower": "↓", "target": "→"}


class _Kind(NamedTuple):
    """How a cost is shown: its head, the unit it is divided by, the form of the number."""

    head: str
    unit: float
    form: str


_COSTS = {
    "fit_seconds": _Kind("fit, s", 1, ".1f"),
    "predict_seconds": _Kind("predict, s", 1, ".2f"),
    "cpu_seconds": _Kind("processor, s", 1, ".1f"),
    "peak_memory_bytes": _Kind("memory, MiB", 2**20, ",.0f"),
    "peak_gpu_memory_bytes": _Kind("GPU memory, MiB", 2**20, ",.0f"),
    "n_parameters": _Kind("parameters", 1, ",.0f"),
}


class Standing(NamedTuple):
    """The models of a run held against each other, by the metrics to show, the first of which ranks."""

    board: "Leaderboard"
    comparison: "Comparison"
    shown: list[str]

    @property
    def first(self) -> str:
        """The metric that ranks."""
        return self.shown[0]

    def rows(self, metric: str) -> "pd.DataFrame":
        """Return the comparison of all models by one metric, best first."""
        return self.comparison.models[self.comparison.models["metric"] == metric]


def standing_of(material: Material, metrics: Sequence[str] = ()) -> Standing:
    """Rank the models of a run.

    Raises
    ------
    ValueError
        If a metric is not among the results.
    """
    from pb_eval import leaderboard

    from pb_cli.board import known_baselines

    present = list(dict.fromkeys(material.results["metric"]))
    shown = list(metrics) or [name for name in SHOWN if name in present] or present
    if metrics:
        leaderboard(material.results, known_baselines(material.results), shown)  # refuses unknown names
    first = shown[0]
    board = board_of(material.results)
    if next(iter(board.goals)) != first:
        order = [first, *(name for name in board.goals if name != first)]
        board = leaderboard(material.results, known_baselines(material.results), order)
    return Standing(board, comparison_of(material.results), shown)


def findings(standing: Standing) -> list[Block]:
    """Say in words whether any model beats the best baseline, and what the tests can tell."""
    board, first = standing.board, standing.first
    models = board.table[~board.table["is_baseline"]]
    best = board.best_baseline[first]
    if best is None or models.empty:
        no_bar = f"No baseline has a score by {first} in every unit: no model is held against one."
        words = no_bar if best is None else "The results are those of baselines only: no model is held against them."
        return [Prose(words, "warning"), *_tests(standing)]
    rows = models[models["metric"] == first]
    above = rows[rows["gain"] > 0]
    below = rows[~(rows["gain"] > 0)]
    bar = f"the best baseline, {label(*best)} ({number(mean_of(board, best, first))})"
    if above.empty:
        lead = Prose(f"By {first}, no model beats {bar}.", "warning")
    else:
        named = ", ".join(f"{label(row.model, row.profile)} by {number(row.gain)}" for row in records(above))
        lead = Prose(f"By {first}, {_count(len(above), len(rows))} better than {bar}: {named}.", "lead")
    said: list[Block] = [lead]
    if not above.empty and not below.empty:
        said.append(Prose(f"No better than the best baseline by {first}: {_listed(below)}.", "warning"))
    never = models[models["metric"].isin(standing.shown)].groupby(["model", "profile"], sort=False)["gain"].max()
    if (losers := [label(*row) for row in never.index[~(never > 0)]]) and len(standing.shown) > 1:
        words = f"Beaten by a baseline on each of the {len(standing.shown)} metrics shown: {', '.join(losers)}."
        said.append(Prose(words, "warning"))
    return [*said, *_sure(standing), *_tests(standing)]


def _count(n: int, of: int) -> str:
    return f"{n} of {of} models {'is' if n == 1 else 'are'}" if of > 1 else "the model is"


def _listed(rows: "pd.DataFrame") -> str:
    return ", ".join(label(row.model, row.profile) for row in records(rows))


def mean_of(board: "Leaderboard", row: tuple[str, str], metric: str) -> float:
    """Return a model's mean score."""
    table = board.table.set_index(["model", "profile", "metric"])["mean"]
    return float(table[(*row, metric)])


def _sure(standing: Standing) -> list[Block]:
    """Say whose gain is sure to be above or below 0."""
    rows = standing.rows(standing.first)
    rows = rows[~rows["is_baseline"].astype(bool)]
    if rows["gain_low"].isna().all():
        n = (
            standing.comparison.verdicts[standing.first].n_units
            if standing.first in standing.comparison.verdicts
            else 0
        )
        words = f"Gains have no interval: it needs six split units, and here {'is' if n == 1 else 'are'} {n}."
        return [Prose(words, "note")]
    words = "The interval of the gain lies above 0 for {}, and below 0 for {} (95 %, each by itself)."
    return [Prose(words.format(*(_listed(part) or "none" for part in (_above(rows), _below(rows)))), "note")]


def _above(rows: "pd.DataFrame") -> "pd.DataFrame":
    return rows[rows["gain_low"] > 0]


def _below(rows: "pd.DataFrame") -> "pd.DataFrame":
    return rows[rows["gain_high"] < 0]


def _tests(standing: Standing) -> list[Block]:
    """Repeat what the paired tests say."""
    verdict = standing.comparison.verdicts.get(standing.first)
    return [] if verdict is None else [Prose(f"Paired tests by {standing.first}: {verdict.words}", "note")]


def score_table(standing: Standing, costs: "pd.DataFrame") -> Table:
    """Lay out ranks, mean scores, the gain by the first metric, and costs; ceilings stand among the models."""
    board, shown = standing.board, standing.shown
    arrows = [f"{name} {ARROWS[board.goals[name].direction]}" for name in shown]
    columns = [Column("rank"), Column("model", is_number=False), *map(Column, arrows)]
    heads, cost_cells = spent(costs)
    columns += [Column(f"gain by {standing.first}"), *map(Column, heads)]
    ranks = standing.rows(standing.first).set_index(["model", "profile"]).to_dict(orient="index")
    rows, unknown = [], [Cell("")] * len(heads)
    for key, cells in _cells(board).items():
        means = [_score(cells[name], is_floor=board.best_baseline[name] == key) for name in shown]
        gain = _gain(cells[standing.first], ranks.get(key, {}))
        name = Cell(label(*key), note="baseline" if cells[standing.first]["is_baseline"] else "")
        kind: Any = "baseline" if name.note else ""
        rows.append(
            Row([_rank(ranks.get(key, {})), name, *means, gain, *cost_cells.get(key, [Cell("")] * len(heads))], kind)
        )
    if not all(math.isnan(board.ceilings[name]) for name in shown):
        limits = [_number(board.ceilings[name]) for name in shown]
        name = Cell("ceiling", note="a repeat of the measurement")
        rows.append(Row([Cell(""), name, *limits, Cell(""), *unknown], "ceiling"))
    n_units = int(board.table["n_units"].max())
    caption = (
        f"Mean over {n_units} held-out unit{'s' * (n_units != 1)}, ± standard deviation over seeds. Bold: best; "
        "*: best baseline. Rank: 1 + the number of models that are significantly better, so that ties share it; models "
        f"with a common letter do not differ. Costs: {KIND}."
    )
    return Table(caption, columns, rows, can_filter=True)


def _cells(board: "Leaderboard") -> dict[tuple[str, str], dict[str, dict[Any, Any]]]:
    """Rows of the board by model, then by metric."""
    found: dict[tuple[str, str], dict[str, dict[Any, Any]]] = {}
    for row in board.table.to_dict(orient="records"):
        found.setdefault((row["model"], row["profile"]), {})[row["metric"]] = row
    return found


def _score(cell: dict[Any, Any], *, is_floor: bool) -> Cell:
    """Write a mean with its spread over seeds."""
    if math.isnan(cell["mean"]):
        return Cell("undefined" if cell["n_nan"] else "missing", math.nan)
    note = "" if math.isnan(cell["spread"]) else f"± {number(cell['spread'])}"
    return Cell(number(cell["mean"]) + "*" * is_floor, cell["mean"], note, "best" if cell["best"] else "")


def _rank(row: dict[Any, Any]) -> Cell:
    rank = row.get("rank", math.nan)
    return Cell("") if math.isnan(rank) else Cell(f"{rank:.0f}", rank, row["groups"])


def _gain(cell: dict[Any, Any], compared: dict[Any, Any]) -> Cell:
    """Write a gain with its interval; nothing for baselines."""
    value = float(cell["gain"])
    if cell["is_baseline"] or math.isnan(value):
        return Cell("")
    low, high = compared.get("gain_low", math.nan), compared.get("gain_high", math.nan)
    note = "" if math.isnan(low) else f"{signed(low)} to {signed(high)}"
    return Cell(signed(value), value, note, "good" if value > 0 else "bad")


def signed(value: float) -> str:
    """Write a number with its sign.

    >>> signed(0.25), signed(-0.5)
    ('+0.250', '−0.500')
    """
    return ("+" if value >= 0 else "−") + number(abs(value))


def _number(value: float) -> Cell:
    return Cell("", math.nan) if math.isnan(value) else Cell(number(value), value)


def spent(costs: "pd.DataFrame") -> tuple[list[str], dict[Any, list[Cell]]]:
    """Write what each model's tasks have cost, and the heads of those costs that are known of any."""
    found = summarise(costs)
    known = [name for name in _COSTS if any(not math.isnan(getattr(cost, name)) for cost in found.values())]
    cells = {
        key: [_cost(getattr(cost, name) / _COSTS[name].unit, _COSTS[name].form) for name in known]
        for key, cost in found.items()
    }
    return [_COSTS[name].head for name in known], cells


def _cost(value: float, form: str) -> Cell:
    return Cell("", math.nan) if math.isnan(value) else Cell(format(value, form), value)


def gain_table(standing: Standing) -> Table | None:
    """Lay out the gains over each metric's best baseline with their intervals; None where there are only baselines."""
    board = standing.board
    bounds = {
        (row["model"], row["profile"], row["metric"]): row
        for row in standing.comparison.models.to_dict(orient="records")
    }
    rows = [
        Row([Cell(label(*key)), *(_gain(cells[name], bounds.get((*key, name), {})) for name in standing.shown)])
        for key, cells in _cells(board).items()
        if not cells[standing.first]["is_baseline"]
    ]
    if not rows or not any(board.best_baseline.values()):
        return None
    columns = [Column("model", is_number=False), *map(Column, standing.shown)]
    caption = "Gain over each metric's best baseline (positive: better); from six split units on with its 95 % interval"
    return Table(caption, columns, rows)

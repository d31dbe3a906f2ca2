"""One metric after the other: by held-out unit, over seeds, over doses, and which models differ."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from pb_cli.board import label, number
from pb_cli.report.blocks import Block, Cell, Column, Figure, Fold, Prose, Row, Table
from pb_cli.report.leaderboard import ARROWS, Standing, mean_of
from pb_cli.report.plots import Strip, line_figure, strip_figure
from pb_cli.report.svg import inline_svg

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["definition", "heat_table", "metric_blocks", "metric_folds", "registry_table"]

MODEL = ["model", "profile"]
_UNITS = 40  # columns of a heat map
_LINES = 7  # models in colour


def metric_folds(standing: Standing, results: "pd.DataFrame", say: Callable[[str], None]) -> list[Block]:
    """Give every metric of a run a fold of its own; the one that ranks is open."""
    names = [standing.first, *(name for name in standing.board.goals if name != standing.first)]
    folds: list[Block] = []
    for place, name in enumerate(names, 1):
        say(f"metric {place} of {len(names)}: {name}")
        folds.append(Fold(name, metric_blocks(standing, results, name), is_open=name == standing.first))
    return folds


def metric_blocks(standing: Standing, results: "pd.DataFrame", metric: str) -> list[Block]:
    """Say all of one metric, with figures."""
    rows = results[results["metric"] == metric]
    blocks: list[Block] = [Prose(definition(metric)), heat_table(standing, rows, metric)]
    order = _ranked(standing, metric)
    if order:
        blocks.append(_strips(standing, rows, metric, order))
    if len(rows["dose"].dropna().unique()) > 1:
        blocks.append(_doses(standing, rows, metric, order))
    verdict = standing.comparison.verdicts.get(metric)
    if verdict is not None and verdict.n_models > 1:
        blocks.append(_differences(standing, metric))
    return blocks


def definition(name: str) -> str:
    """Say what a metric is, which way it is better, and what the audit found."""
    from pb_eval import get_metric

    metric = get_metric(name)
    better = {"higher": "Higher is better", "lower": "Lower is better", "target": "Nearest to its target is best"}
    perfect = "" if np.isnan(metric.perfect) else f", perfect is {metric.perfect:g}"
    marks = f" The audit found it {metric.caveat}." if metric.caveat else " The audit found no fault."
    words = metric.definition[:1].upper() + metric.definition[1:].rstrip(".")
    return f"{words}. {better[metric.direction]}{perfect}.{marks}"


def heat_table(standing: Standing, rows: "pd.DataFrame", metric: str) -> Table:
    """Lay scores out by model and held-out unit, means over seeds, shaded from the worst to the best of the table."""
    rows = rows.assign(unit=_unit_names(rows))
    units = list(dict.fromkeys(rows.sort_values(["context", "perturbation", "dose"])["unit"]))
    wide = rows.pivot_table(index=MODEL, columns="unit", values="value", sort=False)
    order = [key for key in _all_models(standing, metric) if key in wide.index]
    wide = wide.reindex(index=order, columns=units[:_UNITS])
    shades = _shades(wide.to_numpy(), standing, metric)
    baselines = set(standing.board.table.loc[standing.board.table["is_baseline"], "model"])
    body = [
        Row(
            [Cell(label(*key)), *(_shaded(v, s) for v, s in zip(values, shade, strict=True))],
            "baseline" if key[0] in baselines else "",
        )
        for key, values, shade in zip(order, wide.to_numpy(), shades, strict=True)
    ]
    left_out = f" The first {_UNITS} of {len(units)} units; all are in results.csv." if len(units) > _UNITS else ""
    caption = f"{metric} by held-out unit, mean over seeds.{left_out}"
    return Table(caption, [Column("model", is_number=False), *map(Column, wide.columns)], body)


def _unit_names(rows: "pd.DataFrame") -> "pd.Series[Any]":
    """Name units by what differs between them."""
    varying = [name for name in ("context", "perturbation", "dose") if len(rows[name].unique()) > 1] or ["context"]
    texts = rows[varying].astype(str)
    if "dose" in varying:
        texts["dose"] = rows["dose"].map("{:g}".format)
    return texts.agg(", ".join, axis=1)


def _shades(values: Any, standing: Standing, metric: str) -> Any:
    """Place merits between the worst and the best of a table, 0 to 1."""
    goal = standing.board.goals[metric]
    merit = {"higher": values, "lower": -values, "target": -np.abs(values - goal.perfect)}[goal.direction]
    if not np.isfinite(merit).any():
        return np.full(values.shape, np.nan)
    low, high = np.nanmin(merit), np.nanmax(merit)
    return (merit - low) / (high - low) if high > low else np.where(np.isnan(merit), np.nan, 0.5)


def _shaded(value: float, shade: float) -> Cell:
    if np.isnan(value):
        return Cell("–", float("nan"))
    return Cell(number(float(value)), float(value), heat=round(float(shade), 2))


def _all_models(standing: Standing, metric: str) -> list[tuple[str, str]]:
    """Models in ranking order by one metric, those without a score in every unit last."""
    table = standing.board.table[standing.board.table["metric"] == metric]
    ranked = table.sort_values("merit", ascending=False, kind="stable", na_position="last")
    return list(zip(ranked["model"], ranked["profile"], strict=True))


def _ranked(standing: Standing, metric: str) -> list[tuple[str, str]]:
    """Models that have a mean by one metric, best first."""
    table = standing.board.table[(standing.board.table["metric"] == metric) & standing.board.table["mean"].notna()]
    return [
        key for key in _all_models(standing, metric) if key in set(zip(table["model"], table["profile"], strict=True))
    ]


def _strips(standing: Standing, rows: "pd.DataFrame", metric: str, order: list[tuple[str, str]]) -> Figure:
    """Draw each model's scores: a mark for each unit's mean over seeds, a dot for each seed's mean over units."""
    board = standing.board
    baselines = set(board.table.loc[board.table["is_baseline"], "model"])
    by_model = dict(list(rows.assign(unit=_unit_names(rows)).groupby(MODEL)))
    strips = []
    for key in order:
        own = by_model[key]
        units, seeds = (own.groupby(name)["value"].mean().to_numpy() for name in ("unit", "seed"))
        strips.append(Strip(label(*key), units, seeds, key[0] in baselines))
    lines = {"ceiling": board.ceilings[metric]}
    if (best := board.best_baseline[metric]) is not None:
        lines = {"best baseline": mean_of(board, best, metric), **lines}
    words = ("held-out units (mean over seeds)", "seeds (mean over units)")
    return strip_figure(strips, f"{metric} {ARROWS[board.goals[metric].direction]}", lines, words, f"strip {metric}")


def _doses(standing: Standing, rows: "pd.DataFrame", metric: str, order: list[tuple[str, str]]) -> Figure:
    """Draw scores over doses, means over contexts and seeds: the best models and the best baseline in colour.

    Other baselines follow where there are few models.
    """
    table = rows.groupby([*MODEL, "dose"])["value"].mean().unstack("dose")  # noqa: PD010 - nothing to aggregate
    names = {key: label(*key) for key in table.index}
    best = standing.board.best_baseline[metric]
    baselines = set(standing.board.table.loc[standing.board.table["is_baseline"], "model"])
    others = sorted((key for key in order if key != best), key=lambda key: key[0] in baselines)
    chosen = others[: _LINES - 1] + ([best] if best is not None else [])
    table.index = [names[key] for key in table.index]
    return line_figure(table, metric, "dose", [names[key] for key in chosen], f"dose {metric}")


def _differences(standing: Standing, metric: str) -> Figure:
    """Draw the critical-difference diagram."""
    from pb_eval.critical_difference import critical_difference, describe

    svg = inline_svg(critical_difference(standing.comparison, metric), f"ranks {metric}")
    caption = f"{metric}: mean ranks; a bar joins models that do not differ"
    return Figure(svg, describe(standing.comparison, metric), caption)


def registry_table(names: list[str]) -> Table:
    """List metrics with their definition, range, perfect value and audit marks."""
    from pb_eval import get_metric

    heads = ("metric", "better", "range", "perfect", "genes", "space", "version", "definition", "audit")
    rows = []
    for name in names:
        metric = get_metric(name)
        low, high = metric.range
        perfect = Cell("", float("nan")) if np.isnan(metric.perfect) else Cell(f"{metric.perfect:g}", metric.perfect)
        texts = (metric.name, ARROWS[metric.direction], f"{low:g} to {high:g}")
        more = (
            metric.gene_set,
            metric.space,
            str(metric.version),
            metric.definition,
            metric.caveat or "no fault found",
        )
        rows.append(Row([*map(Cell, texts), perfect, *map(Cell, more)]))
    caption = "What each metric compares, and what pb eval audit found that it falls for"
    return Table(caption, [Column(head, is_number=False) for head in heads], rows, can_filter=True)

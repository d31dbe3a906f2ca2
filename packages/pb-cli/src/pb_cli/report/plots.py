"""The report's own figures: strips of scores, scores over doses, seen against unseen genes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pb_cli.board import number
from pb_cli.report.blocks import Figure
from pb_cli.report.material import records
from pb_cli.report.svg import INK, MUTED, PAPER, RULE, SERIES, STYLE, inline_svg

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = ["Strip", "gap_figure", "line_figure", "strip_figure"]

_ROW = 0.21  # inches
_LETTER = 0.068  # inches a letter of 9 points takes on average
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


class Strip(NamedTuple):
    """A row of a strip plot: small marks for units or folds, large ones for seeds; open where it is a baseline."""

    name: str
    small: "NDArray[np.float64]"
    large: "NDArray[np.float64]"
    is_baseline: bool


def strip_figure(
    strips: Sequence[Strip], metric: str, lines: "dict[str, float]", words: tuple[str, str], salt: str
) -> Figure:
    """Draw scores of models as strips, best on top, with lines such as the ceiling; `words` name small and large."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure, axes = _sheet(6.6, [strip.name for strip in strips], below=0.75)
        for row, strip in enumerate(strips):
            _strip(axes, row, strip)
        for (name, value), style in zip(lines.items(), ("--", ":", "-."), strict=False):
            if np.isfinite(value):
                axes.axvline(value, color=MUTED, linestyle=style, linewidth=1, label=f"{name}, {number(value)}")
        axes.scatter([], [], marker="|", s=40, color=MUTED, linewidths=0.8, label=words[0])
        if words[1]:
            axes.scatter([], [], s=22, color=SERIES[0], label=words[1])
        axes.set_xlabel(metric)
        figure.legend(loc="lower left", ncols=4, fontsize=8, handletextpad=0.3, columnspacing=1.2)
        svg = inline_svg(figure, salt)
    return Figure(svg, _strip_words(strips, metric, words), f"{metric}: spread of scores")


def _strip(axes: "Axes", row: int, strip: Strip) -> None:
    """Draw one row."""
    axes.axhline(row, color=RULE, linewidth=0.5, zorder=0)
    axes.scatter(strip.small, np.full(len(strip.small), row), marker="|", s=40, color=MUTED, linewidths=0.8, zorder=2)
    face, edge = (PAPER, MUTED) if strip.is_baseline else (SERIES[0], SERIES[0])
    axes.scatter(strip.large, np.full(len(strip.large), row), s=22, facecolor=face, edgecolor=edge, zorder=3)


def _strip_words(strips: Sequence[Strip], metric: str, words: tuple[str, str]) -> str:
    """Say what a strip plot shows."""
    rows = [f"{strip.name} {_range(strip.small)}" for strip in strips if np.isfinite(strip.small).any()]
    return f"Strip plot of {metric}, best model first; from lowest to highest over {words[0]}: {'; '.join(rows)}."


def _range(values: "NDArray[np.float64]") -> str:
    return f"{number(float(np.nanmin(values)))} to {number(float(np.nanmax(values)))}"


def line_figure(table: "pd.DataFrame", metric: str, axis: str, shown: Sequence[str], salt: str) -> Figure:
    """Draw scores (rows: models, columns: doses); those `shown` in colour with marks of their own, the others grey."""
    import matplotlib as mpl
    from matplotlib.figure import Figure as Sheet

    doses = table.columns.to_numpy(dtype=np.float64)
    with mpl.rc_context(STYLE):
        figure = Sheet(figsize=(6.6, 3.4))
        axes = figure.add_axes((0.1, 0.15, 0.62, 0.8))
        for name in table.index.difference(list(shown), sort=False):
            axes.plot(doses, table.loc[name], color=RULE, linewidth=1, zorder=1)
        for name, colour, marker in zip(shown, SERIES, _MARKERS, strict=False):
            axes.plot(doses, table.loc[name], color=colour, marker=marker, markersize=4, linewidth=1.4, label=name)
        if (doses > 0).all() and doses.max() >= 10 * doses.min():
            axes.set_xscale("log")
        axes.set_xticks(doses, [f"{dose:g}" for dose in doses])
        axes.minorticks_off()
        axes.set(xlabel=axis, ylabel=metric)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
        svg = inline_svg(figure, salt)
    parts = [
        f"{name} {', '.join(number(float(value)) for value in np.asarray(table.loc[name], dtype=float))}"
        for name in shown
    ]
    grey = " Other models are grey." if len(table) > len(shown) else ""
    listed = ", ".join(f"{dose:g}" for dose in doses)
    return Figure(svg, f"{metric} at {axis} {listed}: {'; '.join(parts)}.{grey}", f"{metric} over {axis}.{grey}")


def gap_figure(rows: "pd.DataFrame", metric: str, salt: str) -> Figure:
    """Draw each model's score on seen genes (open) and unseen genes (filled), joined by a line."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure, axes = _sheet(6.6, list(rows["model"]), below=0.75)
        places = np.arange(len(rows))
        axes.hlines(places, rows["seen_genes"], rows["unseen_genes"], color=MUTED, linewidth=1)
        axes.scatter(
            rows["seen_genes"], places, s=28, facecolor=PAPER, edgecolor=INK, zorder=3, label="cells of seen genes"
        )
        axes.scatter(rows["unseen_genes"], places, s=28, color=SERIES[1], zorder=3, label="unseen genes")
        axes.set_xlabel(metric)
        figure.legend(loc="lower left", ncols=2)
        svg = inline_svg(figure, salt)
    pairs = [f"{row.model} {number(row.seen_genes)} and {number(row.unseen_genes)}" for row in records(rows)]
    alt = f"{metric} on cells of seen genes, and on unseen genes: {'; '.join(pairs)}."
    return Figure(svg, alt, f"{metric}: cell-wise against gene-wise folds")


def _sheet(width: float, names: Sequence[str], below: float) -> "tuple[matplotlib.figure.Figure, Axes]":
    """Give axes with a named row for each model, first on top; `below` inches are kept for axis and legend."""
    from matplotlib.figure import Figure as Sheet

    height = 0.1 + _ROW * len(names) + below
    left = min(0.45, (0.25 + _LETTER * max(map(len, names))) / width)
    figure = Sheet(figsize=(width, height))
    axes = figure.add_axes((left, below / height, 0.98 - left, _ROW * len(names) / height))
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure, axes

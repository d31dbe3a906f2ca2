"""Critical-difference diagrams: mean ranks of models, and bars over those that do not differ."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from pb_eval._files import write_atomic

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pb_eval.comparison import Comparison

__all__ = ["FORMATS", "critical_difference", "describe", "write_figure"]

FORMATS = (".svg", ".png", ".pdf")

_MODEL, _BASELINE = "#1f4e79", "#8a8a8a"
_ROW = 0.26  # inches a model
_LANE = 0.045  # of the width of the axes, a bar


def critical_difference(comparison: Comparison, metric: str) -> Figure:
    """Draw the mean rank of each model, best on top, and a bar beside each run of models that do not differ.

    One row a model, so that thirty can be read as well as seven. Filled marks are models, open ones baselines. The bars
    are the groups of the comparison's pairwise tests (Demšar, 2006, figure 1a, turned on its
    side).

    Parameters
    ----------
    comparison
        From :func:`pb_eval.compare`.
    metric
        One that it holds.

    Raises
    ------
    ValueError
        For a metric that was not compared, or fewer than two models that could be.
    """
    from matplotlib.figure import Figure

    models = _ranked(comparison, metric)
    figure = Figure(figsize=(7.0, 1.5 + _ROW * len(models)), layout="constrained")
    axes = figure.add_subplot()
    rows = list(range(len(models)))
    for baseline, colour in ((False, _MODEL), (True, _BASELINE)):
        chosen = [row for row in rows if bool(models["is_baseline"].iloc[row]) == baseline]
        ranks = models["mean_rank"].iloc[chosen]
        axes.hlines(chosen, 1, ranks, color=colour, linewidth=0.6, alpha=0.5)
        face = "white" if baseline else colour
        kind = "baseline" if baseline else "model"
        axes.scatter(ranks, chosen, s=34, facecolor=face, edgecolor=colour, zorder=3, label=kind)
    _bars(axes, models)
    _frame(axes, models, comparison, metric)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # or each drawing would move things a little
    return figure


def describe(comparison: Comparison, metric: str) -> str:
    """Say in words what the diagram shows, for those who do not see it.

    Raises
    ------
    ValueError
        As :func:`critical_difference`.
    """
    models, verdict = _ranked(comparison, metric), comparison.verdicts[metric]
    listed = ", ".join(
        f"{name} {rank:.2f} ({letters})"
        for name, rank, letters in zip(_names(models), models["mean_rank"], models["groups"], strict=True)
    )
    return (
        f"Critical-difference diagram of {len(models)} models by {metric} over {verdict.n_units} split units. Mean "
        f"ranks, 1 is best; models that share a letter do not differ: {listed}. {verdict.words}"
    )


def write_figure(figure: Figure, path: Path | str, title: str, description: str) -> None:
    """Write a figure as SVG, PNG or PDF with its title and description inside, whole or not at all.

    The same figure gives the same bytes: no date is written, and identifiers in SVG are derived from the title.

    Raises
    ------
    ValueError
        For another suffix.
    OSError
        Where the folder does not exist or there is no room left.
    """
    import matplotlib as mpl

    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        msg = f"{path} ends in {suffix or 'no suffix'!r}: figures are {', '.join(FORMATS)} files."
        raise ValueError(msg)
    metadata = {
        ".svg": {"Title": title, "Description": description, "Date": None},
        ".png": {"Title": title, "Description": description},
        ".pdf": {"Title": title, "Subject": description, "CreationDate": None},
    }[suffix]
    image = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": title, "svg.fonttype": "none"}):
        figure.savefig(image, format=suffix[1:], dpi=150, metadata=metadata)
    with image.getbuffer() as view:  # released even where writing fails
        write_atomic(path, view)


def _ranked(comparison: Comparison, metric: str) -> pd.DataFrame:
    """Models of a metric that took part, best first."""
    models = comparison.models[comparison.models["metric"] == metric].dropna(subset=["mean_rank"])
    if len(models) < 2:
        compared = ", ".join(comparison.verdicts) or "none"
        msg = (
            f"there are {len(models)} models to draw by {metric!r}: give one of the metrics compared ({compared}), "
            "with two models or more that have a score in every split unit."
        )
        raise ValueError(msg)
    return models.reset_index(drop=True)


def _names(models: pd.DataFrame) -> list[str]:
    """Name models with their profiles, where they have more than one."""
    pairs = zip(models["model"], models["profile"], strict=True)
    return [model if profile == "default" else f"{model} ({profile})" for model, profile in pairs]


def _bars(axes: Axes, models: pd.DataFrame) -> None:
    """Draw a bar beside each group of several models, those that overlap side by side."""
    letters = sorted(set("".join(models["groups"])))
    runs = [[row for row, groups in enumerate(models["groups"]) if letter in groups] for letter in letters]
    free: list[int] = []  # first row that is free in each lane
    for run in (run for run in runs if len(run) > 1):
        lane = next((i for i, row in enumerate(free) if row <= run[0]), len(free))
        free[lane : lane + 1] = [run[-1] + 1]
        x = 1.03 + _LANE * lane
        ends = [run[0] - 0.25, run[-1] + 0.25]
        axes.plot([x, x], ends, transform=axes.get_yaxis_transform(), color="black", linewidth=3, clip_on=False)


def _frame(axes: Axes, models: pd.DataFrame, comparison: Comparison, metric: str) -> None:
    """Name rows and axis, say what was tested."""
    verdict, n_models = comparison.verdicts[metric], len(models)
    axes.set_yticks(range(n_models), _names(models), fontsize=9)
    axes.set_ylim(n_models - 0.5, -0.5)
    axes.set_xlim(1 - 0.04 * n_models, n_models + 0.04 * n_models)
    axes.set_xlabel(f"mean rank over {verdict.n_units} split units (1 is best)", fontsize=9)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_title(f"{metric}: bars join models that do not differ", fontsize=10, loc="left")
    axes.legend(loc="upper right", fontsize=8, frameon=False)
    axes.figure.supxlabel(_note(comparison, metric), fontsize=7.5, x=0.01, ha="left")


def _note(comparison: Comparison, metric: str) -> str:
    """Say what was tested and how, in lines that fit below the axis."""
    import textwrap

    verdict = comparison.verdicts[metric]
    friedman = "" if verdict.friedman != verdict.friedman else f" Friedman p = {verdict.friedman:.2g}."
    tested = f"{comparison.test} tests of all pairs, Holm's correction, {comparison.level:g}."
    return "\n".join(textwrap.wrap(f"{tested}{friedman} {verdict.words}", width=105))

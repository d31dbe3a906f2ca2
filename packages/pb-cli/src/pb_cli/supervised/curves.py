"""Losses and scores of every epoch, kept as a table and drawn."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pb_cli.supervised.selection import Choice
from pb_cli.supervised.task import SupervisedTask

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from pb_models.sweep import FoldTraces

__all__ = ["draw_curves", "trace_table"]


def trace_table(task: SupervisedTask, traces: "Sequence[FoldTraces]") -> "pd.DataFrame":
    """One row for each fold, run and epoch: the loss, and every measure in training and validation.

    Runs are numbered from 0, in the order of the grid: parameters, learning rates, weight decays.
    """
    import pandas as pd

    tables = []
    for fold, trace in enumerate(traces, 1):
        n_runs, n_epochs = trace.loss.shape
        columns = {
            "fold": np.full(n_runs * n_epochs, fold, dtype=np.int16),
            "run": np.repeat(np.arange(n_runs, dtype=np.int16), n_epochs),
            "epoch": np.tile(np.arange(1, n_epochs + 1, dtype=np.int16), n_runs),
            "loss": trace.loss.ravel(),
        }
        for place, name in enumerate(task.settings["metrics"]):
            columns[f"training_{name}"] = trace.training[..., place].ravel()
            columns[f"validation_{name}"] = trace.validation[..., place].ravel()
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def draw_curves(table: "pd.DataFrame", choices: Sequence[Choice], title: str, path: Path) -> None:
    """Draw each measure that chose over the epochs of the runs that the folds chose by it, a panel for each.

    Training is dashed, validation solid.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    metrics = list(dict.fromkeys(choice.measure for choice in choices))
    figure = Figure(figsize=(4.2 * len(metrics), 3.4), layout="constrained")
    FigureCanvasSVG(figure)
    for axes, metric in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True):
        for choice in choices:
            if choice.measure == metric and choice.run >= 0:
                _draw_choice(axes, table, choice)
        axes.set(xlabel="epoch", ylabel=metric)
        if axes.has_data():
            axes.legend(frameon=False, fontsize=7)
    figure.suptitle(f"{title}: validation solid, training dashed, dot: chosen", fontsize=10)
    figure.savefig(path, metadata={"Date": None})


def _draw_choice(axes: "Axes", table: "pd.DataFrame", choice: Choice) -> None:
    rows = table[(table["fold"] == choice.fold + 1) & (table["run"] == choice.run)]
    colour, metric = f"C{choice.fold % 10}", choice.measure
    axes.plot(rows["epoch"], rows[f"validation_{metric}"], color=colour, label=f"fold {choice.fold + 1}", lw=1)
    axes.plot(rows["epoch"], rows[f"training_{metric}"], color=colour, ls="--", lw=0.7)
    axes.plot(choice.epoch, choice.validation, "o", color=colour, ms=4)

"""Figures of one condition and the numbers that they show, readable in print and without colour vision.

Colours are those of Okabe and Ito (2008); groups also differ in their markers. Nothing is drawn through pyplot, so that
no window and no global state is touched.
"""

from __future__ import annotations

import io
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from pb_eval._files import write_atomic
from pb_eval.errors import gene_errors
from pb_eval.figure_data import GROUPS, embedding, gene_table, scores, top_gene_table, top_gene_values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from pb_eval.reference import Cells, Reference

__all__ = ["draw_cells", "draw_condition", "draw_means", "draw_shifts"]

_COLOURS = dict(zip(GROUPS, ("#7F7F7F", "#0072B2", "#D55E00"), strict=True))
_MARKERS = dict(zip(GROUPS, ("o", "s", "^"), strict=True))
_SETS = {0: ("#B3B3B3", ".", "other genes"), 100: ("#56B4E9", "o", "top 100"), 20: ("#D55E00", "^", "top 20")}
_STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
_DPI = 300
_DOTS = 20
_VIOLINS = 8
_NAMED = 8


def draw_condition(
    prediction: Cells, reference: Reference, folder: Path, *, title: str = "", umap: bool = False
) -> None:
    """Write figures and tables of one condition into an existing folder; other files in it stay.

    Figures, each a PNG: `means` and `shifts` (predicted against true, a point a gene), `top_genes_dots` and
    `top_genes_violins` (the genes with the highest Wilcoxon score of truth, in control, truth and prediction), `pca`
    and, on request, `umap` (fitted on measured cells only). Beside them lie their numbers: `genes.csv`,
    `top_genes.csv`, `pca.csv`, `umap.csv` and `scores.json`; and `gene_errors.csv`, the false, lost and reversed genes.

    Raises
    ------
    OSError
        Where the folder does not exist or there is no room left.
    """
    genes, values = gene_table(prediction, reference), scores(prediction, reference)
    top = top_gene_table(prediction, reference, _DOTS)
    finite = {name: value if np.isfinite(value) else None for name, value in values.items()}
    write_atomic(folder / "scores.json", (json.dumps(finite, indent=2) + "\n").encode())
    _write_table(genes, folder / "genes.csv")
    _write_table(gene_errors(prediction, reference), folder / "gene_errors.csv")
    _write_table(top, folder / "top_genes.csv")
    _draw(folder / "means.png", title, (3.5, 3.5), lambda axes: draw_means(axes, genes, values))
    _draw(folder / "shifts.png", title, (3.5, 3.5), lambda axes: draw_shifts(axes, genes, values))
    _draw(folder / "top_genes_dots.png", title, (7.0, 2.2), lambda axes: _dots(axes, top))
    _draw(folder / "top_genes_violins.png", title, (7.0, 2.6), lambda axes: _violins(axes, prediction, reference))
    for name in ("pca", "umap") if umap else ("pca",):
        places = embedding(prediction, reference, umap=name == "umap")
        if places is not None:
            _write_table(places, folder / f"{name}.csv")
            _draw(folder / f"{name}.png", title, (3.5, 3.7), partial(draw_cells, places=places))


def _draw(path: Path, title: str, size: tuple[float, float], fill: Callable[[Axes], None]) -> None:
    """Make one figure of one pair of axes."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=size, dpi=_DPI)
        axes = figure.add_subplot()
        fill(axes)
        axes.set_title(title, loc="left", wrap=True)
        image = io.BytesIO()
        figure.savefig(image, format="png")
    with image.getbuffer() as view:  # released even where writing fails
        write_atomic(path, view)


def _write_table(table: pd.DataFrame, path: Path) -> None:
    write_atomic(path, table.to_csv(index=False, lineterminator="\n").encode())


def draw_means(axes: Axes, genes: pd.DataFrame, values: Mapping[str, float]) -> None:
    """Scatter predicted against true means."""
    _gene_points(axes, genes, "true_mean", "predicted_mean")
    names = {"r2_mean_all": "all genes", "r2_mean_top100": "top 100", "r2_mean_top20": "top 20"}
    lines = [f"r² {words}: {values[name]:.3f}" for name, words in names.items()]
    _note(axes, [*lines, f"R² all genes: {values['r2_score_mean']:.3f}"])
    axes.set_xlabel("true mean expression (log1p)")
    axes.set_ylabel("predicted mean expression (log1p)")


def draw_shifts(axes: Axes, genes: pd.DataFrame, values: Mapping[str, float]) -> None:
    """Scatter predicted against true shifts."""
    axes.axhline(0, color="#D9D9D9", linewidth=0.6, zorder=0)
    axes.axvline(0, color="#D9D9D9", linewidth=0.6, zorder=0)
    _gene_points(axes, genes, "true_shift", "predicted_shift")
    names = {"pearson_delta": "Pearson", "cosine_delta": "cosine", "r2_score_delta": "R²"}
    _note(axes, [f"{words}: {values[name]:.3f}" for name, words in names.items()])
    axes.set_xlabel("true shift from control (log1p)")
    axes.set_ylabel("predicted shift from control (log1p)")


def _gene_points(axes: Axes, genes: pd.DataFrame, x: str, y: str) -> None:
    """Draw a point a gene with the diagonal, the top genes over the others, and name the strongest."""
    both = genes[[x, y]].to_numpy()
    limits = [float(both.min()), float(both.max())]
    axes.plot(limits, limits, color="black", linewidth=0.6, linestyle="--", zorder=1)
    for top, (colour, marker, words) in _SETS.items():
        chosen = genes[genes["top"] == top]
        size = 8 if top == 0 else 12
        axes.scatter(chosen[x], chosen[y], s=size, c=colour, marker=marker, linewidths=0, label=words)
    strongest = genes[genes["top"] == 20].sort_values("true_shift", ascending=False)
    for row in _apart(strongest[[x, y]].to_numpy(), 0.04 * (limits[1] - limits[0])):
        gene = strongest.iloc[row]
        axes.annotate(_plain(gene["gene"]), (gene[x], gene[y]), textcoords="offset points", xytext=(3, 3), fontsize=6)
    axes.legend(loc="lower right", handletextpad=0.2)


def _apart(points: NDArray[np.float64], least: float) -> list[int]:
    """Take points in order, at most eight, each no nearer than `least` to one taken."""
    taken: list[int] = []
    for row, point in enumerate(points):
        if len(taken) < _NAMED and not (np.abs(points[taken] - point).max(axis=1) < least).any():
            taken.append(row)
    return taken


def _note(axes: Axes, lines: list[str]) -> None:
    axes.text(0.03, 0.97, "\n".join(lines), transform=axes.transAxes, va="top")


def _dots(axes: Axes, top: pd.DataFrame) -> None:
    """Draw the share of expressing cells as size and the mean as colour, a column a gene and a row a group."""
    genes = list(dict.fromkeys(top["gene"]))
    across = top["gene"].map({gene: place for place, gene in enumerate(genes)})
    down = top["group"].map({group: place for place, group in enumerate(GROUPS)})
    points = axes.scatter(
        across, down, s=4 + 90 * top["expressing"], c=top["mean"], cmap="cividis", edgecolors="black", linewidths=0.3
    )
    axes.set_xticks(range(len(genes)), [_plain(gene) for gene in genes], rotation=90)
    axes.set_yticks(range(len(GROUPS)), GROUPS)
    axes.set_ylim(len(GROUPS) - 0.5, -0.5)
    assert axes.figure is not None
    axes.figure.colorbar(points, ax=axes, label="mean (log1p)")
    shares = (0.25, 0.5, 1.0)
    handles = [
        axes.scatter([], [], s=4 + 90 * share, c="white", edgecolors="black", linewidths=0.3) for share in shares
    ]
    words = [f"{share:.0%}" for share in shares]
    axes.legend(handles, words, title="cells above 0", loc="center left", bbox_to_anchor=(1.0, 0.5))


def _violins(axes: Axes, prediction: Cells, reference: Reference) -> None:
    """Draw the distributions of the first top genes in each group, with medians."""
    genes = [reference.genes[column] for column in reference.top_genes(_VIOLINS)]
    for number, (group, values) in enumerate(top_gene_values(prediction, reference, _VIOLINS).items()):
        places = np.arange(len(genes)) + (number - 1) * 0.27
        parts: dict[str, Any] = axes.violinplot(values, places, widths=0.25, showextrema=False, showmedians=True)
        for body in parts["bodies"]:
            body.set(facecolor=_COLOURS[group], edgecolor="black", linewidth=0.3, alpha=0.9)
        parts["cmedians"].set(color="black", linewidth=0.8)
        axes.scatter([], [], c=_COLOURS[group], marker=_MARKERS[group], label=group)
    axes.set_xticks(range(len(genes)), [_plain(gene) for gene in genes], rotation=90)
    axes.set_ylabel("expression (log1p)")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def draw_cells(axes: Axes, places: pd.DataFrame) -> None:
    """Scatter the cells of each group."""
    for group in GROUPS:
        chosen, marker = places[places["group"] == group], _MARKERS[group]
        x, y = chosen["x"], chosen["y"]
        axes.scatter(x, y, s=5, c=_COLOURS[group], marker=marker, linewidths=0, alpha=0.6, label=group)
    words = [f"PC{number + 1} ({share:.1%})" for number, share in enumerate(places.attrs["explained"])]
    axes.set_xlabel(words[0] if words else "UMAP 1")
    axes.set_ylabel(words[1] if words else "UMAP 2")
    axes.set_xticks([])
    axes.set_yticks([])
    where: Any = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.08), "title": "axes fitted on control and truth"}
    axes.legend(**where, ncols=3, markerscale=2, handletextpad=0.1)


def _plain(text: str) -> str:
    """Keep a dollar sign from starting a formula."""
    return text.replace("$", r"\$")

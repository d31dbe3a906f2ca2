"""Held-out units one by one: how a prediction's cells compare with the measured ones, gene by gene."""

from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pb_cli.board import label, number
from pb_cli.plan import Task
from pb_cli.report.blocks import Block, Cell, Column, Figure, Figures, Fold, Prose, Row, Table
from pb_cli.report.leaderboard import Standing
from pb_cli.report.material import Material, records
from pb_cli.report.svg import STYLE, inline_svg

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from pb_eval import Reference
    from pb_eval.reference import Cells

    from pb_cli.references import Condition

__all__ = ["MOST", "Sheet", "chosen_sheets", "sheet_blocks", "unit_folds"]

MOST = 40
"""Pages where nobody says how many: some 60 kB each."""

_TOP = 20
_NAMED = 12


class Sheet(NamedTuple):
    """One prediction to show: a task and one of the conditions that it predicts."""

    task: Task
    context: str
    perturbation: str
    dose: float | None

    @property
    def unit(self) -> tuple[str, str, float]:
        """What it predicts, as a key that sorts."""
        return self.context, self.perturbation, -1.0 if self.dose is None else self.dose


def chosen_sheets(material: Material, standing: Standing, most: int | None) -> tuple[list[Sheet], int]:
    """Choose predictions to show, and count all there are: of every unit the best model and the best baseline first.

    Without a number these two, `MOST` at most; with one, the next best models follow. One seed of each is shown.
    """
    rows = material.results[material.results["metric"] == standing.first]
    place = {key: i for i, key in enumerate(_order(standing))}
    tasks = {(task.model, task.profile, task.seed, task.split_hash, task.dose): task for task in material.done}
    by_unit: dict[Any, dict[Any, Sheet]] = {}
    for row in records(rows.sort_values("seed")):
        dose = None if row.dose != row.dose else float(row.dose)
        key = (row.model, row.profile, row.seed, row.split_hash)
        task = tasks.get((*key, dose)) or tasks.get((*key, None))  # of its dose, or of all doses
        if task is None:
            continue
        sheet = Sheet(task, row.context, row.perturbation, dose)
        by_unit.setdefault(sheet.unit, {}).setdefault((row.model, row.profile), sheet)
    queues = [
        [sheets[key] for key in sorted(sheets, key=lambda key: place.get(key, len(place)))]
        for sheets in by_unit.values()
    ]
    rounds = [sheet for round_ in zip_longest(*queues) for sheet in round_ if sheet is not None]
    wanted = min(MOST, 2 * len(queues)) if most is None else most
    return sorted(rounds[:wanted], key=lambda sheet: sheet.unit), len(rounds)


def _order(standing: Standing) -> list[tuple[str, str]]:
    """List the best model, the best baseline, then the others in the order of the leaderboard."""
    table = standing.board.table[standing.board.table["metric"] == standing.first]
    keys = list(zip(table["model"], table["profile"], table["is_baseline"], strict=True))
    first = [key[:2] for key in keys if not key[2]][:1] + [key[:2] for key in keys if key[2]][:1]
    return list(dict.fromkeys([*first, *(key[:2] for key in keys)]))


def unit_folds(material: Material, sheets: list[Sheet], *, figures: bool, say: Callable[[str], None]) -> list[Block]:
    """Give each chosen prediction a fold inside its unit's."""
    folds: list[Block] = []
    units = dict.fromkeys(sheet.unit for sheet in sheets)
    pages = dict(_pages(material, sheets, figures=figures, say=say))
    for unit in units:
        own = [sheet for sheet in sheets if sheet.unit == unit]
        blocks: list[Block] = [Fold(_title(sheet), pages[sheet.task.id, unit]) for sheet in own]
        folds.append(Fold(_words(own[0]), blocks))
    return folds


def _words(sheet: Sheet) -> str:
    dose = "" if sheet.dose is None else f" at dose {sheet.dose:g}"
    return f"{sheet.context}: {sheet.perturbation}{dose}"


def _title(sheet: Sheet) -> str:
    return f"{label(sheet.task.model, sheet.task.profile)}, seed {sheet.task.seed}"


def _pages(
    material: Material, sheets: list[Sheet], *, figures: bool, say: Callable[[str], None]
) -> Iterator[tuple[tuple[str, Any], list[Block]]]:
    """Read predictions task by task, so that one unit's data are in memory at a time."""
    by_task: dict[str, list[Sheet]] = {}
    for sheet in sheets:
        by_task.setdefault(sheet.task.id, []).append(sheet)
    for place, own in enumerate(by_task.values(), 1):
        say(f"prediction {place} of {len(by_task)}: {_title(own[0])}, {_words(own[0])}")
        path = material.folder.task(own[0].task) / "prediction.h5ad"
        try:
            shown = _conditions(path)
        except (ValueError, OSError) as error:
            for sheet in own:
                yield (sheet.task.id, sheet.unit), [Prose(_why_not(path, error), "warning")]
            continue
        for sheet in own:
            prediction, reference = shown[sheet.unit]
            yield (sheet.task.id, sheet.unit), sheet_blocks(sheet, prediction, reference, figures=figures)


def _why_not(path: Path, error: Exception) -> str:
    if not path.is_file():
        return "The prediction was not kept in the run folder: only its scores can be shown."
    return f"The prediction cannot be held against its cells here: {error}"


def _conditions(path: Path) -> "dict[Any, tuple[Cells, Reference]]":
    """Read a prediction, and what it is compared with, by condition."""
    from pb_cli.rescore import matched

    found = matched(path)
    return {
        _key(condition): (found.unit.references[condition].cells(cells.X), found.unit.references[condition])
        for condition, cells in found.predictions.items()
    }


def _key(condition: "Condition") -> tuple[str, str, float]:
    return condition.context, condition.perturbation, -1.0 if condition.dose is None else condition.dose


def sheet_blocks(sheet: Sheet, prediction: "Cells", reference: "Reference", *, figures: bool) -> list[Block]:
    """Show one prediction of one condition."""
    from pb_eval.errors import gene_errors
    from pb_eval.figure_data import top_gene_table

    blocks: list[Block] = [_pictures(sheet, prediction, reference)] if figures else []
    blocks.append(_top_genes(top_gene_table(prediction, reference, _TOP)))
    return [*blocks, *_wrong_genes(gene_errors(prediction, reference))]


def _pictures(sheet: Sheet, prediction: "Cells", reference: "Reference") -> Figures:
    """Draw means, shifts and principal components."""
    from pb_eval.figure_data import embedding, gene_table, scores
    from pb_eval.figures import draw_cells, draw_means, draw_shifts

    genes, values, places = (
        gene_table(prediction, reference),
        scores(prediction, reference),
        embedding(prediction, reference),
    )
    said = {name: number(value) for name, value in values.items()}
    what = f"{_title(sheet)}, {_words(sheet)}"
    drawn = [
        _picture(
            lambda axes: draw_means(axes, genes, values),
            f"Predicted against true mean expression of {len(genes):,} genes; squared Pearson correlation "
            f"{said['r2_mean_all']}, of the top 100 genes {said['r2_mean_top100']}.",
            "Means",
            f"means {what}",
        ),
        _picture(
            lambda axes: draw_shifts(axes, genes, values),
            f"Predicted against true shift from control of {len(genes):,} genes; Pearson correlation "
            f"{said['pearson_delta']}, coefficient of determination {said['r2_score_delta']}.",
            "Shifts from control",
            f"shifts {what}",
        ),
    ]
    if places is not None:
        counts = ", ".join(f"{n:,} {group}" for group, n in places["group"].value_counts(sort=False).items())
        alt = f"Cells in two principal components fitted on control and truth: {counts}."
        drawn.append(_picture(lambda axes: draw_cells(axes, places), alt, "Principal components", f"pca {what}"))
    return Figures(drawn)


def _picture(fill: "Callable[[Axes], None]", alt: str, caption: str, salt: str) -> Figure:
    """Draw one pair of axes; points become a picture, or thousands of them would fill the page."""
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    with mpl.rc_context(STYLE):
        figure = Canvas(figsize=(3.6, 3.6), layout="constrained")
        axes = figure.add_subplot()
        fill(axes)
        for points in axes.collections:
            points.set_rasterized(True)
        return Figure(inline_svg(figure, salt), alt, caption)


def _top_genes(top: "pd.DataFrame") -> Table:
    """Lay out the top genes of truth: mean and share of expressing cells in each group."""
    wide = top.pivot_table(index="gene", columns="group", values=["mean", "expressing"], sort=False)
    groups = ("control", "truth", "prediction")
    columns = [Column("gene", is_number=False), *(Column(f"{group}, mean") for group in groups)]
    columns += [Column(f"{group}, cells above 0") for group in groups]
    rows = []
    for gene, row in wide.iterrows():
        means = [Cell(number(row["mean", group]), row["mean", group]) for group in groups]
        shares = [Cell(f"{row['expressing', group]:.0%}", row["expressing", group]) for group in groups]
        rows.append(Row([Cell(str(gene)), *means, *shares]))
    return Table(
        f"The {len(rows)} genes with the highest Wilcoxon score of truth (mean log1p expression)", columns, rows
    )


def _wrong_genes(errors: "pd.DataFrame") -> list[Block]:
    """Count and list the genes that the prediction gets wrong."""
    counts = {kind: int((errors["error"] == kind).sum()) for kind in ("false", "lost", "reversed")}
    said = (
        f"{counts['false']} false genes (significant in the prediction only), {counts['lost']} lost (in the truth "
        f"only), {counts['reversed']} reversed (the other way); Wilcoxon against measured control, FDR < 0.05."
    )
    if errors.empty:
        return [Prose(said)]
    first = errors.groupby("error", sort=False).head(_NAMED)
    rows = [
        Row([Cell(row.gene), Cell(row.error), *(Cell(f"{v:+.3f}", v) for v in (row.true_shift, row.predicted_shift))])
        for row in records(first)
    ]
    columns = [
        Column("gene", is_number=False),
        Column("error", is_number=False),
        Column("true shift"),
        Column("predicted shift"),
    ]
    return [Prose(said), Table(f"The surest of each kind, {_NAMED} at most", columns, rows)]

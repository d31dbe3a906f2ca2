"""Runs become one document."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from pb_cli.report.blocks import Block, Cell, Column, Document, Facts, Fold, Prose, Row, Section, Table, anchor
from pb_cli.report.labels import (
    board_blocks,
    boards_of,
    choice_table,
    gap_blocks,
    label_findings,
    label_metric_table,
)
from pb_cli.report.leaderboard import Standing, findings, gain_table, score_table, standing_of
from pb_cli.report.material import Material, records
from pb_cli.report.metrics import heat_table, metric_folds, registry_table
from pb_cli.report.provenance import completeness, provenance_blocks
from pb_cli.report.units import chosen_sheets, unit_folds

__all__ = ["Wishes", "build"]


class Wishes(NamedTuple):
    """What a report is to hold: how many predictions (None: the best of each unit), figures, metrics to show first."""

    units: int | None = None
    figures: bool = True
    metrics: Sequence[str] = ()


def build(materials: Sequence[Material], wishes: Wishes, say: Callable[[str], None]) -> Document:
    """Make the document of one or several runs.

    Raises
    ------
    ValueError
        If a run holds no metric of a name asked for.
    """
    sections = []
    if len(materials) > 1:
        sections.append(Section("Runs", [_overview(materials)], "runs", level=1))
    for material in materials:
        sections += _chapter(material, wishes, say)
    names = ", ".join(material.name for material in materials)
    return Document(f"Benchmark report: {names}", sections)


def _overview(materials: Sequence[Material]) -> Table:
    """List the runs."""
    rows = [
        Row(
            [
                *map(Cell, (m.name, m.dataset, "; ".join(m.splits))),
                Cell(f"{len(m.done):,} of {len(m.tasks):,}", len(m.done)),
            ]
        )
        for m in materials
    ]
    columns = [*(Column(name, is_number=False) for name in ("run", "data", "split")), Column("tasks done")]
    return Table(
        "Runs in this report, each with its own chapter; scores of different splits do not compare", columns, rows
    )


def _chapter(material: Material, wishes: Wishes, say: Callable[[str], None]) -> list[Section]:
    """Write the sections of one run."""
    what = "folds" if material.is_supervised else "split"
    opening = [Prose(f"Data {material.dataset}, {what} {'; '.join(material.splits)}."), *completeness(material)]
    if material.results.empty:
        body: list[tuple[str, list[Block]]] = [
            ("In words", [Prose("No task is done yet: there is nothing to rank.", "warning")])
        ]
    elif material.is_supervised:
        body = _of_labels(material, wishes)
    else:
        body = _of_cells(material, wishes, say)
    provenance = provenance_blocks(material, tasks=wishes.figures)
    body += [("What the split supports", _claims(material)), ("Provenance", provenance)]
    head = Section(material.name, opening, anchor(material.name), level=1)
    return [head, *(Section(title, blocks, anchor(material.name, title)) for title, blocks in body if blocks)]


def _of_cells(material: Material, wishes: Wishes, say: Callable[[str], None]) -> list[tuple[str, list[Block]]]:
    """Write the sections of a run that predicts cells."""
    standing = standing_of(material, wishes.metrics)
    gains = gain_table(standing)
    boards: list[Block] = [score_table(standing, material.costs), *([gains] if gains else []), *_left_out(standing)]
    names = [standing.first, *(name for name in standing.board.goals if name != standing.first)]
    results = material.results
    if wishes.figures:
        metrics = metric_folds(standing, results, say)
    else:
        metrics = [heat_table(standing, results[results["metric"] == name], name) for name in standing.shown]
        names = standing.shown
    return [
        ("In words", findings(standing)),
        ("Leaderboard", boards),
        ("Metric by metric", metrics),
        ("Held-out units", _units(material, standing, wishes, say)),
        ("Metrics and their marks", [registry_table(names)]),
    ]


def _left_out(standing: Standing) -> list[Block]:
    """Say which units were left out so that all models are compared on the same ones."""
    dropped = standing.board.dropped
    dropped = dropped[dropped["metric"] == standing.first]
    if dropped.empty:
        return []
    rows = []
    for row in records(dropped):
        dose = "" if row.dose != row.dose else f"{row.dose:g}"
        rows.append(Row([*map(Cell, (row.context, row.perturbation, dose, row.reason))]))
    columns = [Column(name, is_number=False) for name in ("context", "perturbation", "dose", "why")]
    words = f"Held-out units left out for all models, so that they are compared on the same ones: {len(rows)}"
    return [Fold(words, [Table(f"Units left out by {standing.first}", columns, rows)])]


def _units(material: Material, standing: Standing, wishes: Wishes, say: Callable[[str], None]) -> list[Block]:
    """Show predictions, and say how many are not."""
    if wishes.units == 0:
        return []
    sheets, total = chosen_sheets(material, standing, wishes.units)
    words = (
        f"{len(sheets)} of {total} predictions: of each unit the best model by {standing.first}, the best baseline, "
        "then the next, one seed each. Only their scores are shown of the others; --units N or --units all shows more."
    )
    said = Prose(words if len(sheets) < total else f"All {total} predictions, one seed each.")
    return [said, *unit_folds(material, sheets, figures=wishes.figures, say=say)]


def _of_labels(material: Material, wishes: Wishes) -> list[tuple[str, list[Block]]]:
    """Write the sections of a supervised run."""
    boards = boards_of(material, wishes.metrics)
    names = list(dict.fromkeys(name for board in boards for name in board.table["metric"]))
    sections: list[tuple[str, list[Block]]] = [("In words", label_findings(boards))]
    for board in boards:
        title = f"Losses compared: folds {board.split}"
        sections.append((title, board_blocks(board, material, figures=wishes.figures)))
    sections.append(("Seen against unseen genes", gap_blocks(boards, figures=wishes.figures)))
    sections.append(("What was chosen, and what it cost", [choice_table(material)]))
    sections.append(("Scores of labels", [label_metric_table(names)]))
    return sections


def _claims(material: Material) -> list[Block]:
    """Repeat what each split or kind of folds supports."""
    return [Facts(list(material.claims.items()))]

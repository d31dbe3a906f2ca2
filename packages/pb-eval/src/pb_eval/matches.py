"""Predictions of any tool beside measured cells, one condition in memory at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pb_eval.cellfile import merged_moments, stacked
from pb_eval.context import OtherUnit
from pb_eval.matrix import subsample
from pb_eval.reference import Cells, Reference
from pb_eval.registry import default_metrics, get_metric
from pb_eval.spaces import Basis, fit_basis
from pb_eval.survey import survey

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from pb_eval.conditions import Condition, Group, Layout, Part
    from pb_eval.matrix import Matrix
    from pb_eval.survey import Expression

__all__ = ["MAX_CELLS", "Match", "Matches"]

MAX_CELLS = 10_000
_BASIS_CELLS = 5_000


class Match(NamedTuple):
    """Prediction and reference of one condition, and how many cells they stand for."""

    condition: Condition
    prediction: Cells
    reference: Reference
    n_predicted: int
    n_true: int


class Matches:
    """The conditions of a layout; iterating loads one after the other.

    All cells are read once at the start, to check them and for the means of the measured conditions, which are each
    other's rivals (`discrimination_*`). Principal components are those of measured control cells, for no training cells
    are known.

    Parameters
    ----------
    layout
        What can be compared.
    expression
        Of its files.
    max_cells
        Most cells that are loaded of one group. A larger one is represented by a seeded draw; its means, variances and
        shifts are still those of all its cells.
    separator
        Between the target genes in a perturbation's label; None for labels that are one gene, if any.
    metrics
        That will be asked for, None for the default ones: those that have no value here are named in the notes.
    seed
        Of all draws.

    Attributes
    ----------
    notes
        What a reader of the scores should know, in sentences.

    Raises
    ------
    ArtefactError
        As :func:`pb_eval.survey.survey`.
    """

    def __init__(
        self,
        layout: Layout,
        expression: Expression,
        *,
        max_cells: int = MAX_CELLS,
        separator: str | None = None,
        metrics: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        self.expression, self.max_cells, self.seed = expression, max_cells, seed
        self._groups, self._separator = layout.groups, separator
        found = survey(expression, layout)
        self._others = {
            condition: OtherUnit(truth, truth - found.controls[condition.context], self._targets(condition))
            for condition, truth in found.truths.items()
        }
        self.notes = [*layout.notes, *expression.notes, *found.notes]
        self.basis = self._fit_basis()
        self.notes += _left_out(
            metrics or default_metrics(), rivals=any(self._rivals(group.condition) for group in layout.groups)
        )
        self.notes += _too_large(layout.groups, max_cells)

    def __len__(self) -> int:
        return len(self._groups)

    def __iter__(self) -> Iterator[Match]:
        loaded: tuple[Part | None, Matrix, dict[str, Any]] = (None, np.empty((0, 0)), {})
        for group in self._groups:
            if loaded[0] is not group.control:
                loaded = (group.control, *self._load(group.control))
            yield self._compare(group, loaded[1], loaded[2])

    def _compare(self, group: Group, control: Matrix, known: dict[str, Any]) -> Match:
        """Load predicted and true cells of a condition; what is `known` of control is kept for the next one."""
        condition = group.condition
        truth, of_truth = self._load(group.truth)
        rivals = {other.words(): self._others[other] for other in self._rivals(condition)}
        targets = self._targets(condition)
        reference = Reference(
            truth, control, self.expression.genes, self.basis, self.seed, others=rivals, targets=targets
        )
        _remember(reference.control, known)
        _remember(reference.truth, of_truth)
        predicted, of_prediction = self._load(group.predicted)
        prediction = reference.cells(predicted)
        _remember(prediction, of_prediction)
        names = ("moments", "linear_mean") if self.basis is None else ("moments", "linear_mean", "coordinates")
        known |= {name: getattr(reference.control, name) for name in names}
        return Match(condition, prediction, reference, len(group.predicted.rows), len(group.truth.rows))

    def _load(self, part: Part) -> tuple[Matrix, dict[str, Any]]:
        """Return the cells of a group, or a draw of them and what is known of all."""
        if len(part.rows) <= self.max_cells:
            return stacked([block for _, block in self.expression.blocks(part)]), {}
        drawn = self._drawn(part.rows, self.max_cells)
        kept: list[Matrix] = []

        def every() -> Iterator[Matrix]:
            for rows, block in self.expression.blocks(part):
                kept.append(block[np.isin(rows, drawn)])
                yield block

        moments, linear = merged_moments(every())
        return stacked(kept), {"moments": moments, "linear_mean": linear}

    def _fit_basis(self) -> Basis | None:
        """Fit principal components on control cells of all contexts, at most 5,000."""
        controls = list({id(group.control): group.control for group in self._groups}.values())
        share = min(1.0, _BASIS_CELLS / sum(len(part.rows) for part in controls))
        drawn = [part._replace(rows=self._drawn(part.rows, max(1, round(share * len(part.rows))))) for part in controls]
        cells = stacked([block for part in drawn for _, block in self.expression.blocks(part)])
        try:
            basis = fit_basis(cells, seed=self.seed)
        except ValueError as error:
            self.notes.append(f"Distances in principal components are left out: {error}")
            return None
        self.notes.append(
            f"Distances are taken in the {len(basis.components)} principal components of {cells.shape[0]:,} measured "
            "control cells, for no training cells are known; distances in another space do not compare with them."
        )
        return basis

    def _drawn(self, rows: NDArray[np.intp], size: int) -> NDArray[np.intp]:
        return rows if len(rows) <= size else rows[np.sort(subsample(len(rows), size, self.seed))]

    def _rivals(self, condition: Condition) -> list[Condition]:
        """Return the other measured perturbations of the context; where there are none, the other contexts."""
        others = [other for other in self._others if other != condition and other.dose == condition.dose]
        same_context = [other for other in others if other.context == condition.context]
        return same_context or [other for other in others if other.perturbation == condition.perturbation]

    def _targets(self, condition: Condition) -> tuple[str, ...]:
        name = condition.perturbation
        return tuple(name.split(self._separator)) if self._separator else (name,)


def _remember(cells: Cells, known: dict[str, Any]) -> None:
    """Set what is known of a group, so that it is not computed from the cells that stand for it."""
    for name, value in known.items():
        setattr(cells, name, value)


def _left_out(names: Sequence[str], *, rivals: bool) -> list[str]:
    """Name the metrics that are not computed, and why."""
    metrics = [get_metric(name) for name in names]
    held_out = [metric.name for metric in metrics if {"training_shift", "weights"} & set(metric.needs)]
    alone = [metric.name for metric in metrics if "others" in metric.needs and not rivals]
    why = {"training cells": held_out, "other measured conditions": alone}
    return [f"Left out, needing {what}: {', '.join(found)}." for what, found in why.items() if found]


def _too_large(groups: Sequence[Group], max_cells: int) -> list[str]:
    """Say where groups are represented by a draw of their cells."""
    parts = {id(part.rows): len(part.rows) for group in groups for part in group[1:]}.values()
    large = [size for size in parts if size > max_cells]
    if not large:
        return []
    words = (
        f"{len(large)} of {len(parts)} groups have more than {max_cells:,} cells (up to {max(large):,}): their means, "
        f"variances and shifts are those of all cells, everything else that of {max_cells:,} drawn ones (--max-cells)."
    )
    return [words]

"""What the cases are made from: measured cells of one unit, cut into halves that share none."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pb_eval.reference import Reference

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pb_eval.matrix import Matrix

__all__ = ["Material", "draw", "with_cells"]

_FEWEST = 8


@dataclass(frozen=True, eq=False)
class Material:
    """One draw of cells; all groups are dense and hold as many cells.

    Attributes
    ----------
    reference
        What predictions are scored against: one half of the truth and one half of the control.
    duplicate
        Cells of the other half of the truth, a perfect prediction but for chance, ``(cells, genes)``.
    inputs
        Cells of the other half of the control, those that a model may predict from, ``(cells, genes)``.
    generator
        Of the draws that a case makes.
    """

    reference: Reference
    duplicate: NDArray[np.float64]
    inputs: NDArray[np.float64]
    generator: np.random.Generator

    @cached_property
    def honest(self) -> NDArray[np.float64]:
        """Each value taken from a cell of the duplicate or from an input cell, at even odds: half the response."""
        taken = self.generator.random(self.inputs.shape) < 0.5
        return np.where(taken, self.duplicate, self.inputs)


def draw(unit: Reference, n_cells: int, seed: int) -> Material:
    """Halve truth and control of a unit at random and take as many cells of each half, at most ``n_cells``.

    Values are rounded to float32, so that either precision holds them.

    Parameters
    ----------
    unit
        Measured cells of one held-out unit.

    Raises
    ------
    ValueError
        For fewer than 16 true or 16 control cells.
    """
    generator = np.random.default_rng(seed)
    groups = {"true": unit.truth.matrix, "control": unit.control.matrix}
    size = min(n_cells, *(int(matrix.shape[0]) // 2 for matrix in groups.values()))
    if size < _FEWEST:
        counts = " and ".join(f"{matrix.shape[0]} {name}" for name, matrix in groups.items())
        msg = f"the unit has {counts} cells, expected at least {2 * _FEWEST} of each: audit on a larger unit."
        raise ValueError(msg)
    (truth, duplicate), (control, inputs) = (_halves(matrix, size, generator) for matrix in groups.values())
    return Material(with_cells(unit, truth, control), duplicate, inputs, generator)


def with_cells(unit: Reference, truth: Any, control: Any) -> Reference:
    """Set other true and control cells beside what a unit knows of the training cells and of other units."""
    return Reference(
        truth,
        control,
        unit.genes,
        unit.basis,
        unit.seed,
        training_shift=unit.training_shift,
        weights=unit.weights,
        others=unit.others,
        targets=unit.targets,
    )


def _halves(matrix: Matrix, size: int, generator: np.random.Generator) -> list[NDArray[np.float64]]:
    """Draw two groups of ``size`` cells that share none."""
    order = generator.permutation(int(matrix.shape[0]))
    groups = (matrix[np.sort(order[start : start + size])] for start in (0, size))
    dense = (group if isinstance(group, np.ndarray) else group.toarray() for group in groups)
    return [group.astype(np.float32).astype(np.float64) for group in dense]

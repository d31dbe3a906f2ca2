"""Halves of a unit's measured cells, one for the prediction and one for the truth, each with a control of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pb_eval.reference import Cells, Reference

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Halves", "Rows", "draw_halves", "draw_rows", "two_parts"]


class Rows(NamedTuple):
    """Rows of two parts of one group of cells, sorted, no row in both."""

    truth: NDArray[np.intp]
    duplicate: NDArray[np.intp]


class Halves(NamedTuple):
    """Two measurements of one unit that share no cell.

    Attributes
    ----------
    reference
        The part that stands for the truth, with its own control.
    duplicate
        The part that stands for the prediction; its shifts and tests are taken against the other control.
    truth, control
        Which rows of the unit's true and of its control cells each part holds.
    """

    reference: Reference
    duplicate: Cells
    truth: Rows
    control: Rows


def two_parts(n_cells: int, parts: int, generator: np.random.Generator) -> Rows:
    """Draw two disjoint sets of ``n_cells // parts`` rows.

    Examples
    --------
    >>> rows = two_parts(5, 2, np.random.default_rng(0))
    >>> len(rows.truth), len(rows.duplicate), np.intersect1d(*rows).size
    (2, 2, 0)
    """
    size = n_cells // parts
    order = generator.permutation(n_cells)
    return Rows(np.sort(order[:size]), np.sort(order[n_cells - size :]))


def draw_rows(reference: Reference, draw: int, *, parts: int = 2, seed: int = 0) -> tuple[Rows, Rows]:
    """Draw the rows of a unit's true and of its control cells that :func:`draw_halves` parts.

    Raises
    ------
    ValueError
        For fewer than twice as many true or control cells as parts.

    Examples
    --------
    >>> truth, control = draw_rows(Reference(np.ones((6, 1)), np.zeros((4, 1)), ["ISG15"]), 0)
    >>> len(truth.duplicate), len(control.duplicate)
    (3, 2)
    """
    counts = reference.truth.n_cells, reference.control.n_cells
    if min(counts) < 2 * parts:
        msg = f"the unit has {counts[0]} true and {counts[1]} control cells: {2 * parts} of each are needed."
        raise ValueError(msg)
    truth, control = (two_parts(n, parts, np.random.default_rng([seed, draw, side])) for side, n in enumerate(counts))
    return truth, control


def draw_halves(reference: Reference, draw: int, *, parts: int = 2, seed: int = 0) -> Halves:
    """Part a unit's true cells, and its control cells, at random.

    Parameters
    ----------
    reference
        The unit; what it knows of other units, its basis and its seed go into the part that stands for the truth.
    draw
        Number of the draw; with the seed it fixes the parts.
    parts
        How small the two parts are: 2 for halves, 4 for quarters. Quarters of a draw lie within its halves.

    Raises
    ------
    ValueError
        As :func:`draw_rows`.

    Examples
    --------
    >>> cells = np.random.default_rng(0).random((8, 2))
    >>> halves = draw_halves(Reference(cells + 1, cells, ["ISG15", "CD3D"]), 0)
    >>> halves.reference.truth.n_cells, halves.duplicate.n_cells, halves.duplicate.control.n_cells
    (4, 4, 4)
    """
    truth, control = draw_rows(reference, draw, parts=parts, seed=seed)
    cells, controls = reference.truth.matrix, reference.control.matrix
    kept: dict[str, Any] = {"basis": reference.basis, "seed": reference.seed}
    own = Cells(controls[control.duplicate], **kept)
    return Halves(
        Reference(
            cells[truth.truth],
            controls[control.truth],
            reference.genes,
            training_shift=reference.training_shift,
            weights=reference.weights,
            others=reference.others,
            targets=reference.targets,
            **kept,
        ),
        Cells(cells[truth.duplicate], control=own, **kept),
        truth,
        control,
    )

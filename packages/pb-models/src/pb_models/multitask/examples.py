"""What a multi-task network is trained on: cells shown, conditions told and cells to be reproduced, as row numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pb_models.pairing import pair_controls, places_in_context

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pb_models.cells import TrainingData
    from pb_models.multitask.settings import TransportSettings

__all__ = ["CONTROL", "Condition", "Examples", "autoencoding", "condition_numbers", "conditions", "leading", "paired"]

CONTROL = 0  # the control condition's number

Condition = tuple[str, float | None]  # perturbation and dose, None where the data have no dose column


class Examples(NamedTuple):
    """Rows shown, condition numbers told and rows to be reproduced, each (examples,)."""

    source: NDArray[np.int64]
    condition: NDArray[np.int64]
    target: NDArray[np.int64]


def conditions(doses: Mapping[str, Sequence[float]]) -> list[Condition]:
    """List the perturbed conditions of a fitted model's doses; number k + 1 is the k-th, control is number 0.

    Examples
    --------
    >>> conditions({"TCDD": [0.3, 1.0], "vehicle": []})
    [('TCDD', 0.3), ('TCDD', 1.0), ('vehicle', None)]
    """
    return [(name, dose) for name, seen in doses.items() for dose in (list[float | None](seen) or [None])]


def condition_numbers(data: TrainingData, perturbed: Sequence[Condition]) -> NDArray[np.int64]:
    """Return each cell's condition number (cells,)."""
    numbers = np.full(len(data.control), CONTROL, dtype=np.int64)
    for number, (name, dose) in enumerate(perturbed, CONTROL + 1):
        cells = ~data.control & (data.perturbations == name)
        if dose is not None and data.doses is not None:
            cells &= data.doses == dose
        numbers[cells] = number
    return numbers


def leading(contexts: NDArray[np.str_], numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark the first int(0.8 n) of the n cells of every context and condition, in file order.

    Examples
    --------
    >>> leading(np.array(["B"] * 5 + ["T"] * 3), np.zeros(8, dtype=int)).astype(int).tolist()
    [1, 1, 1, 1, 0, 1, 1, 0]
    """
    first = np.zeros(len(numbers), dtype=bool)
    for context in np.unique(contexts):
        for number in np.unique(numbers[contexts == context]):
            members = np.flatnonzero((contexts == context) & (numbers == number))
            first[members[: int(0.8 * len(members))]] = True
    return first


def autoencoding(numbers: NDArray[np.int64], among: NDArray[np.bool_]) -> Examples:
    """Return every cell of a mask (cells,) with its own condition, to be reproduced itself."""
    rows = np.flatnonzero(among)
    return Examples(rows, numbers[rows], rows)


def paired(
    data: TrainingData, numbers: NDArray[np.int64], among: NDArray[np.bool_], settings: TransportSettings
) -> Examples:
    """Return every control cell of a mask (cells,) with its partner in each condition, and with itself in control.

    Partners are of the same context and mask. Contexts with controls only (the target's) and those with perturbed cells
    only are left out; a condition in which nothing can be paired has no examples.
    """
    found = []
    control = among & (numbers == CONTROL)
    for number in np.unique(numbers[among & (numbers != CONTROL)]):
        perturbed = among & (numbers == number)
        if not np.intersect1d(data.contexts[control], data.contexts[perturbed]).size:
            continue
        pairs = pair_controls(data.X, data.contexts, control, perturbed, max_pivots=settings.max_pivots)
        target = pairs.partner
        if settings.targets == "misplaced":
            target = _misplaced(target, data.contexts, perturbed)
        found.append(Examples(pairs.control, np.full(len(target), number), target))
    sources = [examples.source for examples in found]
    unchanged = np.unique(np.concatenate(sources)) if sources else np.empty(0, dtype=np.int64)
    found.insert(0, Examples(unchanged, np.full(len(unchanged), CONTROL), unchanged))
    return Examples(*(np.concatenate(side) for side in zip(*found, strict=True)))


def _misplaced(
    partner: NDArray[np.int64], contexts: NDArray[np.str_], perturbed: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Take places among a context's perturbed cells for places among all of them, ordered by context."""
    rows = np.flatnonzero(perturbed)
    ordered = rows[np.argsort(contexts[rows], kind="stable")]
    return ordered[places_in_context(partner, contexts, perturbed)]

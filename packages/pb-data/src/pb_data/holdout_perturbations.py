"""The splits that hold out a single perturbation or a combination."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pb_data.assembly import complete, learnable, measured
from pb_data.holdout_everywhere import context_words, divide_everywhere, held_out_words
from pb_data.keys import label_array
from pb_data.problems import some
from pb_data.splits import Split, SplitRule
from pb_data.units import resolve_unit

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from pb_data.datasets.cards import PerturbationData

__all__ = [
    "LEAVE_COMBINATION_OUT",
    "LEAVE_COMBINATION_OUT_0",
    "LEAVE_COMBINATION_OUT_1",
    "LEAVE_PERTURBATION_OUT",
    "Labels",
    "combinations",
    "leave_combination_out",
    "leave_combination_out_0",
    "leave_combination_out_1",
    "leave_perturbation_out",
    "single_perturbations",
]


class Labels(NamedTuple):
    """The distinct perturbation labels with their parts, and the number of each cell's label, (cells,)."""

    names: list[str]
    parts: list[tuple[str, ...]]
    codes: NDArray[np.intp]

    @classmethod
    def of(cls, data: PerturbationData) -> Labels:
        """Read the labels of some data."""
        names, codes = np.unique(label_array(data.adata.obs, data.keys.perturbation), return_inverse=True)
        labels = [str(name) for name in names]
        return cls(labels, [data.keys.parts(label) for label in labels], codes)

    def with_parts(self, parts: tuple[str, ...]) -> NDArray[np.bool_]:
        """Mark the cells whose label has exactly these parts, in whatever order it names them."""
        return np.array([own == parts for own in self.parts])[self.codes]

    def with_any(self, parts: Collection[str]) -> NDArray[np.bool_]:
        """Mark the cells whose label has at least one of these parts."""
        return np.array([not set(own).isdisjoint(parts) for own in self.parts])[self.codes]

    def singles(self, cells: NDArray[np.bool_]) -> list[str]:
        """Return the sorted single perturbations of some cells."""
        return sorted({self.parts[code][0] for code in np.unique(self.codes[cells]) if len(self.parts[code]) == 1})

    def combined(self, cells: NDArray[np.bool_]) -> dict[tuple[str, ...], str]:
        """Return the combinations of some cells: parts -> the label, the first of several that name the same parts."""
        found: dict[tuple[str, ...], str] = {}
        for code in np.unique(self.codes[cells]):
            if len(self.parts[code]) > 1:
                found.setdefault(self.parts[code], self.names[code])
        return found

    def others(self, cells: NDArray[np.bool_], parts: tuple[str, ...]) -> list[str]:
        """Return the sorted labels of some cells, without those that have exactly these parts."""
        return sorted(self.names[code] for code in np.unique(self.codes[cells]) if self.parts[code] != parts)


def single_perturbations(data: PerturbationData) -> list[str]:
    """Return the sorted single perturbations that were measured in a context with controls."""
    return Labels.of(data).singles(measured(data))


def combinations(data: PerturbationData, n_seen: int | None) -> list[str]:
    """Return the sorted labels of combinations of which `n_seen` parts (None: all) can be seen singly.

    Those are the combinations that were measured in a context with controls, as were at least `n_seen` of their parts.

    Raises
    ------
    ValueError
        Where the data declare no separator or have no such combination.
    """
    if data.keys.separator is None:
        msg = (
            f"data set {data.name!r} declares no separator between the parts of a combined perturbation, so it has no "
            "combination to hold out; declare it (Keys.separator)"
        )
        raise ValueError(msg)
    labels = Labels.of(data)
    combined, singles = labels.combined(measured(data)), set(labels.singles(measured(data)))
    if not combined:
        msg = f"no perturbation of {data.name!r} is a combination (a label with {data.keys.separator!r} between parts)"
        raise ValueError(msg)
    kept = [
        name
        for parts, name in combined.items()
        if len(singles.intersection(parts)) >= (len(parts) if n_seen is None else n_seen)
    ]
    if not kept:
        wanted = "all of its parts" if n_seen is None else f"{n_seen} of its parts"
        msg = f"no combination of {data.name!r} ({some(combined.values())}) has {wanted} measured singly with controls"
        raise ValueError(msg)
    return sorted(kept)


def combinations_seen(data: PerturbationData) -> list[str]:
    """Return the combinations of which all parts were measured singly."""
    return combinations(data, None)


def combinations_half_seen(data: PerturbationData) -> list[str]:
    """Return the combinations of which at least one part was measured singly."""
    return combinations(data, 1)


def combinations_any(data: PerturbationData) -> list[str]:
    """Return all combinations."""
    return combinations(data, 0)


def leave_perturbation_out(
    data: PerturbationData, *, held_out: str, validation_fraction: float, **options: Any
) -> Split:
    """Hold out one perturbation, alone and in every combination: unseen perturbation, seen context."""
    unit = resolve_unit("leave-perturbation-out", data, held_out)
    labels = Labels.of(data)
    with_unit = labels.with_any([unit])
    division = divide_everywhere(data, unit, labels.with_parts((unit,)), with_unit, **options)
    claim = (
        f"unseen perturbation, {context_words(data, division)}: the cells of {unit!r} were held out "
        f"{held_out_words(data, division, options['target_controls'])}"
    )
    removed = labels.others(with_unit, (unit,))
    if removed:
        claim += f"; its combinations ({some(removed)}) are in no part"
    return complete(
        "leave-perturbation-out",
        data,
        unit,
        claim,
        division,
        {"removed_perturbations": removed},
        validation_fraction=validation_fraction,
        **options,
    )


def leave_combination_out(data: PerturbationData, **options: Any) -> Split:
    """Hold out one combination: unseen combination, all its parts seen singly."""
    return hold_combination("leave-combination-out", data, None, **options)


def leave_combination_out_1(data: PerturbationData, **options: Any) -> Split:
    """Hold out one combination and all but one of its parts: unseen combination, one part seen singly.

    The seed draws the part that stays, among those that were measured singly.
    """
    return hold_combination("leave-combination-out-1", data, 1, **options)


def leave_combination_out_0(data: PerturbationData, **options: Any) -> Split:
    """Hold out one combination and all its parts: unseen combination, no part seen."""
    return hold_combination("leave-combination-out-0", data, 0, **options)


def hold_combination(
    name: str,
    data: PerturbationData,
    n_seen: int | None,
    *,
    held_out: str,
    seed: int,
    validation_fraction: float,
    **options: Any,
) -> Split:
    """Hold a combination out, and keep all cells that show its other parts than the seen ones from being fitted on.

    Raises
    ------
    ValueError
        Where a part that the claim needs seen would not be: the controls of all its contexts are only predicted from.
    """
    unit = resolve_unit(name, data, held_out)
    labels, parts = Labels.of(data), data.keys.parts(unit)
    seen = draw_parts(parts, labels.singles(measured(data)), n_seen, seed)
    unseen = [part for part in parts if part not in seen]
    removed = labels.with_any(unseen)
    division = divide_everywhere(data, unit, labels.with_parts(parts), removed, seed=seed, **options)
    if missing := sorted(set(seen) - set(labels.singles(learnable(data, division.fitted)))):
        msg = (
            f"{some(missing)} was measured only in contexts of the combination {unit!r}, whose controls "
            "target_controls 'input-only' leaves out, so it cannot be learnt; use 'train+input'"
        )
        raise ValueError(msg)
    claim = (
        f"unseen combination, {len(seen)} of its {len(parts)} parts seen singly"
        f"{f' ({some(unseen)} in no training cell)' if unseen else ''}, {context_words(data, division)}: the cells of "
        f"{unit!r} were held out {held_out_words(data, division, options['target_controls'])}"
    )
    return complete(
        name,
        data,
        unit,
        claim,
        division,
        {"seen_parts": seen, "unseen_parts": unseen, "removed_perturbations": labels.others(removed, parts)},
        seed=seed,
        validation_fraction=validation_fraction,
        **options,
    )


def draw_parts(parts: tuple[str, ...], singles: list[str], n_seen: int | None, seed: int) -> list[str]:
    """Draw the sorted parts that stay seen among those measured singly; None keeps all.

    Examples
    --------
    >>> draw_parts(("A", "B"), ["B"], 1, seed=0), draw_parts(("A", "B"), ["A", "B"], None, seed=0)
    (['B'], ['A', 'B'])
    """
    possible = [part for part in parts if part in singles]
    if n_seen is None or n_seen == len(possible):
        return possible
    order = np.random.default_rng([seed, 3]).permutation(len(possible))
    return sorted(possible[index] for index in order[:n_seen])


LEAVE_PERTURBATION_OUT = SplitRule(leave_perturbation_out, single_perturbations, "perturbation")
LEAVE_COMBINATION_OUT = SplitRule(leave_combination_out, combinations_seen, "perturbation")
LEAVE_COMBINATION_OUT_1 = SplitRule(leave_combination_out_1, combinations_half_seen, "perturbation")
LEAVE_COMBINATION_OUT_0 = SplitRule(leave_combination_out_0, combinations_any, "perturbation")

"""What every split has in common: which cells may be fitted on, whose controls are used, and a validation part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pb_data.keys import label_array
from pb_data.splits import ControlPolicy, Controls, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pb_data.datasets.cards import PerturbationData

__all__ = ["Division", "complete", "divide", "draw_fraction", "learnable", "measured", "strata"]


class Division(NamedTuple):
    """Masks (cells,) of the cells to fit on and of the truth, and sorted row numbers of the controls."""

    fitted: NDArray[np.bool_]
    truth: NDArray[np.bool_]
    input_control: NDArray[np.int64]
    reference_control: NDArray[np.int64]


def divide(
    data: PerturbationData,
    truth: NDArray[np.bool_],
    removed: NDArray[np.bool_] | None = None,
    *,
    seed: int,
    target_controls: ControlPolicy,
    controls: Controls,
) -> Division:
    """Keep the truth, the removed cells and what the control policies forbid from being fitted on.

    The controls are those of all contexts in the truth; disjoint ones are halved within each context.

    Raises
    ------
    ValueError
        Where a context has too few control cells to halve.
    """
    context, control = label_array(data.adata.obs, data.keys.context), data.keys.is_control(data.adata.obs)
    own = np.flatnonzero(control & np.isin(context, np.unique(context[truth])))
    given, reference = own, own
    fitted = ~truth if removed is None else ~(truth | removed)
    if controls == "disjoint":
        given, reference = halves(own, context[own], seed)
        fitted[reference] = False
    if target_controls == "input-only":
        fitted[own] = False
    return Division(fitted, truth, given, reference)


def complete(
    name: str,
    data: PerturbationData,
    held_out: str,
    claim: str,
    division: Division,
    found: dict[str, Any] | None = None,
    *,
    seed: int,
    validation_fraction: float,
    target_controls: ControlPolicy,
    controls: Controls,
) -> Split:
    """Set validation cells aside and build the split; what was `found` while drawing joins its parameters."""
    candidates = np.flatnonzero(division.fitted)
    validation = draw_fraction(
        candidates, strata(data)[candidates], validation_fraction, np.random.default_rng([seed, 0])
    )
    return Split(
        name=name,
        dataset=data.name,
        held_out=held_out,
        claim=claim,
        parameters={
            "seed": int(seed),
            "validation_fraction": float(validation_fraction),
            "target_controls": target_controls,
            "controls": controls,
            "n_cells": data.adata.n_obs,
            **(found or {}),
        },
        source={key: value for key, value in data.source.items() if key != "path"},
        train=np.setdiff1d(candidates, validation, assume_unique=True),
        validation=validation,
        input_control=division.input_control,
        reference_control=division.reference_control,
        truth=np.flatnonzero(division.truth),
    )


def measured(data: PerturbationData) -> NDArray[np.bool_]:
    """Mark the perturbed cells of contexts that have controls, (cells,)."""
    return learnable(data, np.ones(data.adata.n_obs, dtype=bool))


def learnable(data: PerturbationData, fitted: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark the fitted perturbed cells of contexts with fitted controls, (cells,).

    Only from such cells can a shift be learnt: it is the difference between two sides of one context.
    """
    context, control = label_array(data.adata.obs, data.keys.context), data.keys.is_control(data.adata.obs)
    paired: NDArray[np.bool_] = fitted & ~control & np.isin(context, np.unique(context[fitted & control]))
    return paired


def strata(data: PerturbationData) -> NDArray[np.int64]:
    """Return the number of each cell's (context, perturbation) group, (cells,)."""
    obs = data.adata.obs
    _, context = np.unique(label_array(obs, data.keys.context), return_inverse=True)
    names, perturbation = np.unique(label_array(obs, data.keys.perturbation), return_inverse=True)
    groups: NDArray[np.int64] = context.astype(np.int64) * names.size + perturbation
    return groups


def halves(
    cells: NDArray[np.int64], contexts: NDArray[np.str_], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide each context's control cells into an input and a reference half; of an odd number input has one more."""
    names, groups, sizes = np.unique(contexts, return_inverse=True, return_counts=True)
    if few := [str(name) for name, size in zip(names, sizes, strict=True) if size < 2]:
        msg = f"{few[0]!r} has 1 control cell; disjoint input and reference controls need at least 2"
        raise ValueError(msg)
    given = draw_fraction(cells, groups, 0.5, np.random.default_rng([seed, 1]))
    return given, np.setdiff1d(cells, given, assume_unique=True)


def draw_fraction(
    cells: NDArray[np.int64],
    groups: NDArray[np.integer[Any]],
    fraction: float,
    rng: np.random.Generator,
    *,
    at_least_one: bool = False,
) -> NDArray[np.int64]:
    """Draw a fraction of the cells of each group, (n,) sorted; at least one cell of every group stays undrawn.

    Examples
    --------
    >>> cells, groups = np.arange(7), np.array([0, 0, 0, 0, 1, 1, 2])
    >>> drawn = draw_fraction(cells, groups, 0.5, np.random.default_rng(0))
    >>> np.bincount(groups[drawn], minlength=3).tolist()
    [2, 1, 0]
    """
    order = np.lexsort((rng.random(cells.size), groups))
    sizes = np.unique(groups, return_counts=True)[1]
    rank = np.arange(cells.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    wanted = np.minimum(np.floor(fraction * sizes + 0.5), sizes - 1)
    drawn = cells[order[rank < np.repeat(wanted, sizes)]]
    return np.sort(drawn if drawn.size or not at_least_one else cells[order[:1]])

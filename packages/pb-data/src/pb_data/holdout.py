"""The rules by which cells are held out: one function a split."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pb_data.keys import label_array
from pb_data.problems import some
from pb_data.splits import ControlPolicy, Controls, Split, contexts, resolve_context

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pb_data.datasets.cards import PerturbationData

__all__ = ["assemble", "draw_fraction", "leave_context_out", "random_half"]


def leave_context_out(data: PerturbationData, *, held_out: str, **options: Any) -> Split:
    """Hold out all perturbed cells of one context: unseen context, seen perturbation."""
    target = resolve_context(data, held_out)
    others = [name for name in contexts(data) if name != target]
    if not others:
        msg = (
            f"{target!r} is the only context of {data.name!r} with control and perturbed cells; holding it out leaves "
            "no perturbed cell to learn from (add a second context, or use the split 'random')"
        )
        raise ValueError(msg)
    in_target = label_array(data.adata.obs, data.keys.context) == target
    truth = in_target & ~data.keys.is_control(data.adata.obs)
    shown = "were not" if options["target_controls"] == "train+input" else "were only predicted from"
    claim = (
        f"unseen context, seen perturbation: the perturbed cells of {target!r} were held out, its control cells {shown}"
    )
    return assemble("leave-context-out", data, target, claim, in_target, truth, **options)


def random_half(data: PerturbationData, *, held_out: str, seed: int, **options: Any) -> Split:
    """Hold out a random half of one context's perturbed cells while the other half trains: the leaky reference."""
    target = resolve_context(data, held_out)
    in_target = label_array(data.adata.obs, data.keys.context) == target
    perturbed = np.flatnonzero(in_target & ~data.keys.is_control(data.adata.obs))
    if perturbed.size < 2:
        msg = f"context {target!r} has {perturbed.size} perturbed cell; halving it needs at least 2"
        raise ValueError(msg)
    truth = np.zeros(data.adata.n_obs, dtype=bool)
    truth[
        draw_fraction(perturbed, strata(data)[perturbed], 0.5, np.random.default_rng([seed, 2]), at_least_one=True)
    ] = True
    claim = (
        f"seen context, seen perturbation: a random half of the perturbed cells of {target!r} was held out and the "
        "other half trained the model, so the score says nothing about unseen contexts (leaky reference)"
    )
    return assemble("random", data, target, claim, in_target, truth, seed=seed, **options)


def assemble(
    name: str,
    data: PerturbationData,
    held_out: str,
    claim: str,
    in_target: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    *,
    seed: int,
    validation_fraction: float,
    target_controls: ControlPolicy,
    controls: Controls,
) -> Split:
    """Build a split from the masks (cells,) of the held-out unit and of its truth; everything else may be fitted on.

    Truth is cut to the conditions that the fitted cells show (`shown_conditions`); the parameter `dropped_conditions`
    names the others, whose cells are in no part.

    Raises
    ------
    ValueError
        Where no condition is left.
    """
    own = np.flatnonzero(in_target & data.keys.is_control(data.adata.obs))
    given, reference = own, own
    if controls == "disjoint":
        given, reference = halves(own, seed, held_out)
    fitted = ~truth
    fitted[reference if controls == "disjoint" else []] = False
    if target_controls == "input-only":
        fitted[own] = False
    shown = shown_conditions(data, fitted)
    dropped = condition_labels(data, truth & ~shown)
    if not (truth & shown).any():
        msg = (
            f"none of the perturbations of {held_out!r} ({some(dropped)}) was measured in a training context with "
            "control cells, so no model can learn them; hold out another context"
        )
        raise ValueError(msg)
    if dropped:
        claim += f"; left out, since no training context with control cells shows them: {some(dropped)}"
    candidates = np.flatnonzero(fitted)
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
            **({"dropped_conditions": dropped} if dropped else {}),
        },
        source={key: value for key, value in data.source.items() if key != "path"},
        train=np.setdiff1d(candidates, validation, assume_unique=True),
        validation=validation,
        input_control=given,
        reference_control=reference,
        truth=np.flatnonzero(truth & shown),
    )


def shown_conditions(data: PerturbationData, fitted: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark the cells whose (perturbation, dose) occurs among fitted cells of a context with fitted controls, (cells,).

    Only such a condition can be learnt: a shift is the difference between two sides of one context.
    """
    obs, keys = data.adata.obs, data.keys
    context, control = label_array(obs, keys.context), keys.is_control(obs)
    condition = np.unique(label_array(obs, keys.perturbation), return_inverse=True)[1]
    if keys.dose is not None:
        doses, dose = np.unique(obs[keys.dose].to_numpy(dtype=np.float64), return_inverse=True)
        condition = condition * doses.size + dose
    paired = fitted & ~control & np.isin(context, np.unique(context[fitted & control]))
    shown: NDArray[np.bool_] = np.isin(condition, np.unique(condition[paired]))
    return shown


def condition_labels(data: PerturbationData, cells: NDArray[np.bool_]) -> list[str]:
    """Return the sorted perturbations of some cells, in data with doses as `perturbation at dose`."""
    chosen = data.adata.obs[cells]
    labels = label_array(chosen, data.keys.perturbation)
    if data.keys.dose is None:
        return sorted({str(label) for label in labels})
    doses = chosen[data.keys.dose].to_numpy(dtype=np.float64)
    pairs = sorted({(str(label), float(dose)) for label, dose in zip(labels, doses, strict=True)})
    return [f"{label} at {dose:.15g}" for label, dose in pairs]


def strata(data: PerturbationData) -> NDArray[np.int64]:
    """Return the number of each cell's (context, perturbation) group, (cells,)."""
    obs = data.adata.obs
    _, context = np.unique(label_array(obs, data.keys.context), return_inverse=True)
    names, perturbation = np.unique(label_array(obs, data.keys.perturbation), return_inverse=True)
    groups: NDArray[np.int64] = context.astype(np.int64) * names.size + perturbation
    return groups


def halves(cells: NDArray[np.int64], seed: int, held_out: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide control cells into an input and a reference half; of an odd number the input half has one more."""
    if cells.size < 2:
        msg = f"{held_out!r} has {cells.size} control cell; disjoint input and reference controls need at least 2"
        raise ValueError(msg)
    order = np.argsort(np.random.default_rng([seed, 1]).random(cells.size), kind="stable")
    middle = (cells.size + 1) // 2
    return np.sort(cells[order[:middle]]), np.sort(cells[order[middle:]])


def draw_fraction(
    cells: NDArray[np.int64],
    groups: NDArray[np.int64],
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

"""The splits that hold out cells of one context."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pb_data.assembly import complete, divide, draw_fraction, learnable, strata
from pb_data.keys import label_array
from pb_data.problems import some
from pb_data.splits import ControlPolicy, Controls, Split, SplitRule
from pb_data.units import contexts, resolve_context

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pb_data.datasets.cards import PerturbationData

__all__ = ["LEAVE_CONTEXT_OUT", "RANDOM", "assemble", "leave_context_out", "random_half"]


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
    truth = (label_array(data.adata.obs, data.keys.context) == target) & ~data.keys.is_control(data.adata.obs)
    shown = "were not" if options["target_controls"] == "train+input" else "were only predicted from"
    claim = (
        f"unseen context, seen perturbation: the perturbed cells of {target!r} were held out, its control cells {shown}"
    )
    return assemble("leave-context-out", data, target, claim, truth, **options)


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
    return assemble("random", data, target, claim, truth, seed=seed, **options)


LEAVE_CONTEXT_OUT = SplitRule(leave_context_out, contexts, "context")
RANDOM = SplitRule(random_half, contexts, "nothing")


def assemble(
    name: str,
    data: PerturbationData,
    held_out: str,
    claim: str,
    truth: NDArray[np.bool_],
    *,
    seed: int,
    validation_fraction: float,
    target_controls: ControlPolicy,
    controls: Controls,
) -> Split:
    """Build a split from the mask (cells,) of one context's truth; everything else may be fitted on.

    Truth is cut to the conditions that the fitted cells show (`shown_conditions`); the parameter `dropped_conditions`
    names the others, whose cells are in no part.

    Raises
    ------
    ValueError
        Where no condition is left.
    """
    division = divide(data, truth, seed=seed, target_controls=target_controls, controls=controls)
    shown = shown_conditions(data, division.fitted)
    dropped = condition_labels(data, truth & ~shown)
    if not (truth & shown).any():
        msg = (
            f"none of the perturbations of {held_out!r} ({some(dropped)}) was measured in a training context with "
            "control cells, so no model can learn them; hold out another context"
        )
        raise ValueError(msg)
    if dropped:
        claim += f"; left out, since no training context with control cells shows them: {some(dropped)}"
    return complete(
        name,
        data,
        held_out,
        claim,
        division._replace(truth=truth & shown),
        {"dropped_conditions": dropped} if dropped else None,
        seed=seed,
        validation_fraction=validation_fraction,
        target_controls=target_controls,
        controls=controls,
    )


def shown_conditions(data: PerturbationData, fitted: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark the cells whose (perturbation, dose) occurs among `learnable` cells, (cells,)."""
    obs, keys = data.adata.obs, data.keys
    condition = np.unique(label_array(obs, keys.perturbation), return_inverse=True)[1]
    if keys.dose is not None:
        doses, dose = np.unique(obs[keys.dose].to_numpy(dtype=np.float64), return_inverse=True)
        condition = condition * doses.size + dose
    shown: NDArray[np.bool_] = np.isin(condition, np.unique(condition[learnable(data, fitted)]))
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

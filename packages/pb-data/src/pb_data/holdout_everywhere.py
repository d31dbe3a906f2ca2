"""What splits share that hold a dose or a perturbation out of all contexts at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pb_data.assembly import Division, divide, learnable, measured
from pb_data.keys import label_array
from pb_data.problems import some

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pb_data.datasets.cards import PerturbationData
    from pb_data.splits import ControlPolicy, Controls

__all__ = ["context_words", "divide_everywhere", "held_out_words"]


def divide_everywhere(
    data: PerturbationData,
    held_out: str,
    held: NDArray[np.bool_],
    removed: NDArray[np.bool_] | None = None,
    *,
    seed: int,
    target_controls: ControlPolicy,
    controls: Controls,
) -> Division:
    """Hold marked cells (cells,) out of all contexts: those of contexts with controls are truth, none is fitted on.

    Nothing is cut from the truth: that training does not show what is held out is what the split is for.

    Raises
    ------
    ValueError
        Where no control cell, or no perturbed cell with controls beside it, is left to fit on.
    """
    control = data.keys.is_control(data.adata.obs)
    removed = (held if removed is None else held | removed) & ~control  # a vehicle may carry the drug's name
    division = divide(
        data, held & measured(data), removed, seed=seed, target_controls=target_controls, controls=controls
    )
    if not (division.fitted & control).any():
        msg = (
            f"{held_out!r} was measured in every context of {data.name!r}, so target_controls 'input-only' leaves no "
            "control cell to fit on; use 'train+input'"
        )
        raise ValueError(msg)
    if not learnable(data, division.fitted).any():
        remedy = ", or use target_controls 'train+input'" if target_controls == "input-only" else ""
        msg = (
            f"holding {held_out!r} out of {data.name!r} leaves no perturbed cell in a context with control cells to "
            f"fit on, so nothing can be learnt; hold out another unit{remedy}"
        )
        raise ValueError(msg)
    return division


def context_words(data: PerturbationData, division: Division) -> str:
    """Say whether the truth's contexts are seen, that is, whether perturbed cells of theirs are fitted on."""
    labels = label_array(data.adata.obs, data.keys.context)
    shown = np.unique(labels[division.fitted & ~data.keys.is_control(data.adata.obs)])
    truth = np.unique(labels[division.truth])
    bare = [str(name) for name in np.setdiff1d(truth, shown)]
    words = f"{'seen' if len(bare) < truth.size else 'unseen'} context{'s' * (truth.size > 1)}"
    return words if len(bare) in (0, truth.size) else f"{words} (but no perturbed cell of {some(bare)} was)"


def held_out_words(data: PerturbationData, division: Division, target_controls: ControlPolicy) -> str:
    """Say in which contexts cells were held out, and what became of their control cells."""
    labels = np.unique(label_array(data.adata.obs, data.keys.context)[division.truth])
    where = f"in {some([str(label) for label in labels])}"
    return where if target_controls == "train+input" else f"{where}, whose control cells were only predicted from"

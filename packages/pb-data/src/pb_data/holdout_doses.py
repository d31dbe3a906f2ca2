"""The split that holds out one dose of every perturbation."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from pb_data.assembly import complete, learnable, measured
from pb_data.holdout_everywhere import context_words, divide_everywhere, held_out_words
from pb_data.keys import label_array
from pb_data.problems import some
from pb_data.splits import Split, SplitRule
from pb_data.units import resolve_unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pb_data.datasets.cards import PerturbationData

__all__ = ["LEAVE_DOSE_OUT", "doses", "leave_dose_out"]

Neighbours = tuple[float | None, float | None]  # the nearest doses seen below and above


def doses(data: PerturbationData) -> list[str]:
    """Return the doses of perturbed cells in contexts with controls as text, sorted as numbers; not the control dose.

    Raises
    ------
    ValueError
        Where the data have no doses.
    """
    if data.keys.dose is None:
        msg = f"data set {data.name!r} names no dose column, so it has no dose to hold out; name one (Keys.dose)"
        raise ValueError(msg)
    return [dose_text(dose) for dose in np.unique(dose_array(data)[measured(data)]) if not np.isnan(dose)]


def leave_dose_out(data: PerturbationData, *, held_out: str, validation_fraction: float, **options: Any) -> Split:
    """Hold out all cells at one dose: unseen dose, other doses of the same perturbations seen."""
    unit = resolve_unit("leave-dose-out", data, held_out)
    at_dose = dose_texts(data) == unit
    division = divide_everywhere(data, unit, at_dose, **options)
    seen = learnable(data, division.fitted)
    neighbours = dose_neighbours(data, float(unit), division.truth, seen)
    claim = (
        f"unseen dose ({dose_words(neighbours)}), {context_words(data, division)}: the cells at dose {unit} were held "
        f"out {held_out_words(data, division, options['target_controls'])}"
    )
    return complete(
        "leave-dose-out",
        data,
        unit,
        claim,
        division,
        {"nearest_doses": {name: list(pair) for name, pair in neighbours.items()}},
        validation_fraction=validation_fraction,
        **options,
    )


LEAVE_DOSE_OUT = SplitRule(leave_dose_out, doses, "dose")


def dose_array(data: PerturbationData) -> NDArray[np.float64]:
    """Return each cell's dose, (cells,)."""
    values: NDArray[np.float64] = data.adata.obs[data.keys.dose].to_numpy(dtype=np.float64)
    return values


def dose_text(dose: float) -> str:
    """Write a dose with fifteen digits, which a sum of decimal fractions keeps.

    Examples
    --------
    >>> dose_text(10.0), dose_text(0.1 + 0.2)
    ('10', '0.3')
    """
    return f"{dose:.15g}"


def dose_texts(data: PerturbationData) -> NDArray[np.str_]:
    """Return each cell's dose as text, (cells,)."""
    values, codes = np.unique(dose_array(data), return_inverse=True)
    return np.array([dose_text(value) for value in values])[codes]


def dose_neighbours(
    data: PerturbationData, dose: float, truth: NDArray[np.bool_], seen: NDArray[np.bool_]
) -> dict[str, Neighbours]:
    """Return, for each perturbation of the truth, the nearest seen doses below and above (None where there is none)."""
    labels, values = label_array(data.adata.obs, data.keys.perturbation), dose_array(data)
    found: dict[str, Neighbours] = {}
    for name in np.unique(labels[truth]):
        others = np.unique(values[seen & (labels == name)])
        below, above = others[others < dose], others[others > dose]
        found[str(name)] = (float(below[-1]) if below.size else None, float(above[0]) if above.size else None)
    return found


def dose_words(neighbours: dict[str, Neighbours]) -> str:
    """Say whether a dose is between seen ones; perturbations are named where they differ.

    Examples
    --------
    >>> dose_words({"x": (1.0, 10.0)})
    'interpolation: 1 and 10 were seen'
    >>> dose_words({"x": (1.0, 10.0), "y": (None, 10.0), "z": (None, None)})
    "for 'x' interpolation: 1 and 10 were seen; for 'y' extrapolation: the lowest seen is 10; for 'z' no other was seen"
    """
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name, (below, above) in neighbours.items():
        groups[pair_words(below, above)].append(name)
    if len(groups) == 1:
        return next(iter(groups))
    return "; ".join(f"for {some(names)} {words}" for words, names in groups.items())


def pair_words(below: float | None, above: float | None) -> str:
    """Say what the nearest doses below and above make of a prediction."""
    if below is not None and above is not None:
        return f"interpolation: {dose_text(below)} and {dose_text(above)} were seen"
    if below is not None:
        return f"extrapolation: the highest seen is {dose_text(below)}"
    return "no other was seen" if above is None else f"extrapolation: the lowest seen is {dose_text(above)}"

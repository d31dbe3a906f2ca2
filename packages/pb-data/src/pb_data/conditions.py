"""Cells of some perturbations and doses only, with the controls they need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pb_data.keys import label_array
from pb_data.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pb_data.datasets.cards import PerturbationData

__all__ = ["restrict"]


def restrict(
    data: PerturbationData, *, perturbations: Sequence[str] = (), doses: Sequence[float] = ()
) -> PerturbationData:
    """Keep the control cells and the cells under some perturbations, at some doses; no names mean all.

    The choice becomes part of the recipe (`source["conditions"]`), so that `load_source` repeats it and a split of the
    chosen cells has a hash of its own.

    Raises
    ------
    ValueError
        Where the data have no such perturbation or dose, or no cell is both.

    Examples
    --------
    >>> from pb_data import load
    >>> data = load("pbmc")
    >>> restrict(data, perturbations=["stimulated"]).adata.n_obs == data.adata.n_obs
    True
    """
    if not perturbations and not doses:
        return data
    control = data.keys.is_control(data.adata.obs)
    chosen = _with_labels(data, control, perturbations) & _at_doses(data, control, doses)
    if not (chosen & ~control).any():
        msg = f"no cell of {data.name!r} has one of {list(perturbations)} at one of the doses {list(doses)}"
        raise ValueError(msg)
    conditions = {"perturbations": sorted(set(perturbations)), "doses": sorted({float(dose) for dose in doses})}
    return data._replace(adata=data.adata[control | chosen].copy(), source={**data.source, "conditions": conditions})


def _with_labels(data: PerturbationData, control: NDArray[np.bool_], perturbations: Sequence[str]) -> NDArray[np.bool_]:
    labels = label_array(data.adata.obs, data.keys.perturbation)
    known = sorted({str(label) for label in labels[~control]})
    for name in perturbations:
        if name not in known:
            choices = f"perturbations: {', '.join(known[:20])}{', ...' if len(known) > 20 else ''}"
            msg = f"data set {data.name!r} has no perturbation {name!r}{nearest(name, known)} ({choices})"
            raise ValueError(msg)
    chosen: NDArray[np.bool_] = np.isin(labels, list(perturbations)) if perturbations else np.ones(len(labels), bool)
    return chosen


def _at_doses(data: PerturbationData, control: NDArray[np.bool_], doses: Sequence[float]) -> NDArray[np.bool_]:
    if not doses:
        return np.ones(data.adata.n_obs, dtype=bool)
    if data.keys.dose is None:
        msg = (
            f"data set {data.name!r} has no dose column, so no dose can be chosen; name it (--dose-key), or drop --dose"
        )
        raise ValueError(msg)
    measured = data.adata.obs[data.keys.dose].to_numpy(dtype=np.float64)
    known = np.unique(measured[~control])
    for dose in doses:
        if not np.isin(dose, known):
            msg = f"data set {data.name!r} has no dose {dose:.15g} (doses: {', '.join(f'{d:.15g}' for d in known)})"
            raise ValueError(msg)
    chosen: NDArray[np.bool_] = np.isin(measured, list(doses))
    return chosen

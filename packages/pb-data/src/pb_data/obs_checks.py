"""Checks of names, obs columns and the numbers of cells in each context."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pb_data.keys import Keys, label_array
from pb_data.nearest import nearest
from pb_data.problems import Problem, some

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

__all__ = ["column_problems", "group_problems", "lonely_contexts", "structure_problems", "value_problems"]

NUMBERS = ("dose", "library_size")


def structure_problems(adata: AnnData) -> list[Problem]:
    """Return problems of the table as a whole: no cells or genes, names that occur more than once."""
    found = []
    if 0 in adata.shape:
        found.append(Problem("empty", f"the data hold {adata.n_obs} cells and {adata.n_vars} genes; both are needed"))
    for what, names in (("cell", adata.obs_names), ("gene", adata.var_names)):
        if not names.is_unique:
            repeated = names[names.duplicated()].unique()
            remedy = f"call adata.{'obs' if what == 'cell' else 'var'}_names_make_unique()"
            message = f"{len(repeated)} {what} names occur more than once ({some(repeated)}); {remedy}"
            found.append(Problem(f"duplicated-{what}s", message))
    return found


def column_problems(obs: pd.DataFrame, keys: Keys) -> list[Problem]:
    """Return problems of the column names: missing or named twice."""
    present = [str(name) for name in obs.columns]
    found = []
    for meaning, column in keys.columns.items():
        if column not in present:
            listed = ", ".join(present) or "none"
            message = f"obs has no {meaning} column {column!r}{nearest(column, present)} (columns: {listed})"
            found.append(Problem("missing-column", message))
        elif present.count(column) > 1:
            message = f"obs has {present.count(column)} columns called {column!r}; keep one"
            found.append(Problem("duplicated-column", message))
    return found


def value_problems(obs: pd.DataFrame, keys: Keys) -> list[Problem]:
    """Return problems inside the columns: missing values, blanks around labels, text where numbers belong."""
    found = []
    for meaning, column in keys.columns.items():
        if missing := int(obs[column].isna().sum()):
            message = f"{missing} of {len(obs)} cells have no value in {meaning} column {column!r}; fill or drop them"
            found.append(Problem("missing-values", message))
        found += number_problems(obs, meaning, column) if meaning in NUMBERS else blank_problems(obs, meaning, column)
    return found


def number_problems(obs: pd.DataFrame, meaning: str, column: str) -> list[Problem]:
    """Return problems of a column that has to hold numbers (positive ones for the library size)."""
    try:
        values = obs[column].to_numpy(dtype=np.float64)
    except (TypeError, ValueError):
        message = f"{meaning} column {column!r} does not hold numbers (first: {obs[column].iloc[0]!r}); convert it"
        return [Problem("not-a-number", message)]
    if meaning == "library_size" and (values <= 0).any():
        message = f"{(values <= 0).sum()} cells have no positive library size in {column!r}; drop or mend them"
        return [Problem("library-size", message)]
    return []


def blank_problems(obs: pd.DataFrame, meaning: str, column: str) -> list[Problem]:
    """Return labels with blanks before or after them."""
    labels = np.unique(label_array(obs, column))
    if padded := [str(label) for label in labels if label != label.strip()]:
        remedy = f"obs[{column!r}] = obs[{column!r}].astype(str).str.strip()"
        return [
            Problem(
                "blanks", f"labels of {meaning} column {column!r} have blanks around them ({some(padded)}): {remedy}"
            )
        ]
    return []


def group_problems(obs: pd.DataFrame, keys: Keys, min_cells: int) -> list[Problem]:
    """Return problems of the numbers of cells: no controls, nothing perturbed, too few of either in a context."""
    control = keys.is_control(obs)
    if len(obs) == 0:
        return []
    if not control.any():
        labels = [str(label) for label in np.unique(label_array(obs, keys.perturbation))]
        hint = f"{nearest(keys.control, labels)} (labels: {some(labels, 10)})"
        return [Problem("no-control", f"no cell of {keys.perturbation!r} has the control label {keys.control!r}{hint}")]
    found = dose_conflicts(obs, keys)
    if control.all():
        found.append(Problem("no-perturbed", f"all {len(obs)} cells are control cells; there is nothing to predict"))
    if lonely := lonely_contexts(obs, keys, perturbed=False):
        message = f"no control cells in context {some(lonely, 10)}; add controls or drop its cells"
        found.append(Problem("no-control-in-context", message))
    return found + few_problems(obs, keys, min_cells)


def few_problems(obs: pd.DataFrame, keys: Keys, min_cells: int) -> list[Problem]:
    """Return the contexts with some, but too few, control or perturbed cells, with their counts."""
    labels, control = label_array(obs, keys.context), keys.is_control(obs)
    few = []
    for side, cells in (("control", control), ("perturbed", ~control)):
        names, counts = np.unique(labels[cells], return_counts=True)
        few += [f"{name} ({count} {side})" for name, count in zip(names, counts, strict=True) if count < min_cells]
    if not few:
        return []
    message = f"fewer than {min_cells} cells in {', '.join(few)}; drop these contexts or add cells"
    return [Problem("too-few-cells", message)]


def dose_conflicts(obs: pd.DataFrame, keys: Keys) -> list[Problem]:
    """Return control-labelled cells whose dose is not the control dose."""
    if keys.dose is None:
        return []
    doses = obs[keys.dose].to_numpy(dtype=np.float64)
    dosed = (label_array(obs, keys.perturbation) == keys.control) & ~np.isnan(doses) & (doses != keys.control_dose)
    if not dosed.any():
        return []
    message = (
        f"{dosed.sum()} cells labelled {keys.control!r} have a dose other than the control dose {keys.control_dose} "
        f"(first: {doses[dosed][0]}); mend the label, the dose, or the control dose"
    )
    return [Problem("dose-conflict", message)]


def lonely_contexts(obs: pd.DataFrame, keys: Keys, *, perturbed: bool) -> list[str]:
    """Return the sorted contexts that have no perturbed cells, or no control cells."""
    labels, control = label_array(obs, keys.context), keys.is_control(obs)
    with_side = control != perturbed
    return sorted({str(name) for name in labels} - {str(name) for name in labels[with_side]})

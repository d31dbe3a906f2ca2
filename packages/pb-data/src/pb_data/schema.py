"""What a perturbation AnnData must hold; every problem is named at once, with what to mend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pb_data.expression_checks import expression_problems
from pb_data.keys import label_array
from pb_data.obs_checks import column_problems, group_problems, lonely_contexts, structure_problems, value_problems
from pb_data.problems import Problem, SchemaError, some

if TYPE_CHECKING:
    from anndata import AnnData

    from pb_data.keys import Keys

__all__ = ["Problem", "SchemaError", "check", "notes", "validate"]


def validate(adata: AnnData, keys: Keys, *, min_cells: int = 2) -> list[Problem]:
    """Return every problem of the data; nothing is changed and no dense copy is made.

    Dense and CSC matrices and views are accepted, backed files are not. A context with only control cells is no problem
    (it can be predicted, and `notes` names it); one with only perturbed cells is.

    Parameters
    ----------
    min_cells
        Control cells and perturbed cells that a context with any of them must have.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from anndata import AnnData
    >>> from pb_data.keys import Keys
    >>> keys = Keys(context="cell_type", perturbation="condition", control="control", scale="counts")
    >>> obs = pd.DataFrame({"cell_type": "B", "condition": ["control", "stimulated"]}, index=["a", "b"])
    >>> for problem in validate(AnnData(np.array([[1.0, 0.5], [2.0, -1.0]]), obs=obs), keys):
    ...     print(problem.code)
    too-few-cells
    negative
    scale
    """
    columns = column_problems(adata.obs, keys)
    problems = structure_problems(adata) + columns
    if not columns:
        values = value_problems(adata.obs, keys)
        problems += values
        if not any(problem.code == "not-a-number" for problem in values):
            problems += group_problems(adata.obs, keys, min_cells)
    return problems + expression_problems(adata, keys)


def check(adata: AnnData, keys: Keys, *, min_cells: int = 2) -> None:
    """Raise where the data have problems.

    Raises
    ------
    SchemaError
        With every problem, one a line.
    """
    if problems := validate(adata, keys, min_cells=min_cells):
        raise SchemaError(problems)


def notes(adata: AnnData, keys: Keys) -> list[str]:
    """Return what is worth knowing of valid data without being wrong.

    Examples
    --------
    >>> from pb_data import load
    >>> data = load("pbmc")
    >>> notes(data.adata, data.keys)
    []
    """
    found = []
    if lonely := lonely_contexts(adata.obs, keys, perturbed=True):
        found.append(f"no perturbed cells in context {some(lonely)}: it can be predicted but not held out or scored")
    if len(both := sorted(set(label_array(adata.obs, keys.context)) - set(lonely))) == 1:
        found.append(
            f"{str(both[0])!r} is the only context with control and perturbed cells; holding it out needs another"
        )
    if empty := int((adata.X.sum(axis=1) == 0).sum()):
        found.append(f"{empty} of {adata.n_obs} cells have no expression at all; filter_cells(min_counts=1) drops them")
    return found

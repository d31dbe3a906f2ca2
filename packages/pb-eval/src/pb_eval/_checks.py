"""What must hold for the cells of a prediction file, said in one sentence a problem."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import h5py
import numpy as np
import pandas as pd

__all__ = ["Contents", "find_problems", "near", "scale_problems", "table_problems"]

_BLOCK_VALUES = 8_000_000
_LOG1P_LIMIT = 25.0  # log1p of 7e10: no cell holds that many molecules of one gene, however it was normalised


class Contents(NamedTuple):
    """The parts of a prediction, in memory or in an open file (`matrix` is then an HDF5 data set or group)."""

    matrix: Any
    obs: pd.DataFrame
    genes: pd.Index
    uns: Any


def near(name: str, choices: Iterable[object]) -> str:
    """Return the nearest of `choices` to `name` as a question in brackets, or nothing where none is near."""
    found = difflib.get_close_matches(name, [str(choice) for choice in choices], n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""


def find_problems(contents: Contents, declared: Mapping[str, Any]) -> list[str]:
    """Return one sentence for each contradiction between the cells and the `declared` fields of `uns["pb"]`."""
    problems = table_problems(contents, declared)
    if not _is_matrix(contents.matrix):
        return problems
    return problems + _value_problems(contents.matrix, declared.get("scale"))


def table_problems(contents: Contents, values: Mapping[str, Any]) -> list[str]:
    """Return one sentence for each contradiction between the shape of X, `obs`, the genes and the declared columns."""
    obs, genes = contents.obs, contents.genes
    if not _is_matrix(contents.matrix):
        return ["X is neither an array nor a sparse matrix: write the predicted expression there, cells x genes."]
    shape = _shape(contents.matrix)
    if shape != (len(obs), len(genes)):
        return [f"X is {shape} but obs and var describe {(len(obs), len(genes))} cells x genes: write the file again."]
    if 0 in shape:
        return [f"X is empty ({shape[0]} cells x {shape[1]} genes): predict at least one cell and one gene."]
    problems = []
    repeated = genes[genes.duplicated()].unique()
    if len(repeated):
        problems.append(f"{len(repeated)} gene names are repeated (first {repeated[0]!r}): keep one column a gene.")
    keys = [key for key in ("context_key", "perturbation_key", "dose_key") if values.get(key) is not None]
    return problems + [problem for key in keys for problem in _column_problems(obs, key, values)]


def _column_problems(obs: pd.DataFrame, key: str, values: Mapping[str, Any]) -> list[str]:
    column = values[key]
    if column not in obs.columns:
        return [f"obs has no column {column!r}, which uns['pb'][{key!r}] names{near(column, obs.columns)}: add it."]
    if obs[column].isna().any():
        return [f"obs[{column!r}] has {int(obs[column].isna().sum())} missing values: fill them or drop those cells."]
    context = values.get("context")
    others = [] if key != "context_key" or not context else [c for c in obs[column].unique() if str(c) != context]
    if others:
        return [f"obs[{column!r}] holds {others[0]!r} beside the declared context {context!r}: write a file for each."]
    return []


def _value_problems(matrix: Any, scale: str | None) -> list[str]:
    dtype = matrix["data"].dtype if isinstance(matrix, h5py.Group) else matrix.dtype
    if dtype.kind not in "iuf":
        return [f"X holds {dtype}, not numbers: write float32."]
    n_bad, low, high, whole = 0, 0.0, 0.0, True
    for block in _blocks(matrix):
        n_bad += int(block.size - np.isfinite(block).sum())
        low, high = min(low, float(block.min())), max(high, float(block.max()))
        whole = whole and n_bad == 0 and bool((block == np.rint(block)).all())
    if n_bad:
        return [f"X holds {n_bad} values that are NaN or infinite: predict a finite value for every gene."]
    return scale_problems(scale, low, high, whole=whole)


def scale_problems(scale: str | None, low: float, high: float, *, whole: bool, measured: float = 0.0) -> list[str]:
    """Say where values from `low` to `high`, all of them `whole` numbers or not, cannot be on the declared scale.

    `measured` is the lowest of measured cells: a decoder may end below 0, log1p of counts does not.
    """
    if scale == "log1p" and high > _LOG1P_LIMIT:
        return [f"The scale is declared log1p but X reaches {high:g}, as no log1p can: declare counts, or log1p X."]
    if scale == "log1p" and whole and high > 1:
        return [f"The scale is declared log1p but X holds whole numbers up to {high:g}: declare counts, or log1p X."]
    if scale == "log1p" and measured < 0:
        return [f"The scale is declared log1p but measured cells go down to {measured:g}: undo centring or scaling."]
    if scale == "counts" and low < 0:
        return [f"The scale is declared counts but X goes down to {low:g}: declare log1p, or clip X at zero."]
    if scale == "counts" and not whole and high <= _LOG1P_LIMIT:
        return [f"The scale is declared counts but X holds fractions up to {high:g} only: declare log1p, or round X."]
    return []


def _blocks(matrix: Any) -> Iterator[np.ndarray[Any, Any]]:
    if isinstance(matrix, h5py.Group):
        matrix = matrix["data"]
    elif hasattr(matrix, "indptr"):
        matrix = matrix.data
    step = max(1, _BLOCK_VALUES // int(np.prod(matrix.shape[1:], dtype=int) or 1))
    blocks = (np.asarray(matrix[start : start + step]) for start in range(0, matrix.shape[0], step))
    return (block for block in blocks if block.size)


def _is_matrix(matrix: Any) -> bool:
    return "shape" in matrix.attrs and "data" in matrix if isinstance(matrix, h5py.Group) else hasattr(matrix, "dtype")


def _shape(matrix: Any) -> tuple[int, ...]:
    shape = matrix.attrs["shape"] if isinstance(matrix, h5py.Group) else matrix.shape
    return tuple(int(length) for length in shape)

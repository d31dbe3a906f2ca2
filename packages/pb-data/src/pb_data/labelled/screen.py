"""Make the two files of the Akana layout from expression, each cell's target, and the table of a screen."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import sparse

from pb_data.labelled.akana import FLAG, LABELS, MATRIX
from pb_data.nearest import nearest
from pb_data.problems import DataFileError, SchemaError, some

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

    from pb_data.keys import Scale

__all__ = ["Screen", "fixed_test_rows", "prepare_screen", "write_screen"]

DEPTH = 1e4  # counts a cell is brought to


class Screen(NamedTuple):
    """Cells with the outcomes of their genes, as the layout holds them.

    Parameters
    ----------
    expression
        Log expression, float32 CSR (cells, genes), without the co-culture flag.
    names
        Of the genes measured.
    co_culture
        Mask (cells) of those grown in co-culture.
    genes
        Perturbed gene of each cell.
    p_values
        (cells, 2): p-values of the gene for being depleted and enriched, -1 where it has none.
    test
        Mask (cells) of the fixed test rows.
    """

    expression: sparse.csr_matrix
    names: NDArray[np.str_]
    co_culture: NDArray[np.bool_]
    genes: NDArray[np.str_]
    p_values: NDArray[np.float64]
    test: NDArray[np.bool_]


def prepare_screen(
    adata: AnnData,
    screen: pd.DataFrame,
    *,
    target_key: str,
    scale: Scale,
    columns: tuple[str, str, str] = ("gene", "neg.p.value", "pos.p.value"),
    co_culture: tuple[str, str] | None = None,
    held_out: Sequence[str] = (),
    test_fraction: float = 0.1,
    seed: int = 0,
) -> Screen:
    """Join cells and the outcomes of their target genes; genes that the screen lacks have no label.

    Parameters
    ----------
    screen
        One row a gene.
    target_key
        Column of obs that names each cell's target.
    scale
        What X holds: `counts` are brought to 10,000 a cell and log1p is taken, `log1p` is taken as it is.
    columns
        Columns of `screen` with the gene and its p-values for depletion (neg) and enrichment (pos).
    co_culture
        A column of obs and its value that says co-culture; None sets the flag of all cells to 0.
    held_out
        Targets all of whose cells are test rows.
    test_fraction
        Part of the other cells that are test rows, drawn by the seed.

    Raises
    ------
    ValueError
        Where a column, a target or a value is unknown.
    DataFileError
        Where a gene has two rows, a p-value is out of 0 to 1, or no target is in the screen.
    SchemaError
        Where X does not hold what the scale says.
    """
    targets = obs_text(adata, target_key)
    outcomes = outcome_table(screen, columns)
    p_values = outcomes.reindex(targets).fillna(-1).to_numpy(dtype=np.float64)
    if (p_values == -1).all():
        msg = (
            f"none of the {len(set(targets))} targets in {target_key!r} ({some(sorted(set(targets)))}) has a p-value "
            f"in the screen ({some(list(outcomes.index))}); name genes alike in both"
        )
        raise DataFileError(msg)
    return Screen(
        log_expression(adata, scale),
        adata.var_names.to_numpy().astype(str),
        flagged(adata, co_culture),
        targets,
        p_values,
        fixed_test_rows(targets, held_out, test_fraction, seed),
    )


def obs_text(adata: AnnData, column: str) -> NDArray[np.str_]:
    """Return an obs column as text; no cell may lack it."""
    if column not in adata.obs:
        msg = f"the cells have no obs column {column!r}{nearest(column, adata.obs)} (they have {some(adata.obs, 8)})"
        raise ValueError(msg)
    if n_missing := int(adata.obs[column].isna().sum()):
        msg = f"{n_missing} cells have no value in obs column {column!r}; fill it in or leave them out"
        raise DataFileError(msg)
    text: NDArray[np.str_] = adata.obs[column].to_numpy().astype(str)
    return text


def outcome_table(screen: pd.DataFrame, columns: tuple[str, str, str]) -> pd.DataFrame:
    """Return the two p-values by gene."""
    for column in columns:
        if column not in screen:
            have = [str(each) for each in screen]
            msg = f"the screen has no column {column!r}{nearest(column, have)} (it has {some(have, 8)})"
            raise ValueError(msg)
    table = screen.set_index(screen[columns[0]].astype(str))[list(columns[1:])]
    if table.index.has_duplicates:
        double = table.index[table.index.duplicated()].unique()
        msg = f"the screen has several rows for {some(list(double))}; leave one for each gene"
        raise DataFileError(msg)
    for column in columns[1:]:
        values = table[column]
        if values.dtype.kind not in "iuf" or not (values.isna() | values.between(0, 1)).all():
            msg = f"the screen's column {column!r} does not hold p-values, 0 to 1 (empty where there is none)"
            raise DataFileError(msg)
    return table


def log_expression(adata: AnnData, scale: Scale) -> sparse.csr_matrix:
    """Return log expression as float32 CSR, after holding X to its scale."""
    from pb_data.expression_checks import scale_problems
    from pb_data.preprocess import as_csr, normalise

    X = as_csr(adata.X).astype(np.float32)
    if not np.isfinite(X.data).all():
        msg = "X has values that are NaN or infinite; expression has to be finite"
        raise DataFileError(msg)
    if problems := scale_problems(X.data, scale):
        raise SchemaError(problems)
    if scale == "counts":
        normalise(X, np.asarray(X.sum(axis=1, dtype=np.float64)).ravel(), DEPTH)
    return X


def flagged(adata: AnnData, co_culture: tuple[str, str] | None) -> NDArray[np.bool_]:
    """Mark the cells grown in co-culture."""
    if co_culture is None:
        return np.zeros(adata.n_obs, dtype=np.bool_)
    column, value = co_culture
    values = obs_text(adata, column)
    if value not in values:
        choices = sorted(set(values.tolist()))
        msg = f"no cell has {value!r} in obs column {column!r}{nearest(value, choices)} (it has {some(choices, 8)})"
        raise ValueError(msg)
    return np.equal(values, value)


def fixed_test_rows(
    genes: NDArray[np.str_], held_out: Sequence[str], test_fraction: float, seed: int
) -> NDArray[np.bool_]:
    """Mark all cells of the held-out genes and a random part of the others.

    Raises
    ------
    ValueError
        Where a gene has no cells, the part is out of [0, 1), or no cell is left to train.

    Examples
    --------
    >>> fixed_test_rows(np.array(["A", "B", "B", "B"]), ["A"], 0.34, seed=0).tolist()
    [True, False, False, True]
    """
    if not 0 <= test_fraction < 1:
        msg = f"the test fraction is {test_fraction}; give a number from 0 to below 1"
        raise ValueError(msg)
    for gene in held_out:
        if gene not in genes:
            msg = f"no cell has the held-out target {gene!r}{nearest(gene, set(genes.tolist()))}"
            raise ValueError(msg)
    test = np.isin(genes, list(held_out))
    others = np.flatnonzero(~test)
    if others.size == 0:
        msg = f"all targets are held out; leave some of {some(sorted(set(genes.tolist())))} for training"
        raise ValueError(msg)
    drawn = np.random.default_rng(seed).permutation(others)[: round(test_fraction * len(others))]
    test[drawn] = True
    return test


def write_screen(path: str | PathLike[str], screen: Screen) -> list[Path]:
    """Write `PATH_tpm.npz` and `PATH_labels_and_extras.npz`, each whole or not at all; the same screen, the same bytes.

    Besides what the layout's files hold, the second names each cell's gene (`genes`) and the features (`features`), as
    plain text. No object array is written.

    Raises
    ------
    FileExistsError
        Where one of the files is there already.
    FileNotFoundError
        Where the folder is missing.
    """
    stem = Path(path)
    files = [stem.with_name(stem.name + MATRIX), stem.with_name(stem.name + LABELS)]
    for file in files:
        if file.exists():
            msg = f"{file} is there already; give another name"
            raise FileExistsError(msg)
    if not stem.parent.is_dir():
        msg = f"{files[0]} cannot be written: there is no folder {stem.parent}; make it, or name another"
        raise FileNotFoundError(msg)
    drafts = [file.with_name(f".{os.getpid()}.{file.name}") for file in files]
    try:
        sparse.save_npz(drafts[0], with_flag(screen))
        np.savez_compressed(drafts[1], **label_members(screen))
        for draft, file in zip(drafts, files, strict=True):
            draft.replace(file)
    finally:
        for draft in drafts:
            draft.unlink(missing_ok=True)
    return files


def with_flag(screen: Screen) -> sparse.csr_matrix:
    """Return the matrix with the co-culture flag as feature 0."""
    flag = sparse.csr_matrix(screen.co_culture[:, None].astype(np.float32))
    matrix = sparse.csr_matrix(sparse.hstack([flag, screen.expression], format="csr", dtype=np.float32))
    matrix.sort_indices()
    return matrix


def label_members(screen: Screen) -> dict[str, Any]:
    """Return the arrays of the label file; the row numbers of the test only where there are test rows."""
    members: dict[str, Any] = {
        "Y": screen.p_values,
        "genes": screen.genes,
        "features": np.array([FLAG, *screen.names]),
    }
    if screen.test.any():
        members |= {"tr_ids": np.flatnonzero(~screen.test), "te_ids": np.flatnonzero(screen.test)}
    return members

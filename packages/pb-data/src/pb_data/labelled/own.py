"""One's own labelled samples: `.h5ad`, `.csv` or `.parquet`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pb_data.datasets.files import existing, read_cells
from pb_data.hashing import file_sha256
from pb_data.labelled.cards import LabelledData
from pb_data.labelled.labels import encode, require_learnable
from pb_data.labelled.registry import LABELLED, require_task
from pb_data.nearest import nearest
from pb_data.problems import DataFileError, some

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from os import PathLike
    from pathlib import Path

    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

    from pb_data.labelled.cards import Task

__all__ = ["load_labelled_file"]

TASKS = ("regression", "classification")


def load_labelled_file(
    path: str | PathLike[str],
    *,
    task: Task,
    labels: str | Sequence[str],
    groups: str | None = None,
    test: str | None = None,
    unscaled: Sequence[str] = (),
    thresholds: Sequence[float] = (),
) -> LabelledData:
    """Read one's own samples; a label that is empty or NaN is missing.

    Parameters
    ----------
    labels
        Columns to predict: of obs, or one key of obsm (its columns are the targets), in an `.h5ad`; of the table in a
        `.csv` or `.parquet`.
    groups
        Column that says which gene (or other group) a sample is of.
    test
        Column of true or false that marks fixed test rows.
    unscaled
        Features that are never standardised.
    thresholds
        Cut points that make classes of values (`classes_of`), for all targets; the labels then have to be numbers.

    Features are X of an `.h5ad` as it is, and all other columns of a table, which have to be numbers.

    Raises
    ------
    DataFileError
        Where the file cannot be read or is none of these kinds, a feature is no number, or a target is constant or has
        a single class.
    ValueError
        Where a column is missing.
    FileNotFoundError
        Where the path leads nowhere.
    """
    file = existing(path)
    require_task(file.name, task, TASKS)
    names = (labels,) if isinstance(labels, str) else tuple(labels)
    parts = {".h5ad": from_cells, ".csv": from_table, ".parquet": from_table}
    if file.suffix not in parts:
        msg = f"{file} is none of {', '.join(parts)}; write it as one of these"
        raise DataFileError(msg)
    X, features, values, side = parts[file.suffix](file, names, [each for each in (groups, test) if each])
    y, classes = encode(values, task, thresholds)
    require_learnable(file.name, y, tuple(map(str, values.columns)), classes)
    options = {
        "labels": list(names),
        "groups": groups,
        "test": test,
        "unscaled": list(unscaled),
        "thresholds": list(thresholds),
    }
    name = file.name if file.stem in LABELLED else file.stem
    return LabelledData(
        X=X,
        y=y,
        targets=tuple(map(str, values.columns)),
        classes=classes,
        features=features,
        groups=None if groups is None else group_labels(side[groups], file),
        test=None if test is None else truths(side[test], file),
        task=task,
        name=name,
        source={
            "dataset": "file",
            "name": name,
            "task": task,
            "path": str(file),
            "sha256": file_sha256(file),
            "options": options,
        },
        unscaled=unscaled_mask(features, unscaled, file),
        thresholds=tuple(map(float, thresholds)),
    )


def from_cells(
    file: Path, labels: tuple[str, ...], others: list[str]
) -> tuple[Any, tuple[str, ...], pd.DataFrame, pd.DataFrame]:
    """Return features, their names, label columns and other columns of an `.h5ad`."""
    adata = read_cells(file)
    if len(labels) == 1 and labels[0] in adata.obsm and labels[0] not in adata.obs:
        values = obsm_columns(adata, labels[0])
    else:
        values = columns(adata.obs, labels, file, tuple(adata.obsm))
    return matrix(adata.X, file), tuple(adata.var_names.astype(str)), values, columns(adata.obs, others, file)


def obsm_columns(adata: AnnData, key: str) -> pd.DataFrame:
    """Return an obsm entry as a table; columns without names are called key 1, key 2, ..."""
    import pandas as pd

    entry: Any = adata.obsm[key]
    if isinstance(entry, pd.DataFrame):
        return entry
    entry = np.asarray(entry.toarray() if hasattr(entry, "toarray") else entry)
    return pd.DataFrame(entry, columns=[f"{key} {n}" for n in range(1, entry.shape[1] + 1)])


def from_table(
    file: Path, labels: tuple[str, ...], others: list[str]
) -> tuple[Any, tuple[str, ...], pd.DataFrame, pd.DataFrame]:
    """Return features, their names, label columns and other columns of a table."""
    table = read_table_file(file)
    values, side = columns(table, labels, file), columns(table, others, file)
    rest = table.drop(columns=[*labels, *others])
    if text := [name for name in rest.columns if rest[name].dtype.kind not in "biuf"]:
        msg = (
            f"{file}: the columns {some(text)} are no numbers and so no features; leave them out, or name their role "
            "(labels, groups or test)"
        )
        raise DataFileError(msg)
    return matrix(rest.to_numpy(dtype=np.float32), file), tuple(map(str, rest.columns)), values, side


def read_table_file(file: Path) -> pd.DataFrame:
    """Read a `.csv` or `.parquet`."""
    import pandas as pd

    try:
        if file.suffix == ".csv":
            return pd.read_csv(file)
        from pyarrow import parquet

        table: pd.DataFrame = parquet.read_table(file).to_pandas()
    except (ValueError, OSError) as error:  # the errors of pandas and pyarrow for content they cannot read
        msg = f"{file} cannot be read as {file.suffix}: it is another kind of file or was cut short; write it again"
        raise DataFileError(msg) from error
    return table


def columns(table: pd.DataFrame, names: Iterable[str], file: Path, also: tuple[str, ...] = ()) -> pd.DataFrame:
    """Return the named columns.

    Raises
    ------
    ValueError
        Where one is missing.
    """
    have = [*map(str, table.columns), *also]
    for name in names:
        if name not in table.columns:
            msg = f"{file} has no column {name!r}{nearest(name, have)} (it has {some(have, 8)})"
            raise ValueError(msg)
    return table[list(names)]


def matrix(X: Any, file: Path) -> Any:
    """Return features as float32, dense or CSR, held to be finite."""
    from scipy import sparse

    kept: Any = np.asarray(X, dtype=np.float32) if isinstance(X, np.ndarray) else sparse.csr_matrix(X, dtype=np.float32)
    values = kept if isinstance(X, np.ndarray) else kept.data
    if 0 in kept.shape:
        msg = f"{file} has {kept.shape[0]} samples and {kept.shape[1]} features; it needs some of both"
        raise DataFileError(msg)
    if n_bad := int((~np.isfinite(values)).sum()):
        msg = f"{file}: {n_bad} values of features are missing or infinite; fill them in or leave their columns out"
        raise DataFileError(msg)
    return kept


def group_labels(column: pd.Series[Any], file: Path) -> NDArray[np.object_]:
    """Return groups as text; none may be missing."""
    if n_missing := int(column.isna().sum()):
        msg = f"{file}: {n_missing} samples have no group in {column.name!r}; name their group, or leave them out"
        raise DataFileError(msg)
    return column.astype(str).to_numpy(dtype=object)


def truths(column: pd.Series[Any], file: Path) -> NDArray[np.bool_]:
    """Return a column of true or false (or 1 and 0)."""
    if not set(column.unique()) <= {True, False}:
        msg = f"{file}: {column.name!r} marks test rows and has to hold true or false, it has {some(column.unique())}"
        raise DataFileError(msg)
    return column.to_numpy(dtype=np.bool_)


def unscaled_mask(features: tuple[str, ...], names: Sequence[str], file: Path) -> NDArray[np.bool_]:
    """Mark the features that are never standardised."""
    for name in names:
        if name not in features:
            msg = f"{file} has no feature {name!r} to leave unscaled{nearest(name, features)} (it has {some(features)})"
            raise ValueError(msg)
    return np.isin(np.array(features, dtype=object), list(names))

"""The format of embedded matrices in HDF5: gene-wise gaps between cell numbers as small integers, and the values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

__all__ = ["gaps_of", "positions_of", "read_embedded", "read_embedded_cells", "write_embedded"]


def gaps_of(positions: NDArray[np.integer[Any]], starts: NDArray[np.integer[Any]]) -> NDArray[np.uint16]:
    """Replace the sorted positions of each line by their differences; each line's first position stays.

    Examples
    --------
    >>> gaps_of(np.array([3, 4, 9, 0, 2]), np.array([0, 3, 5])).tolist()
    [3, 1, 5, 0, 2]
    """
    gaps = np.diff(positions.astype(np.int64), prepend=0)
    first = starts[:-1][np.diff(starts) > 0]
    gaps[first] = positions[first]
    return gaps.astype(np.uint16)


def positions_of(gaps: NDArray[np.integer[Any]], starts: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
    """Undo `gaps_of`: running sums that begin anew on each line.

    Examples
    --------
    >>> positions_of(np.array([3, 1, 5, 0, 2]), np.array([0, 3, 5])).tolist()
    [3, 4, 9, 0, 2]
    """
    steps = gaps.astype(np.int64)
    lengths = np.diff(starts)
    first = starts[:-1][lengths > 0]
    line_sums = np.add.reduceat(steps, first) if first.size else steps
    steps[first[1:]] -= line_sums[:-1]  # the running sum falls back to the line's own first position
    return np.cumsum(steps).astype(np.int32)


def write_embedded(
    path: Path,
    matrix: sparse.csr_matrix,
    obs: pd.DataFrame,
    genes: NDArray[np.str_],
    *,
    dtype: type[np.uint16 | np.float32] = np.uint16,
) -> None:
    """Write expression (cells, genes), obs columns (as categories) and names; at most 65,535 cells.

    Parameters
    ----------
    dtype
        What the values have to fit exactly: uint16 for counts, float32 for log1p values.

    Raises
    ------
    ValueError
        Where a value does not fit the type or the cells are too many.
    """
    by_gene = matrix.tocsc()
    by_gene.sort_indices()
    values = by_gene.data.astype(dtype)
    if matrix.shape[0] > np.iinfo(np.uint16).max or not np.array_equal(values, by_gene.data):
        kind = "16-bit whole numbers" if dtype is np.uint16 else "32-bit numbers"
        msg = f"{matrix.shape[0]} cells with values up to {matrix.max()} do not fit {kind}; nothing written"
        raise ValueError(msg)
    with h5py.File(path, "w", track_order=True) as file:
        file.attrs["shape"] = matrix.shape
        store(file, "values", values)
        store(file, "gaps", gaps_of(by_gene.indices, by_gene.indptr))
        store(file, "cells_per_gene", np.diff(by_gene.indptr).astype(np.uint16))
        store(file, "genes", genes.astype(bytes))
        store(file, "cells", obs.index.to_numpy().astype(bytes))
        columns = file.create_group("obs", track_order=True)
        for name in obs.columns:
            column = obs[name].astype("category").cat
            group = columns.create_group(str(name))
            store(group, "codes", column.codes.to_numpy().astype(np.min_scalar_type(-len(column.categories))))
            group["categories"] = column.categories.to_numpy().astype(bytes)


def store(group: h5py.Group, name: str, array: NDArray[Any]) -> None:
    """Write one array with byte shuffle and gzip; h5py adds no time stamp, so the same content is the same file."""
    group.create_dataset(
        name, data=array, chunks=(min(len(array), 1 << 20),), shuffle=True, compression="gzip", compression_opts=9
    )


def read_embedded(path: Path) -> tuple[sparse.csr_matrix, pd.DataFrame, pd.Index]:
    """Return X (cells, genes; float32 CSR with sorted indices), obs with categorical columns, and gene names."""
    import pandas as pd

    with h5py.File(path, "r") as file:
        starts = np.concatenate([[0], np.cumsum(file["cells_per_gene"][:], dtype=np.int64)])
        cells = positions_of(file["gaps"][:], starts)
        by_gene = sparse.csc_matrix(
            (file["values"][:].astype(np.float32), cells, starts.astype(np.int32)), file.attrs["shape"]
        )
        columns = {
            name: pd.Categorical.from_codes(group["codes"][:], group["categories"][:].astype(str))
            for name, group in file["obs"].items()
        }
        obs = pd.DataFrame(columns, index=pd.Index(file["cells"][:].astype(str), dtype=object))
        genes = pd.Index(file["genes"][:].astype(str), dtype=object)
    return by_gene.tocsr(), obs, genes


def read_embedded_cells(path: Path, keep: Callable[[pd.DataFrame], pd.Series]) -> AnnData:
    """Return the cells that `keep` marks in obs, without the categories that none of them has."""
    import pandas as pd
    from anndata import AnnData

    X, obs, genes = read_embedded(path)
    kept = keep(obs).to_numpy()
    if not kept.all():
        X, obs = X[kept], obs[kept].copy()
        for column in obs:
            obs[column] = obs[column].cat.remove_unused_categories()
    return AnnData(X, obs=obs, var=pd.DataFrame(index=genes))

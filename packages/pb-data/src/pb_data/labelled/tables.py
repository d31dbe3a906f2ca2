"""The format of the embedded tables in HDF5: one group a set, columns as they compress best."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["RESOURCE", "Table", "read_table", "table_sha256", "write_tables"]

RESOURCE = Path(__file__).parent / "resources" / "tabular.h5"


class Table(NamedTuple):
    """Rows of a published table in the order of its split: features (rows, columns), labels (rows, targets), groups."""

    X: NDArray[Any]
    y: NDArray[Any]
    groups: NDArray[np.int64]
    n_test: int


def write_tables(path: Path, tables: Mapping[str, Table]) -> None:
    """Write tables whose last `n_test` rows are the test rows; groups are empty where there are none."""
    import h5py

    with h5py.File(path, "w", track_order=True) as file:
        for name, table in tables.items():
            group = file.create_group(name, track_order=True)
            group.attrs["n_test"] = table.n_test
            for key in ("X", "y", "groups"):
                by_column = np.ascontiguousarray(getattr(table, key).T)
                chunks = by_column.shape if by_column.size else None
                packing = {"shuffle": True, "compression": "gzip", "compression_opts": 9} if chunks else {}
                group.create_dataset(key, data=by_column, chunks=chunks, **packing)


def read_table(name: str, path: Path = RESOURCE) -> Table:
    """Return an embedded table."""
    import h5py

    with h5py.File(path, "r") as file:
        group = file[name]
        X, y, groups = (np.ascontiguousarray(group[key][:].T) for key in ("X", "y", "groups"))
        return Table(X, y, groups, int(group.attrs["n_test"]))


def table_sha256(table: Table) -> str:
    """Return the SHA-256 of a table in hex: shapes, then features, labels and groups as little-endian float64."""
    digest = hashlib.sha256(repr([table.X.shape, table.y.shape, table.groups.shape, table.n_test]).encode())
    for array in table[:3]:
        digest.update(np.ascontiguousarray(array, dtype="<f8").data)
    return digest.hexdigest()

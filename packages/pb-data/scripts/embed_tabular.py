"""Embed the five published tables in the package: Concrete, Wine, Parkinsons Telemonitoring and Letter Recognition.

Run from the package's folder with the folder of the original files:

    python scripts/embed_tabular.py FOLDER

- `CCS.npz`, `wine_quality.npz`: trX, trY, teX, teY, the features standardised upstream with the mean and standard
  deviation of all rows; training rows first.
- `parkinson.npz`: X, y (motor, total) and ids, the published order of rows whose first four fifths train. Rows of the
  original order with one age and sex in a row are one group: a patient, and in one case two.
- `letter.dat`: rows of 16 whole numbers and a letter; the last fifth is for testing.

Features of the first three are stored as float32. The written file is read back and compared with the originals, and
the script fails and leaves no file where anything differs. The content hashes it logs are those that the registry
states (`pb_data/labelled/tabular.py`); a test proves it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
from embedding import arguments, draft_of
from pb_data.labelled.tables import RESOURCE, Table, read_table, table_sha256, write_tables

if TYPE_CHECKING:
    from pathlib import Path

NO_GROUPS = np.zeros(0, dtype=np.uint8)


def parted(path: Path) -> Table:
    """Return the table of a file whose rows are parted already."""
    with np.load(path, allow_pickle=False) as file:
        X, y = np.vstack([file["trX"], file["teX"]]), np.vstack([file["trY"], file["teY"]])
        return Table(X.astype(np.float32), y.astype(np.float32), NO_GROUPS, len(file["teX"]))


def parkinson(path: Path) -> Table:
    """Return the recordings in their published order, with their patients."""
    with np.load(path, allow_pickle=False) as file:
        X, y, ids = file["X"], file["y"], file["ids"]
    changes = (np.diff(X[:, [0, -1]], axis=0) != 0).any(axis=1)  # age, sex
    patients = np.concatenate([[0], np.cumsum(changes)]).astype(np.uint8)
    return Table(X[ids].astype(np.float32), y[ids].astype(np.float32), patients[ids], len(ids) // 5)


def letter(path: Path) -> Table:
    """Return the letters, as numbers from 0."""
    rows = [line.split(",") for line in path.read_text().splitlines() if line]
    X = np.array([row[:-1] for row in rows], dtype=np.uint8)
    y = np.array([ord(row[-1].strip()) - ord("A") for row in rows], dtype=np.uint8)[:, None]
    return Table(X, y, NO_GROUPS, len(rows) // 5)


def main(folder: Path, target: Path) -> None:
    """Write, compare, and only then put the file in its place."""
    tables = {
        "concrete": parted(folder / "CCS.npz"),
        "wine": parted(folder / "wine_quality.npz"),
        "parkinson": parkinson(folder / "parkinson.npz"),
        "letter": letter(folder / "letter.dat"),
    }
    with draft_of(target) as draft:
        write_tables(draft, tables)
        for name, table in tables.items():
            for stored, original in zip(read_table(name, draft), table, strict=True):
                np.testing.assert_array_equal(stored, original)
            logging.info("%s: content sha256 %s", name, table_sha256(table))


if __name__ == "__main__":
    main(*arguments(__doc__, RESOURCE))

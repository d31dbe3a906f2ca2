"""Embed the Papalexi 2021 ECCITE-seq screen in the package, without loss.

Run from the package's folder with the original file, an `.h5ad` with raw counts as CSR and the obs columns `grna`,
`target`, `bio_rep` and `response_n_umis` (a cell's counts over all genes, not only those of the file); other columns
are left out:

    python scripts/embed_papalexi.py papalexi2021_eccite_raw.h5ad

The written file is read back and compared with the original: every count, column index and row pointer, cell and gene
name, and every kept obs column as text has to be equal, or the script fails and leaves no file. The content hash it
logs is the one the registry states (`pb_data/labelled/papalexi.py`); a test proves it.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from pb_data.datasets.embedded import read_embedded, write_embedded
from pb_data.hashing import matrix_sha256
from pb_data.labelled.papalexi import RESOURCE
from scipy import sparse

COLUMNS = ["grna", "target", "bio_rep", "response_n_umis"]


def as_text(obs: pd.DataFrame) -> pd.DataFrame:
    """Return the columns as text, which is how they are stored."""
    return obs.astype(str).set_axis(obs.index.astype(str))


def require_equal(matrix: sparse.csr_matrix, original: anndata.AnnData, path: Path) -> str:
    """Compare the file with the original and return the hash of its content."""
    expression, obs, genes = read_embedded(path)
    for part in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(expression, part), getattr(matrix, part))
    pd.testing.assert_frame_equal(as_text(obs), as_text(original.obs[COLUMNS]), check_names=False)
    np.testing.assert_array_equal(genes, original.var_names)
    return matrix_sha256(expression, obs, genes)


def main() -> None:
    """Write, compare, and only then put the file in its place."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("original", type=Path)
    parser.add_argument("--target", type=Path, default=RESOURCE)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    original = anndata.read_h5ad(arguments.original)
    matrix = sparse.csr_matrix(original.X, dtype=np.float32)
    matrix.sort_indices()
    genes = original.var_names.to_numpy().astype(str)
    draft = arguments.target.with_suffix(".draft")
    try:
        write_embedded(draft, matrix, original.obs[COLUMNS], genes)
        sha256 = require_equal(matrix, original, draft)
        draft.replace(arguments.target)
    finally:
        draft.unlink(missing_ok=True)
    size = arguments.target.stat().st_size / 1e6
    logging.info("%s: %.1f MB, equal to the original; content sha256 %s", arguments.target, size, sha256)


if __name__ == "__main__":
    main()

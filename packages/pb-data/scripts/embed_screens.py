"""Embed the Norman 2019 and McFaline-Figueroa 2024 screens in the package, without loss beyond float32.

Run from the package's folder with the original file, an `.h5ad` with log1p expression as CSR (float64) and the obs
columns `condition`, `cell_type` and `dataset`; other columns are left out:

    python scripts/embed_screens.py norman2019_mcfaline2023_lognorm.h5ad

The written file is read back and compared with the original: every stored value, rounded to float32, column index and
row pointer, cell and gene name, and every kept obs column with its order of categories has to be equal, or the script
fails and leaves no file. The content hash it logs is the one the registry states (`pb_data/datasets/screens.py`); a
test proves it.
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
from scipy import sparse

TARGET = Path(__file__).parents[1] / "src/pb_data/datasets/resources/norman2019_mcfaline2024.h5"
COLUMNS = ["condition", "cell_type", "dataset"]


def require_equal(matrix: sparse.csr_matrix, original: anndata.AnnData, path: Path) -> str:
    """Compare the file with the original and return the hash of its content."""
    expression, obs, genes = read_embedded(path)
    for part in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(expression, part), getattr(matrix, part))
    pd.testing.assert_frame_equal(obs, original.obs[COLUMNS], check_names=False)
    np.testing.assert_array_equal(genes, original.var_names)
    return matrix_sha256(expression, obs, genes, values="<f4")


def main() -> None:
    """Write, compare, and only then put the file in its place."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("original", type=Path)
    parser.add_argument("--target", type=Path, default=TARGET)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    original = anndata.read_h5ad(arguments.original)
    matrix = sparse.csr_matrix(original.X, dtype=np.float32)
    matrix.sort_indices()
    genes = original.var_names.to_numpy().astype(str)
    draft = arguments.target.with_suffix(".draft")
    try:
        write_embedded(draft, matrix, original.obs[COLUMNS], genes, dtype=np.float32)
        sha256 = require_equal(matrix, original, draft)
        draft.replace(arguments.target)
    finally:
        draft.unlink(missing_ok=True)
    size = arguments.target.stat().st_size / 1e6
    logging.info("%s: %.1f MB, equal to the original as float32; content sha256 %s", arguments.target, size, sha256)


if __name__ == "__main__":
    main()

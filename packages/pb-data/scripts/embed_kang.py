"""Embed the Kang 2018 PBMC counts in the package, without loss.

Run from the package's folder with the original file, an `.h5ad` with raw counts as CSR and the obs columns
`condition`, `cell_type`, `donor` and `multiplets`:

    python scripts/embed_kang.py kang2018_pbmc_ifnb_raw.h5ad

The written file is read back and compared with the original: every stored count, column index and row pointer, cell and
gene name, and every obs column with its order of categories has to be equal, or the script fails and leaves no file.
The content hash it logs is the one the registry states (`pb_data/datasets/pbmc.py`); a test proves it.
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

TARGET = Path(__file__).parents[1] / "src/pb_data/datasets/resources/kang2018_pbmc.h5"


def require_equal(original: anndata.AnnData, path: Path) -> str:
    """Compare the file with the original and return the hash of its content."""
    counts, obs, genes = read_embedded(path)
    expected = sparse.csr_matrix(original.X)
    expected.sort_indices()
    for part in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(counts, part), getattr(expected, part))
    pd.testing.assert_frame_equal(obs, original.obs, check_names=False)
    np.testing.assert_array_equal(genes, original.var_names)
    return matrix_sha256(counts, obs, genes)


def main() -> None:
    """Write, compare, and only then put the file in its place."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("original", type=Path)
    parser.add_argument("--target", type=Path, default=TARGET)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    original = anndata.read_h5ad(arguments.original)
    draft = arguments.target.with_suffix(".draft")
    try:
        write_embedded(draft, sparse.csr_matrix(original.X), original.obs, original.var_names.to_numpy().astype(str))
        sha256 = require_equal(original, draft)
        draft.replace(arguments.target)
    finally:
        draft.unlink(missing_ok=True)
    size = arguments.target.stat().st_size / 1e6
    logging.info("%s: %.1f MB, equal to the original; content sha256 %s", arguments.target, size, sha256)


if __name__ == "__main__":
    main()

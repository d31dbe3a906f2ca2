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

import logging
from typing import TYPE_CHECKING

import anndata
import numpy as np
from embedding import arguments, draft_of, stored_cells
from pb_data.datasets.embedded import write_embedded
from pb_data.datasets.screens import RESOURCE
from pb_data.hashing import matrix_sha256
from scipy import sparse

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = ["condition", "cell_type", "dataset"]


def main(file: Path, target: Path) -> None:
    """Write, compare, and only then put the file in its place."""
    original = anndata.read_h5ad(file)
    matrix = sparse.csr_matrix(original.X, dtype=np.float32)
    matrix.sort_indices()
    genes = original.var_names.to_numpy().astype(str)
    with draft_of(target) as draft:
        write_embedded(draft, matrix, original.obs[COLUMNS], genes, dtype=np.float32)
        stored = stored_cells(draft, matrix, original, COLUMNS)
        logging.info("equal to the original as float32; content sha256 %s", matrix_sha256(*stored, values="<f4"))


if __name__ == "__main__":
    main(*arguments(__doc__, RESOURCE))

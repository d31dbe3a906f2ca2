"""Embed the Kang 2018 PBMC counts in the package, without loss.

Run from the package's folder with the original file, an `.h5ad` with raw counts as CSR and the obs columns
`condition`, `cell_type`, `donor` and `multiplets`:

    python scripts/embed_kang.py kang2018_pbmc_ifnb_raw.h5ad

The written file is read back and compared with the original: every stored count, column index and row pointer, cell and
gene name, and every obs column with its order of categories has to be equal, or the script fails and leaves no file.
The content hash it logs is the one the registry states (`pb_data/datasets/pbmc.py`); a test proves it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anndata
from embedding import arguments, draft_of, stored_cells
from pb_data.datasets.embedded import write_embedded
from pb_data.datasets.pbmc import RESOURCE
from pb_data.hashing import matrix_sha256
from scipy import sparse

if TYPE_CHECKING:
    from pathlib import Path


def main(file: Path, target: Path) -> None:
    """Write, compare, and only then put the file in its place."""
    original = anndata.read_h5ad(file)
    matrix = sparse.csr_matrix(original.X)
    matrix.sort_indices()
    with draft_of(target) as draft:
        write_embedded(draft, matrix, original.obs, original.var_names.to_numpy().astype(str))
        stored = stored_cells(draft, matrix, original, list(original.obs))
        logging.info("equal to the original; content sha256 %s", matrix_sha256(*stored))


if __name__ == "__main__":
    main(*arguments(__doc__, RESOURCE))

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

import logging
from typing import TYPE_CHECKING

import anndata
import numpy as np
from embedding import arguments, draft_of, stored_cells
from pb_data.datasets.embedded import write_embedded
from pb_data.hashing import matrix_sha256
from pb_data.labelled.papalexi import RESOURCE
from scipy import sparse

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = ["grna", "target", "bio_rep", "response_n_umis"]


def main(file: Path, target: Path) -> None:
    """Write, compare, and only then put the file in its place."""
    original = anndata.read_h5ad(file)
    matrix = sparse.csr_matrix(original.X, dtype=np.float32)
    matrix.sort_indices()
    with draft_of(target) as draft:
        write_embedded(draft, matrix, original.obs[COLUMNS], original.var_names.to_numpy().astype(str))
        stored = stored_cells(draft, matrix, original, COLUMNS)
        logging.info("equal to the original; content sha256 %s", matrix_sha256(*stored))


if __name__ == "__main__":
    main(*arguments(__doc__, RESOURCE))

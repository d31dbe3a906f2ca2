"""Two CRISPR screens on the same 500 genes, embedded in one file: Norman 2019 and McFaline-Figueroa 2024."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pb_data.datasets.cards import Dataset, DatasetCard
from pb_data.keys import Keys

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["MCFALINE", "NORMAN", "RESOURCE", "read_mcfaline", "read_norman"]

RESOURCE = Path(__file__).parent / "resources" / "norman2019_mcfaline2024.h5"
SHA256 = "def1adf9b46ff756874ce1665b6f30c519bb93db24532b54bb7a098227c92ca4"
LICENCE = "NCBI places no restriction on the use of GEO data; its submitters may hold rights in them."
UPSTREAM = (
    "Values are stored as float32. The 500 genes were chosen upstream on all cells of both screens, the ones held out "
    "later included: a mild leak that no split can undo. The column of doses upstream counts guides; it is left out."
)
ALL_GENES = {"n_genes": None, "min_cells_per_gene": 0}  # selected upstream


def read_norman(_path: None = None) -> AnnData:
    """Read the K562 cells: log1p expression (3,375 cells, 500 genes)."""
    return read_screen("norman19")


def read_mcfaline(_path: None = None) -> AnnData:
    """Read the cells of three glioma lines: log1p expression (2,586 cells, 500 genes)."""
    return read_screen("mcfaline23")


def read_screen(name: str) -> AnnData:
    """Read the cells of one screen, named as in the column `dataset`."""
    from pb_data.datasets.embedded import read_embedded_cells

    return read_embedded_cells(RESOURCE, lambda obs: obs["dataset"] == name)


NORMAN = Dataset(
    card=DatasetCard(
        name="norman",
        title="K562 cells with one or two genes activated: 18 single and 15 double perturbations",
        keys=Keys(context="cell_type", perturbation="condition", control="control", scale="log1p", separator="+"),
        citation="Norman et al., Exploring genetic interaction manifolds constructed from rich single-cell phenotypes, "
        "Science 365, 786-793 (2019), doi:10.1126/science.aax4438",
        licence=LICENCE,
        origin="GEO GSE133344, normalised and cut to 33 perturbations, at most 100 cells each, and 500 genes",
        contexts="one cell line, K562: for splits that hold out perturbations or combinations",
        embedded=True,
        sha256=SHA256,
        n_cells=3375,
        n_genes=500,
        note=UPSTREAM,
        preprocess=ALL_GENES,
    ),
    read=read_norman,
)

MCFALINE = Dataset(
    card=DatasetCard(
        name="mcfaline",
        title="Three glioma lines with one of nine kinases perturbed: a negative control for context transfer",
        keys=Keys(context="cell_type", perturbation="condition", control="control", scale="log1p"),
        citation="McFaline-Figueroa et al., Multiplex single-cell chemical genomics reveals the kinase dependence of "
        "the response to targeted therapy, Cell Genomics 4, 100487 (2024), doi:10.1016/j.xgen.2023.100487",
        licence=LICENCE,
        origin="GEO GSE225775, normalised and cut to nine kinases, at most 100 cells each in a line, and 500 genes",
        contexts="three glioma cell lines: A172, T98G, U87MG",
        embedded=True,
        sha256=SHA256,
        n_cells=2586,
        n_genes=500,
        note="A negative control: on these genes the kinase label carries no signal, so no model is expected to "
        f"beat copied controls. {UPSTREAM}",
        preprocess=ALL_GENES,
    ),
    read=read_mcfaline,
)

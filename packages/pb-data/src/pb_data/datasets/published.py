"""Data sets of the reference benchmarks that are read from their published files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pb_data.datasets.cards import Dataset, DatasetCard
from pb_data.datasets.files import read_cells
from pb_data.keys import Keys
from pb_data.problems import DataFileError

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

__all__ = ["CROSS_SPECIES", "LIVER_CELL_TYPES", "NAULT", "NAULT_LIVER", "PBMC_SCGEN", "SCIPLEX3"]

GEO = "NCBI places no restriction on the use of GEO data; its submitters may hold rights in them."
SCGEN = "Lotfollahi et al., scGen predicts single-cell perturbation responses, Nature Methods 16, 715-721 (2019)"
AS_PUBLISHED = {
    "n_genes": None,
    "min_cells_per_gene": 0,
}  # genes were selected and expression normalised by the authors
LIVER_CELL_TYPES = (
    "Hepatocytes - central",
    "Hepatocytes - portal",
    "Cholangiocytes",
    "Stellate Cells",
    "Portal Fibroblasts",
    "Endothelial Cells",
)


def read_nault(path: Path, *, min_counts: int = 500, min_genes: int = 720) -> AnnData:
    """Read the multi-dose liver data, drop poor cells, and add the column `perturbation` (control, TCDD) from `Dose`.

    Parameters
    ----------
    min_counts, min_genes
        Counts and expressed genes a cell must have, as in the reference benchmark; 0 keeps all.
    """
    from pb_data.preprocess import filter_cells

    adata = label_tcdd(read_cells(path))
    return filter_cells(adata, min_counts=min_counts, min_genes=min_genes).copy() if min_counts or min_genes else adata


def read_nault_liver(path: Path) -> AnnData:
    """Read the multi-dose liver data and keep the six cell types of the liver itself, before anything else is done."""
    from pb_data.keys import label_array

    adata = label_tcdd(read_cells(path))
    return adata[np.isin(label_array(adata.obs, "celltype"), LIVER_CELL_TYPES)].copy()


def label_tcdd(adata: AnnData) -> AnnData:
    """Add the column `perturbation`: TCDD where `Dose` is above 0, control elsewhere; `Dose` becomes a number.

    Raises
    ------
    DataFileError
        Where the file has no column `Dose`, or its values are not numbers.
    """
    import pandas as pd

    require_columns(adata, "Dose")
    try:
        doses = adata.obs["Dose"].astype(str).astype(np.float64)  # a category of texts in some copies of the file
    except ValueError as error:
        msg = f"obs column 'Dose' holds more than numbers ({error}); is it the right file?"
        raise DataFileError(msg) from error
    labels = np.where(doses > 0, "TCDD", "control")
    adata.obs = adata.obs.assign(Dose=doses, perturbation=pd.Categorical(labels))
    return adata


def require_columns(adata: AnnData, *columns: str) -> None:
    """Raise where a published file lacks obs columns that its reader needs."""
    if missing := [column for column in columns if column not in adata.obs]:
        present = ", ".join(map(str, adata.obs.columns))
        msg = f"the file has no obs column {missing[0]!r} (columns: {present}); is it the right file?"
        raise DataFileError(msg)


def read_sciplex3(path: Path, *, labelled: bool = True) -> AnnData:
    """Read the sci-Plex 3 data; control cells take dose 0.

    Parameters
    ----------
    labelled
        Drop cells without a cell line or a perturbation label.

    Raises
    ------
    DataFileError
        Where the file lacks a column.
    """
    adata = read_cells(path)
    require_columns(adata, "cell_line", "perturbation", "dose_value")
    if labelled and (adata.obs[["cell_line", "perturbation"]].isna().any(axis=1)).any():
        adata = adata[adata.obs[["cell_line", "perturbation"]].notna().all(axis=1).to_numpy()].copy()
    doses = adata.obs["dose_value"].astype(np.float64)
    adata.obs["dose_value"] = doses.mask((adata.obs["perturbation"] == "control") & doses.isna(), 0.0)
    return adata


PBMC_SCGEN = Dataset(
    DatasetCard(
        name="pbmc-scgen",
        title="Human PBMCs, control and stimulated with interferon beta, as preprocessed by the authors of scGen",
        keys=Keys(context="cell_type", perturbation="condition", control="control", scale="log1p"),
        citation=f"{SCGEN}; data of Kang et al., Nature Biotechnology 36, 89-94 (2018)",
        licence=f"{GEO} The authors of scGen state no terms for their preprocessed file.",
        origin="GEO GSE96583, normalised and cut to 6,998 genes by the authors of scGen",
        contexts="seven cell types",
        file_name="pbmc.h5ad",
        n_cells=18868,
        n_genes=6998,
        preprocess=AS_PUBLISHED,
    ),
    read_cells,
)

NAULT = Dataset(
    DatasetCard(
        name="nault",
        title="Mouse liver nuclei at nine doses of TCDD (0 to 30 ug/kg)",
        keys=Keys(context="celltype", perturbation="perturbation", control="control", scale="counts", dose="Dose"),
        citation="Nault et al., Single-cell transcriptomics shows dose-dependent disruption of hepatic zonation by "
        "TCDD in mice, Toxicological Sciences 191, 135-148 (2023)",
        licence=GEO,
        origin="GEO GSE184506, as shared by the authors of scVIDR",
        contexts="eleven cell types of the liver and its immune cells",
        file_name="nault2021_multiDose.h5ad",
        note="min_counts and min_genes drop poor cells as the reference benchmark did.",
        preprocess={"n_genes": 5000, "min_cells_per_gene": 100},
    ),
    read_nault,
)

NAULT_LIVER = Dataset(
    DatasetCard(
        name="nault-liver",
        title="Mouse liver nuclei at nine doses of TCDD, the six cell types of the liver itself",
        keys=NAULT.card.keys,
        citation=NAULT.card.citation,
        licence=NAULT.card.licence,
        origin=NAULT.card.origin,
        contexts="six cell types: " + ", ".join(LIVER_CELL_TYPES),
        file_name="nault2021_multiDose.h5ad",
        note="Cut to the six types before anything is fitted, as the authors of scVIDR did.",
        preprocess={"n_genes": 5000, "min_cells_per_gene": 0},
    ),
    read_nault_liver,
)

CROSS_SPECIES = Dataset(
    DatasetCard(
        name="cross-species",
        title="Phagocytes of four species, unstimulated and after six hours of lipopolysaccharide",
        keys=Keys(context="species", perturbation="condition", control="unst", scale="log1p"),
        citation=f"{SCGEN}; data of Hagai et al., Gene expression variability across cells and species shapes innate "
        "immunity, Nature 563, 197-202 (2018)",
        licence="Public data of ArrayExpress. The authors of scGen state no terms for their preprocessed file.",
        origin="ArrayExpress E-MTAB-6754, normalised and cut to 6,619 genes by the authors of scGen",
        contexts="four species: mouse, rat, rabbit, pig",
        file_name="cross_species.h5ad",
        n_genes=6619,
        preprocess=AS_PUBLISHED,
    ),
    read_cells,
)

SCIPLEX3 = Dataset(
    DatasetCard(
        name="sciplex3",
        title="Three cancer cell lines, 188 compounds at four doses (10 to 10,000 nM)",
        keys=Keys(
            context="cell_line", perturbation="perturbation", control="control", scale="counts", dose="dose_value"
        ),
        citation="Srivatsan et al., Massively multiplex chemical transcriptomics at single-cell resolution, Science "
        "367, 45-51 (2020); harmonised by Peidli et al., scPerturb, Nature Methods 21, 531-540 (2024)",
        licence="CC BY 4.0 (scPerturb on Zenodo)",
        origin="GEO GSE139944, as harmonised by scPerturb (Zenodo record 13350497)",
        contexts="cell lines A549, K562 and MCF7",
        url="https://zenodo.org/records/13350497/files/SrivatsanTrapnell2020_sciplex3.h5ad?download=1",
        file_name="SrivatsanTrapnell2020_sciplex3.h5ad",
        note="2.5 GB to fetch, some 8 GB in memory. No checksum is stated: what is fetched is not checked, "
        "its sha256 is recorded.",
    ),
    read_sciplex3,
)

"""Interferon-stimulated PBMCs (Kang 2018), embedded whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pb_data.datasets.cards import Dataset, DatasetCard
from pb_data.keys import Keys

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

__all__ = ["PBMC", "RESOURCE", "read_pbmc"]

RESOURCE = Path(__file__).parent / "resources" / "kang2018_pbmc.h5"


def read_pbmc(_path: None = None, *, singlets: bool = True, megakaryocytes: bool = False) -> AnnData:
    """Read the embedded counts (cells, 14,053 genes), without the cells the options leave out.

    Parameters
    ----------
    singlets
        Leave out the 309 cells that demultiplexing could not assign to one donor.
    megakaryocytes
        Keep the 132 megakaryocytes, which the reference benchmark's seven cell types do not contain.
    """
    from pb_data.datasets.embedded import read_embedded_cells

    def keep(obs: pd.DataFrame) -> pd.Series:
        donors, types = obs["multiplets"], obs["cell_type"]
        return ((donors == "singlet") | (not singlets)) & ((types != "Megakaryocytes") | megakaryocytes)

    return read_embedded_cells(RESOURCE, keep)


PBMC = Dataset(
    card=DatasetCard(
        name="pbmc",
        title="Human PBMCs, control and stimulated with interferon beta",
        keys=Keys(context="cell_type", perturbation="condition", control="control", scale="counts", batch="donor"),
        citation="Kang et al., Multiplexed droplet single-cell RNA-sequencing using natural genetic variation, "
        "Nature Biotechnology 36, 89-94 (2018), doi:10.1038/nbt.4042",
        licence="NCBI places no restriction on the use of GEO data; its submitters may hold rights in them.",
        origin="GEO GSE96583",
        contexts="seven cell types (eight with megakaryocytes) of eight lupus patients",
        embedded=True,
        sha256="f844ab14b8de2bcff7f8b90b79b5023ec00d428efcbec4829a6bb38929766da5",
        n_cells=13566,
        n_genes=14053,
    ),
    read=read_pbmc,
)

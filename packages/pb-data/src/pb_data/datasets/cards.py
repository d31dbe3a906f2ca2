"""What is known of a data set before it is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from anndata import AnnData

    from pb_data.keys import Keys

__all__ = ["Dataset", "DatasetCard", "PerturbationData"]


class PerturbationData(NamedTuple):
    """Cells of a perturbation experiment with the names of their columns and the recipe that rebuilds them.

    `source` is JSON-able: `dataset` (a registered name, or `file`), `path`, `sha256`, `options` and `keys`.
    """

    adata: AnnData
    keys: Keys
    name: str
    source: dict[str, Any]


@dataclass(frozen=True)
class DatasetCard:
    """Where a data set comes from, how its columns are called, and under which terms it may be used.

    Parameters
    ----------
    keys
        Names of the obs columns after reading.
    sha256
        Of the file, or of the content where the set is embedded (`pb_data.hashing.matrix_sha256`); None where no
        checksum was ever published or measured.
    file_name
        What the file is called where it was published.
    n_cells, n_genes
        Size with the default options.
    contexts
        What the contexts are, in words.
    preprocess
        Settings of `PreprocessSettings` the reference used, where they differ from the defaults.
    """

    name: str
    title: str
    keys: Keys
    citation: str
    licence: str
    origin: str
    contexts: str
    embedded: bool = False
    sha256: str | None = None
    url: str | None = None
    file_name: str | None = None
    n_cells: int | None = None
    n_genes: int | None = None
    note: str = ""
    preprocess: Mapping[str, int | None] = field(default_factory=dict)


class Dataset(NamedTuple):
    """A card and the function that reads the set: `read(path, **options) -> AnnData`, path None where embedded."""

    card: DatasetCard
    read: Callable[..., AnnData]

"""Data sets by name; reading this file imports neither anndata nor pandas."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pb_data.datasets.cards import Dataset, DatasetCard, PerturbationData
from pb_data.hashing import file_sha256
from pb_data.keys import Keys
from pb_data.named import complete_options, installed, look_up
from pb_data.problems import DataFileError

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["DATASETS", "card", "dataset_names", "get_dataset", "load", "load_source"]

DATASETS: dict[str, str] = {
    "pbmc": "pb_data.datasets.pbmc:PBMC",
    "norman": "pb_data.datasets.screens:NORMAN",
    "mcfaline": "pb_data.datasets.screens:MCFALINE",
    "pbmc-scgen": "pb_data.datasets.published:PBMC_SCGEN",
    "nault": "pb_data.datasets.published:NAULT",
    "nault-liver": "pb_data.datasets.published:NAULT_LIVER",
    "cross-species": "pb_data.datasets.published:CROSS_SPECIES",
    "sciplex3": "pb_data.datasets.published:SCIPLEX3",
}


def dataset_entries() -> dict[str, str]:
    """Return name -> `module:attribute` of the built-in sets, then of installed packages (group `pb.datasets`).

    Raises
    ------
    ValueError
        Where an installed package claims the name of another data set.
    """
    return DATASETS | {point.name: point.value for point in installed("pb.datasets", DATASETS)}


def dataset_names() -> list[str]:
    """Return the names of all data sets.

    Examples
    --------
    >>> "pbmc" in dataset_names()
    True
    """
    return list(dataset_entries())


def get_dataset(name: str) -> Dataset:
    """Return a data set's card and reader.

    Raises
    ------
    ValueError
        Where no data set has this name; the nearest names are suggested.
    """
    dataset: Dataset = look_up("there is no data set", name, dataset_entries())
    return dataset


def card(name: str) -> DatasetCard:
    """Return what is known of a data set without reading it.

    Raises
    ------
    ValueError
        Where no data set has this name.

    Examples
    --------
    >>> card("pbmc").keys.context
    'cell_type'
    """
    return get_dataset(name).card


def load(name: str, *, path: str | PathLike[str] | None = None, **options: Any) -> PerturbationData:
    """Read a registered data set.

    Parameters
    ----------
    path
        The file, for sets that are neither embedded nor published under a stable address.
    options
        The set's own options, such as `singlets` and `megakaryocytes` of `pbmc`.

    Raises
    ------
    ValueError
        Where the name or an option is unknown, or the content does not fit the schema.
    DataFileError
        Where a file is needed and not given, cannot be read, or is another one than the card's.
    FileNotFoundError
        Where the path leads nowhere.

    Examples
    --------
    >>> data = load("pbmc")
    >>> data.adata.shape
    (13566, 14053)
    """
    from pb_data.datasets.files import locate
    from pb_data.schema import check

    dataset = get_dataset(name)
    options = complete_options(dataset.card.name, dataset.read, options)
    file = locate(dataset.card, path)
    sha256 = dataset.card.sha256 if file is None else file_sha256(file)
    adata = dataset.read(file, **options)
    if file is not None:
        check(adata, dataset.card.keys)
    source = {
        "dataset": name,
        "path": None if file is None else str(file),
        "sha256": sha256,
        "options": options,
        "keys": dataset.card.keys.to_dict(),
    }
    return PerturbationData(adata, dataset.card.keys, name, source)


def load_source(source: dict[str, Any]) -> PerturbationData:
    """Read a data set from the recipe in `PerturbationData.source`.

    Raises
    ------
    DataFileError
        Where the file's checksum is no longer the recipe's.
    ValueError
        Where this version embeds other data than the recipe's.
    FileNotFoundError
        Where its file is gone.
    """
    from pb_data.conditions import restrict

    return restrict(_load_whole(source), **source.get("conditions", {}))


def _load_whole(source: dict[str, Any]) -> PerturbationData:
    """Read the data set of a recipe with all its conditions."""
    path, expected = source["path"], source["sha256"]
    if path is not None:
        check_unchanged(Path(path), expected)
    if source["dataset"] == "file":
        from pb_data.datasets.own import load_h5ad

        data = load_h5ad(path, Keys.from_dict(source["keys"]))
        whole = {key: value for key, value in source.items() if key != "conditions"}
        return data._replace(name=source["name"], source=whole)  # the file may have been renamed since
    data = load(source["dataset"], path=path, **source["options"])
    if data.source["sha256"] != expected:
        msg = (
            f"data set {data.name!r} of this version has sha256 {data.source['sha256']}, the recipe says {expected}; "
            "install the version that wrote the recipe"
        )
        raise ValueError(msg)
    return data


def check_unchanged(file: Path, expected: str) -> None:
    """Raise where a recipe's file is gone or has another checksum now."""
    if not file.is_file():
        msg = f"the data file {file} is gone; say where it lies now (--data)"
        raise FileNotFoundError(msg)
    if (found := file_sha256(file)) != expected:
        msg = f"{file} has changed: its sha256 is {found}, the recipe says {expected}; give the original file"
        raise DataFileError(msg)

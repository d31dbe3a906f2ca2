"""Data sets by name; reading this file imports neither anndata nor pandas."""

from __future__ import annotations

import inspect
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pb_data.datasets.cards import Dataset, DatasetCard, PerturbationData
from pb_data.hashing import file_sha256
from pb_data.keys import Keys
from pb_data.nearest import nearest
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
    found = dict(DATASETS)
    for point in entry_points(group="pb.datasets"):
        if point.name in found:
            msg = f"the installed entry point {point.name!r} ({point.value}) takes the name of {found[point.name]}"
            raise ValueError(msg)
        found[point.name] = point.value
    return found


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
    entries = dataset_entries()
    if name not in entries:
        msg = f"there is no data set {name!r}{nearest(name, entries)} (choose from: {', '.join(entries)})"
        raise ValueError(msg)
    module, _, attribute = entries[name].partition(":")
    dataset: Dataset = getattr(import_module(module), attribute)
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
    options = complete_options(dataset, options)
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


def complete_options(dataset: Dataset, options: dict[str, Any]) -> dict[str, Any]:
    """Return all of a reader's options, given or default.

    Raises
    ------
    ValueError
        Where an option is unknown to the reader, or its value is of another kind than the default.
    """
    parameters = inspect.signature(dataset.read).parameters.values()
    defaults = {
        parameter.name: parameter.default for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY
    }
    for name in options:
        if name not in defaults:
            choices = f"options: {', '.join(defaults)}" if defaults else "it has none"
            msg = f"data set {dataset.card.name!r} has no option {name!r}{nearest(name, defaults)} ({choices})"
            raise ValueError(msg)
        check_option(dataset.card.name, name, options[name], defaults[name])
    return {**defaults, **options}


def check_option(dataset: str, option: str, value: Any, default: Any) -> None:
    """Raise where a value is of another kind than the default; a default of None takes anything."""
    kinds: dict[type, tuple[tuple[type, ...], str]] = {
        bool: ((bool,), "true or false"),
        int: ((int,), "a whole number"),
        float: ((int, float), "a number"),
        str: ((str,), "a text"),
    }
    kind, wanted = kinds.get(type(default), ((object,), ""))
    if not isinstance(value, kind) or (isinstance(value, bool) and type(default) in (int, float)):
        msg = f"option {option} of {dataset!r} is {value!r}; write {wanted}"
        raise ValueError(msg)


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

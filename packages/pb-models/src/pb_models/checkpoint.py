"""A fitted model on disk: a folder with `model.json` and `weights.safetensors`, written whole or not at all."""

from __future__ import annotations

import json
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pb_data.hashing import file_sha256
from safetensors.numpy import load_file, save_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["FORMAT", "Checkpoint", "package_versions", "read_checkpoint", "read_description", "write_checkpoint"]

FORMAT = 1
DESCRIPTION, WEIGHTS = "model.json", "weights.safetensors"
_PACKAGES = ("pb-models", "pb-data", "torch", "numpy", "scipy", "scikit-learn", "anndata", "POT", "safetensors")


class Checkpoint(NamedTuple):
    """What a checkpoint folder holds: the JSON description and the arrays by name."""

    description: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


def write_checkpoint(folder: Path, description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a checkpoint into a new folder beside the target and rename it into place.

    An older checkpoint at the same place is replaced.

    Raises
    ------
    ValueError
        Where the target exists and is no checkpoint.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / DESCRIPTION).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        msg = f"{folder} exists and is no model folder (no {DESCRIPTION} in it); choose another place"
        raise ValueError(msg)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        new = Path(scratch) / "new"
        new.mkdir()
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, new / WEIGHTS)
        weights = {"versions": package_versions(), "weights_sha256": file_sha256(new / WEIGHTS)}
        full = {"format": FORMAT, **description, **weights}
        (new / DESCRIPTION).write_text(json.dumps(full, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        if folder.exists():
            folder.rename(Path(scratch) / "old")
        new.rename(folder)


def read_description(folder: Path) -> dict[str, Any]:
    """Read a checkpoint's JSON: model name, profile, settings, genes, keys, versions, fit record.

    Raises
    ------
    FileNotFoundError
        Where the folder holds no checkpoint.
    ValueError
        Where it was written in a format this version cannot read.
    """
    path = Path(folder) / DESCRIPTION
    if not path.is_file():
        msg = f"{folder} holds no model: there is no {DESCRIPTION} in it"
        raise FileNotFoundError(msg)
    description: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if description.get("format") != FORMAT:
        msg = f"{path} has format {description.get('format')!r}; this version of pb-models reads format {FORMAT}"
        raise ValueError(msg)
    return description


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint and verify the checksum of its weights.

    Raises
    ------
    FileNotFoundError
        Where the folder holds no checkpoint or the weights are missing.
    ValueError
        Where the weights are not those the JSON was written with.
    """
    description = read_description(folder)
    path = Path(folder) / WEIGHTS
    if not path.is_file():
        msg = f"{path} is missing beside {DESCRIPTION}; the model has to be saved again"
        raise FileNotFoundError(msg)
    if (found := file_sha256(path)) != description["weights_sha256"]:
        named = description["weights_sha256"][:12]
        msg = f"{path} has checksum {found[:12]}, {DESCRIPTION} names {named}: the two files do not belong together"
        raise ValueError(msg)
    return Checkpoint(description, load_file(path))


def package_versions() -> dict[str, str]:
    """Return the versions of pb-models and of what it computes with, as far as they are installed."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found

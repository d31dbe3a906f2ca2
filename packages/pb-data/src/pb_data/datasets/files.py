"""Files of data sets: given by the user, or fetched once into the cache."""

from __future__ import annotations

import os
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pb_data.hashing import file_sha256
from pb_data.problems import DataFileError

if TYPE_CHECKING:
    from os import PathLike

    from anndata import AnnData

    from pb_data.datasets.cards import DatasetCard

__all__ = ["cache_folder", "existing", "locate", "read_cells"]


def cache_folder() -> Path:
    """Return the folder where fetched files are kept."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("pb")) / "datasets"


def existing(path: str | PathLike[str]) -> Path:
    """Return the absolute path of a file.

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    PermissionError
        Where it may not be read.
    """
    file = Path(path).expanduser().absolute()
    if not file.is_file():
        msg = f"there is no file {file}; check the path"
        raise FileNotFoundError(msg)
    if not os.access(file, os.R_OK):
        msg = f"{file} may not be read; ask its owner, or change its permissions"
        raise PermissionError(msg)
    return file


def read_cells(file: Path) -> AnnData:
    """Read an `.h5ad`; repeated names are left to the schema, which names them.

    Raises
    ------
    DataFileError
        Where the file is no HDF5 file, is truncated, or holds no AnnData.
    """
    import h5py
    from anndata import read_h5ad

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(Variable|Observation) names are not unique", UserWarning)
        try:
            with h5py.File(file, "r") as content:
                _ = content["obs"], content["var"]
            return read_h5ad(file)
        except (OSError, KeyError) as error:
            msg = f"{file} cannot be read as .h5ad: it is another kind of file or was cut short; write or copy it again"
            raise DataFileError(msg) from error


def locate(card: DatasetCard, path: str | PathLike[str] | None) -> Path | None:
    """Return the data set's file, or None where the set is embedded.

    A given path comes first; a set with an address is fetched into the cache otherwise.

    Raises
    ------
    ValueError
        Where an embedded set is given a path.
    DataFileError
        Where a needed path is not given, or the checksum is another than the card's.
    FileNotFoundError
        Where the path leads nowhere.
    """
    if card.embedded:
        if path is not None:
            msg = (
                f"data set {card.name!r} is embedded and takes no file; leave the path (--data) out, or name your own "
                "file without the data set"
            )
            raise ValueError(msg)
        return None
    if path is None:
        return fetch(card)
    file = existing(path)
    if card.sha256 is not None and (found := file_sha256(file)) != card.sha256:
        msg = f"{file} is not the file of data set {card.name!r}: its sha256 is {found}, expected {card.sha256}"
        raise DataFileError(msg)
    return file


def fetch(card: DatasetCard) -> Path:
    """Fetch a data set's file into the cache, once, and check it where its card states a checksum.

    Progress is shown on a terminal, where tqdm is installed.

    Raises
    ------
    DataFileError
        Where the set has no address, or what came has another checksum.
    """
    if card.url is None:
        msg = (
            f"data set {card.name!r} needs the file {card.file_name} ({card.origin}), which has no stable address; "
            f"give it with --data FILE, or load({card.name!r}, path=FILE)"
        )
        raise DataFileError(msg)
    import pooch

    pooch.get_logger().setLevel("WARNING")  # it would print checksums
    known_hash = None if card.sha256 is None else f"sha256:{card.sha256}"
    shown = sys.stderr.isatty() and find_spec("tqdm") is not None
    try:
        return Path(pooch.retrieve(card.url, known_hash, fname=card.file_name, path=cache_folder(), progressbar=shown))
    except ValueError as error:  # the checksum
        msg = f"what {card.url} sent is not the file of data set {card.name!r}; fetch it again: {error}"
        raise DataFileError(msg) from error

"""One's own `.h5ad`, with the meaning of its columns given or written into it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from pb_data.datasets.cards import PerturbationData
from pb_data.datasets.files import existing, read_cells
from pb_data.hashing import canonical_json, file_sha256
from pb_data.keys import Keys
from pb_data.problems import DataFileError

if TYPE_CHECKING:
    from os import PathLike

    from anndata import AnnData

__all__ = ["load_h5ad", "write_h5ad", "written_keys"]

SLOT = "pb_keys"  # where in uns the keys are kept, as JSON text


def load_h5ad(path: str | PathLike[str], keys: Keys | None = None, *, checked: bool = True) -> PerturbationData:
    """Read one's own `.h5ad`; the data are named after the file, with `.h5ad` where a data set has that name.

    Parameters
    ----------
    keys
        Names of the obs columns; None takes those that `write_h5ad` wrote into the file.
    checked
        Hold the content to the schema; a caller who lists the problems itself (`validate`) turns it off.

    Raises
    ------
    SchemaError
        Where the content does not fit the keys; every problem is named.
    DataFileError
        Where the file cannot be read, or no keys are given and it holds none.
    FileNotFoundError
        Where the path leads nowhere.
    """
    from pb_data.datasets.registry import dataset_names
    from pb_data.schema import check

    file = existing(path)
    adata = read_cells(file)
    keys = keys or written_keys(adata, file)
    if checked:
        check(adata, keys)
    name = f"{file.stem}.h5ad" if file.stem in dataset_names() else file.stem
    source = {
        "dataset": "file",
        "name": name,
        "path": str(file),
        "sha256": file_sha256(file),
        "options": {},
        "keys": keys.to_dict(),
    }
    return PerturbationData(adata, keys, name, source)


def written_keys(adata: AnnData, file: Path) -> Keys:
    """Return the keys that `write_h5ad` wrote into a file.

    Raises
    ------
    DataFileError
        Where it holds none, or no keys of this version.
    """
    if SLOT not in adata.uns:
        msg = (
            f"{file} does not say what its columns mean; name the context, perturbation, control label and scale "
            "(Keys(...), or --context-key, --perturbation-key, --control and --scale)"
        )
        raise DataFileError(msg)
    try:
        return Keys.from_dict(json.loads(str(adata.uns[SLOT])))
    except ValueError as error:
        msg = f"{file} holds no usable keys in uns[{SLOT!r}]: {error}; name the columns, or write the file again"
        raise DataFileError(msg) from error


def write_h5ad(path: str | PathLike[str], adata: AnnData, keys: Keys) -> None:
    """Write checked cells with the meaning of their columns, whole or not at all, so that `load_h5ad` needs no keys.

    Raises
    ------
    SchemaError
        Where the content does not fit the keys; nothing is written.
    OSError
        Where the folder is missing or cannot be written to; nothing is left behind.
    """
    from pb_data.schema import check

    check(adata, keys)
    target = Path(path)
    if not target.parent.is_dir():
        msg = f"{target} cannot be written: there is no folder {target.parent}; make it, or name another"
        raise FileNotFoundError(msg)
    cells = adata.copy()
    cells.uns[SLOT] = canonical_json(keys.to_dict())
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        cells.write_h5ad(draft, compression="gzip")
        draft.replace(target)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error  # without HDF5's addresses
        msg = f"{target} cannot be written ({reason}); free or unlock the place, or name another"
        raise OSError(msg) from error
    finally:
        draft.unlink(missing_ok=True)

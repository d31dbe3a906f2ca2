"""The prediction file: predicted cells of one held-out unit, with everything needed to score them again.

An `.h5ad` whose `X` is predicted expression (cells x genes, dense or CSR), whose `obs` holds the context, perturbation
and, where there is one, dose column, whose `var_names` are the genes, and whose `uns["pb"]` is a `PredictionInfo`:

- text and numbers are plain HDF5 scalars;
- dictionaries (`source`, `split_parameters`, `preprocess`, `settings`, `versions`) are JSON text, so that any tool can
  write them and nothing is ever unpickled; tuples come back as lists;
- what is not known (`None`) is left out.

The scale of `X` is declared in `uns["pb"]["scale"]` and never guessed: a check only contradicts an
impossible declaration.
"""

import dataclasses
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self, get_args

import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.io import read_elem, write_elem

from pb_eval._checks import Contents, find_problems, near
from pb_eval._files import NO_ROOM, write_atomic

__all__ = [
    "SCHEMA_VERSION",
    "ArtefactError",
    "PredictionInfo",
    "read_prediction",
    "validate_prediction",
    "write_prediction",
]

SCHEMA_VERSION = 1
Scale = Literal["log1p", "counts"]

_INTEGERS = ("schema_version", "seed", "peak_memory_bytes", "peak_gpu_memory_bytes", "n_parameters")
_FLOATS = ("fit_seconds", "predict_seconds")
_MAPPINGS = ("source", "split_parameters", "preprocess", "settings", "versions")
_WANTED = {
    dict: "write it as JSON text of an object, for example json.dumps({...})",
    int: "write a whole number",
    float: "write a number",
    str: "write text",
}


class ArtefactError(ValueError):
    """A prediction file, or what should become one, is not as the schema says."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictionInfo:
    """What was predicted, by which model, from what, and at what cost.

    `context` is the one that was predicted, empty where `obs` holds several. `source` is the recipe that rebuilds the
    data set; `split_hash` names the split's manifest; `context_key`,
    `perturbation_key` and `dose_key` name columns of `obs`; times are seconds, memory is bytes.

    Examples
    --------
    >>> info = PredictionInfo(dataset="pbmc", split="leave-context-out", context="B cells", model="control",
    ...                       scale="log1p", context_key="cell_type", perturbation_key="condition")
    >>> PredictionInfo.from_uns(info.to_uns()) == info
    True
    """

    dataset: str
    split: str
    context: str
    model: str
    scale: Scale
    context_key: str
    perturbation_key: str
    dose_key: str | None = None
    schema_version: int = SCHEMA_VERSION
    source: dict[str, Any] = dataclasses.field(default_factory=dict)
    split_hash: str = ""
    split_parameters: dict[str, Any] = dataclasses.field(default_factory=dict)
    preprocess: dict[str, Any] = dataclasses.field(default_factory=dict)
    profile: str = "default"
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    seed: int = 0
    versions: dict[str, Any] = dataclasses.field(default_factory=dict)
    fit_seconds: float | None = None
    predict_seconds: float | None = None
    peak_memory_bytes: int | None = None
    peak_gpu_memory_bytes: int | None = None
    n_parameters: int | None = None
    device: str = ""
    device_name: str = ""

    def to_uns(self) -> dict[str, str | int | float]:
        """Return the plain scalars and JSON texts that `uns["pb"]` holds; `None` is left out."""
        fields = {name: value for name, value in vars(self).items() if value is not None}
        return {name: _encode(value) if name in _MAPPINGS else value for name, value in fields.items()}

    @classmethod
    def from_uns(cls, uns: Mapping[str, Any]) -> Self:
        """Read what `to_uns` wrote; raise an `ArtefactError` that lists every missing or malformed field."""
        values, problems = _parse(uns)
        if problems:
            raise ArtefactError(" ".join(problems))
        return cls(**values)


def write_prediction(path: Path | str, adata: AnnData, info: PredictionInfo) -> None:
    """Write predicted cells and their description to `path`, whole or not at all.

    The file is built in memory and written in one piece, because HDF5 can end the process on a full disk. It is
    compressed with LZF: as small as gzip to within a few per cent of the matrix, and three times faster on the dense
    output of a decoder. `obs` is kept as it is; of `var` only the gene names are.

    Raises
    ------
    ArtefactError
        Where the file would not pass `validate_prediction`; nothing is written.
    OSError
        Where the folder does not exist or there is no room left; nothing is written.

    Examples
    --------
    >>> import tempfile
    >>> cells = AnnData(np.array([[0.5, 1.2]], dtype=np.float32),
    ...                 obs=pd.DataFrame({"cell_type": ["B cells"], "condition": ["stimulated"]}, index=["cell-1"]),
    ...                 var=pd.DataFrame(index=["ISG15", "IFI6"]))
    >>> info = PredictionInfo(dataset="pbmc", split="leave-context-out", context="B cells", model="control",
    ...                       scale="log1p", context_key="cell_type", perturbation_key="condition")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_prediction(Path(folder) / "prediction.h5ad", cells, info)
    ...     again, described = read_prediction(Path(folder) / "prediction.h5ad")
    >>> again.X.tolist() == cells.X.tolist(), described == info
    (True, True)
    """
    matrix = _as_rows(adata.X)
    uns = info.to_uns()
    _refuse(path, _problems(Contents(matrix, adata.obs, adata.var_names, uns)))
    stored = AnnData(X=matrix, obs=adata.obs.copy(), var=pd.DataFrame(index=adata.var_names.copy()), uns={"pb": uns})
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        write_elem(file, "/", stored, dataset_kwargs={"compression": "lzf"})
    with image.getbuffer() as view:  # released even where writing fails
        write_atomic(path, view)


def read_prediction(path: Path | str) -> tuple[AnnData, PredictionInfo]:
    """Read a prediction file: its cells (CSR where it was sparse) and its description.

    Raises
    ------
    ArtefactError
        With one sentence for everything that is wrong with the file.
    """
    with opened(path) as file:
        contents = contents_of(file)._replace(matrix=_as_rows(element(file, "X")))
        _refuse(path, _problems(contents))
    adata = AnnData(X=contents.matrix, obs=contents.obs, var=pd.DataFrame(index=contents.genes))
    return adata, PredictionInfo.from_uns(contents.uns)


def validate_prediction(path: Path | str) -> list[str]:
    """Say what is wrong with a prediction file and how to mend it, one sentence a problem; none where it is fine.

    Expression is read in blocks: a file larger than the memory can be checked.
    """
    try:
        with opened(path) as file:
            return _problems(contents_of(file))
    except ArtefactError as error:
        return [str(error)]


@contextmanager
def opened(path: Path | str) -> Iterator[h5py.File]:
    """Open an `.h5ad` to read from; what is no such file, or damaged, is an `ArtefactError`."""
    path = Path(path)
    if not path.is_file():
        msg = f"{path} is not a file: give the path of a prediction file (.h5ad)."
        raise ArtefactError(msg)
    with path.open("rb") as raw:
        start = raw.read(24)
    if not h5py.is_hdf5(path):
        msg = f"{path} is not an HDF5 file (it starts with {start!r}): give an .h5ad file."
        raise ArtefactError(msg)
    try:
        with h5py.File(path, "r") as file:
            yield file
    except OSError as error:
        if error.errno in NO_ROOM:  # what is written meanwhile, not what is read
            raise
        msg = f"{path} is cut short or damaged: copy it, or write it, again ({str(error).splitlines()[0]})."
        raise ArtefactError(msg) from error


def contents_of(file: h5py.File) -> Contents:
    """Read the tables of an open file; its matrix stays where it is."""
    missing = [name for name in ("X", "obs", "var") if name not in file]
    if missing:
        msg = f"{file.filename} holds no {', '.join(missing)}: write it as an AnnData (.h5ad) with X, obs and var."
        raise ArtefactError(msg)
    uns = element(file, "uns/pb") if "uns/pb" in file else None
    return Contents(file["X"], element(file, "obs"), element(file, "var").index, uns)


def element(file: h5py.File, name: str) -> Any:
    """Read one part of an open file."""
    try:
        return read_elem(file[name])
    except OSError:
        raise
    except Exception as error:  # whatever anndata stumbles over, the file is what has to be mended
        msg = f"{file.filename} holds {name} in no form that anndata reads ({error!r}): write it again."
        raise ArtefactError(msg) from error


def _problems(contents: Contents) -> list[str]:
    declared, problems = _parse(contents.uns)
    return problems + find_problems(contents, declared)


def _refuse(path: Path | str, problems: list[str]) -> None:
    if problems:
        msg = f"{path} is not a valid prediction. " + " ".join(problems)
        raise ArtefactError(msg)


def _as_rows(matrix: Any) -> Any:
    return matrix.tocsr() if hasattr(matrix, "tocsr") else matrix


def _encode(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    msg = f"{value!r} ({type(value).__name__}) cannot be written as JSON: give text, numbers, lists and dictionaries"
    raise ArtefactError(msg)


def _parse(uns: Mapping[str, Any] | None) -> tuple[dict[str, Any], list[str]]:
    """Return the fields that could be read, and a sentence for each that could not."""
    if not isinstance(uns, Mapping):
        return {}, ['uns["pb"] is missing: set adata.uns["pb"] = PredictionInfo(...).to_uns().']
    version: Any = uns.get("schema_version", SCHEMA_VERSION)
    if np.ndim(version) or version != SCHEMA_VERSION:
        msg = f"uns['pb'] has schema version {version}, not the {SCHEMA_VERSION} that is read here: update pb-eval."
        return {}, [msg]
    values: dict[str, Any] = {}
    problems: list[str] = []
    fields = dataclasses.fields(PredictionInfo)
    unknown = sorted(set(uns) - {field.name for field in fields})
    for field in fields:
        optional = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if field.name in uns:
            _decode(field.name, uns[field.name], values, problems)
        elif not optional or field.name == "schema_version":
            problems.append(f"uns['pb'] has no {field.name!r}{near(field.name, unknown)}: add it.")
    return values, problems


def _decode(name: str, raw: Any, values: dict[str, Any], problems: list[str]) -> None:
    raw = raw.item() if isinstance(raw, np.generic) else raw
    kind = dict if name in _MAPPINGS else int if name in _INTEGERS else float if name in _FLOATS else str
    try:
        value = json.loads(raw) if kind is dict else raw
    except (TypeError, ValueError):
        value = None
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        problems.append(f"uns['pb'][{name!r}] is {raw!r}: {_WANTED[kind]}.")
    elif name == "scale" and value not in get_args(Scale):
        problems.append(f"uns['pb']['scale'] is {value!r}: declare one of {', '.join(get_args(Scale))}.")
    else:
        values[name] = value

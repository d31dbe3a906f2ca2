"""A training's state as one safetensors file: tensors by where they stand, and in the metadata JSON and a checksum."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["StateFile", "pack", "read_state", "unpack", "write_state"]

FORMAT = 3
_KEY = "pb"  # of the JSON in the file's metadata


class StateFile(NamedTuple):
    """What a file holds: the JSON, in which tensors are named, and the tensors by name."""

    description: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


def write_state(path: Path, description: Mapping[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """Write a file, whole or not at all; an older one is replaced."""
    description = {"format": FORMAT, **description}
    metadata = {_KEY: json.dumps(description), "sha256": _digest(description, arrays)}
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        save_file(arrays, draft, metadata=metadata)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def read_state(path: Path) -> StateFile:
    """Read a file and verify its checksum.

    Raises
    ------
    ValueError, KeyError, OSError, safetensors.SafetensorError
        Where it is no such file, is of another format, or its checksum is another.
    """
    with safe_open(path, framework="np") as file:
        metadata = file.metadata() or {}
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    description: dict[str, Any] = json.loads(metadata[_KEY])
    if description.get("format") != FORMAT:
        msg = f"format {description.get('format')!r}, this version of pb-models reads {FORMAT}"
        raise ValueError(msg)
    if _digest(description, arrays) != metadata["sha256"]:
        msg = "its checksum is another"
        raise ValueError(msg)
    return StateFile(description, arrays)


def pack(value: Any, name: str, arrays: dict[str, NDArray[Any]]) -> Any:
    """Return nested dicts and lists as JSON and put their tensors, named by where they stand, into `arrays`.

    Examples
    --------
    >>> arrays = {}
    >>> pack({"epoch": 3, "weights": [torch.zeros(2)]}, "state", arrays)
    {'items': [['epoch', 3], ['weights', [{'tensor': 'state.weights.0'}]]]}
    >>> unpack(_, arrays)
    {'epoch': 3, 'weights': [tensor([0., 0.])]}
    """
    if isinstance(value, torch.Tensor):
        arrays[name] = np.require(value.detach().cpu().numpy(), requirements="C")
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"items": [[key, pack(own, f"{name}.{key}", arrays)] for key, own in value.items()]}
    if isinstance(value, list | tuple):
        return [pack(own, f"{name}.{number}", arrays) for number, own in enumerate(value)]
    return value


def unpack(value: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """Return what `pack` was given, tuples as lists."""
    if isinstance(value, list):
        return [unpack(own, arrays) for own in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return torch.tensor(arrays[value["tensor"]])
    return {key: unpack(own, arrays) for key, own in value["items"]}


def _digest(description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
    found = hashlib.sha256(json.dumps(description).encode())
    for name in sorted(arrays):
        found.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}".encode())
        found.update(arrays[name].tobytes())
    return found.hexdigest()

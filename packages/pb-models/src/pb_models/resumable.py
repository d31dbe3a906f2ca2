"""Training that stops at an epoch's end when it is asked to, and goes on in another process, to the same bits.

A fit is one or several runs of `training.train`, its phases. What a phase needs to go on is written into one file: the
weights of the networks, the state of the optimisers, losses and best weights so far, torch's generators. To go on, the
fit begins as before; phases that were over give back their histories, and the one that was not takes up its state.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from scipy import sparse

from pb_models.base import PausedError
from pb_models.checkpoint import package_versions
from pb_models.schedule import History

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from pb_models.cells import TrainingData
    from pb_models.schedule import Course

__all__ = ["Resumable", "Stateful", "data_hash"]

FORMAT = 1
_KEY = "pb"  # of the JSON in the file's metadata


class Stateful(Protocol):
    """What gives its state as nested dicts and lists of tensors, numbers and texts, and takes it back."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Take a state back."""
        ...


class _Kept(NamedTuple):
    """What a file holds: the JSON, in which tensors are named, and the tensors by name."""

    description: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


class Resumable:
    """Keeps the state of a training that is asked to stop, in a file, and gives it to the fit that goes on.

    Parameters
    ----------
    path
        Where the state is kept. A file of another fit (model, settings, seed, cells, kind of device, versions), or one
        that is broken, is passed over with a warning. It stays after the fit: `remove` it when the result is safe.
    should_stop
        Asked after every epoch that is not a phase's last; where it says yes, the state is written and `PausedError`
        raised.

    Notes
    -----
    On the CPU, with as many threads, the fit that goes on gives what it would have given without a break, bit for bit.

    Examples
    --------
    >>> import tempfile
    >>> Resumable(Path(tempfile.gettempdir()) / "absent", lambda: False).resumed_after
    0
    """

    def __init__(self, path: Path, should_stop: Callable[[], bool]) -> None:
        self.path, self._should_stop = Path(path), should_stop
        self.begin(dict)

    def begin(self, identity: Callable[[], dict[str, Any]]) -> None:
        """Begin a fit; `identity` says what it is, JSON-able, and is asked only where a state is read or written."""
        self._identity = identity
        self.resumed_after = 0  # epochs, of all phases
        self.seconds_before = 0.0  # that the fit had taken when it was last stopped
        self._start = time.perf_counter()
        self._networks: list[nn.Module] = []
        self._over: list[dict[str, Any]] = []  # histories of phases
        self._parts: Sequence[Stateful] = ()
        self._kept: _Kept | None = None
        self._is_read = False

    def enter(self, network: nn.Module, course: Course, parts: Sequence[Stateful]) -> bool:
        """Begin a phase, or go on with it; True where it was over already, and `course` has its history again.

        `parts` is all that has a state besides the network: optimisers, counters.
        """
        if not any(network is other for other in self._networks):
            self._networks.append(network)
        self._parts = parts
        if not self._is_read:
            self._kept, self._is_read = self._read(), True
        if self._kept is None:
            return False
        over = self._kept.description["over"]
        if len(self._over) < len(over):
            course.history = History(**over[len(self._over)])
            self.leave(course)
            return True
        self._take_up(self._kept, course)
        self._kept = None
        return False

    def leave(self, course: Course) -> None:
        """End a phase."""
        self._over.append(asdict(course.history))
        self._parts = ()

    def pause_if_asked(self, course: Course) -> None:
        """Write the state and raise PausedError, where the training is asked to stop."""
        if self._should_stop():
            n_epochs = course.epoch + sum(len(history["loss"]) for history in self._over)
            self._write(course, n_epochs)
            raise PausedError(self.path, n_epochs)

    def remove(self) -> None:
        """Remove the file, where there is one."""
        self.path.unlink(missing_ok=True)

    def _device(self) -> torch.device:
        return next(self._networks[0].parameters()).device

    def _full_identity(self) -> dict[str, Any]:
        """Return all that has to be equal for a state to be taken up."""
        found = {**self._identity(), "device": self._device().type, "versions": package_versions()}
        normal: dict[str, Any] = json.loads(json.dumps(found))
        return normal

    def _write(self, course: Course, n_epochs: int) -> None:
        arrays: dict[str, NDArray[Any]] = {}
        state = {
            "networks": [network.state_dict() for network in self._networks],
            "course": course.state_dict(),
            "parts": [part.state_dict() for part in self._parts],
            "generators": _generators(self._device()),
        }
        description = {
            "format": FORMAT,
            "identity": self._full_identity(),
            "epochs": n_epochs,
            "seconds": self.seconds_before + time.perf_counter() - self._start,
            "over": self._over,
            "state": _pack(state, "state", arrays),
        }
        digest = _digest(description, arrays)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}")
        try:
            save_file(arrays, draft, metadata={_KEY: json.dumps(description), "sha256": digest})
            draft.replace(self.path)
        finally:
            draft.unlink(missing_ok=True)

    def _read(self) -> _Kept | None:
        """Read the file; None, with a warning, where it cannot be used."""
        if not self.path.is_file():
            return None
        try:
            kept = _read(self.path)
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            self._warn(f"it is broken ({error})")
            return None
        now, then = self._full_identity(), kept.description["identity"]
        if others := [name for name in now | then if now.get(name) != then.get(name)]:
            self._warn(f"it is of another fit: {', '.join(others)} differ")
            return None
        return kept

    def _warn(self, why: str) -> None:
        warnings.warn(f"{self.path} is not used, {why}; training starts from its beginning", stacklevel=2)

    def _take_up(self, kept: _Kept, course: Course) -> None:
        state = _unpack(kept.description["state"], kept.arrays)
        for network, weights in zip(self._networks, state["networks"], strict=True):
            network.load_state_dict(weights)
        for part, own in zip(self._parts, state["parts"], strict=True):
            part.load_state_dict(own)
        course.load_state_dict(state["course"])
        _set_generators(state["generators"], self._device())
        self.resumed_after, self.seconds_before = kept.description["epochs"], kept.description["seconds"]


def data_hash(data: TrainingData) -> str:
    """Return the SHA-256 of training cells: expression, genes, labels, doses, and the mask set aside."""
    found = hashlib.sha256(json.dumps(data.genes).encode())
    is_sparse = sparse.issparse(data.X)
    matrix = [getattr(data.X, name) for name in ("data", "indices", "indptr")] if is_sparse else [data.X]
    labels = [data.contexts, data.perturbations, data.control, data.validation, data.doses, data.batches]
    for values in [*matrix, *labels]:
        array = np.empty(0) if values is None else np.ascontiguousarray(values)
        found.update(f"{array.dtype.str} {array.shape}".encode())
        found.update(array.view(np.uint8).data if array.size else b"")
    return found.hexdigest()


def _generators(device: torch.device) -> dict[str, torch.Tensor]:
    """Return the states of the generators that training draws from."""
    states = {"cpu": torch.get_rng_state()}
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def _set_generators(states: Mapping[str, torch.Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def _pack(value: Any, name: str, arrays: dict[str, NDArray[Any]]) -> Any:
    """Return nested dicts and lists as JSON and put their tensors, named by where they stand, into `arrays`."""
    if isinstance(value, torch.Tensor):
        arrays[name] = np.require(value.detach().cpu().numpy(), requirements="C")
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"items": [[key, _pack(own, f"{name}.{key}", arrays)] for key, own in value.items()]}
    if isinstance(value, list | tuple):
        return [_pack(own, f"{name}.{number}", arrays) for number, own in enumerate(value)]
    return value


def _unpack(value: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """Return what `_pack` was given, tuples as lists."""
    if isinstance(value, list):
        return [_unpack(own, arrays) for own in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return torch.tensor(arrays[value["tensor"]])
    return {key: _unpack(own, arrays) for key, own in value["items"]}


def _digest(description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
    found = hashlib.sha256(json.dumps(description).encode())
    for name in sorted(arrays):
        found.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}".encode())
        found.update(arrays[name].tobytes())
    return found.hexdigest()


def _read(path: Path) -> _Kept:
    """Read a file and verify its checksum."""
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
    return _Kept(description, arrays)

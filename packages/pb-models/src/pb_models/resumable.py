"""Training that stops at an epoch's end when it is asked to, and goes on in another process, to the same bits.

A fit is one or several trainings, its phases: of a network (`training.train`), of several as one
(`stacked_training.train_members`), of a block of settings on a fold (`sweep.train_fold`) or on several as one
(`sweep.train_folds`). What a phase needs to go on is written into one file: the weights of the networks, the state of
the optimisers, losses and best weights so far, generators. To go on, the fit begins as before; phases that were over
give back their outcomes, and the one that was not takes up its state.
"""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from scipy import sparse

from pb_models.base import PausedError
from pb_models.checkpoint import package_versions
from pb_models.state_file import StateFile, pack, read_state, unpack, write_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray
    from torch import nn

    from pb_models.cells import TrainingData

__all__ = ["Phase", "Resumable", "Stateful", "TorchGenerators", "array_hash", "data_hash"]


class Stateful(Protocol):
    """What gives its state as nested dicts and lists of tensors, numbers and texts, and takes it back."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Take a state back."""
        ...


class Phase(Stateful, Protocol):
    """One training of a fit; its state is what it needs besides networks and parts, see `Resumable.enter`."""

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        ...

    def outcome(self) -> dict[str, Any]:
        """Return what is to be known of it when it is over."""
        ...

    def take_outcome(self, outcome: dict[str, Any], /) -> None:
        """Be over, with the outcome that it had."""
        ...


class TorchGenerators:
    """The generators that torch draws from where none is named, on the CPU and on a GPU in use."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return their states."""
        states = {"cpu": torch.get_rng_state()}
        return states | ({"cuda": torch.cuda.get_rng_state(self.device)} if self.device.type == "cuda" else {})

    def load_state_dict(self, state_dict: dict[str, torch.Tensor]) -> None:
        """Set them to what they were."""
        torch.set_rng_state(state_dict["cpu"])
        if "cuda" in state_dict:
            torch.cuda.set_rng_state(state_dict["cuda"], self.device)


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
        self._over: list[dict[str, Any]] = []  # epochs and outcomes of phases
        self._phase: Phase | None = None
        self._parts: Sequence[Stateful] = ()
        self._device = torch.device("cpu")
        self._kept: StateFile | None = None
        self._is_read = False

    @property
    def epochs(self) -> int:
        """How many epochs are done, of all phases."""
        return sum(int(over["epochs"]) for over in self._over) + (self._phase.epoch if self._phase else 0)

    def enter(
        self,
        phase: Phase,
        parts: Sequence[Stateful],
        *,
        networks: Iterable[nn.Module] = (),
        device: torch.device,
    ) -> bool:
        """Begin a phase, or go on with it; True where it was over already, and has its outcome again.

        `parts` is all that changes in this phase alone: optimisers, counters, generators. `networks` are those that it
        trains; they are kept in later phases, too.
        """
        known = {id(network) for network in self._networks}
        self._networks += [network for network in networks if id(network) not in known]
        self._phase, self._parts, self._device = phase, parts, device
        if not self._is_read:
            self._kept, self._is_read = self._read(), True
        if self._kept is None:
            return False
        over = self._kept.description["over"]
        if len(self._over) < len(over):
            phase.take_outcome(unpack(over[len(self._over)], self._kept.arrays)["outcome"])
            self.leave()
            return True
        self._take_up(self._kept)
        self._kept = None
        return False

    def leave(self) -> None:
        """End a phase."""
        if self._phase is not None:
            self._over.append({"epochs": self._phase.epoch, "outcome": self._phase.outcome()})
        self._phase, self._parts = None, ()

    def pause_if_asked(self) -> None:
        """Write the state and raise PausedError, where the training is asked to stop."""
        if self._should_stop():
            self._write()
            raise PausedError(self.path, self.epochs)

    def add_before(self, record: dict[str, Any], seconds: float) -> tuple[dict[str, Any], float]:
        """Return the record of a fit and its seconds, with those that it had taken when it was stopped."""
        if not self.resumed_after:
            return record, seconds
        return {**record, "resumed_after": self.resumed_after}, seconds + self.seconds_before

    def remove(self) -> None:
        """Remove the file, where there is one."""
        self.path.unlink(missing_ok=True)

    def _full_identity(self) -> dict[str, Any]:
        """Return all that has to be equal for a state to be taken up."""
        found = {**self._identity(), "device": self._device.type, "versions": package_versions()}
        normal: dict[str, Any] = json.loads(json.dumps(found))
        return normal

    def _write(self) -> None:
        arrays: dict[str, NDArray[Any]] = {}
        state = {
            "networks": [network.state_dict() for network in self._networks],
            "phase": self._phase.state_dict() if self._phase else {},
            "parts": [part.state_dict() for part in self._parts],
        }
        description = {
            "identity": self._full_identity(),
            "epochs": self.epochs,
            "seconds": self.seconds_before + time.perf_counter() - self._start,
            "over": pack(self._over, "over", arrays),
            "state": pack(state, "state", arrays),
        }
        write_state(self.path, description, arrays)

    def _read(self) -> StateFile | None:
        """Read the file; None, with a warning, where it cannot be used."""
        if not self.path.is_file():
            return None
        try:
            kept = read_state(self.path)
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

    def _take_up(self, kept: StateFile) -> None:
        state = unpack(kept.description["state"], kept.arrays)
        if self._phase:
            self._phase.load_state_dict(state["phase"])
        for network, weights in zip(self._networks, state["networks"], strict=True):
            network.load_state_dict(weights)
        for part, own in zip(self._parts, state["parts"], strict=True):
            part.load_state_dict(own)
        self.resumed_after, self.seconds_before = kept.description["epochs"], kept.description["seconds"]


def array_hash(text: str, arrays: Iterable[Any]) -> str:
    """Return the SHA-256 of a text and of arrays, types and shapes included; each is dense, CSR or None.

    Examples
    --------
    >>> array_hash("a", [np.arange(3), None]) == array_hash("a", [np.arange(3.0), None])
    False
    """
    found = hashlib.sha256(text.encode())
    for values in arrays:
        names = ("data", "indices", "indptr") if sparse.issparse(values) else ()
        for part in [getattr(values, name) for name in names] or [values]:
            array = np.empty(0) if part is None else np.ascontiguousarray(part)
            found.update(f"{array.dtype.str} {array.shape}".encode())
            found.update(array.view(np.uint8).data if array.size else b"")
    return found.hexdigest()


def data_hash(data: TrainingData) -> str:
    """Return the SHA-256 of training cells: expression, genes, labels, doses, and the mask set aside."""
    labels = [data.contexts, data.perturbations, data.control, data.validation, data.doses, data.batches]
    return array_hash(json.dumps(data.genes), [data.X, *labels])

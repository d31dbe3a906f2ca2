"""Dear results that many tasks of a run need: computed by one of them, found by the others by content hash.

::

    RUN/shared/<ab>/<hash>.npz      arrays, by the hash of all that they follow from
"""

import errno
import fcntl
import hashlib
import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from pb_cli.files import write_bytes

__all__ = ["ALONE", "Arrays", "Shared"]

Arrays = Mapping[str, NDArray[Any]]

PATIENCE = 600.0  # seconds that a task waits for another that computes the same
PAUSE = 0.1
_PACKAGES = ("numpy", "pb-data", "pb-eval", "pb-models", "pot", "scikit-learn", "scipy")


class Shared:
    """Results by what they follow from, in a folder; without a folder everything is computed.

    Of several processes that ask at once one computes and the others wait for it; where a file system has no locks, or
    that one hangs, more than one may compute, and the first result stays. What cannot be written is only not shared.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def arrays(self, key: Mapping[str, Any], compute: Callable[[], Arrays]) -> Arrays:
        """Return what was computed for a key, or compute it; the versions of what computes are part of the key."""
        if self.path is None:
            return compute()
        digest = hashlib.sha256(json.dumps([dict(key), _versions()], sort_keys=True).encode()).hexdigest()
        file = self.path / digest[:2] / f"{digest}.npz"
        if (found := _read(file)) is not None:
            return found
        with _in_turn(file):
            found = _read(file)
            if found is None:
                found = compute()
                _keep(file, found)
        return found

    def text(self, key: Mapping[str, Any], compute: Callable[[], str]) -> str:
        """Do the same for a text."""
        found = self.arrays(key, lambda: {"text": np.frombuffer(compute().encode(), dtype=np.uint8)})
        return found["text"].tobytes().decode()


ALONE = Shared(None)


def _read(file: Path) -> Arrays | None:
    """Read arrays; None where they are not there, or damaged."""
    try:
        with file.open("rb") as handle, np.load(handle, allow_pickle=False) as kept:
            return {name: kept[name] for name in kept.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def _keep(file: Path, arrays: Arrays) -> None:
    """Write arrays whole, or not at all where there is no room or no right."""
    content, named = io.BytesIO(), cast("dict[str, Any]", dict(arrays))
    np.savez(content, **named)
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(file, content.getvalue())


@contextmanager
def _in_turn(file: Path) -> Iterator[None]:
    """Wait while another process computes this file, but not for ever."""
    lock = file.with_suffix(".lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = lock.open("a")
    except OSError:  # it cannot be written either, and each process computes for itself
        yield
        return
    with handle:
        _wait_for(handle.fileno(), file)
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _wait_for(descriptor: int, file: Path) -> None:
    """Take a lock, or go on without where the result has appeared, the wait is too long, or there are no locks."""
    end = time.monotonic() + PATIENCE
    while not file.exists() and time.monotonic() < end:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(PAUSE)
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK):
                raise
            return
        else:
            return


@cache
def _versions() -> dict[str, str]:
    """Versions of the packages that make what is shared."""
    from importlib.metadata import version

    return {name: version(name) for name in _PACKAGES}

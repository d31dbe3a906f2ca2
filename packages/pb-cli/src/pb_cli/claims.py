"""Who works on which task: a small record for each, refreshed while its process lives.

Two processes never work on one task; a task whose process ended without a word is known as lost, with Slurm or without.
"""

import errno
import fcntl
import json
import os
import shutil
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pb_cli.store import RunFolder
from pb_cli.whereabouts import is_alive, slurm_element, whereabouts

__all__ = ["Claims", "read_claims", "sweep"]

PAUSE = 30.0  # seconds between two signs of life
SUFFIX = ".json"


class Claims:
    """The tasks that this process works on; use as a context manager, what is held is given back at its end."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._held: set[Path] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        for path in self._held:
            with suppress(OSError):
                path.unlink()

    def take(self, task_id: str) -> dict[str, Any] | None:
        """Take a task, or give the record of the process that works on it.

        The record of a dead process is removed, with what it was writing.
        """
        path = _path(self.folder, task_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _guarded(self.folder):
            other = _read(path)
            if other is not None and is_busy(other):
                return other
            for leftover in path.parent.glob(f"{task_id}.*"):
                remove(leftover)
            if not _write_new(path, whereabouts() | {"started": round(time.time(), 3)}):
                return _read(path) or {}
        self._held.add(path)
        return None

    def give_back(self, task_id: str) -> None:
        """Say that this process works on a task no longer."""
        path = _path(self.folder, task_id)
        self._held.discard(path)
        path.unlink(missing_ok=True)

    def _beat(self) -> None:
        """Give a sign of life for every task held, until the end: the time of change of its record."""
        while not self._end.wait(PAUSE):
            for path in tuple(self._held):
                with suppress(OSError):
                    os.utime(path)


def is_busy(record: dict[str, Any]) -> bool:
    """Whether another process works on a task; a requeued job knows that its former self is gone."""
    element = slurm_element()
    if element is not None and element[1] is not None and element == (record.get("job"), record.get("index")):
        return record.get("machine") == whereabouts()["machine"] and is_alive(record, record["seen"])
    return is_alive(record, record["seen"])


def read_claims(folder: RunFolder) -> dict[str, dict[str, Any]]:
    """Read who works on what, or did when it was lost: a record by task, `seen` the last sign of life."""
    paths = {
        name.removesuffix(SUFFIX): path for name, path in folder.listed("running").items() if name.endswith(SUFFIX)
    }
    records = {task_id: _read(path) for task_id, path in paths.items()}
    return {task_id: record for task_id, record in records.items() if record is not None}


def sweep(folder: RunFolder, done: Iterable[str]) -> None:
    """Remove what lost processes left of tasks that are finished since."""
    finished = set(done)
    for name, path in folder.listed("running").items():
        task_id = name.partition(".")[0]
        record = _read(_path(folder, task_id))
        if task_id in finished and (record is None or not is_busy(record)):
            remove(path)


def remove(path: Path) -> None:
    """Remove a file or a folder, whatever is left of it."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _path(folder: RunFolder, task_id: str) -> Path:
    place = folder.place("running", task_id)
    return place.with_name(place.name + SUFFIX)


def _read(path: Path) -> dict[str, Any] | None:
    """Read a record and when it was last refreshed; None where there is none."""
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return record | {"seen": path.stat().st_mtime}
    except FileNotFoundError:
        return None


def _write_new(path: Path, record: dict[str, Any]) -> bool:
    """Write a record whole, unless there is one."""
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        draft.write_text(json.dumps(record) + "\n", encoding="utf-8")
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink(missing_ok=True)
    return True


@contextmanager
def _guarded(folder: RunFolder) -> Iterator[None]:
    """Let one process at a time look and take; where a file system has no locks, `_write_new` still lets one win."""
    with (folder.path / "running" / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK):
                raise
        yield

"""Taking up a run folder that was planned before: what has to be as it was, and which of its tasks are meant."""

import os
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import Any

from pb_cli.plan import Task
from pb_cli.store import RunFolder

__all__ = ["chosen", "refuse_changed_data", "refuse_read_only", "reopen", "version_remarks"]


def reopen(path: Path, only: Container[str] | None = None) -> tuple[RunFolder, list[Task]]:
    """Open a run folder and read its plan, or `only` the tasks of some ids, to go on with it.

    Raises
    ------
    ValueError
        If the folder holds no run or a changed plan, or was made with another version of pb.
    OSError
        If nothing can be written into it.
    """
    from pb_cli.resources import versions

    folder = RunFolder(path)
    tasks = folder.read(only)
    folder.refuse_other_version({"versions": versions()})
    refuse_read_only(path)
    return folder, tasks


def refuse_read_only(path: Path) -> None:
    """Raise where a run folder takes no results."""
    for part in (path, path / "tasks", path / "failed"):
        if part.exists() and not os.access(part, os.W_OK | os.X_OK):
            msg = f"{part} cannot be written to: results would be lost. Change its permissions, or copy the run."
            raise PermissionError(msg)


def refuse_changed_data(tasks: Iterable[Task], data: Path | None = None, *, checksum: bool = True) -> None:
    """Raise where a data file is gone, or has another checksum than when the tasks were planned.

    `data` is where the file lies now. Reading a large file for its checksum takes a while; a task does it in any case.
    """
    from pb_data.datasets.registry import check_unchanged
    from pb_data.labelled.registry import check_files_unchanged

    for path, sha256, dataset in sorted({_file_of(task, data) for task in tasks}):
        if path and Path(path).is_dir():
            if checksum:
                check_files_unchanged(dataset, path, sha256)
        elif path and checksum:
            check_unchanged(Path(path), sha256)
        elif path and not Path(path).is_file():
            msg = f"the data file {path} is gone; say where it lies now (--data)"
            raise FileNotFoundError(msg)


def _file_of(task: Task, data: Path | None) -> tuple[str, str, str]:
    """Name the data file (or folder of files) of a task, its checksum and its set; an embedded one has none."""
    source = task.source
    path = None if source.get("path") is None else str(source["path"] if data is None else data.absolute())
    return ("", "", "") if path is None else (path, str(source["sha256"]), str(source["dataset"]))


def version_remarks(record: dict[str, Any]) -> list[str]:
    """Say where libraries are of other versions than when the run was planned: digits may differ."""
    from pb_cli.resources import versions

    now, before = versions(), record["versions"]
    changed = [f"{name} {old} (now {now[name]})" for name, old in before.items() if now.get(name, old) != old]
    return [f"Planned with {', '.join(changed)}: last digits may differ."] if changed else []


def chosen(tasks: Sequence[Task], names: Iterable[str], spans: Iterable[str]) -> list[Task]:
    """Pick tasks by number in the plan, from 0, or id; and by spans of numbers such as `10-19`.

    Raises
    ------
    ValueError
        If there is no such task.
    """
    by_id = {task.id: task for task in tasks}
    picked = [by_id[name] if name in by_id else tasks[_number(name, tasks)] for name in names]
    for span in spans:
        first, dash, last = span.partition("-")
        if not dash:
            msg = f"--tasks {span!r} is no span; write it like --tasks 0-9."
            raise ValueError(msg)
        picked += tasks[_number(first, tasks) : _number(last, tasks) + 1]
    return list({task.id: task for task in picked}.values())


def _number(text: str, tasks: Sequence[Task]) -> int:
    """Read the number of a task."""
    if not text.isdigit() or int(text) >= len(tasks):
        msg = f"There is no task {text!r}: give a number from 0 to {len(tasks) - 1}, or the id of a task."
        raise ValueError(msg)
    return int(text)

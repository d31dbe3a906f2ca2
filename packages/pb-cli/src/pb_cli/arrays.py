"""Which tasks an element of a Slurm array does: plain text in the run folder, so that names never reach a shell."""

from collections.abc import Sequence
from pathlib import Path

from pb_cli.plan import Task
from pb_cli.store import RunFolder
from pb_cli.whereabouts import slurm_element

__all__ = ["array_folder", "element_tasks", "read_elements"]

TABLE = "tasks.txt"


def array_folder(folder: RunFolder, name: str) -> Path:
    """Say where what was submitted under a name lies."""
    return folder.path / "arrays" / name


def read_elements(path: Path) -> list[list[str]]:
    """Read the table of an array: one element a line, the ids of its tasks between blanks."""
    return [line.split() for line in (path / TABLE).read_text(encoding="utf-8").splitlines()]


def element_tasks(folder: RunFolder, tasks: Sequence[Task], name: str, offset: int) -> list[Task]:
    """Find the tasks of the array element that this process is, by SLURM_ARRAY_TASK_ID.

    Raises
    ------
    ValueError
        If this is no array job, or the run has no such array or element.
    """
    element = slurm_element()
    if element is None or element[1] is None:
        msg = "--array is for elements of a Slurm array, and SLURM_ARRAY_TASK_ID is not set. Name tasks with --task."
        raise ValueError(msg)
    path = array_folder(folder, name)
    if not (path / TABLE).is_file():
        msg = f"{folder.path} has no array {name!r}: {path / TABLE} is not there."
        raise ValueError(msg)
    elements, number = read_elements(path), offset + element[1]
    if number >= len(elements):
        msg = f"The array {name!r} has {len(elements)} elements; element {number} was asked for."
        raise ValueError(msg)
    by_id = {task.id: task for task in tasks}
    return [by_id[task_id] for task_id in elements[number]]

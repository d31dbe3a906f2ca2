"""What was submitted to Slurm, as plain text in the run folder: names of tasks never reach a shell."""

import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pb_cli.files import write_text
from pb_cli.plan import Task
from pb_cli.site import Site
from pb_cli.slurm import Chunk, Element, SlurmError, render, submit
from pb_cli.store import RunFolder
from pb_cli.whereabouts import slurm_element

__all__ = ["Array", "array_data", "draft_array", "element_ids", "read_arrays", "submit_array"]

TABLE, RECORD, DATA = "tasks.txt", "submitted.json", "data.txt"


@dataclass(frozen=True)
class Array:
    """Tasks submitted together: the task ids of each element, and the jobs that the elements are cut into."""

    name: str
    elements: list[list[str]]
    chunks: list[Chunk]
    site: Site
    flags: list[str]
    most: int | None = None
    time: float = 0.0

    def scripts(self) -> dict[Chunk, str]:
        """Write the script of each job."""
        return {chunk: render(self.site, self.name, chunk, most=self.most, flags=self.flags) for chunk in self.chunks}

    def placed(self) -> Iterator[tuple[str, Element]]:
        """Say which element of which job does each task."""
        for chunk in self.chunks:
            job = chunk.job_name(self.name)
            for index in range(chunk.n_elements):
                for task_id in self.elements[chunk.offset + index]:
                    yield task_id, Element(job, index)


def draft_array(
    elements: Sequence[Sequence[Task]], site: Site, *, largest: int, most: int | None, flags: Sequence[str]
) -> Array:
    """Cut elements into jobs of at most `largest` and give the array a name."""
    offsets = range(0, len(elements), largest)
    chunks = [Chunk(offset, min(largest, len(elements) - offset)) for offset in offsets]
    ids = [[task.id for task in element] for element in elements]
    return Array(f"pb-{secrets.token_hex(4)}", ids, chunks, site, list(flags), most, round(time.time(), 3))


def submit_array(folder: RunFolder, array: Array, data: Path | None = None) -> Array:
    """Write an array's table and scripts, submit its jobs, and return it with their numbers.

    The record is written before the first job is submitted: one whose number was lost is still known by its name. With
    a limit to the elements at a time, each job waits for the one before.

    Raises
    ------
    SlurmError
        If a job is refused; those before it stay submitted and are in the record.
    """
    path = folder.path / "arrays" / array.name
    path.mkdir(parents=True)
    if data is not None:
        write_text(path / DATA, str(data.absolute()))
    write_text(path / TABLE, "".join(" ".join(ids) + "\n" for ids in array.elements))
    scripts = array.scripts()
    for number, (chunk, script) in enumerate(scripts.items()):
        (path / f"output-{chunk.offset}").mkdir()
        write_text(path / f"job-{chunk.offset}.sbatch", script)
        before = array.chunks[number - 1].job if number and array.most else None
        _write_record(path, replace(array, chunks=array.chunks[: number + 1]))
        waits = [array.site.sbatch.get("dependency", "")] + ([f"afterany:{before}"] if before else [])
        dependency = ",".join(filter(None, waits)) if before else ""
        try:
            job = submit(path / f"job-{chunk.offset}.sbatch", folder.path, chunk.output(array.name), dependency)
        except SlurmError as error:
            _write_record(path, replace(array, chunks=array.chunks[:number]))
            msg = f"{error} {number} of {len(scripts)} jobs were submitted; `pb resume {folder.path}` submits the rest."
            raise SlurmError(msg) from error
        chunks = [*array.chunks[:number], chunk._replace(job=job), *array.chunks[number + 1 :]]
        array = replace(array, chunks=chunks)
        _write_record(path, replace(array, chunks=chunks[: number + 1]))
    return array


def _write_record(path: Path, array: Array) -> None:
    """Write what is submitted so far."""
    site = {"sbatch": dict(array.site.sbatch), "environment": array.site.environment, "pb": array.site.pb}
    record = {"time": array.time, "site": site, "flags": array.flags, "most": array.most}
    text = json.dumps(record | {"jobs": [chunk._asdict() for chunk in array.chunks]}, indent=1)
    write_text(path / RECORD, text + "\n")


def read_arrays(folder: RunFolder) -> list[Array]:
    """Read everything that was submitted, oldest first."""
    paths = (path.parent for path in (folder.path / "arrays").glob(f"*/{RECORD}"))
    return sorted(map(_read, paths), key=lambda array: array.time)


def _read(path: Path) -> Array:
    """Read one array."""
    record: Mapping[str, Any] = json.loads((path / RECORD).read_text(encoding="utf-8"))
    chunks = [Chunk(**job) for job in record["jobs"]]
    site = Site(**record["site"])
    return Array(path.name, _elements(path), chunks, site, record["flags"], record["most"], record["time"])


def _elements(path: Path) -> list[list[str]]:
    """Read the table of an array: one element a line, the ids of its tasks between blanks."""
    return [line.split() for line in (path / TABLE).read_text(encoding="utf-8").splitlines()]


def array_data(folder: RunFolder, name: str) -> Path | None:
    """Say where the data file lies for the tasks of an array; None where it lies where it was planned."""
    path = folder.path / "arrays" / name / DATA
    return Path(path.read_text(encoding="utf-8")) if path.is_file() else None


def element_ids(folder: RunFolder, name: str, offset: int) -> list[str]:
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
    path = folder.path / "arrays" / name
    if not (path / TABLE).is_file():
        msg = f"{folder.path} has no array {name!r}: {path / TABLE} is not there."
        raise ValueError(msg)
    elements, number = _elements(path), offset + element[1]
    if number >= len(elements):
        msg = f"The array {name!r} has {len(elements)} elements; element {number} was asked for."
        raise ValueError(msg)
    return elements[number]

"""A plan is a table of tasks; a task is one line, and everything it does follows from that line."""

import dataclasses
import json
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pb_data.hashing import canonical_json, text_sha256

from pb_cli.work import expected_work, training_steps

__all__ = ["Plan", "Task", "read_plan", "to_lines"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One training and one scored prediction: a model, a split with its held-out unit, a seed.

    `dose` is the one that a model of one dose trains on and predicts, where the data have doses. `source` rebuilds the
    data set, `split` and `split_parameters` the split (whose content must hash to `split_hash`); `preprocess` and
    `settings` are complete, so that a changed default makes another task.
    """

    source: dict[str, Any]
    split: str
    split_parameters: dict[str, Any]
    split_hash: str
    preprocess: dict[str, Any]
    model: str
    profile: str
    settings: dict[str, Any]
    seed: int
    dose: float | None = None

    @cached_property
    def id(self) -> str:
        """First twelve hex digits of the SHA-256 of the line."""
        return text_sha256(canonical_json(self.to_dict()))[:12]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields of the line; a dose only where there is one."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in fields.items() if name != "dose" or value is not None}

    @property
    def held_out(self) -> str:
        """The unit whose perturbed cells are held out."""
        return str(self.split_parameters["held_out"])

    @property
    def label(self) -> str:
        """`model:profile`, which `pb_models.create` understands."""
        return f"{self.model}:{self.profile}"

    @property
    def steps(self) -> float:
        """Training steps at most; 0 for what is not trained in steps."""
        return training_steps(self.settings)

    @property
    def work(self) -> float:
        """Expected time, roughly, in units of a baseline's task."""
        return expected_work(self.model, self.steps)


@dataclass(frozen=True)
class Plan:
    """The tasks in the order in which they run, the claim of their splits, and remarks worth printing."""

    tasks: list[Task]
    claim: str
    remarks: list[str]


def to_lines(tasks: Iterable[Task]) -> str:
    """Write tasks as JSON lines, `id` first."""
    return "".join(canonical_json({"id": task.id} | task.to_dict()) + "\n" for task in tasks)


def read_plan(path: Path, only: Container[str] | None = None) -> list[Task]:
    """Read the tasks of a plan, or `only` those of some ids; a line whose id does not fit its content is refused."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [_from_line(json.loads(line), path) for line in lines if only is None or _id_of(line) in only]


def _id_of(line: str) -> str:
    """Find the id of a task without reading the rest of its line: keys are sorted, and no table comes before it."""
    return line.partition('"id":"')[2].partition('"')[0]


def _from_line(record: dict[str, Any], path: Path) -> Task:
    """Rebuild one task and compare its id."""
    task_id = record.pop("id")
    task = _kind_of(record)(**record)
    if task.id != task_id:
        msg = f"{path}: the line of task {task_id} was changed after planning. Plan anew in another folder."
        raise ValueError(msg)
    return task


def _kind_of(record: Mapping[str, Any]) -> type[Task]:
    """Tell tasks apart by `kind`; those that predict perturbed cells have none."""
    if record.get("kind") != "supervised":
        return Task
    from pb_cli.supervised.task import SupervisedTask

    return SupervisedTask

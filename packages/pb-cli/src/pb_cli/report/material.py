"""Everything a report says of a run, read from its folder; nothing there is changed but for the report itself."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pb_cli.merging import problems_of
from pb_cli.plan import Task
from pb_cli.store import RunFolder
from pb_cli.supervised.task import SupervisedTask

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Material", "read_material", "records"]


@dataclass(frozen=True, eq=False)
class Material:
    """A run as far as it is done.

    `results` has the scores of tasks that are whole, with floors; `costs` a row a task; `refused` says by task id what
    is wrong with results that are not.
    """

    folder: RunFolder
    name: str
    tasks: list[Task]
    record: dict[str, Any]
    results: "pd.DataFrame"
    costs: "pd.DataFrame"
    refused: dict[str, str]

    @property
    def is_supervised(self) -> bool:
        """Whether it predicts labels instead of cells."""
        return isinstance(self.tasks[0], SupervisedTask)

    @cached_property
    def done(self) -> list[Task]:
        """The tasks whose results count."""
        return [task for task in self.tasks if self.folder.is_done(task) and task.id not in self.refused]

    @property
    def dataset(self) -> str:
        """The name of the data."""
        source = self.tasks[0].source
        return str(source.get("name") or source["dataset"])

    @property
    def splits(self) -> list[str]:
        """The names of the split, or of the kinds of folds with their label noise."""
        return list(dict.fromkeys(getattr(task, "label_of_split", task.split) for task in self.tasks))

    @property
    def claims(self) -> dict[str, str]:
        """What each split, or kind of folds, supports."""
        if "claims" in self.record:
            return dict(self.record["claims"])
        return {self.tasks[0].split: str(self.record["claim"])}

    @property
    def gaps(self) -> dict[str, Counter[str]]:
        """Count by model the tasks that are not done, by state: `failed`, `refused` or `missing`."""
        counts: dict[str, Counter[str]] = {}
        whole = {task.id for task in self.done}
        for task in self.tasks:
            if task.id not in whole:
                counts.setdefault(task.label.removesuffix(":default"), Counter())[self._state(task)] += 1
        return counts

    def _state(self, task: Task) -> str:
        if task.id in self.refused:
            return "refused"
        return "failed" if self.folder.failure(task).exists() else "missing"


def records(table: "pd.DataFrame") -> Iterator[Any]:
    """Go through a table's rows as named tuples."""
    yield from table.itertuples()


def read_material(path: Path) -> Material:
    """Read a run folder, however much of it is done.

    Raises
    ------
    ValueError
        If the folder holds no run, or its plan was changed.
    OSError
        If a file of it cannot be read.
    """
    folder = RunFolder(path)
    tasks = folder.read()
    there = [task for task in tasks if folder.is_done(task)]
    refused = problems_of(folder, there, scores_only=True)
    done = [task for task in there if task.id not in refused]
    name = path.resolve().name
    return Material(folder, name, tasks, folder.record, folder.scores(done), folder.costs(tasks, done), refused)

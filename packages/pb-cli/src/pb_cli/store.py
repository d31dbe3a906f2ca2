"""The run folder: what is planned, what is done, what failed; every output appears by atomic rename.

::

    RUN/run.json            experiment, versions, claim of the splits
    RUN/plan.jsonl          one task a line
    RUN/tasks/<id>/         a finished task: manifest.json, prediction.h5ad, model/, metrics.csv, log.txt, task.json
    RUN/failed/<id>/        the last failure of a task: traceback.txt, log.txt
    RUN/results.csv, .parquet   all scores, one row per unit and metric
    RUN/tasks.csv           one row per task: status, seconds, memory, parameters, device
"""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pb_cli.plan import Task, read_plan, to_lines

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RunFolder", "write_text"]

LOCK = ".lock"


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


class RunFolder:
    """A folder that holds one plan and what has come of it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self, tasks: Sequence[Task], record: dict[str, Any]) -> None:
        """Create the folder for a plan, or take up a folder that holds the same plan.

        Raises
        ------
        ValueError
            If the folder holds another plan, or files that are not a run.
        """
        if self._plan.exists():
            self._refuse_other(tasks)
            self._refuse_other_version(record)
        elif any(path.name not in {LOCK, "run.json"} for path in self.path.iterdir()):
            msg = f"{self.path} is not empty and holds no run. Give --out a new or empty folder."
            raise ValueError(msg)
        else:
            write_text(self.path / "run.json", json.dumps(record, indent=2, ensure_ascii=False) + "\n")
            write_text(self._plan, to_lines(tasks))
        for folder in ("tasks", "failed"):
            (self.path / folder).mkdir(exist_ok=True)
        for leftover in (self.path / "tasks").glob(".*"):
            shutil.rmtree(leftover)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep the folder to this process, making it if it is not there.

        Raises
        ------
        ValueError
            If another `pb bench` works in it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / LOCK).open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                msg = f"Another pb bench works in {self.path}. Wait for it, or give --out another folder."
                raise ValueError(msg) from error
            yield

    def task(self, task: Task) -> Path:
        """Say where a finished task lies."""
        return self.path / "tasks" / task.id

    def failure(self, task: Task) -> Path:
        """Say where the last failure of a task lies."""
        return self.path / "failed" / task.id

    def is_done(self, task: Task) -> bool:
        """Say whether the task is finished: its folder appears only when it is complete."""
        return self.task(task).is_dir()

    @contextmanager
    def writing(self, task: Task) -> Iterator[Path]:
        """Give a hidden folder to write to; it becomes the task's folder if the block succeeds.

        If the block fails, its log is kept under `failed/` and the rest is removed.
        """
        draft = Path(tempfile.mkdtemp(dir=self.path / "tasks", prefix=f".{task.id}."))
        draft.chmod(0o777 & ~_umask())
        try:
            yield draft
        except BaseException:
            _keep_log(draft, self.failure(task))
            shutil.rmtree(draft, ignore_errors=True)
            raise
        _move(draft, self.task(task))
        shutil.rmtree(self.failure(task), ignore_errors=True)

    def write_traceback(self, task: Task, text: str) -> Path:
        """Keep the traceback of a failed task, and say where."""
        folder = self.failure(task)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "traceback.txt", text)
        return folder / "traceback.txt"

    def task_record(self, task: Task) -> dict[str, Any]:
        """Read what a finished task cost, from its `task.json`."""
        record: dict[str, Any] = json.loads((self.task(task) / "task.json").read_text(encoding="utf-8"))
        return record

    def collect(self, tasks: Sequence[Task]) -> "pd.DataFrame":
        """Merge the scores of the finished tasks into `results.csv` and `results.parquet`, costs into `tasks.csv`.

        The floor of a unit is the best of all baselines of the run.
        """
        import pandas as pd
        from pb_eval import read_table, with_floor, write_table
        from pb_eval.table import merge_tables
        from pb_models.registry import model_entries

        done = [task for task in tasks if self.is_done(task)]
        results = merge_tables(read_table(self.task(task) / "metrics.csv") for task in done)
        simple = [name for name, entry in model_entries().items() if entry.is_baseline]
        goals = None
        if (results["space"] == "labels").any():
            from pb_cli.supervised.scores import label_baselines, label_goals

            simple, goals = label_baselines(), label_goals()
        results = with_floor(results, results[results["model"].isin(simple)], goals=goals)
        for name in ("results.csv", "results.parquet"):
            write_table(results, self.path / name)
        costs = [{"task": task.id, "status": self._status(task)} | self._costs(task) for task in tasks]
        write_text(self.path / "tasks.csv", pd.DataFrame(costs).to_csv(index=False))
        return results

    @property
    def _plan(self) -> Path:
        return self.path / "plan.jsonl"

    def _refuse_other(self, tasks: Sequence[Task]) -> None:
        """Refuse to mix two plans in one folder."""
        held, asked = {task.id for task in read_plan(self._plan)}, {task.id for task in tasks}
        if held != asked:
            msg = (
                f"{self.path} holds another plan ({len(held)} tasks, of which {len(held & asked)} are among the "
                f"{len(asked)} asked for now). Repeat its command to continue it, or give --out another folder."
            )
            raise ValueError(msg)

    def _refuse_other_version(self, record: dict[str, Any]) -> None:
        """Refuse to continue a run with another version of pb: its numbers could mean something else."""
        made = json.loads((self.path / "run.json").read_text(encoding="utf-8"))["versions"]["pb-cli"]
        if made != (now := record["versions"]["pb-cli"]):
            msg = (
                f"{self.path} was made with pb {made}, this is {now}. Install pb {made}, or give --out another folder."
            )
            raise ValueError(msg)

    def _status(self, task: Task) -> str:
        """One word for the state of a task."""
        if self.is_done(task):
            return "done"
        return "failed" if self.failure(task).exists() else "missing"

    def _costs(self, task: Task) -> dict[str, Any]:
        """Collect the columns of `tasks.csv` after the status."""
        known = {name: getattr(task, name) for name in ("held_out", "dose", "model", "profile", "seed")}
        return known | (self.task_record(task)["costs"] if self.is_done(task) else {})


def _move(draft: Path, target: Path) -> None:
    """Rename a finished draft; where another process was faster, its result stays and ours goes."""
    try:
        draft.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(draft)


def _keep_log(draft: Path, failure: Path) -> None:
    """Keep what a failed task had logged."""
    with suppress(OSError):
        failure.mkdir(parents=True, exist_ok=True)
        shutil.move(draft / "log.txt", failure / "log.txt")


def _umask() -> int:
    """Read the process's umask, which temporary files do not follow by themselves."""
    mask = os.umask(0)
    os.umask(mask)
    return mask

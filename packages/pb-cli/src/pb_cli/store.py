"""The run folder: what is planned, what is done, what failed; every output appears by atomic rename.

::

    RUN/run.json            experiment, versions, claim of the splits
    RUN/plan.jsonl          one task a line
    RUN/tasks/<id>/         a finished task: manifest.json, prediction.h5ad, model/, metrics.csv, log.txt, task.json
    RUN/failed/<id>/        the last failure of a task: failure.json, traceback.txt, log.txt
    RUN/running/            who works on which task, and what is being written
    RUN/paused/<id>/        the state of a training that was stopped, until its task is finished: training.safetensors
    RUN/arrays/<name>/      what was submitted to Slurm: tasks.txt, submitted.json, scripts, output
    RUN/shared/             what several tasks need and one has computed; may be removed
    RUN/results.csv, .parquet   all scores, one row per unit and metric
    RUN/tasks.csv           one row per task: status, seconds, memory, parameters, device

In a run of more than 4,000 tasks, `tasks`, `failed`, `running` and `paused` have a folder for each first two digits of
the id between: 100,000 tasks make 256 folders of some hundred each.
"""

import fcntl
import json
import shutil
import tempfile
import time
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pb_data.hashing import file_sha256, text_sha256

from pb_cli.files import entries, keep_log, move, umask, write_text
from pb_cli.plan import Task, read_plan, to_lines
from pb_cli.whereabouts import whereabouts

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Failure", "Reason", "RunFolder"]

LOCK, SHARED = ".lock", "shared"
FLAT = 4000  # tasks whose results lie side by side
_FAN = 2  # digits of an id that name its folder where there are more
_LEFTOVERS = {LOCK, "run.json"}


Reason = Literal[
    "error", "out of memory", "killed", "time limit", "preempted", "node failure", "cancelled", "stopped", "lost"
]


class Failure(NamedTuple):
    """Why a task failed, in a word, in a sentence, and in full; `epochs` of its training are kept."""

    reason: Reason
    message: str
    traceback: str = ""
    epochs: int = 0


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
            self.refuse_other_version(record)
        elif any(path.name not in _LEFTOVERS for path in self.path.iterdir()):
            msg = f"{self.path} is not empty and holds no run. Give --out a new or empty folder."
            raise ValueError(msg)
        else:
            lines = to_lines(tasks)
            record = record | {"n_tasks": len(tasks), "plan_sha256": text_sha256(lines)}
            write_text(self.path / "run.json", json.dumps(record, indent=2, ensure_ascii=False) + "\n")
            write_text(self._plan, lines)
        for folder in ("tasks", "failed"):
            (self.path / folder).mkdir(exist_ok=True)

    def read(self, only: Container[str] | None = None) -> list[Task]:
        """Read the plan, or `only` the tasks of some ids; what was changed after planning is refused.

        Raises
        ------
        ValueError
            If the folder holds no run, or its plan is not the one that was written.
        """
        if not self._plan.is_file():
            msg = f"{self.path} holds no run: there is no plan.jsonl. `pb bench --out {self.path}` makes one."
            raise ValueError(msg)
        planned = self.record.get("plan_sha256")
        if planned is not None and file_sha256(self._plan) != planned:
            msg = f"{self._plan} was changed after planning: run.json has another hash. Restore it, or plan anew."
            raise ValueError(msg)
        return read_plan(self._plan, only)

    @property
    def record(self) -> dict[str, Any]:
        """What was asked, with which versions, as `run.json` has it."""
        record: dict[str, Any] = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        return record

    def refuse_other_version(self, record: dict[str, Any]) -> None:
        """Refuse to continue a run with another version of pb: its numbers could mean something else."""
        made = self.record["versions"]["pb-cli"]
        if made != (now := record["versions"]["pb-cli"]):
            msg = (
                f"{self.path} was made with pb {made}, this is {now}. Install pb {made}, or give --out another folder."
            )
            raise ValueError(msg)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep the folder to this process, making it if it is not there.

        Raises
        ------
        ValueError
            If another `pb bench` or `pb resume` works in it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / LOCK).open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                msg = f"Another pb bench works in {self.path}, or a pb resume. Wait for it, or use another folder."
                raise ValueError(msg) from error
            yield

    def place(self, kind: str, task_id: str) -> Path:
        """Say where something of a task lies: `tasks`, `failed`, `running` or `paused`."""
        folder = self.path / kind
        return (folder / task_id[:_FAN] if self._fans_out else folder) / task_id

    @cached_property
    def _fans_out(self) -> bool:
        """Whether there are too many tasks to lie side by side."""
        record = self.record if (self.path / "run.json").is_file() else {}
        return int(record.get("n_tasks", 0)) > FLAT

    def task(self, task: Task) -> Path:
        """Say where a finished task lies."""
        return self._found("tasks", task.id)

    def failure(self, task: Task) -> Path:
        """Say where the last failure of a task lies."""
        return self._found("failed", task.id)

    def training_state(self, task: Task) -> Path:
        """Say where the state of a training that was stopped lies, of a group with its first task."""
        return self.place("paused", task.id) / "training.safetensors"

    def _found(self, kind: str, task_id: str) -> Path:
        """Say where it is, or belongs where it is not yet."""
        flat = self.path / kind / task_id
        return flat if flat.is_dir() else self.place(kind, task_id)

    def is_done(self, task: Task) -> bool:
        """Say whether the task is finished: its folder appears only when it is complete."""
        return self.task(task).is_dir()

    def listed(self, kind: str) -> dict[str, Path]:
        """List everything of a kind (`tasks`, `failed`, `running`) by name, in as many looks as there are folders."""
        found: dict[str, Path] = {}
        for entry in entries(self.path / kind):
            inner = entries(entry) if len(entry.name) == _FAN else [entry]
            found |= {path.name: path for path in inner if not path.name.startswith(".")}
        return found

    @contextmanager
    def writing(self, task: Task) -> Iterator[Path]:
        """Give a folder under `running/` to write to; it becomes the task's folder if the block succeeds.

        If the block fails, its log is kept under `failed/` and the rest is removed.
        """
        place = self.place("running", task.id)
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=place.parent, prefix=f"{task.id}."))
        draft.chmod(0o777 & ~umask())
        try:
            yield draft
        except BaseException:
            keep_log(draft, self.failure(task))
            shutil.rmtree(draft, ignore_errors=True)
            raise
        move(draft, self.task(task))
        for leftover in (self.failure(task), self.place("paused", task.id)):
            shutil.rmtree(leftover, ignore_errors=True)

    def discard(self, task: Task) -> None:
        """Remove what a killed process was writing of a task, and keep its log under `failed/`."""
        place = self.place("running", task.id)
        for draft in place.parent.glob(f"{task.id}.*/"):
            keep_log(draft, self.failure(task))
            shutil.rmtree(draft, ignore_errors=True)

    def write_failure(self, task: Task, failure: "Failure") -> None:
        """Keep why a task failed, where and when, and its traceback if there is one."""
        folder = self.failure(task)
        folder.mkdir(parents=True, exist_ok=True)
        if failure.traceback:
            write_text(folder / "traceback.txt", failure.traceback)
        else:
            (folder / "traceback.txt").unlink(missing_ok=True)
        record = {"reason": failure.reason, "message": failure.message, "time": round(time.time(), 3), **whereabouts()}
        record |= {"epochs": failure.epochs} if failure.epochs else {}
        write_text(folder / "failure.json", json.dumps(record, ensure_ascii=False) + "\n")

    def failure_record(self, folder: Path) -> dict[str, Any]:
        """Read why a task failed; of an older run only the traceback is there."""
        if (folder / "failure.json").is_file():
            record: dict[str, Any] = json.loads((folder / "failure.json").read_text(encoding="utf-8"))
            return record
        path = folder / "traceback.txt"
        lines = path.read_text(encoding="utf-8").strip().splitlines() if path.is_file() else []
        return {"reason": "error", "message": lines[-1] if lines else ""}

    def task_record(self, task: Task) -> dict[str, Any]:
        """Read what a finished task cost, from its `task.json`."""
        record: dict[str, Any] = json.loads((self.task(task) / "task.json").read_text(encoding="utf-8"))
        return record

    def collect(self, tasks: Sequence[Task], leave_out: Container[str] = ()) -> "pd.DataFrame":
        """Merge the scores of finished tasks into `results.csv` and `results.parquet`, costs into `tasks.csv`.

        The floor of a unit is the best of all baselines of the run. `leave_out` are the ids of tasks whose results are
        refused.
        """
        from pb_eval import write_table

        done = [task for task in tasks if self.is_done(task) and task.id not in leave_out]
        results = self.scores(done)
        for name in ("results.csv", "results.parquet"):
            write_table(results, self.path / name)
        write_text(self.path / "tasks.csv", self.costs(tasks, done).to_csv(index=False))
        return results

    def scores(self, done: Sequence[Task]) -> "pd.DataFrame":
        """Merge the scores of finished tasks, with the floor of each unit; nothing is written."""
        from pb_eval import with_floor
        from pb_eval.table import merge_tables
        from pb_models.registry import model_entries

        from pb_cli.merging import read_tables

        results = merge_tables([read_tables([self.task(task) / "metrics.csv" for task in done])])
        simple = [name for name, entry in model_entries().items() if entry.is_baseline]
        goals = None
        if (results["space"] == "labels").any():
            from pb_cli.supervised.scores import label_baselines, label_goals

            simple, goals = label_baselines(), label_goals()
        return with_floor(results, results[results["model"].isin(simple)], goals=goals)

    def costs(self, tasks: Sequence[Task], done: Sequence[Task]) -> "pd.DataFrame":
        """Lay out a row a task: its status, and what it cost if its results count."""
        import pandas as pd

        whole = {task.id for task in done}
        return pd.DataFrame(
            [
                {"task": task.id, "status": self._status(task)} | self._costs(task, whole=task.id in whole)
                for task in tasks
            ]
        )

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

    def _status(self, task: Task) -> str:
        """One word for the state of a task."""
        if self.is_done(task):
            return "done"
        return "failed" if self.failure(task).exists() else "missing"

    def _costs(self, task: Task, *, whole: bool) -> dict[str, Any]:
        """Collect the columns of `tasks.csv` after the status."""
        known = {name: getattr(task, name) for name in ("held_out", "dose", "model", "profile", "seed")}
        return known | (self.task_record(task)["costs"] if whole else {})

"""Run tasks in this process or in several; the same code runs a task either way."""

import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pb_eval.metric import DRAWS

from pb_cli.claims import Claims
from pb_cli.pausing import PAUSE, TaskPausedError
from pb_cli.plan import Task
from pb_cli.schedule import Forecast, in_order, read_forecast
from pb_cli.store import Failure, Reason, RunFolder
from pb_cli.threads import limited_threads

if TYPE_CHECKING:
    from pb_models import TrainingStep

__all__ = ["Emit", "Event", "Options", "execute", "group_seeds", "run_group"]


class Event(NamedTuple):
    """What happens to a task: `step` carries a TrainingStep, `failed`, `apart` and `busy` a sentence.

    `apart`: training it together with other seeds went wrong, and it is done alone. `busy`: another process has it.
    `paused`: it has kept the state of its training, after so many epochs as `detail` says.
    """

    kind: Literal["start", "step", "apart", "done", "failed", "busy", "paused"]
    task_id: str
    detail: Any = None


Emit = Callable[[Event], None]


class Options(NamedTuple):
    """How to run: nothing here changes a score, bar rounding between devices and of seeds trained together.

    `data` is where the data file lies now, if not where it was planned. `apart` runs tasks outside this process even
    one at a time, so that this process can say how they ended.
    """

    jobs: int = 1
    device: str = "auto"
    save_model: bool = True
    ensemble: bool = False
    bootstrap: int = DRAWS
    data: Path | None = None
    apart: bool = False


def execute(
    tasks: Sequence[Task], folder: RunFolder, options: Options, emit: Emit, finished: Iterable[Task] = ()
) -> None:
    """Run tasks, reporting events; failures are written to the run folder and do not stop the others.

    What another process works on is left to it. What `finished` tasks of the run have taken tells which come first.
    Nothing more is begun when this process is asked to pause.
    """
    from pb_cli.workers import run_in_workers

    groups: list[Sequence[Task]] = [*group_seeds(tasks)] if options.ensemble else [[task] for task in tasks]
    forecast = read_forecast(folder, finished) if options.jobs > 1 else Forecast()
    groups = in_order(groups, forecast, jobs=options.jobs)
    with limited_threads(options.jobs), Claims(folder) as claims:
        if options.apart or options.jobs > 1:
            run_in_workers(groups, folder, options, emit, claims)
            return
        for group in groups:
            if PAUSE.asked:
                break
            ready = take(group, folder, claims, emit)
            run_group(ready, folder, options, emit)
            for task in ready:
                claims.give_back(task.id)


def take(group: Sequence[Task], folder: RunFolder, claims: Claims, emit: Emit) -> list[Task]:
    """Take the tasks of a group that nobody works on and nobody has finished; report the others."""
    ready = []
    for task in group:
        emit(Event("start", task.id))
        other = claims.take(task.id)
        if other is not None:
            words = f"process {other.get('pid', '?')} on {other.get('host', 'another host')} works on it"
            emit(Event("busy", task.id, words))
        elif folder.is_done(task):
            claims.give_back(task.id)
            emit(Event("done", task.id))
        else:
            ready.append(task)
    return ready


def group_seeds(tasks: Sequence[Task]) -> list[list[Task]]:
    """Put tasks that differ in their seed only into one group, where the model can be trained so; in order."""
    from pb_models.registry import model_entries

    entries = model_entries()
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        entry = entries.get(task.model)
        alike = replace(task, seed=0).id if entry is not None and entry.can_stack else task.id
        groups.setdefault(alike, []).append(task)
    return list(groups.values())


def run_group(group: Sequence[Task], folder: RunFolder, options: Options, emit: Emit) -> None:
    """Run a group of tasks; what goes wrong together is done one by one, what goes wrong alone is recorded.

    A group that was asked to pause has kept one state for all.
    """
    if not group:
        return
    error = _attempt(group, folder, options, emit)
    apart = error is not None and not isinstance(error, TaskPausedError) and len(group) > 1
    if apart:
        emit(Event("apart", group[0].id, f"{type(error).__name__}: {error}"))
    for task in group:
        _finish(task, _attempt([task], folder, options, emit) if apart else error, folder, emit)


def _finish(task: Task, error: Exception | None, folder: RunFolder, emit: Emit) -> None:
    """Report how a task ended."""
    if error is None:
        emit(Event("done", task.id))
        return
    if isinstance(error, TaskPausedError):
        emit(Event("paused", task.id, error.n_epochs))
        return
    message = f"{type(error).__name__}: {error}"
    reason: Reason = "out of memory" if isinstance(error, MemoryError) or "out of memory" in str(error) else "error"
    folder.write_failure(task, Failure(reason, message, "".join(traceback.format_exception(error))))
    emit(Event("failed", task.id, message))


def _attempt(group: Sequence[Task], folder: RunFolder, options: Options, emit: Emit) -> Exception | None:
    """Run tasks in one pass and return what went wrong, if anything."""
    from pb_cli.runner import run_tasks

    def progress(step: "TrainingStep") -> None:
        for task in group:
            emit(Event("step", task.id, step))

    names = ("device", "save_model", "bootstrap", "data")
    how: dict[str, Any] = {name: getattr(options, name) for name in names}
    try:
        run_tasks(group, folder, **how, progress=progress)
    except Exception as error:  # noqa: BLE001 (the boundary of a task: recorded, counted, exit code 1)
        return error
    return None

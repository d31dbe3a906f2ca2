"""Run tasks in this process or in several; the same code runs a task either way."""

import multiprocessing
import os
import queue
import signal
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pb_eval.metric import DRAWS

from pb_cli.plan import Task
from pb_cli.store import RunFolder
from pb_cli.threads import limited_threads

if TYPE_CHECKING:
    from pb_models import TrainingStep

__all__ = ["Event", "Options", "WorkerLostError", "execute"]


class WorkerLostError(RuntimeError):
    """A worker process ended without a word."""


class Event(NamedTuple):
    """What happens to a task: `step` carries a TrainingStep, `failed` and `apart` the error in one line.

    `apart`: training it together with other seeds went wrong, and it is done alone.
    """

    kind: Literal["start", "step", "apart", "done", "failed"]
    task_id: str
    detail: Any = None


class Options(NamedTuple):
    """How to run: nothing here changes a score, bar rounding between devices and of seeds trained together."""

    jobs: int = 1
    device: str = "auto"
    save_model: bool = True
    ensemble: bool = False
    bootstrap: int = DRAWS


def execute(tasks: Sequence[Task], folder: RunFolder, options: Options, emit: Callable[[Event], None]) -> None:
    """Run tasks, reporting events; failures are written to the run folder and do not stop the others."""
    groups = group_seeds(tasks) if options.ensemble else [[task] for task in tasks]
    with limited_threads(options.jobs):
        if options.jobs == 1:
            for group in groups:
                _run(group, folder, options, emit)
        else:
            _in_processes(groups, folder, options, emit)


def group_seeds(tasks: Sequence[Task]) -> list[list[Task]]:
    """Put tasks that differ in their seed only into one group, where the model can be trained so; in order."""
    from pb_models.registry import model_entries

    entries = model_entries()
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        alike = replace(task, seed=0).id if entries[task.model].can_stack else task.id
        groups.setdefault(alike, []).append(task)
    return list(groups.values())


def _run(group: Sequence[Task], folder: RunFolder, options: Options, emit: Callable[[Event], None]) -> None:
    """Run a group of tasks; what goes wrong together is done one by one, what goes wrong alone is recorded."""
    for task in group:
        emit(Event("start", task.id))
    error = _attempt(group, folder, options, emit)
    apart = error is not None and len(group) > 1
    if apart:
        emit(Event("apart", group[0].id, f"{type(error).__name__}: {error}"))
    for task in group:
        _finish(task, _attempt([task], folder, options, emit) if apart else error, folder, emit)


def _finish(task: Task, error: Exception | None, folder: RunFolder, emit: Callable[[Event], None]) -> None:
    """Report how a task ended."""
    if error is None:
        emit(Event("done", task.id))
        return
    folder.write_traceback(task, "".join(traceback.format_exception(error)))
    emit(Event("failed", task.id, f"{type(error).__name__}: {error}"))


def _attempt(
    group: Sequence[Task], folder: RunFolder, options: Options, emit: Callable[[Event], None]
) -> Exception | None:
    """Run tasks in one pass and return what went wrong, if anything."""
    from pb_cli.runner import run_tasks

    def progress(step: "TrainingStep") -> None:
        for task in group:
            emit(Event("step", task.id, step))

    try:
        run_tasks(
            group,
            folder,
            device=options.device,
            save_model=options.save_model,
            bootstrap=options.bootstrap,
            progress=progress,
        )
    except Exception as error:  # noqa: BLE001 (the boundary of a task: recorded, counted, exit code 1)
        return error
    return None


def _in_processes(
    groups: Sequence[Sequence[Task]], folder: RunFolder, options: Options, emit: Callable[[Event], None]
) -> None:
    """Share the groups of tasks among processes."""
    context = multiprocessing.get_context("spawn")
    events: queue.Queue[Event] = context.Queue()  # type: ignore[assignment] # the same methods
    pool = ProcessPoolExecutor(options.jobs, context, initializer=_start_worker, initargs=(events,))
    try:
        futures = [pool.submit(_work, group, folder.path, options) for group in groups]
        _drain(events, futures, emit)
    except BaseException:
        _stop(pool)
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _drain(events: "queue.Queue[Event]", futures: "Sequence[Future[None]]", emit: Callable[[Event], None]) -> None:
    """Pass events on until every task is finished and the queue is empty."""
    while True:
        finished = all(future.done() for future in futures)
        try:
            emit(events.get(timeout=0.01 if finished else 0.2))
        except queue.Empty:
            if finished:
                break
    for future in futures:
        try:
            future.result()
        except BrokenProcessPool as error:
            msg = (
                "A worker process was killed from outside, most often for lack of memory. "
                "What is finished is kept; repeat the command with fewer --jobs."
            )
            raise WorkerLostError(msg) from error


_events: "queue.Queue[Event]"


def _start_worker(events: "queue.Queue[Event]") -> None:
    """Leave Ctrl-C to the parent, end when the parent ends however it ends, and remember where to report."""
    global _events
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _events = events


def _end_with_parent() -> None:
    """Wait for the parent's end, then end at once: a killed run leaves no process behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(group: Sequence[Task], path: Path, options: Options) -> None:
    """Run a group of tasks in a worker process."""
    _run(group, RunFolder(path), options, _events.put)


def _stop(pool: ProcessPoolExecutor) -> None:
    """End the workers at once; what they were writing is hidden and is removed at the next start."""
    processes = list((pool._processes or {}).values())  # noqa: SLF001 (no public way to stop before Python 3.14)
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()

"""Progress of a run: a live display on a terminal, one line per finished task elsewhere."""

import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from pb_cli.console import messages, shown
from pb_cli.execute import Event
from pb_cli.plan import Task
from pb_cli.schedule import Forecast

__all__ = ["Display"]


class Display:
    """Shows events; use as a context manager and pass `handle` to `execute`."""

    def __init__(self, tasks: Sequence[Task], *, quiet: bool = False) -> None:
        self.tasks = {task.id: task for task in tasks}
        self.failures: dict[str, str] = {}
        self.busy: dict[str, str] = {}
        self.paused: dict[str, int] = {}
        self.done: set[str] = set()
        self.quiet = quiet
        self.live = messages.is_terminal and not quiet
        self._started: dict[str, float] = {}
        self._forecast = Forecast()
        self._kinds = {task.label: task for task in tasks}
        self._waiting = Counter(task.label for task in tasks)
        self._rows: dict[str, TaskID] = {}
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}", markup=False),
            console=messages,
            transient=True,
            disable=not self.live,
        )
        self._shown = shown(self._progress)
        self._total = self._progress.add_task("tasks", total=len(tasks), left="")

    def __enter__(self) -> Self:
        self._shown.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shown.__exit__(kind, error, trace)

    def handle(self, event: Event) -> None:
        """Show one event."""
        task = self.tasks[event.task_id]
        if event.kind == "start":
            self._start(task)
        elif event.kind == "step":
            step = event.detail
            words = f"loss {step.loss:.4g}, {clock(step.seconds_left)} left"
            self._progress.update(self._rows[task.id], completed=step.epoch, total=step.n_epochs, left=words)
            if messages.level > 0 and not self.live:
                line = f"{describe(task)}: epoch {step.epoch} of {step.n_epochs}, {words}"
                messages.print(line, style="dim", soft_wrap=True)
        elif event.kind == "apart":
            words = f"The seeds of {describe(task)} cannot be trained together ({event.detail}); one by one now."
            messages.print(words, style="yellow", soft_wrap=True)
        else:
            self._finish(task, event)
        self._progress.update(self._total, left=self._left())

    def _start(self, task: Task) -> None:
        """Open a row for a task."""
        self._started[task.id] = time.monotonic()
        self._waiting[task.label] -= 1
        self._rows[task.id] = self._progress.add_task(describe(task), total=None, left="")

    def _finish(self, task: Task, event: Event) -> None:
        """Close the row of a task and remember how long it took."""
        seconds = time.monotonic() - self._started.pop(task.id)
        self._progress.remove_task(self._rows.pop(task.id))
        self._progress.advance(self._total)
        finished = len(self.tasks) - self._waiting.total() - len(self._started)
        if event.kind == "failed":
            self.failures[task.id] = str(event.detail)
            messages.print(f"failed {describe(task)} ({task.id}): {event.detail}", style="red", soft_wrap=True)
        elif event.kind == "busy":
            self.busy[task.id] = str(event.detail)
            messages.print(f"left out {describe(task)}: {event.detail}", style="yellow", soft_wrap=True)
        elif event.kind == "paused":
            self.paused[task.id] = int(event.detail)
            messages.print(f"paused {describe(task)} after epoch {event.detail}", style="yellow", soft_wrap=True)
        else:
            self.done.add(task.id)
            self._forecast.note(task, seconds)
            if not self.live and not self.quiet:
                line = f"{finished}/{len(self.tasks)} {describe(task)}: {clock(seconds)}. {self._left()}".rstrip()
                messages.print(line, soft_wrap=True)

    def _left(self) -> str:
        """Estimate the time left from what finished tasks have taken."""
        if not self._forecast.is_measured or not self._waiting.total():
            return ""
        kinds = ((self._kinds[label], number) for label, number in self._waiting.items())
        return f"about {clock(self._forecast.left(kinds, len(self._started)))} left"


def describe(task: Task) -> str:
    """Name a task for people."""
    profile = "" if task.profile == "default" else f" ({task.profile})"
    dose = "" if task.dose is None else f" at dose {task.dose:g}"
    return f"{task.model}{profile}, {task.held_out}{dose}, seed {task.seed}"


def clock(seconds: float) -> str:
    """Write a duration as people say it: `41 s`, `3 min 05 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"

"""Asking running tasks to pause: what trains keeps its state at its epoch's end, and nothing new begins.

SIGUSR1 asks, which Slurm sends some time before the time limit. SIGTERM asks, too; Slurm sends it when it takes a job
away, and kills half a minute later. What has not ended by then is ended here, so that there is time to say why.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

__all__ = ["PAUSE", "Pause", "StoppedError", "TaskPausedError", "stop_signals"]

PATIENCE = 20  # seconds between SIGTERM and the end


class StoppedError(BaseException):
    """The process was asked to end; no `except Exception` is to keep it from that."""


class TaskPausedError(RuntimeError):
    """A task has kept the state of its training, after `n_epochs` epochs, and ended."""

    def __init__(self, n_epochs: int) -> None:
        super().__init__(f"paused after epoch {n_epochs}")
        self.n_epochs = n_epochs


class Pause:
    """Whether this process was asked to pause, and the processes of its workers, which are asked with it.

    `warned`: it was asked by a warning, and not because it is being ended.
    """

    def __init__(self) -> None:
        self.asked = self.warned = False
        self._workers: set[int] = set()

    def ask(self) -> None:
        """Ask this process and its workers."""
        self.asked = True
        for pid in self._workers:
            _pass_on(pid)

    def add(self, pid: int) -> None:
        """Pass on to a worker what this process is asked."""
        self._workers.add(pid)
        if self.asked:
            _pass_on(pid)

    def remove(self, pid: int) -> None:
        """Pass nothing on any more: the worker has ended."""
        self._workers.discard(pid)


PAUSE = Pause()


@contextmanager
def stop_signals() -> Iterator[None]:
    """Take SIGUSR1 and SIGTERM as `PAUSE` has it inside the block; raise StoppedError where SIGTERM's time is up."""

    def warn(_number: int, _frame: FrameType | None) -> None:
        PAUSE.warned = True
        PAUSE.ask()

    def end(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Slurm sends it twice: for the step and for the job
        signal.alarm(PATIENCE)
        PAUSE.ask()

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise StoppedError

    PAUSE.asked = PAUSE.warned = False
    actions: dict[signal.Signals, Any] = {signal.SIGUSR1: warn, signal.SIGTERM: end, signal.SIGALRM: stop}
    before = {number: signal.signal(number, action) for number, action in actions.items()}
    try:
        yield
    finally:
        signal.alarm(0)
        for number, action in before.items():
            signal.signal(number, action)


def _pass_on(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGUSR1)

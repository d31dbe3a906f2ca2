"""Worker processes that run tasks, and a parent that outlives them to say how each ended."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from pb_cli.claims import Claims
from pb_cli.execute import Emit, Event, Options, run_group, take
from pb_cli.pausing import PAUSE
from pb_cli.plan import Task
from pb_cli.store import Failure, RunFolder

__all__ = ["run_in_workers"]

_GROUP_ENDED = None
_MEMORY_EVENTS = "memory.events"


def run_in_workers(
    groups: Iterable[Sequence[Task]], folder: RunFolder, options: Options, emit: Emit, claims: Claims
) -> None:
    """Share groups of tasks among processes; where one is killed, its tasks have failed and the others go on."""
    waiting = deque(groups)
    workers = [Worker(folder, options) for _ in range(min(options.jobs, len(waiting)))]
    try:
        while waiting or any(worker.tasks for worker in workers):
            if PAUSE.asked:
                waiting.clear()
            for worker in workers:
                while waiting and not worker.tasks:
                    worker.start(take(waiting.popleft(), folder, claims, emit))
            if busy := [worker for worker in workers if worker.tasks]:
                _listen(busy, folder, emit, claims)
    finally:
        for worker in workers:
            worker.stop()


def _listen(busy: Sequence["Worker"], folder: RunFolder, emit: Emit, claims: Claims) -> None:
    """Wait for news of the workers and pass it on."""
    by_end = {worker.connection: worker for worker in busy}
    for end in wait(list(by_end)):
        worker = by_end[end]  # type: ignore[index] # only connections were waited for
        ended, failure = worker.tasks, None
        if worker.hear(emit):
            continue
        for task in worker.unfinished:
            failure = failure or worker.failure()
            folder.discard(task)
            folder.write_failure(task, failure)
            emit(Event("failed", task.id, failure.message))
        worker.tasks = []
        for task in ended:
            claims.give_back(task.id)


class Worker:
    """One process, started with its first tasks and anew after it was killed."""

    def __init__(self, folder: RunFolder, options: Options) -> None:
        self.folder, self.options = folder, options
        self.tasks: Sequence[Task] = []
        self.unfinished: list[Task] = []
        self.process: Any = None
        self.connection: Connection
        self._kills_before = 0

    def start(self, tasks: Sequence[Task]) -> None:
        """Hand tasks over."""
        if not tasks:
            return
        if self.process is None or not self.process.is_alive():
            self._spawn()
        self.tasks, self.unfinished = tasks, list(tasks)
        self._kills_before = memory_kills()
        self.connection.send(tasks)

    def hear(self, emit: Emit) -> bool:
        """Pass one event on; False when the tasks are through, or the process has ended."""
        try:
            event = self.connection.recv()
        except (EOFError, OSError):
            return False
        if event is _GROUP_ENDED:
            return False
        if event.kind in ("done", "failed", "paused"):
            self.unfinished = [task for task in self.unfinished if task.id != event.task_id]
        emit(event)
        return True

    def failure(self) -> Failure:
        """Say how the process ended, and forget it."""
        self._end()
        code, self.process = self.process.exitcode, None
        self.connection.close()
        if memory_kills() > self._kills_before:
            return Failure("out of memory", "The kernel killed the task: it needed more memory than it was given.")
        if code == -signal.SIGKILL:
            return Failure("killed", "The task was killed from outside, most often for lack of memory.")
        how = f"by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"with exit code {code}"
        return Failure("killed", f"The process of the task ended {how}, without a word.")

    def stop(self) -> None:
        """End the process at once, and remove what it was writing."""
        if self.process is None:
            return
        if self.tasks:
            self.process.kill()
        self.connection.close()
        self._end()
        for task in self.unfinished:
            self.folder.discard(task)

    def _end(self) -> None:
        self.process.join()
        PAUSE.remove(self.process.pid)

    def _spawn(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, self.folder.path, self.options), daemon=True)
        with _warning_held():
            self.process.start()
        other.close()  # so that the end of the process is the end of the connection
        PAUSE.add(self.process.pid)


@contextmanager
def _warning_held() -> Iterator[None]:
    """Hold SIGUSR1 back inside the block, and in processes that begin there: it would kill them before they know it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection, path: Path, options: Options) -> None:
    """Run the tasks that come, until none will; signals, but the warning, are the parent's business."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, lambda _number, _frame: PAUSE.ask())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
    while True:
        try:
            tasks = connection.recv()
        except EOFError:
            return
        run_group(tasks, RunFolder(path), options, connection.send)
        connection.send(_GROUP_ENDED)


def _end_with_parent() -> None:
    """Wait for the parent's end, then end at once: a killed run leaves no process behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def memory_kills() -> int:
    """Count the processes that the kernel has killed in this control group for lack of memory; 0 where it keeps none.

    A job of Slurm has a control group of its own.
    """
    try:
        group = Path("/proc/self/cgroup").read_text().rpartition("0::")[2].splitlines()[0].lstrip("/")
        lines = (Path("/sys/fs/cgroup") / group / _MEMORY_EVENTS).read_text().splitlines()
    except (OSError, IndexError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)

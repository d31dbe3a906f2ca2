"""What lets a task's training pause and go on: where its state lies, and what its log says."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from pb_models import PausedError, Resumable, TrainingStep

from pb_cli.pausing import PAUSE, TaskPausedError
from pb_cli.plan import Task
from pb_cli.store import RunFolder

__all__ = ["logged", "resumed"]

Report = Callable[[TrainingStep], None]


@contextmanager
def resumed(task: Task, folder: RunFolder) -> Iterator[Resumable]:
    """Give what stops and continues the training of a task, or of a group that begins with it.

    Raises
    ------
    TaskPausedError
        Where the training stopped because this process was asked to pause.
    """
    try:
        yield Resumable(folder.training_state(task), lambda: PAUSE.asked)
    except PausedError as paused:
        raise TaskPausedError(paused.n_epochs) from None


def logged(
    logs: Sequence[TextIO], resumable: Resumable, line: Callable[[TrainingStep], str], progress: Report | None = None
) -> Report:
    """Return what writes the line of an epoch to logs, and at first where the training goes on, and passes it on."""
    is_new = True

    def report(step: TrainingStep) -> None:
        nonlocal is_new
        words = f"goes on after epoch {resumable.resumed_after}\n" if is_new and resumable.resumed_after else ""
        words, is_new = words + line(step), False
        for log in logs:
            log.write(words)
        if progress is not None:
            progress(step)

    return report

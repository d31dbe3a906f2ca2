"""What is recorded when a run is stopped before its tasks are finished, and going on with it in Slurm."""

from collections.abc import Sequence

from pb_cli.console import count
from pb_cli.display import Display
from pb_cli.pausing import PAUSE
from pb_cli.plan import Task
from pb_cli.slurm import SlurmError, requeue, why_stopped
from pb_cli.store import Failure, Reason, RunFolder

__all__ = ["note_stop", "unfinished"]


def unfinished(tasks: Sequence[Task], folder: RunFolder, display: Display) -> list[Task]:
    """List the tasks that have neither finished nor failed, and that nobody else works on."""
    ended = display.failures.keys() | display.busy.keys() | display.done
    return [task for task in tasks if task.id not in ended and not folder.is_done(task)]


def note_stop(tasks: Sequence[Task], folder: RunFolder, display: Display, *, in_array: bool = False) -> str:
    """Record why tasks were stopped, those that had not begun among them, and say it in a sentence.

    An array element that was warned goes back into the queue if it got on since it began: a training is some epochs
    further than when it was last stopped, or a task is done. So none is requeued for ever.
    """
    reason = why_stopped()
    got_on = bool(display.done)
    for task in tasks:
        epochs, before = display.paused.get(task.id, 0), _kept(task, folder)
        got_on |= epochs > before
        folder.write_failure(task, _failure(reason, epochs or before))
    number = f"{count(len(tasks), 'task')} not finished"
    if in_array and PAUSE.warned and got_on:
        try:
            requeue()
        except SlurmError as error:
            return f"Stopped ({reason}): {number}, and not requeued: {error} `pb resume` submits them again."
        return f"Stopped ({reason}): {number}; the job is back in the queue and goes on there."
    return f"Stopped ({reason}): {number}; `pb resume` submits them again, `pb run` goes on here."


def _kept(task: Task, folder: RunFolder) -> int:
    """How many epochs were kept of a task, or of the group that it is trained with, when it was last stopped."""
    return int(folder.failure_record(folder.failure(task)).get("epochs", 0))


def _failure(reason: Reason, epochs: int) -> Failure:
    if epochs:
        return Failure(reason, f"Its training will go on after epoch {epochs}.", epochs=epochs)
    return Failure(reason, f"Stopped by a signal before it was finished ({reason}).")

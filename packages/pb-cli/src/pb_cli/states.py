"""How a run stands: what the run folder says, then Slurm's queue, then its accounting database."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeGuard

from pb_cli.arrays import Array, read_arrays
from pb_cli.claims import is_busy, read_claims
from pb_cli.plan import Task
from pb_cli.schedule import Forecast, read_forecast
from pb_cli.slurm import ACTIVE, REASONS, WAITING, Element, SlurmError, accounted, noted, queued
from pb_cli.store import RunFolder

__all__ = ["STATES", "State", "Survey", "survey"]

STATES = ("done", "running", "pending", "failed", "missing")
_VAGUE = {"killed", "lost", "stopped"}
_BY_SIGNAL = {"cancelled", "node failure", "preempted", "stopped", "time limit"}


class State(NamedTuple):
    """How one task stands; a failed one has a reason in a word or two, and a sentence.

    `pending`: submitted and not begun, or to go on; it has a reason where its training was stopped. `missing`: neither
    done nor submitted.
    """

    state: Literal["done", "running", "pending", "failed", "missing"]
    reason: str = ""
    message: str = ""


class Survey:
    """How the tasks of a run stand."""

    def __init__(self, tasks: Sequence[Task], states: Mapping[str, State], folder: RunFolder, silence: str) -> None:
        self.tasks, self.states, self.folder = tasks, states, folder
        self.silence = silence

    @property
    def counts(self) -> dict[str, int]:
        """Count the tasks in each state."""
        found: Counter[str] = Counter(state.state for state in self.states.values())
        return {name: found[name] for name in STATES}

    def those(self, *states: str) -> list[Task]:
        """List the tasks in some states, in the order of the plan."""
        return [task for task in self.tasks if self.states[task.id].state in states]

    @cached_property
    def costs(self) -> dict[str, dict[str, Any]]:
        """What finished tasks have cost, by id; one that is half-written has no costs."""
        found = {}
        for task in self.those("done"):
            try:
                text = (self.folder.task(task) / "task.json").read_text(encoding="utf-8")
                found[task.id] = json.loads(text)["costs"]
            except (OSError, ValueError, KeyError):
                continue
        return found

    @cached_property
    def forecast(self) -> Forecast:
        """What finished tasks say of those to come."""
        return read_forecast(self.folder, self.those("done"))

    @property
    def seconds_left(self) -> float | None:
        """Estimate the time left, as many tasks at a time as run now; None where nothing is left or finished."""
        left = self.those("running", "pending", "missing")
        if not left or not self.forecast.is_measured:
            return None
        kinds = {task.label: task for task in left}
        numbers = Counter(task.label for task in left)
        return self.forecast.left(((kinds[label], n) for label, n in numbers.items()), self.counts["running"])


def survey(folder: RunFolder, tasks: Sequence[Task]) -> Survey:
    """Find out how the tasks of a run stand.

    Where Slurm does not answer, tasks that were submitted and have left no trace count as pending, and `silence` says
    so.
    """
    done, claims = folder.listed("tasks"), read_claims(folder)
    arrays = read_arrays(folder)
    places = {task_id: (element, array) for array in arrays for task_id, element in array.placed()}
    open_places = {task_id: place for task_id, place in places.items() if task_id not in done}
    slurm, silence = _ask({element.job for element, _ in open_places.values()}, arrays)
    failures = {name: folder.failure_record(path) for name, path in folder.listed("failed").items() if name not in done}
    known = _Known(folder, claims, failures, open_places, slurm, asked=not silence)
    states = {task.id: State("done") if task.id in done else known.state(task.id) for task in tasks}
    return Survey(tasks, states, folder, silence)


def _ask(names: Iterable[str], arrays: Iterable[Array]) -> tuple[dict[Element, str], str]:
    """Ask Slurm's queue for jobs by name, then the database for those that the queue has forgotten."""
    wanted = set(names)
    try:
        found = queued(sorted(wanted))
    except SlurmError as error:
        return {}, str(error)
    jobs = {
        chunk.job: chunk.job_name(array.name)
        for array in arrays
        for chunk in array.chunks
        if chunk.job and chunk.job_name(array.name) in wanted - {element.job for element in found}
    }
    return accounted(jobs) | found, ""


class _Known(NamedTuple):
    """What is known of tasks that are not done."""

    folder: RunFolder
    claims: Mapping[str, dict[str, Any]]
    failures: Mapping[str, dict[str, Any]]
    places: Mapping[str, tuple[Element, Array]]
    slurm: Mapping[Element, str]
    asked: bool

    def state(self, task_id: str) -> State:
        """Say how a task stands that is not done."""
        element, array = self.places.get(task_id, (None, None))
        now = self.slurm.get(element, "") if element else ""
        claim, failure = self.claims.get(task_id), self.failures.get(task_id)
        if claim and (is_busy(claim) or now in ACTIVE):
            return State("running")
        waiting = self._to_go_on(failure, element, array) if _is_paused(failure) else State("pending")
        if now in WAITING:
            return waiting
        if element and array and now in ACTIVE and len(array.elements[_number(element)]) == 1:
            return State("running")  # a failure would be that of the attempt before, which Slurm repeats
        if failure and now in ACTIVE and failure["reason"] in _BY_SIGNAL:
            return waiting
        if failure and (array is None or _is_of(failure, array)):
            return self._ended(failure["reason"], failure["message"], element, array)
        if now in ACTIVE:
            return State("pending")
        if element and now in REASONS:
            reason = "killed" if now == "FAILED" else REASONS[now]
            return self._ended(reason, f"Slurm says {now}; pb could write nothing more.", element, array)
        if claim:
            words = f"Process {claim['pid']} on {claim['host']} is gone without a word."
            return self._ended("lost", words, element, array)
        if element and not self.asked:
            return State("pending")
        if element:
            return self._ended("lost", "It has left Slurm's queue without a result.", element, array)
        return State("missing")

    def _to_go_on(self, failure: Mapping[str, Any], element: Element | None, array: Array | None) -> State:
        """Say why a task waits whose training was stopped, as the job's output has it where pb did not know."""
        reason = str(failure["reason"])
        if element and array and reason in _VAGUE:
            reason = noted(output_of(self.folder, array, element)) or reason
        return State("pending", reason, failure["message"])

    def _ended(self, reason: str, message: str, element: Element | None, array: Array | None) -> State:
        """Take the reason that was found, or what Slurm says where that says more."""
        if element is None or array is None or reason not in _VAGUE:
            return State("failed", reason, message)
        said = REASONS.get(self.slurm.get(element, ""), "error")
        output = output_of(self.folder, array, element)
        note = noted(output) if said == "error" else said
        return State("failed", note or reason, f"{message} Output: {output}")


def _is_paused(failure: Mapping[str, Any] | None) -> TypeGuard[Mapping[str, Any]]:
    """Whether a training was stopped that goes on when its task runs again."""
    return bool(failure and failure.get("epochs"))


def _is_of(failure: Mapping[str, Any], array: Array) -> bool:
    """Whether a failure is not of an attempt before an array: by the number of its job, else by its time."""
    jobs = {chunk.job for chunk in array.chunks}
    return failure.get("job") in jobs or bool(failure.get("time", 0) >= array.time)


def output_of(folder: RunFolder, array: Array, element: Element) -> Path:
    """Say where what an element printed lies."""
    offset = element.job.rpartition("-")[2]
    return folder.path / "arrays" / array.name / f"output-{offset}" / f"{element.position}.txt"


def _number(element: Element) -> int:
    """Give the number of an element in its array: its job's name ends in the offset."""
    return int(element.job.rpartition("-")[2]) + element.position

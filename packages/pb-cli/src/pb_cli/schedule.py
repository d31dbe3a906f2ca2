"""Which task comes first, which share an array element, and how long it all takes: by expected time.

What tasks of a model have taken in the same run is known best; before, what its settings say it trains.
"""

import heapq
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pb_cli.costs import task_seconds
from pb_cli.plan import Task

if TYPE_CHECKING:
    from pb_cli.store import RunFolder

__all__ = ["Forecast", "in_order", "pack", "read_forecast"]

_ENOUGH = 20  # finished tasks of a model that are looked at

Group = Sequence[Task]


class Forecast:
    """Expected seconds of tasks; without a finished task only their order means something."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, float]] = {}
        self._total = self._work = 0.0

    def note(self, task: Task, seconds: float) -> None:
        """Remember what a task has taken."""
        number, total = self._known.get(task.label, (0, 0.0))
        self._known[task.label] = number + 1, total + seconds
        self._total += seconds
        self._work += task.work

    @property
    def is_measured(self) -> bool:
        """Whether any task has finished."""
        return self._work > 0

    def seconds(self, task: Task) -> float:
        """Give the mean of finished tasks of the same model, else the task's work at the pace of all that finished."""
        if task.label in self._known:
            number, total = self._known[task.label]
            return total / number
        return task.work * (self._total / self._work if self._work else 1.0)

    def left(self, tasks: Iterable[tuple[Task, int]], at_a_time: int) -> float:
        """Estimate the time that tasks need, some at a time: their sum shared, but no less than the longest of them.

        Tasks come with how many there are of the kind.
        """
        each = [(self.seconds(task), number) for task, number in tasks if number]
        longest = max((seconds for seconds, _ in each), default=0.0)
        return max(longest, sum(seconds * number for seconds, number in each) / max(1, at_a_time))


def read_forecast(folder: "RunFolder", finished: Iterable[Task]) -> Forecast:
    """Learn from finished tasks of a run, a few of each model."""
    forecast = Forecast()
    looked: Counter[str] = Counter()
    for task in finished:
        if looked[task.label] < _ENOUGH:
            looked[task.label] += 1
            try:
                text = (folder.task(task) / "task.json").read_text(encoding="utf-8")
                forecast.note(task, task_seconds(json.loads(text)["costs"]))
            except (OSError, ValueError, KeyError):  # half-written: `pb collect` says so
                continue
    return forecast


def in_order(groups: Sequence[Group], forecast: Forecast, *, jobs: int) -> list[Group]:
    """Order groups of tasks for this machine: what trains nothing, then, for several processes, the longest first.

    Baselines are quick and show early whether data and settings are as they should be; the last tasks of several
    processes should be short ones. One process goes on in the order of the plan, where tasks of a unit are together.
    """
    quick = [group for group in groups if not _trains(group)]
    rest = [group for group in groups if _trains(group)]
    return quick + (sorted(rest, key=lambda group: -_seconds(group, forecast)) if jobs > 1 else rest)


def pack(groups: Sequence[Group], tasks_per_job: int, forecast: Forecast | None = None) -> list[list[Task]]:
    """Put groups of tasks into elements of at most `tasks_per_job` that take about the same time, longest first.

    Groups are placed longest first, each where least is, which never takes longer than 4/3 of the best packing where
    no element is full (Graham 1969, theorem 2). Tasks of a unit that train nothing stay together, for preparing the
    unit is most of their work; a group larger than `tasks_per_job` is an element of its own.
    """
    forecast = forecast or Forecast()
    order = {task.id: number for number, group in enumerate(groups) for task in group}
    items = sorted(_bundled(groups, tasks_per_job), key=lambda item: -_seconds(item, forecast))
    elements: list[list[Task]] = [[] for _ in range(math.ceil(len(order) / tasks_per_job))]
    loads = [0.0] * len(elements)
    with_room = {tasks_per_job: [(0.0, number) for number in range(len(elements))]}  # heaps, by places left
    for item in items:
        fitting = [room for room, heap in with_room.items() if heap and room >= len(item)]
        if fitting:
            room = min(fitting, key=lambda room: with_room[room][0])
            _, number = heapq.heappop(with_room[room])
        else:
            room, number = max(tasks_per_job, len(item)), len(elements)
            elements.append([])
            loads.append(0.0)
        elements[number] += item
        loads[number] += _seconds(item, forecast)
        heapq.heappush(with_room.setdefault(room - len(item), []), (loads[number], number))
    longest = sorted((number for number, element in enumerate(elements) if element), key=lambda n: -loads[n])
    return [sorted(elements[number], key=lambda task: order[task.id]) for number in longest]


def _bundled(groups: Iterable[Group], most: int) -> list[list[Task]]:
    """Put tasks of one unit that train nothing together, up to `most`; other groups stay as they are."""
    bundles: list[list[Task]] = []
    open_bundles: dict[str, list[Task]] = {}
    for group in groups:
        bundle = open_bundles.get(group[0].split_hash)
        if _trains(group):
            bundles.append(list(group))
        elif bundle is not None and len(bundle) + len(group) <= most:
            bundle += group
        else:
            open_bundles[group[0].split_hash] = list(group)
            bundles.append(open_bundles[group[0].split_hash])
    return bundles


def _trains(group: Group) -> bool:
    return any(task.steps for task in group)


def _seconds(group: Group, forecast: Forecast) -> float:
    return sum(map(forecast.seconds, group))

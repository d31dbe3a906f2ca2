"""What each model has cost, to be read beside its scores: time, memory, parameters, devices."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "COLUMNS",
    "KIND",
    "Cost",
    "cost_cells",
    "cost_heads",
    "cost_records",
    "read_costs",
    "summarise",
    "task_seconds",
]

COLUMNS = ("seconds", "peak_memory_bytes", "peak_gpu_memory_bytes", "n_parameters")
KIND = "times are medians over a model's tasks, memory is their largest peak"
_TIMES = ("fit_seconds", "predict_seconds", "cpu_seconds")
_READ = (*_TIMES, *COLUMNS[1:], "device_name")
_HEADS = ("time", "memory", "GPU\nmemory", "param-\neters")


class Cost(NamedTuple):
    """What the tasks of one model have cost; NaN where it is not known.

    Seconds (`seconds`: fit and prediction) are medians over tasks, those trained together sharing theirs; peaks of
    memory (bytes) and numbers of parameters are the largest.
    """

    n_tasks: int
    seconds: float
    peak_memory_bytes: float
    peak_gpu_memory_bytes: float
    n_parameters: float
    devices: tuple[str, ...]
    fit_seconds: float
    predict_seconds: float
    cpu_seconds: float


def task_seconds(costs: Mapping[str, Any]) -> float:
    """How long a task took; older runs know of fit and prediction only."""
    return float(costs.get("seconds", costs.get("fit_seconds", 0) + costs.get("predict_seconds", 0)))


def read_costs(table: Path) -> dict[tuple[str, str], Cost]:
    """Read the costs of each model and profile from a run's `tasks.csv`; nothing where there is none."""
    import pandas as pd

    return summarise(pd.read_csv(table)) if table.is_file() else {}


def summarise(tasks: "pd.DataFrame") -> dict[tuple[str, str], Cost]:
    """Sum up the costs of finished tasks by model and profile.

    >>> import pandas as pd
    >>> tasks = pd.DataFrame({"status": "done", "model": "scgen", "profile": "fixed", "fit_seconds": [3.0, 5.0],
    ...                       "predict_seconds": 1.0, "peak_memory_bytes": [2e9, 3e9], "n_parameters": 10})
    >>> summarise(tasks)["scgen", "fixed"][:3]
    (2, 5.0, 3000000000.0)
    """
    done = tasks.reindex(columns=["status", "model", "profile", *_READ]).query("status == 'done'")
    return {(str(m), str(p)): _cost(rows) for (m, p), rows in done.groupby(["model", "profile"], sort=False)}


def _cost(rows: "pd.DataFrame") -> Cost:
    fit, predict, processor = (rows[name].astype(float) for name in _TIMES)
    memory, gpu_memory, parameters = (float(rows[name].astype(float).max()) for name in COLUMNS[1:])
    devices = tuple(sorted(set(rows["device_name"].dropna().astype(str))))
    times = (float(each.dropna().median()) for each in (fit + predict.fillna(0), fit, predict, processor))
    seconds, *parts = times
    return Cost(len(rows), seconds, memory, gpu_memory, parameters, devices, *parts)


def cost_records(costs: Mapping[tuple[str, str], Cost]) -> list[dict[str, Any]]:
    """Lay costs out for machines, one record for each model and profile."""
    return [{"model": model, "profile": profile, **cost._asdict()} for (model, profile), cost in costs.items()]


def cost_heads(costs: Mapping[tuple[str, str], Cost]) -> list[str]:
    """Name the columns that are worth showing: those that some model has a value for."""
    return [head for head, name in zip(_HEADS, COLUMNS, strict=True) if _any(costs, name)]


def cost_cells(costs: Mapping[tuple[str, str], Cost], model: tuple[str, str]) -> list[str]:
    """Write the costs of one model under these heads; `-` where it has none."""
    writers = (_time, _size, _size, _count)
    shown = [(name, write) for name, write in zip(COLUMNS, writers, strict=True) if _any(costs, name)]
    cost = costs.get(model)
    return ["-" if cost is None or math.isnan(getattr(cost, n)) else write(getattr(cost, n)) for n, write in shown]


def _any(costs: Mapping[tuple[str, str], Cost], name: str) -> bool:
    return any(not math.isnan(getattr(cost, name)) for cost in costs.values())


def _time(seconds: float) -> str:
    """Write a duration in a few letters.

    >>> [_time(seconds) for seconds in (0.04, 12, 150, 9000)]
    ['0.0 s', '12.0 s', '2.5 min', '2.5 h']
    """
    unit, size = next((pair for pair in (("h", 3600), ("min", 60)) if seconds >= pair[1]), ("s", 1))
    return f"{seconds / size:.1f} {unit}"


def _size(n_bytes: float) -> str:
    """Write memory in GiB.

    >>> _size(3 * 2**29)
    '1.50 GiB'
    """
    return f"{n_bytes / 2**30:.2f} GiB"


def _count(number: float) -> str:
    """Write a large number in a few letters.

    >>> [_count(number) for number in (0, 7000, 5_230_000)]
    ['0', '7.0 k', '5.2 M']
    """
    unit, size = next((pair for pair in (("M", 1e6), ("k", 1e3)) if number >= pair[1]), ("", 1))
    return f"{number / size:.1f} {unit}" if unit else f"{number:.0f}"

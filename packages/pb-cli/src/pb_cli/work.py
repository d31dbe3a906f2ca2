"""How much work a task is, by what it declares: enough to order tasks before any has finished."""

from collections.abc import Mapping
from functools import cache
from typing import Any

__all__ = ["expected_work", "training_steps"]

CELLS = 10_000  # of a data set whose size is not looked at
STEPS = 200  # of scGen, that take about as long as the rest of a task: preparing, predicting, scoring


def training_steps(settings: Mapping[str, Any]) -> float:
    """Count the training steps that a model's settings allow on a data set of 10,000 cells; 0 where nothing is trained.

    >>> training_steps({"max_epochs": 100, "batch_size": 50, "max_steps": 2800})
    2800.0
    """
    epochs, batch = settings.get("max_epochs") or 0, settings.get("batch_size") or CELLS
    found = epochs * (settings.get("steps_per_epoch") or CELLS / batch)
    return float(min(found, settings.get("max_steps") or found))


def expected_work(model: str, steps: float) -> float:
    """Give the expected time of a task, roughly, in units of a baseline's task.

    With K steps of relative cost c (`pb_models.registry.ModelEntry.step_cost`) it is 1 + c K / 200. Cells and genes are
    those of the whole run and make no difference between its tasks.

    >>> expected_work("control", 0), expected_work("scgen", 2800)
    (1.0, 15.0)
    """
    return 1 + _step_cost(model) * steps / STEPS


@cache
def _step_cost(model: str) -> float:
    """How long a training step of a model takes, compared with scGen's; 1 for one that is not installed here."""
    from pb_models.registry import model_entries

    entry = model_entries().get(model)
    return 1.0 if entry is None else entry.step_cost

"""Which values of its own parameters a loss is tried with, and how it enters training."""

from collections.abc import Mapping
from typing import Any

from pb_cli.names import suggest

__all__ = ["baseline_names", "expand_losses", "parameter_settings", "suited_losses"]

BASELINES = {"regression": ("mean", "ridge", "boosting"), "classification": ("majority", "logistic", "boosting")}

PROTOCOL: dict[str, tuple[dict[str, Any], ...]] = {
    "far": tuple({"alpha": alpha} for alpha in (0.1, 1.0, 10.0)),
    "conr": tuple({"added_weight": weight} for weight in (0.2, 1.0, 4.0)),
    "ranksim": tuple({"interpolation": value, "added_weight": 100.0} for value in (0.5, 1.0, 2.0)),
    "gce": tuple({"q": q} for q in (0.05, 0.7, 0.95)),
    "apl": tuple({"alpha": alpha, "beta": round(10 - alpha, 1)} for alpha in (0.1, 5.0, 9.9)),
}
"""Grids of the papers' experiments where they are not the values of one parameter in the loss's own description.

`added_weight` multiplies a loss that is added to mean absolute error.
"""

LEFT_OUT = {"wmse": "it needs weights", "gar": "it is far by another name"}


def baseline_names(task: str) -> tuple[str, ...]:
    """Name the baselines of a task."""
    return BASELINES[task]


def suited_losses(task: str) -> list[str]:
    """Name the losses that `all` stands for: those of the task; losses on features predict numbers."""
    from pb_losses import loss_info, loss_names

    kinds = ("regression", "features") if task == "regression" else ("classification",)
    return [name for name in loss_names() if loss_info(name).kind in kinds and name not in LEFT_OUT]


def expand_losses(names: tuple[str, ...], task: str) -> list[str]:
    """Expand `all` and check names; `gar` is `far`.

    Raises
    ------
    ValueError
        For an unknown name, or a loss of the other task.
    """
    from pb_losses import loss_info, loss_names

    suited, found = suited_losses(task), []
    for name in names:
        if name not in ("all", "none", *loss_names()):
            msg = f"There is no loss {name!r}. {suggest(name, ['all', *suited])}"
            raise ValueError(msg)
        if name in ("all", "none"):
            found += suited if name == "all" else []
            continue
        if name == "wmse":
            msg = "Loss wmse needs weights, which the command line does not take; name another."
            raise ValueError(msg)
        if name not in suited and name != "gar" and loss_info(name).kind != "other":
            msg = f"Loss {name} is not for {task}. {suggest(name, suited)}"
            raise ValueError(msg)
        found.append("far" if name == "gar" else name)
    return list(dict.fromkeys(found))


def parameter_settings(loss: str, given: Mapping[str, Any], at_least: int) -> list[dict[str, Any]]:
    """List the settings of a loss's own parameters, repeated in turn until there are `at_least`.

    `given` holds values, or lists of values to try, by parameter; without it, the published grid. A repeated setting is
    trained from other initial weights: so every loss has the same number of trainings to choose from.

    >>> parameter_settings("mae", {}, 3), parameter_settings("huber", {"delta": [1, 2]}, 3)
    ([{}, {}, {}], [{'delta': 1}, {'delta': 2}, {'delta': 1}])
    """
    from itertools import product

    grid = {name: value if isinstance(value, list) else [value] for name, value in given.items()}
    if any(len(values) > 1 for values in grid.values()) or not (published := _published(loss)):
        settings = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    else:
        fixed = {name: values[0] for name, values in grid.items()}
        settings = list({repr(sorted((each | fixed).items())): each | fixed for each in published}.values())
    _check(loss, settings[0])
    return [settings[place % len(settings)] for place in range(max(at_least, len(settings)))]


def _published(loss: str) -> list[dict[str, Any]]:
    """Return the grid of a loss: the protocol's, else all values of the first parameter that has several."""
    from pb_losses import loss_info

    if loss in PROTOCOL:
        return [dict(each) for each in PROTOCOL[loss]]
    searched = [parameter for parameter in loss_info(loss).parameters if len(parameter.grid) > 1]
    return [{searched[0].name: value} for value in searched[0].grid] if searched else []


def _check(loss: str, settings: Mapping[str, Any]) -> None:
    """Refuse an unknown parameter before anything runs."""
    from pb_losses import get_loss, loss_info

    own = {name: value for name, value in settings.items() if name != "added_weight"}
    get_loss(loss, **own)
    if "added_weight" in settings and loss_info(loss).stage != "regulariser":
        msg = f"Loss {loss} is not added to another, so it has no added_weight; drop it."
        raise ValueError(msg)

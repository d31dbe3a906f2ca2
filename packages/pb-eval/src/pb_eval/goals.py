"""Which way each metric is better, and scores turned so that larger is better."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

__all__ = ["Goal", "goals_of", "merits"]


class Goal(NamedTuple):
    """Where a metric is best: `higher`, `lower`, or nearest to `perfect` (`target`)."""

    direction: Literal["higher", "lower", "target"]
    perfect: float = math.nan


def goals_of(scores: pd.DataFrame, goals: Mapping[str, Goal] | None = None) -> dict[str, Goal]:
    """Return the goal of each metric in a table: those given, else the registry's.

    Examples
    --------
    >>> import pandas as pd
    >>> goals_of(pd.DataFrame({"metric": ["mse_mean"]}))
    {'mse_mean': Goal(direction='lower', perfect=0.0)}
    """
    names = [str(name) for name in scores["metric"].unique()]
    if goals is not None:
        return {name: goals[name] for name in names}
    from pb_eval.registry import get_metric  # the registry is the caller's choice wherever goals are given

    return {name: Goal(get_metric(name).direction, get_metric(name).perfect) for name in names}


def merits(scores: pd.DataFrame, goals: Mapping[str, Goal], column: str = "value") -> pd.Series[Any]:
    """Turn scores so that larger is better: the value, minus the value, or minus its distance from the target.

    Parameters
    ----------
    scores
        Rows with `metric` and the column.
    goals
        By metric, at least those in the rows.
    column
        Which scores.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"metric": ["mse", "r2", "ratio"], "value": [0.25, 0.5, 1.5]})
    >>> merits(rows, {"mse": Goal("lower"), "r2": Goal("higher"), "ratio": Goal("target", 1.0)}).tolist()
    [-0.25, 0.5, -0.5]
    """
    direction = scores["metric"].map({name: goal.direction for name, goal in goals.items()})
    perfect = scores["metric"].map({name: goal.perfect for name, goal in goals.items()})
    distance = (scores[column] - perfect).abs()
    return scores[column].where(direction == "higher", -scores[column].where(direction == "lower", distance))

"""Floor and ceiling in result tables: the best simple baseline of each unit, and the scaled score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pb_eval.calibration import scaled
from pb_eval.goals import goals_of, merits
from pb_eval.standings import UNIT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pb_eval.goals import Goal

__all__ = ["with_floor", "with_scaled"]

_BY = [*UNIT, "split_hash", "metric", "metric_version"]


def with_floor(
    results: pd.DataFrame, baselines: pd.DataFrame, *, goals: Mapping[str, Goal] | None = None
) -> pd.DataFrame:
    """Give result rows their floor, the best score that a simple baseline has on the same unit, and the scaled score.

    A floor is never clipped and is its unit's own: one baseline may be best on one unit and another on the next. It is
    nan where no baseline has a score.

    Parameters
    ----------
    results
        Rows as `pb_eval.result_rows` makes them, with their ceiling where it is known.
    baselines
        Rows of simple baselines; they may be among the results.
    goals
        Direction and perfect value by metric; by default the registry's.

    Examples
    --------
    >>> results = pd.DataFrame({"model": ["control", "mean-shift", "scgen"], "value": [0.4, 0.2, 0.1]}).assign(
    ...     ceiling=0.0, dataset="pbmc", split="leave-context-out", context="B cells", perturbation="stimulated",
    ...     dose=np.nan, metric="mse_mean", metric_version=1, split_hash="")
    >>> with_floor(results, results[results["model"] != "scgen"])[["floor", "scaled"]].values.tolist()
    [[0.2, -1.0], [0.2, 0.0], [0.2, 0.5]]
    """
    units = pd.concat([results[_BY], baselines[_BY]], ignore_index=True).groupby(_BY, dropna=False).ngroup().to_numpy()
    own, others = units[: len(results)], units[len(results) :]
    ranked = baselines.assign(unit=others, merit=merits(baselines, goals_of(baselines, goals))).dropna(subset="merit")
    floors = ranked.sort_values("merit", kind="stable").groupby("unit")["value"].last()
    return with_scaled(results.assign(floor=floors.reindex(own).to_numpy(dtype=np.float64)), goals=goals)


def with_scaled(results: pd.DataFrame, *, goals: Mapping[str, Goal] | None = None) -> pd.DataFrame:
    """Give result rows their scaled score from value, floor and ceiling; nan where these leave it open.

    Examples
    --------
    >>> rows = pd.DataFrame({"metric": ["mse_mean"], "value": [0.1], "floor": [0.2], "ceiling": [0.0]})
    >>> with_scaled(rows)["scaled"].tolist()
    [0.5]
    """
    places = pd.Series(np.nan, index=results.index)
    known = goals_of(results, goals)
    for metric, rows in results.groupby("metric"):
        places[rows.index] = scaled(rows["value"], rows["floor"], rows["ceiling"], *known[str(metric)])
    return results.assign(scaled=places)

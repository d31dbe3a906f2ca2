"""What a metric can tell on some data: how far apart it holds simple baselines and a technical duplicate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pb_eval.calibration import DUPLICATE
from pb_eval.goals import goals_of, merits
from pb_eval.standings import UNIT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pb_eval.goals import Goal

__all__ = ["ENOUGH", "DynamicRange", "dynamic_range"]

ENOUGH = 0.75
"""Share of units in which the positive control has to win for a metric to tell it from the negative one."""


@dataclass(frozen=True, eq=False)
class DynamicRange:
    """Distance between negative and positive control, by unit and metric, and what follows for each metric.

    Attributes
    ----------
    units
        One row for each unit and metric: the unit's columns, `metric` and, as means over draws,

        - `negative`, `negative_name`: the best negative control, by the metric's direction, and which it is;
        - `positive`: the technical duplicate;
        - `range`: by how much the positive control is better, in units of the metric;
        - `fraction`: the same over what a perfect score is better by (the dynamic range fraction of Miller et al.
          2025): 1 where the duplicate is perfect, 0 where it is no better than the negative control, nan where there is
          no perfect score or the negative control has it;
        - `draws_won`: share of draws in which the positive control is better, ties counted half.
    metrics
        One row for each metric:

        - `n_units`: units where it is defined for both;
        - `negative`, `positive`, `range`, `fraction`, `draws_won`: medians over these;
        - `wins`: share of these in which the range is above 0, ties counted half (the bound discrimination score of
          Vollenweider and Bühlmann, as cited by Schäfer et al. 2026, scPertEval, where ties are lost);
        - `separates`: whether that is at least :data:`ENOUGH`.
    """

    units: pd.DataFrame
    metrics: pd.DataFrame


def dynamic_range(scores: pd.DataFrame, *, goals: Mapping[str, Goal] | None = None) -> DynamicRange:
    """Compare the negative controls with the technical duplicate, unit by unit, then metric by metric.

    Parameters
    ----------
    scores
        Rows of :func:`pb_eval.technical_duplicate` with the columns of the unit besides: `dataset`, `split`, `context`,
        `perturbation` and `dose`.
    goals
        Direction and perfect value by metric; by default the registry's.

    Raises
    ------
    ValueError
        Where there is no technical duplicate or nothing to hold against it.

    Examples
    --------
    >>> scores = pd.DataFrame({"control": ["no change", "technical duplicate"], "value": [0.5, 0.1], "draw": 0}).assign(
    ...     dataset="pbmc", split="leave-context-out", context="B cells", perturbation="stimulated", dose=np.nan,
    ...     metric="mse_mean")
    >>> dynamic_range(scores).metrics[["metric", "range", "fraction", "wins", "separates"]].values.tolist()
    [['mse_mean', 0.4, 0.8, 1.0, True]]
    """
    controls = set(scores["control"])
    if DUPLICATE not in controls or len(controls) < 2:
        msg = (
            f"scores hold the controls {sorted(controls)}: {DUPLICATE!r} and at least one negative control are needed."
        )
        raise ValueError(msg)
    units = _units(scores, goals_of(scores, goals))
    return DynamicRange(units, _summary(units))


def _units(scores: pd.DataFrame, goals: Mapping[str, Goal]) -> pd.DataFrame:
    """Compare the controls unit by unit and metric by metric."""
    by = [*UNIT, "metric"]
    rows = scores.assign(merit=merits(scores, goals), unit=scores.groupby(by, dropna=False, sort=False).ngroup())
    means = rows.groupby(["unit", "control"], as_index=False)[["value", "merit"]].mean()
    above = means[means["control"] == DUPLICATE].set_index("unit")
    below = (
        means[means["control"] != DUPLICATE].dropna(subset="merit").sort_values("merit", ascending=False, kind="stable")
    )
    below = below.groupby("unit").first().reindex(above.index)
    table = rows.drop_duplicates("unit").set_index("unit")[by]
    perfect = table["metric"].map({name: goal.perfect for name, goal in goals.items()})
    best = merits(table.assign(value=perfect), goals)
    gain, room = above["merit"] - below["merit"], best - below["merit"]
    table = table.assign(negative=below["value"], negative_name=below["control"].fillna(""), positive=above["value"])
    return table.assign(
        range=gain, fraction=gain / room.where(room > 0), draws_won=_draws_won(rows, below["control"])
    ).reset_index(drop=True)


def _draws_won(rows: pd.DataFrame, negative: pd.Series[Any]) -> pd.Series[Any]:
    """Share of the draws in which the duplicate is better than the negative control that stands for its unit."""
    draws = rows.set_index(["unit", "draw"])
    above = draws.loc[draws["control"] == DUPLICATE, "merit"]
    below = draws.loc[(rows["control"] == rows["unit"].map(negative)).to_numpy(), "merit"]
    return _won((above - below).dropna()).groupby("unit").mean()


def _won(gain: pd.Series[Any]) -> pd.Series[Any]:
    """1 where something was gained, a half for a tie, else 0."""
    return 0.5 * (gain > 0) + 0.5 * (gain >= 0)


def _summary(units: pd.DataFrame) -> pd.DataFrame:
    """Say of each metric what its units show, in the order in which they come."""
    shown = ["negative", "positive", "range", "fraction", "draws_won"]
    defined = units[units["range"].notna()]
    groups = defined.assign(wins=_won(defined["range"])).groupby("metric")
    table = groups[shown].median().assign(wins=groups["wins"].mean(), n_units=groups.size())
    table = table.reindex(pd.Index(units["metric"].unique(), name="metric"))
    table["n_units"] = table["n_units"].fillna(0).astype(np.int64)
    table["separates"] = table["wins"] >= ENOUGH
    return table.reset_index()[["metric", "n_units", *shown, "wins", "separates"]]

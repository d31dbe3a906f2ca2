"""What changed between two runs: the same models on the same held-out units, tested in pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from pb_eval.comparison import TESTS, differences
from pb_eval.paired import paired_t_test
from pb_eval.standings import ROW, UNIT, comparable, mean_scores, plain
from pb_eval.statistics import holm, shift_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pb_eval.goals import Goal

__all__ = ["Changes", "changes"]

_TESTS = TESTS | {"paired-t": lambda d: paired_t_test(d, np.zeros_like(d))}
_COLUMNS = ["metric", *ROW, "n_units", "before", "after", "gain", "low", "high", "wins", "losses", "ties"]
_COLUMNS += ["pvalue", "adjusted", "differ"]


@dataclass(frozen=True, eq=False)
class Changes:
    """Scores of the same models in two runs.

    Attributes
    ----------
    table
        One row for each metric and model of both runs, over the `n_units` that both have: means `before` and `after`,
        `gain` (mean merit after less before; positive: better), the 95 % interval of its centre `low` to `high`, over
        units `wins`, `losses` and `ties` of the later run, `pvalue`, `adjusted` (Holm, over the models of the metric)
        and `differ`.
    skipped
        By metric, why it was not compared.
    only_before, only_after
        Number of (metric, model, condition) that one run has and the other has not.
    test, level
        What was asked for.
    """

    table: pd.DataFrame
    skipped: Mapping[str, str]
    only_before: int
    only_after: int
    test: str
    level: float

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain lists and dictionaries for JSON; NaN and infinity become None."""
        rows = [{str(k): plain(v) for k, v in row.items()} for row in self.table.to_dict(orient="records")]
        counts = {"only_before": self.only_before, "only_after": self.only_after}
        return {"rows": rows, "skipped": dict(self.skipped), **counts, "test": self.test, "level": self.level}


def changes(
    before: pd.DataFrame,
    after: pd.DataFrame,
    metrics: Sequence[str] | None = None,
    *,
    goals: Mapping[str, Goal] | None = None,
    by: Literal["split", "context"] = "split",
    test: Literal["wilcoxon", "sign-flip", "paired-t"] = "wilcoxon",
    level: float = 0.05,
) -> Changes:
    """Test for each metric and model whether its scores differ between two runs.

    Scores are averaged over seeds, then over the conditions that one split of the earlier run holds out together, and
    paired by these split units, as :func:`pb_eval.compare` does between models. Conditions on which the metric is
    undefined for every model in both runs are left out; a model with another undefined score has no mean and no test.

    Parameters
    ----------
    before, after
        Rows as `pb_eval.result_rows` makes them, of one split each.
    metrics
        Which, in order; all that both have by default.
    goals
        Direction and target by metric; by default the registry's.
    by
        `split`: what one split holds out is a unit; `context`: each context is, as folds of the supervised arm are.
    test
        Exact: `wilcoxon` or `sign-flip`; `paired-t` for folds, of which there are too few for those.
    level
        Chance of calling any change of a metric significant where there is none.

    Raises
    ------
    ValueError
        As :func:`pb_eval.leaderboard`, and for an unknown test.

    Examples
    --------
    >>> rows = [(f"context {i}", 0.5 + 0.01 * i) for i in range(7)]
    >>> earlier = pd.DataFrame(rows, columns=["context", "value"]).assign(
    ...     dataset="pbmc", split="leave-context-out", perturbation="stimulated", dose=np.nan, model="scgen",
    ...     profile="default", seed=1, metric="r2_mean_all", metric_version=1, split_hash="")
    >>> later = earlier.assign(value=earlier["value"] + 0.1)
    >>> changes(earlier, later).table[["model", "gain", "wins", "differ"]].round(3).values.tolist()
    [['scgen', 0.1, 7, True]]
    """
    if test not in _TESTS:
        msg = f"unknown test {test!r}: choose {', '.join(_TESTS)}."
        raise ValueError(msg)
    names, skipped = _shared(before, after, metrics)
    if not names:
        return Changes(pd.DataFrame(columns=_COLUMNS), skipped, 0, 0, test, level)
    scores = [comparable(table, names, goals)[0] for table in (before, after)]
    pairs, only = _paired(scores, by)
    groups = pairs.groupby(["metric", *ROW], sort=False)
    table = pd.DataFrame([_tested(key, part, test) for key, part in groups], columns=_COLUMNS)
    for metric in names:
        own = table["metric"] == metric
        table.loc[own, "adjusted"] = holm(table.loc[own, "pvalue"].to_numpy(dtype=np.float64))
    table["differ"] = table["adjusted"] <= level
    order = table["metric"].map({name: place for place, name in enumerate(names)})
    table = table.iloc[np.lexsort((table["model"], order))].reset_index(drop=True)
    return Changes(table, skipped, *only, test, level)


def _shared(
    before: pd.DataFrame, after: pd.DataFrame, metrics: Sequence[str] | None
) -> tuple[list[str], dict[str, str]]:
    """Name the metrics that can be compared, and say why others cannot."""
    versions = [table.groupby("metric", sort=False)["metric_version"].max() for table in (before, after)]
    asked = list(metrics) if metrics is not None else list(dict.fromkeys([*versions[0].index, *versions[1].index]))
    skipped = {}
    for name in asked:
        if absent := [run for run, found in zip(("earlier", "later"), versions, strict=True) if name not in found]:
            skipped[name] = f"the {' and the '.join(absent)} run has no score of it"
        elif versions[0][name] != versions[1][name]:
            skipped[name] = f"version {versions[0][name]} before, {versions[1][name]} after"
    return [name for name in asked if name not in skipped], skipped


def _paired(scores: list[pd.DataFrame], by: str) -> tuple[pd.DataFrame, tuple[int, int]]:
    """Join the means of both runs by split unit; and count what only one of them has."""
    both = pd.concat([table.assign(run=run) for run, table in enumerate(scores)], ignore_index=True)
    both["unit"] = both.groupby(UNIT, dropna=False).ngroup()
    both = both[both.groupby(["metric", "unit"])["value"].transform("count") > 0]  # defined for some model
    columns = ["metric", *ROW, "unit"]
    earlier, later = (mean_scores(both[both["run"] == run], columns) for run in (0, 1))
    joined = earlier.join(later, how="inner", lsuffix="_before", rsuffix="_after").reset_index()
    first = both.drop_duplicates("unit").set_index("unit")
    held_out = first["context"] if by == "context" else first["split_hash"]
    held_out = held_out.where(held_out != "", "unit " + held_out.index.astype(str))
    joined["held_out"] = joined["unit"].map(held_out)
    values = ["value_before", "value_after", "merit_before", "merit_after"]
    pairs = mean_scores(joined, ["metric", *ROW, "held_out"], values).reset_index()
    return pairs, (len(earlier) - len(joined), len(later) - len(joined))


def _tested(key: Any, part: pd.DataFrame, test: str) -> tuple[Any, ...]:
    """Compare one model by one metric."""
    after, before = part["merit_after"].to_numpy(), part["merit_before"].to_numpy()
    means = part["value_before"].mean(skipna=False), part["value_after"].mean(skipna=False)
    if not np.isfinite(after - before).all():
        return *key, len(part), *means, *[math.nan] * 3, 0, 0, 0, math.nan, math.nan, False
    d = differences(after, before)
    bounds = shift_interval(d) if d.any() else (math.nan, math.nan)
    counts = int((d > 0).sum()), int((d < 0).sum()), int((d == 0).sum())
    return *key, len(d), *means, float(d.mean()), *bounds, *counts, _TESTS[test](d), math.nan, False

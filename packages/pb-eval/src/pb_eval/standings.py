"""The leaderboard: every model's mean score over the held-out units, on equal terms, beside the best baseline.

The module is not called `leaderboard` because `pb_eval.leaderboard` is the function.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pb_eval.goals import Goal, goals_of, merits

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

__all__ = ["UNIT", "Goal", "Leaderboard", "leaderboard"]

UNIT = ["dataset", "split", "context", "perturbation", "dose"]
ROW = ["model", "profile"]
_SHOWN = ["is_baseline", "mean", "spread", "merit", "gain", "scaled", "best"]
_SHOWN += ["n_units", "n_seeds", "n_nan", "n_missing"]
_NEEDED = [*UNIT, *ROW, "seed", "metric", "metric_version", "value", "split_hash"]


@dataclass(frozen=True, eq=False)
class Leaderboard:
    """Scores of models on the units that all of them were scored on.

    Attributes
    ----------
    table
        One row for each (model, profile, metric), best model first, with the columns

        - `is_baseline`;
        - `mean`: over units of the mean over seeds; NaN where the model has a NaN in any unit (see `n_nan`);
        - `spread`: standard deviation (n - 1) over seeds of that seed's mean over units; NaN below two seeds;
        - `merit`: what is compared, larger is better: the mean, minus the mean, or minus the mean distance to the
          metric's target over units and seeds (so that 0.5 and 1.5 do not average to a perfect 1);
        - `gain`: merit above the best baseline's, positive = better than every baseline;
        - `scaled`: place of the merit between the mean floor (0) and the mean ceiling (1) of the units, never clipped;
        - `best`: True for the largest merit (ties are all marked);
        - `n_units`, `n_seeds` (those that cover every unit), `n_nan` (undefined values among those averaged) and
          `n_missing` (seeds x units without a value, for example failed tasks).
    goals
        Direction and target by metric; its order is the order of the metrics.
    best_baseline
        (model, profile) by metric, None where no baseline has a mean.
    ceilings
        Mean over units of what a replicate of the measurement scores, by metric; NaN where the results do not say.
    dropped
        Units left out so that all models are compared on the same ones, with `metric`, the unit's columns and `reason`.
    """

    table: pd.DataFrame
    goals: Mapping[str, Goal]
    best_baseline: Mapping[str, tuple[str, str] | None]
    ceilings: Mapping[str, float]
    dropped: pd.DataFrame

    def wide(self, column: str) -> pd.DataFrame:
        """Return one column of `table` as models x metrics, best model first."""
        rows = pd.MultiIndex.from_frame(self.table[ROW].drop_duplicates())
        wide = self.table.set_index([*ROW, "metric"])[column].unstack("metric")  # noqa: PD010 - nothing to aggregate
        return wide.reindex(index=rows, columns=pd.Index(list(self.goals), name="metric"))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain lists and dictionaries for JSON; NaN and infinity become None."""
        metrics = [
            {
                "metric": name,
                "best_baseline": self.best_baseline[name],
                "ceiling": self.ceilings[name],
                **goal._asdict(),
            }
            for name, goal in self.goals.items()
        ]
        found: dict[str, list[dict[Any, Any]]] = {
            "metrics": metrics,
            "rows": self.table.to_dict(orient="records"),
            "dropped": self.dropped.to_dict(orient="records"),
        }
        return {
            part: [{str(name): plain(value) for name, value in record.items()} for record in records]
            for part, records in found.items()
        }


def leaderboard(
    results: pd.DataFrame,
    baselines: Collection[str],
    metrics: Sequence[str] | None = None,
    *,
    goals: Mapping[str, Goal] | None = None,
) -> Leaderboard:
    r"""Average tidy result rows into one line a model, compared on the units that every model has.

    For model :math:`m` on the common units :math:`U` with seeds :math:`S_u`:
    :math:`\bar v_m = \frac{1}{|U|}\sum_{u \in U} \frac{1}{|S_u|}\sum_{s \in S_u} v_{m,u,s}`.

    A unit is a (dataset, split, context, perturbation, dose). For each metric, units that some model lacks, and units
    where the metric is undefined (NaN) for every model, are dropped for all and named in `dropped`; a NaN of one model
    alone makes that model's mean NaN, because leaving the unit out for it alone would flatter it. A model that has no
    value of a metric at all takes no part in that metric. Where models share no unit, all means are NaN and `dropped`
    says why: the results of an interrupted run can always be shown.

    Parameters
    ----------
    results
        Rows as `pb_eval.result_rows` makes them.
    baselines
        Names of the models to beat.
    metrics
        Which, in order; the first ranks the models. By default all in `results`, in the registry's order.
    goals
        Direction and target by metric; by default the registry's.

    Raises
    ------
    ValueError
        For no rows, unknown metrics, the same score twice, several splits, several versions of one metric, one seed's
        models scored on different manifests of a unit.

    Examples
    --------
    >>> rows = [("B cells", "control", 0.7), ("B cells", "scgen", 0.9), ("NK cells", "control", 0.5),
    ...         ("NK cells", "scgen", 0.8)]
    >>> results = pd.DataFrame(rows, columns=["context", "model", "value"]).assign(
    ...     dataset="pbmc", split="leave-context-out", perturbation="stimulated", dose=np.nan, profile="default",
    ...     seed=1, metric="r2_mean_all", metric_version=1, split_hash="")
    >>> leaderboard(results, baselines=["control"]).table[["model", "mean", "gain", "best"]].round(3).values.tolist()
    [['scgen', 0.85, 0.25, True], ['control', 0.6, 0.0, False]]
    """
    scores, goals = comparable(results, metrics, goals)
    kept, dropped = common_units(scores)
    rows = pd.MultiIndex.from_frame(scores[ROW].drop_duplicates().sort_values(ROW))
    table, best_baseline = _compare(averages(kept), rows, list(goals), baselines)
    ceilings = mean_scores(mean_scores(kept, ["metric", "unit"], ["ceiling"]), ["metric"], ["ceiling"])["ceiling"]
    return Leaderboard(table, goals, best_baseline, {name: ceilings.get(name, np.nan) for name in goals}, dropped)


def comparable(
    results: pd.DataFrame, metrics: Sequence[str] | None, goals: Mapping[str, Goal] | None
) -> tuple[pd.DataFrame, dict[str, Goal]]:
    """Check that scores can be compared, and number their units and turn them so that larger is better."""
    names = _metric_order(results, metrics)
    scores = results[results["metric"].isin(names)].reset_index(drop=True)
    scores = scores.reindex(columns=[*_NEEDED, "floor", "ceiling"])  # older results have neither
    known = goals_of(scores, goals)
    chosen = {name: known[name] for name in names}
    _check_comparable(scores)
    scores["unit"] = scores.groupby(UNIT, dropna=False).ngroup()
    scores["merit"], scores["floor_merit"], scores["ceiling_merit"] = (
        merits(scores, chosen, name) for name in ("value", "floor", "ceiling")
    )
    return scores, chosen


def _metric_order(results: pd.DataFrame, metrics: Sequence[str] | None) -> list[str]:
    missing = [name for name in _NEEDED if name not in results.columns]
    if missing or results.empty:
        msg = f"there is nothing to rank: results has {len(results)} rows and lacks the columns {missing}"
        raise ValueError(msg)
    present = list(dict.fromkeys(results["metric"]))
    if metrics is None:
        from pb_eval.registry import DEFAULT_METRICS  # the registry is the caller's choice wherever goals are given

        known = {name: place for place, name in enumerate(DEFAULT_METRICS)}
        return sorted(present, key=lambda name: (known.get(name, len(known)), name))
    for name in metrics:
        if name not in present:
            near = difflib.get_close_matches(name, present, n=1) or sorted(present)
            msg = f"the results hold no metric {name!r}: did you mean {' or '.join(near)}?"
            raise ValueError(msg)
    if not metrics:
        msg = "metrics is empty: name at least one, the first ranks the models"
        raise ValueError(msg)
    return list(dict.fromkeys(metrics))


def _check_comparable(scores: pd.DataFrame) -> None:
    splits = sorted(scores["split"].unique())
    if len(splits) > 1:
        msg = f"results of the splits {', '.join(splits)} support different claims: make one leaderboard for each"
        raise ValueError(msg)
    versions = scores.groupby("metric")["metric_version"].nunique()
    if (versions > 1).any():
        msg = f"{versions.idxmax()} was scored in {versions.max()} versions: score every prediction with one version"
        raise ValueError(msg)
    twice = scores.duplicated([*UNIT, *ROW, "seed", "metric"])
    if twice.any():
        first = ", ".join(map(str, scores.loc[twice, [*ROW, "seed", "metric", "context"]].iloc[0]))
        msg = (
            f"{int(twice.sum())} scores occur twice (first {first}): keep one, or give the variants different profiles"
        )
        raise ValueError(msg)
    hashed = scores[scores["split_hash"] != ""]
    hashes = hashed.groupby([*UNIT, "seed"], dropna=False)["split_hash"].nunique()
    if (hashes > 1).any():
        context, seed = hashes[hashes > 1].reset_index().loc[0, ["context", "seed"]]
        msg = f"{context!r}, seed {seed}, was split in {hashes.max()} ways: compare models on one manifest"
        raise ValueError(msg)


def common_units(scores: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Part the scores of units that count from the units that some model lacks or where nothing is defined."""
    present = pd.crosstab([scores["metric"], scores["unit"]], [scores[name] for name in ROW]) > 0
    takes_part = present.groupby("metric").transform("any")
    lacking = takes_part & ~present
    undefined = scores.groupby(["metric", "unit"])["value"].count() == 0
    reason = pd.Series("", index=present.index).mask(undefined, "undefined for every model")
    reason = reason.mask(lacking.any(axis=1), lacking.apply(_absent, axis=1))
    kept = scores.join((reason == "").rename("counts"), on=["metric", "unit"])
    units = scores.drop_duplicates(["metric", "unit"]).join(reason.rename("reason"), on=["metric", "unit"])
    dropped = units.loc[units["reason"] != "", ["metric", *UNIT, "reason"]]
    return kept[kept["counts"]], dropped.sort_values(["metric", *UNIT], ignore_index=True)


def _absent(lacking: pd.Series[bool]) -> str:
    return "no score of " + ", ".join(sorted(":".join(row) for row in lacking.index[lacking]))


def averages(kept: pd.DataFrame) -> pd.DataFrame:
    """Average over seeds, then over units; and the spread over seeds of their means over units."""
    by = ["metric", *ROW]
    of_unit = mean_scores(kept, [*by, "unit"])
    of_seed = mean_scores(kept, [*by, "seed"])["value"]
    table = mean_scores(of_unit, by).rename(columns={"value": "mean"})
    n_units = of_unit.groupby(by).size()
    wanted = kept.groupby(by)["unit"].transform("nunique")
    per_seed = kept.assign(wanted=wanted).groupby([*by, "seed"])["wanted"]
    whole = per_seed.size() == per_seed.first()  # seeds that cover every unit
    seeds = of_seed[whole].groupby(by)
    spread = seeds.std(ddof=1).where(seeds.count() == seeds.size())
    groups = kept.groupby(by)
    n_expected = n_units * groups["seed"].nunique()
    return table.assign(
        spread=spread,
        scaled=_places(kept, by),
        n_units=n_units,
        n_seeds=whole.groupby(by).sum(),
        n_nan=groups.size() - groups["value"].count(),
        n_missing=n_expected - groups.size(),
    )


def _places(kept: pd.DataFrame, by: list[str]) -> pd.Series[Any]:
    """Place the mean merit between the mean floor and the mean ceiling of the units that have both."""
    columns = ["merit", "floor_merit", "ceiling_merit"]
    means = mean_scores(mean_scores(kept.dropna(subset=columns[1:]), [*by, "unit"], columns), by, columns)
    room = means["ceiling_merit"] - means["floor_merit"]
    return (means["merit"] - means["floor_merit"]) / room.where(room > 0)


def mean_scores(scores: pd.DataFrame, by: list[str], columns: Sequence[str] = ("value", "merit")) -> pd.DataFrame:
    """Average columns; a NaN among the values of one makes its mean NaN."""
    groups = scores.groupby(by)[list(columns)]
    return groups.mean().where(groups.count().eq(groups.size(), axis=0))


def _compare(
    averages: pd.DataFrame, rows: pd.MultiIndex, names: list[str], baselines: Collection[str]
) -> tuple[pd.DataFrame, dict[str, tuple[str, str] | None]]:
    """Return the full models x metrics table in ranking order, and the best baseline of each metric."""
    merit = averages["merit"].unstack("metric")  # noqa: PD010 - nothing to aggregate
    merit = merit.reindex(index=rows, columns=names)  # models x metrics
    merit = merit.sort_values(names[0], ascending=False, kind="stable")
    is_baseline = merit.index.get_level_values("model").isin(list(baselines))
    floor = merit[is_baseline].max()
    best_baseline = {name: _first_best(merit.loc[is_baseline, name]) for name in names}
    with np.errstate(invalid="ignore"):
        gain = merit - floor
    cells = pd.MultiIndex.from_tuples([(*row, name) for row in merit.index for name in names], names=[*ROW, "metric"])
    table = averages.reorder_levels([*ROW, "metric"]).reindex(cells)
    counts = [name for name in table.columns if name.startswith("n_")]
    table[counts] = table[counts].fillna(0).astype(np.int64)
    table["is_baseline"] = cells.get_level_values("model").isin(list(baselines))
    table["gain"], table["best"] = gain.to_numpy().ravel(), merit.eq(merit.max()).to_numpy().ravel()
    return table.reset_index()[[*ROW, "metric", *_SHOWN]], best_baseline


def _first_best(merit: pd.Series[float]) -> tuple[str, str] | None:
    if merit.isna().all():
        return None
    model, profile = merit.index[int(merit.argmax())]
    return model, profile


def plain(value: object) -> object:
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value

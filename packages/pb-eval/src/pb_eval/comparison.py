"""Which models differ: paired tests over split units, a ranking whose ties are ties, and what could not be shown."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from string import ascii_letters
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from pb_eval.standings import ROW, averages, common_units, comparable, mean_scores, plain
from pb_eval.statistics import friedman, holm, shift_interval, sign_flip, signed_rank, tied_runs
from pb_eval.verdicts import Verdict, verdict_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from pb_eval.goals import Goal

__all__ = ["TESTS", "Comparison", "Verdict", "compare", "differences"]

TESTS: dict[str, Callable[[NDArray[np.float64]], float]] = {"wilcoxon": signed_rank, "sign-flip": sign_flip}

_ROUNDING = 1e-12  # relative size of a difference of merits that is none


@dataclass(frozen=True, eq=False)
class Comparison:
    """Paired tests of all pairs of models for each metric.

    Attributes
    ----------
    models
        One row for each (metric, model), best mean rank first, with the columns

        - `rank`: 1 + the number of models that are significantly better; models that tie share it;
        - `groups`: letters; models that share one do not differ (the bars of a critical-difference diagram);
        - `mean_rank`: over units of the rank among the models;
        - `mean`: over units of the mean over seeds;
        - `spread_units`: standard deviation (n - 1) over units of the means over seeds;
        - `spread_seeds`: standard deviation (n - 1) over seeds of the means over units;
        - `gain`, `gain_low`, `gain_high`: mean difference to the best baseline over units (positive: better), and the
          95 % interval of its centre that Wilcoxon's test does not reject, without correction for many pairs.

        A model with an undefined score (NaN) in some unit takes no part, and has NaN and no letter.
    pairs
        One row for each metric and pair, with `difference` (mean merit of the first less that of the second), `wins`,
        `losses` and `ties` of the first over units, `pvalue`, `adjusted` (Holm, over all pairs of the metric) and
        `differ`.
    verdicts
        By metric.
    test, level
        What was asked for.
    """

    models: pd.DataFrame
    pairs: pd.DataFrame
    verdicts: Mapping[str, Verdict]
    test: str
    level: float

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain lists and dictionaries for JSON; NaN and infinity become None."""
        verdicts = [{"metric": name, **verdict._asdict()} for name, verdict in self.verdicts.items()]
        tables: dict[str, list[dict[Any, Any]]] = {
            "metrics": verdicts,
            "models": self.models.to_dict(orient="records"),
            "pairs": self.pairs.to_dict(orient="records"),
        }
        found: dict[str, Any] = {
            part: [{str(name): plain(value) for name, value in record.items()} for record in records]
            for part, records in tables.items()
        }
        return found | {"test": self.test, "level": self.level}


def compare(
    results: pd.DataFrame,
    baselines: Collection[str],
    metrics: Sequence[str] | None = None,
    *,
    goals: Mapping[str, Goal] | None = None,
    test: Literal["wilcoxon", "sign-flip"] = "wilcoxon",
    level: float = 0.05,
) -> Comparison:
    """Test all pairs of models over split units, for each metric.

    Scores are averaged over seeds first, then over the conditions (perturbations, doses) that one split holds out
    together: what is held out once counts once, or the tests would take doses of one context for evidence from several.
    Merits are paired by these units. Pairs are tested against each other and not by their mean ranks (Nemenyi), which
    for two models would depend on which others are in the table (Benavoli, Corani and Mangili, 2016).

    Parameters
    ----------
    results
        Rows as `pb_eval.result_rows` makes them; units that some model lacks are left out for all, as in `leaderboard`.
    baselines
        Names of the models to beat.
    metrics
        Which, in order; all by default.
    goals
        Direction and target by metric; by default the registry's.
    test
        `wilcoxon` (ranks of the differences) or `sign-flip` (their mean).
    level
        Chance of calling any of a metric's differences significant where there is none.

    Raises
    ------
    ValueError
        As `leaderboard`, and for an unknown test.

    Examples
    --------
    >>> rows = [(f"context {i}", model, score + 0.01 * i) for i in range(7) for model, score in
    ...         (("control", 0.5), ("scgen", 0.7))]
    >>> results = pd.DataFrame(rows, columns=["context", "model", "value"]).assign(
    ...     dataset="pbmc", split="leave-context-out", perturbation="stimulated", dose=np.nan, profile="default",
    ...     seed=1, metric="r2_mean_all", metric_version=1, split_hash="")
    >>> found = compare(results, ["control"])
    >>> found.models[["model", "rank", "groups"]].values.tolist()
    [['scgen', 1.0, 'a'], ['control', 2.0, 'b']]
    >>> found.verdicts["r2_mean_all"].words
    '1 of 1 pair differs significantly.'
    """
    if test not in TESTS:
        msg = f"unknown test {test!r}: choose {' or '.join(TESTS)}."
        raise ValueError(msg)
    scores, goals = comparable(results, metrics, goals)
    kept, _ = common_units(scores)
    found = {
        name: _of_metric(kept[kept["metric"] == name], baselines, test, level)
        for name in goals
        if (kept["metric"] == name).any()
    }
    models = _joined({name: parts.models for name, parts in found.items()})
    pairs = _joined({name: parts.pairs for name, parts in found.items()})
    return Comparison(models, pairs, {name: parts.verdict for name, parts in found.items()}, test, level)


class _Compared(NamedTuple):
    """What the comparison by one metric found."""

    models: pd.DataFrame
    pairs: pd.DataFrame
    verdict: Verdict


def _of_metric(kept: pd.DataFrame, baselines: Collection[str], test: str, level: float) -> _Compared:
    """Compare all models by one metric."""
    merit, value = _by_unit(kept, "merit"), _by_unit(kept, "value")  # models x split units
    defined = merit.notna().all(axis=1).to_numpy()
    ranks = friedman(merit[defined].to_numpy())
    best_first = np.lexsort((-merit[defined].mean(axis=1).to_numpy(), ranks.mean_ranks))
    order = np.flatnonzero(defined)[best_first]
    pairs, differ, better = _pairs(merit.iloc[order], test, level)
    models = averages(kept).droplevel("metric")[["mean", "spread"]].rename(columns={"spread": "spread_seeds"})
    models = models.assign(is_baseline=models.index.get_level_values("model").isin(list(baselines)))
    models = models.reindex(merit.index).assign(spread_units=value.std(axis=1, ddof=1))
    models = models.join(_gains(merit, models["is_baseline"].to_numpy()))
    standing = pd.DataFrame(
        {"rank": 1 + better.sum(axis=0), "groups": _letters(differ), "mean_rank": ranks.mean_ranks[best_first]},
        index=merit.index[order],
    )
    models = (
        standing.astype({"rank": float}).join(models, how="right").reindex([*standing.index, *merit.index[~defined]])
    )
    models["groups"] = models["groups"].fillna("")
    verdict = verdict_of(merit.shape[1], len(order), pairs, ranks.pvalue, level)
    return _Compared(models.reset_index()[[*ROW, *_SHOWN]], pairs, verdict)


_SHOWN = ["is_baseline", "rank", "groups", "mean_rank", "mean", "spread_units", "spread_seeds"]
_SHOWN += ["gain", "gain_low", "gain_high"]


def _by_unit(kept: pd.DataFrame, column: str) -> pd.DataFrame:
    """Means over seeds, then over the conditions of one split, ``models x split units``; a NaN makes them NaN."""
    hashes = kept.groupby("unit")["split_hash"].min()
    held_out = hashes.where(hashes != "", "unit " + hashes.index.astype(str)).rename("held_out")
    of_unit = mean_scores(kept, [*ROW, "unit"]).join(held_out, on="unit")
    return mean_scores(of_unit.reset_index(), [*ROW, "held_out"])[column].unstack("held_out")  # noqa: PD010 - no aggregate


def _pairs(merit: pd.DataFrame, test: str, level: float) -> tuple[pd.DataFrame, NDArray[np.bool_], NDArray[np.bool_]]:
    """Test all pairs of ordered models: the pairs, whether two differ, and whether the first is the better."""
    table, names = merit.to_numpy(), list(merit.index)
    chosen = np.array(list(combinations(range(len(names)), 2)), dtype=int).reshape(-1, 2)
    first, second = table[chosen[:, 0]], table[chosen[:, 1]]
    d = differences(first, second)  # pairs x units
    pvalues = np.array([TESTS[test](row) for row in d])
    adjusted = holm(pvalues)
    significant = adjusted <= level
    found = pd.DataFrame(
        {
            **{f"{name}_{side}": [names[i][part] for i in chosen[:, side - 1]] for side, name, part in _SIDES},
            "difference": d.mean(axis=1),
            "wins": (d > 0).sum(axis=1),
            "losses": (d < 0).sum(axis=1),
            "ties": (d == 0).sum(axis=1),
            "pvalue": pvalues,
            "adjusted": adjusted,
            "differ": significant,
        }
    )
    better = np.zeros((len(names), len(names)), dtype=bool)
    up = found["difference"].to_numpy() > 0
    better[chosen[:, 0], chosen[:, 1]], better[chosen[:, 1], chosen[:, 0]] = significant & up, significant & ~up
    return found, better | better.T, better


_SIDES = [(side, name, part) for side in (1, 2) for part, name in enumerate(ROW)]


def differences(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Differences of merits; what rounding leaves between equal ones is 0."""
    difference = first - second
    return np.where(np.abs(difference) > _ROUNDING * np.maximum(np.abs(first), np.abs(second)), difference, 0.0)


def _gains(merit: pd.DataFrame, is_baseline: NDArray[np.bool_]) -> pd.DataFrame:
    """Differences to the best baseline over units, and the interval of their centre; NaN where there is none."""
    floors = merit[is_baseline].mean(axis=1, skipna=False).dropna()
    if floors.empty:
        return pd.DataFrame(np.nan, index=merit.index, columns=["gain", "gain_low", "gain_high"])
    best = merit.loc[[floors.idxmax()]].to_numpy()
    d = differences(merit.to_numpy(), best)
    bounds = [shift_interval(row) if row.any() else (math.nan, math.nan) for row in d]
    return pd.DataFrame(np.column_stack([d.mean(axis=1), bounds]), merit.index, ["gain", "gain_low", "gain_high"])


def _letters(differ: NDArray[np.bool_]) -> list[str]:
    """Letters of the tied runs that each model is in."""
    runs = tied_runs(differ)
    names = [ascii_letters[i] if i < len(ascii_letters) else chr(0x100 + i) for i in range(len(runs))]
    return [
        "".join(name for name, (start, stop) in zip(names, runs, strict=True) if start <= i <= stop)
        for i in range(len(differ))
    ]


def _joined(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One table of all metrics, in order."""
    parts = [table.assign(metric=name) for name, table in tables.items()]
    joined = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"metric": []})
    return joined[["metric", *(name for name in joined.columns if name != "metric")]]

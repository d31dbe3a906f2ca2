"""Losses and baselines held against each other over folds."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Board", "compare", "gaps"]


class Board(NamedTuple):
    """One comparison: the losses and baselines of one data set, kind of folds and label noise.

    `table` has a row for each (model, metric): `mean` and `sd` (divisor n) over folds of the mean over targets and
    seeds, `n_folds`, `is_baseline`, `best`, `beats_baselines` (None for a baseline), and for losses other than the best
    loss the p-value `p` of a paired t-test against it over folds, corrected by Holm over the losses (`p_corrected`).
    """

    dataset: str
    split: str
    table: "pd.DataFrame"


def compare(results: "pd.DataFrame", baselines: Sequence[str]) -> list[Board]:
    """Make a board of each data set, kind of folds and label noise; metrics in the registry's order."""
    boards = []
    for (dataset, split), rows in results.groupby(["dataset", "split"], sort=False):
        boards.append(Board(str(dataset), str(split), _table(rows, baselines)))
    return boards


def _table(rows: "pd.DataFrame", baselines: Sequence[str]) -> "pd.DataFrame":
    import pandas as pd
    from pb_eval.supervised import SUPERVISED

    of_seed = rows.groupby(["metric", "model", "seed", "context"])["value"].mean()  # over targets, as far as defined
    folds = of_seed.groupby(["metric", "model", "context"]).mean()
    parts = []
    for metric in (name for name in SUPERVISED if name in set(rows["metric"])):
        wide = folds[metric].unstack("context")  # noqa: PD010 - nothing to aggregate
        wide = wide.reindex(columns=sorted(wide.columns))
        parts.append(_of_metric(wide, SUPERVISED[metric].direction == "higher", baselines).assign(metric=metric))
    return pd.concat(parts, ignore_index=True)


def _of_metric(wide: "pd.DataFrame", higher: bool, baselines: Sequence[str]) -> "pd.DataFrame":
    """Compare models (rows) over folds (columns) by one metric, best first."""
    import pandas as pd
    from pb_eval.paired import paired_t_test
    from pb_eval.statistics import holm

    values = wide.to_numpy(dtype=np.float64)
    mean, is_baseline = values.mean(axis=1), np.isin(wide.index, list(baselines))
    merit = np.where(np.isnan(mean), -np.inf, mean if higher else -mean)
    bar = merit[is_baseline].max(initial=-np.inf)
    losses = np.flatnonzero(~is_baseline)
    best = losses[merit[losses].argmax()] if len(losses) else -1
    p = np.full(len(values), np.nan)
    for row in losses[losses != best]:
        p[row] = paired_t_test(values[row], values[best])
    table = pd.DataFrame(
        {
            "model": wide.index,
            "mean": mean,
            "sd": values.std(axis=1),
            "n_folds": np.isfinite(values).sum(axis=1),
            "is_baseline": is_baseline,
            "best": merit == merit.max(),
            "beats_baselines": [None if b else bool(m > bar) for b, m in zip(is_baseline, merit, strict=True)],
            "p": p,
            "p_corrected": holm(p),
        }
    )
    return table.iloc[np.argsort(-merit, kind="stable")]


def gaps(boards: Sequence[Board]) -> list[dict[Any, Any]]:
    """Say how much better each model scores where cells of a gene both train and test than where genes are unseen.

    One row for each model and metric of data with both kinds of folds, `cells` standing for any kind over cells.
    """
    rows: list[dict[Any, Any]] = []
    by_key = {(board.dataset, board.split): board.table.set_index(["model", "metric"])["mean"] for board in boards}
    for (dataset, split), unseen in by_key.items():
        kind, comma, noise = split.partition(",")
        if kind != "genes":
            continue
        for other in ("cells", "cells-unshuffled", "stratified"):
            seen = by_key.get((dataset, f"{other}{comma}{noise}"))
            if seen is None:
                continue
            both = seen.to_frame("seen_genes").join(unseen.rename("unseen_genes"), how="inner").reset_index()
            rows += both.assign(dataset=dataset, folds=other).to_dict(orient="records")
    return rows

"""Run the cases through the metrics and judge what comes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pb_eval.audit.cases import CASES
from pb_eval.audit.material import draw
from pb_eval.audit.verdicts import FAULTS, judge
from pb_eval.registry import get_metric, metric_names
from pb_eval.scoring import evaluate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from pb_eval.audit.cases import Case
    from pb_eval.metric import Metric
    from pb_eval.reference import Reference

__all__ = ["AUDIT_COLUMNS", "audit", "undeclared"]

AUDIT_COLUMNS = ("case", "metric", "value", "rival", "rival_value", "expected", "verdict", "declared", "words")


def audit(
    unit: Reference,
    metrics: Sequence[str] | None = None,
    seed: int = 0,
    *,
    n_draws: int = 5,
    n_cells: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Run known cheats and sanity cases through metrics, on cells of one unit.

    Truth and control are halved at random, so that what predictions are made from is not what they are scored against.
    A layout is held against the honest prediction's value once, all else in every draw.

    Parameters
    ----------
    unit
        Measured cells of one held-out unit, with all that the metrics need.
    metrics
        Names; None for all that are installed, those of other packages too.
    seed
        Of the draws of cells.
    n_draws
        Number of times that truth and control are halved, at least 2.
    n_cells
        Largest number of cells of each half.
    progress
        Called with the number of predictions scored and that of all.

    Returns
    -------
    A row for each case and metric, columns `AUDIT_COLUMNS`; value and rival_value are means over draws. Cases that the
    unit lacks something for are left out.

    Raises
    ------
    ValueError
        For an unknown metric, or a unit of fewer than 16 true or control cells.
    """
    chosen = [get_metric(name) for name in (metric_names() if metrics is None else metrics)]
    if n_draws < 2:
        msg = f"n_draws is {n_draws}, expected at least 2: what chance makes is told from their spread."
        raise ValueError(msg)
    drawn = [draw(unit, n_cells, seed + number) for number in range(n_draws)]
    score = _Scorer(chosen, sum(_n_draws(case, n_draws) for case in CASES) + 2 * n_draws, progress)
    rivals = {
        "honest": score((material.honest, material.reference) for material in drawn),
        "duplicate": score((material.duplicate, material.reference) for material in drawn),
    }
    rows = []
    for case in CASES:
        values = score(case.stage(material) for material in drawn[: _n_draws(case, n_draws)])
        if len(values):
            rows += _rows(case, chosen, values, rivals[case.rival][: len(values)])
    return pd.DataFrame(rows, columns=list(AUDIT_COLUMNS))


def undeclared(rows: pd.DataFrame) -> pd.DataFrame:
    """Take the rows of faults that the registry does not declare; a metric that rewards a case may also be blind to it.

    Parameters
    ----------
    rows
        As :func:`audit` gives them.
    """
    fault = rows["verdict"].isin(FAULTS)
    known = (rows["verdict"] == rows["declared"]) | ((rows["verdict"] == "blind") & (rows["declared"] == "rewards"))
    return rows[fault & ~known]


class _Scorer:
    """Scores predictions by the chosen metrics and counts them."""

    def __init__(self, metrics: Sequence[Metric], total: int, progress: Callable[[int, int], None] | None) -> None:
        self.names = [metric.name for metric in metrics]
        self.total = total
        self.done = 0
        self._progress = progress

    def __call__(self, staged: Iterable[tuple[Any, Reference] | None]) -> NDArray[np.float64]:
        """Values of each metric for each prediction, ``(predictions, metrics)``; those that are None are left out."""
        values = []
        for pair in staged:
            if pair is not None:
                values.append(list(evaluate(*pair, self.names).values()))
            self.done += 1
            if self._progress is not None:
                self._progress(self.done, self.total)
        return np.array(values)


def _n_draws(case: Case, n_draws: int) -> int:
    """Count the draws of cells that a case is scored for."""
    return 1 if case.expected == "same" else n_draws


def _rows(
    case: Case, metrics: Sequence[Metric], values: NDArray[np.float64], rival: NDArray[np.float64]
) -> list[tuple[Any, ...]]:
    """Rows of one case, values ``(draws, metrics)``."""
    rows = []
    for metric, own, other in zip(metrics, values.T, rival.T, strict=True):
        verdict, declared = judge(case, metric, own, other), metric.faults.get(case.name, "")
        means = float(own.mean()), float(other.mean())
        rows.append(
            (case.name, metric.name, means[0], case.rival, means[1], case.expected, verdict, declared, case.words)
        )
    return rows

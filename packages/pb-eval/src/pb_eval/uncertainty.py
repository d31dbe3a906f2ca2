"""How surely a score is known: bootstrap intervals over the cells of a unit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pb_eval.metric import DRAWS
from pb_eval.registry import get_metric
from pb_eval.resampling import Resampled, ResampledReference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pb_eval.metric import Metric
    from pb_eval.reference import Reference

__all__ = ["Interval", "intervals"]

_FEWEST_CELLS = 10


class Interval(NamedTuple):
    """Bounds of a value; nan where there are none."""

    low: float
    high: float


def intervals(
    prediction: Any, reference: Reference, scores: Mapping[str, float], *, draws: int = DRAWS, level: float = 0.95
) -> dict[str, Interval]:
    """Bootstrap intervals of the scores of a prediction, over predicted and true cells.

    Both groups are resampled with replacement; control cells, the genes chosen by tests of the measured cells,
    bandwidths and the other units stay. The interval says how far the value would move had as many other cells of the
    same context been predicted and measured. It does not hold what another training run or another context would do.

    With the value ``s`` and resampled values ``s_b``: ``s + q(s_b - mean s_b)`` at the quantiles ``(1 -+ level) / 2``,
    cut to the metric's range, and never without ``s``. Taking the mean off undoes what resampling adds: errors and
    distances of finite groups hold the noise of the cells, and a resample of them holds it twice, so that plain
    percentiles may miss the value altogether and the bias correction of BCa, a quantile of ``s`` among the ``s_b``, may
    not exist.

    Near the perfect value of a distance the interval is too wide rather than too narrow: a resampled U-statistic has
    up to three times the variance there (Arcones and Giné, 1992).

    Parameters
    ----------
    prediction
        Predicted cells, as for :func:`pb_eval.evaluate`, or the checked ``reference.cells(prediction)``.
    reference
        True and control cells of the unit.
    scores
        Value by name, as :func:`pb_eval.evaluate` returns them.
    draws
        Number of resamples; 0 gives no interval.
    level
        Share of resamples within.

    Returns
    -------
    Interval by name, nan for a metric without resampled values (`Metric.draws`), for one that is not defined on every
    resample, and for groups of fewer than 10 cells.

    Examples
    --------
    >>> from pb_eval import Reference, evaluate
    >>> rng = np.random.default_rng(0)
    >>> control, truth = rng.normal(0, 1, (50, 2)), rng.normal(1, 1, (50, 2))
    >>> reference = Reference(truth, control, ["ISG15", "CD3D"])
    >>> scores = evaluate(control, reference, ["mse_mean"])
    >>> low, high = intervals(control, reference, scores)["mse_mean"]
    >>> bool(low < scores["mse_mean"] < high)
    True
    """
    cells = reference.cells(prediction)
    if draws < 1 or min(cells.n_cells, reference.truth.n_cells) < _FEWEST_CELLS:
        return dict.fromkeys(scores, _NONE)
    truth = reference.truth.remember(("resampled", draws), lambda: Resampled(reference.truth, draws, stream=0))
    resampled, against = Resampled(cells, draws, stream=1), ResampledReference(reference, truth)
    return {name: _interval(get_metric(name), value, resampled, against, level) for name, value in scores.items()}


_NONE = Interval(float("nan"), float("nan"))


def _interval(
    metric: Metric, value: float, prediction: Resampled, reference: ResampledReference, level: float
) -> Interval:
    """Quantiles of the resampled values about their mean, put about the value."""
    draws = metric.compute_draws(prediction, reference)
    if draws is None or not np.isfinite(value) or not np.isfinite(draws).all():
        return _NONE
    bounds = value + np.quantile(draws - draws.mean(), [(1 - level) / 2, (1 + level) / 2])
    low, high = np.clip(bounds, *metric.range).tolist()
    return Interval(min(low, value), max(high, value))

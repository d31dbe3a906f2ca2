"""What is said of a metric's values for a case, held against those of the rival."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pb_eval.audit.cases import Case
    from pb_eval.metric import Metric

__all__ = ["FAULTS", "VERDICTS", "goodness", "judge", "verdict_words"]

VERDICTS = {
    "sound": "as it should be",
    "rewards": "scores better than the honest prediction",
    "blind": "scores exactly as the honest prediction does",
    "moved": "changes the value, which it should not",
    "undefined": "has no value, and none is declared",
    "unclear": "these cells cannot tell it from the honest prediction",
    "no value": "the honest prediction has no value here, or the worst there is",
}
"""What each verdict means."""

FAULTS = ("rewards", "moved", "undefined", "blind")
"""Verdicts that a metric has to declare."""

_ROUNDING = 1e-6
_DEGENERATE = {"constant_prediction": "constant prediction"}


def verdict_words(verdict: str) -> str:
    """Say what a verdict means.

    Examples
    --------
    >>> verdict_words("blind")
    'scores exactly as the honest prediction does'
    """
    return VERDICTS[verdict]


def goodness(metric: Metric, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn values so that higher is better; 0 at the target of a metric that has one."""
    if metric.direction == "target":
        return -np.abs(values - metric.perfect)
    return values if metric.direction == "higher" else -values


def judge(case: Case, metric: Metric, values: NDArray[np.float64], rival: NDArray[np.float64]) -> str:
    """Give the verdict on a case.

    A difference is clear where every draw of cells shows it, and its mean is larger than twice the standard deviation
    of the rival's values over the draws and than three times that of the difference itself.

    Parameters
    ----------
    values, rival
        Of the case and of the rival, a value for each draw of cells, ``(draws,)``.

    Returns
    -------
    One of `VERDICTS`.
    """
    if case.expected == "same":
        return "sound" if _equal(values, rival, floor=1e-3) else "moved"
    if not np.isfinite(rival).all() or (rival == _worst(metric)).all():
        return "no value"
    if np.isnan(values).any():
        return "sound" if np.isnan(metric.degenerate.get(_DEGENERATE.get(case.name, ""), 0.0)) else "undefined"
    return _compare(case, goodness(metric, rival), goodness(metric, values), spread=float(rival.std(ddof=1)))


def _worst(metric: Metric) -> float:
    """Worst value of a metric, nan where it has none."""
    return {"higher": metric.range[0], "lower": metric.range[1]}.get(metric.direction, np.nan)


def _compare(case: Case, rival: NDArray[np.float64], values: NDArray[np.float64], spread: float) -> str:
    """Give the verdict on a case whose goodness is to be below the rival's, or at most equal."""
    if _clear(values - rival, spread):
        return "rewards"
    if case.expected == "not better" or _clear(rival - values, spread):
        return "sound"
    return "blind" if _equal(values, rival) else "unclear"


def _clear(gain: NDArray[np.float64], spread: float) -> bool:
    """Whether a gain is above 0 by more than chance makes."""
    if np.isposinf(gain).all():
        return True
    return bool((gain > 0).all() and np.isfinite(gain).all() and gain.mean() > max(2 * spread, 3 * gain.std(ddof=1)))


def _equal(values: NDArray[np.float64], rival: NDArray[np.float64], floor: float = 1e-9) -> bool:
    """Whether values are equal to rounding, nan and infinite ones to each other."""
    return bool(np.isclose(values, rival, rtol=_ROUNDING, atol=_ROUNDING * floor, equal_nan=True).all())

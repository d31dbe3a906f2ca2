"""What the score of a replicate would be with more cells than it was measured with."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pb_eval.metric import Metric

__all__ = ["enlarged"]


def enlarged(value: float, factor: float, metric: Metric, *, smaller: float = math.nan, step: float = 2.0) -> float:
    r"""Score that a replicate scoring ``value`` would reach with ``factor`` times the cells on both sides.

    Each side is signal plus noise whose variance goes as 1/n, in the control cells as in the perturbed ones, so that
    with :math:`k` the factor, by `Metric.sampling`,

    - ``unbiased``: the value itself;
    - ``inverse``, ``root``: the distance from perfect over :math:`k`, over :math:`\sqrt k`;
    - ``correlation``: :math:`k r / (1 + (k - 1) r)` (Spearman 1910; Brown 1910), for ``squared correlation`` on the
      root; unchanged where r is not above 0;
    - ``determination``: with :math:`q = d / (2 - d)` noise over signal at :math:`d = 1 - R^2`,
      :math:`1 - 2q / (k + q)`; unchanged from d = 2 on, where there is nothing but noise;
    - ``unknown``: the distance from perfect falls as a power of n, the one seen between the value and ``smaller``, the
      score with a ``step``-th of the cells, but not faster than 1/n: :math:`d k^{-p}`,
      :math:`p = \log(d' / d) / \log step` in [0, 1]. Without a perfect value or a smaller size there is no correction.

    Parameters
    ----------
    value
        Mean score of a replicate, for example of one half of the cells against the other.
    factor
        Number of cells wanted over the number that the value was measured with.
    smaller, step
        Score with a ``step``-th of the cells; only looked at where the metric's sampling is unknown.

    Examples
    --------
    >>> from pb_eval import get_metric
    >>> enlarged(0.02, 2, get_metric("mse_mean"))
    0.01
    >>> round(enlarged(0.5, 2, get_metric("pearson_delta")), 3)
    0.667
    """
    if not math.isfinite(value):
        return value
    if metric.sampling == "unknown":
        return _power_law(value, factor, metric.perfect, smaller, step)
    return _RULES[metric.sampling](value, factor, metric.perfect)


def _correlation(value: float, factor: float, _perfect: float) -> float:
    return factor * value / (1 + (factor - 1) * value) if value > 0 else value


def _squared_correlation(value: float, factor: float, perfect: float) -> float:
    return _correlation(math.sqrt(value), factor, perfect) ** 2


def _determination(value: float, factor: float, perfect: float) -> float:
    distance = perfect - value
    if distance >= 2:
        return value
    ratio = distance / (2 - distance)
    return perfect - 2 * ratio / (factor + ratio)


def _power_law(value: float, factor: float, perfect: float, smaller: float, step: float) -> float:
    near, far = abs(value - perfect), abs(smaller - perfect)
    if not (0 < near < far < math.inf):
        return value
    power = min(math.log(far / near) / math.log(step), 1.0)
    return float(perfect + (value - perfect) * factor**-power)


_RULES: dict[str, Callable[[float, float, float], float]] = {
    "unbiased": lambda value, _factor, _perfect: value,
    "inverse": lambda value, factor, perfect: perfect + (value - perfect) / factor,
    "root": lambda value, factor, perfect: perfect + (value - perfect) / math.sqrt(factor),
    "correlation": _correlation,
    "squared correlation": _squared_correlation,
    "determination": _determination,
}

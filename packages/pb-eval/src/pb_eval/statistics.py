"""Whether models differ over held-out units: exact paired tests, correction for many pairs, groups that are ties."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Friedman",
    "friedman",
    "holm",
    "shift_interval",
    "sign_flip",
    "signed_rank",
    "smallest_pvalue",
    "tied_runs",
]

_EXACT_RANKS = 50
_EXACT_FLIPS = 16
_FLIPS = 100_000
_ROUNDING = 1e-12


class Friedman(NamedTuple):
    """Mean rank of each model over units (1 is best), the statistic, its p-value by the chi-squared distribution."""

    mean_ranks: NDArray[np.float64]
    statistic: float
    pvalue: float


def signed_rank(differences: NDArray[np.float64]) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test that paired differences are symmetric about 0.

    Exact up to 50 differences, equal sizes sharing their mean rank: the share of all ``2^n`` choices of signs whose sum
    of positive ranks is as far from the middle. Zeros are left out; above 50 by the normal approximation. Wilcoxon
    (1945); Demšar (2006), section 3.1.3, where zeros are divided evenly between both signs.

    Parameters
    ----------
    differences
        ``(units,)``.

    Examples
    --------
    >>> signed_rank(np.array([0.1, 0.3, 0.2, 0.5, 0.4, 0.6, 0.7]))
    0.015625
    """
    d = differences[differences != 0]
    if not d.size:
        return 1.0
    ranks = stats.rankdata(np.abs(d))
    if d.size > _EXACT_RANKS:
        return float(2 * stats.norm.sf(np.abs(ranks @ np.sign(d)) / np.sqrt(ranks @ ranks)))
    doubled = np.rint(2 * ranks).astype(int)
    ways = _ways(doubled)
    positive = int(doubled[d > 0].sum())
    tail = ways[: min(positive, doubled.sum() - positive) + 1].sum()
    return float(min(1.0, 2 * tail / ways.sum()))


def sign_flip(differences: NDArray[np.float64], seed: int = 0) -> float:
    """Two-sided p-value of the permutation test that paired differences have mean 0.

    The share of choices of signs that bring the mean as far from 0: of all ``2^n`` up to 16 differences, above of
    100,000 seeded ones and the one observed. It sees the sizes of the differences, where ranks see their order.

    Parameters
    ----------
    differences
        ``(units,)``.

    Examples
    --------
    >>> sign_flip(np.array([1.0, 2.0, 4.0]))
    0.25
    """
    n = differences.size
    observed = np.abs(differences.sum()) - _ROUNDING * np.abs(differences).sum()
    if n <= _EXACT_FLIPS:
        signs = 1 - 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)  # (choices, units)
        return float(np.mean(np.abs(signs @ differences) >= observed))
    signs = 1 - 2 * np.random.default_rng(seed).integers(2, size=(_FLIPS, n))
    return float((1 + np.sum(np.abs(signs @ differences) >= observed)) / (1 + _FLIPS))


def holm(pvalues: NDArray[np.float64]) -> NDArray[np.float64]:
    """P-values adjusted so that with probability ``1 - level`` no true null is called significant; nan stays out.

    ``p_(i)`` in rising order becomes ``max_(j <= i) min(1, (m - j + 1) p_(j))``. Holm (1979), page 67; Demšar
    (2006), section 3.2.2.

    Parameters
    ----------
    pvalues
        ``(pairs,)``.

    Examples
    --------
    >>> holm(np.array([0.01, 0.04, 0.03]))
    array([0.03, 0.06, 0.06])
    """
    order = np.argsort(pvalues)[: np.count_nonzero(~np.isnan(pvalues))]  # nan sorts last
    scaled = pvalues[order] * np.arange(order.size, 0, -1)
    adjusted = np.full(pvalues.shape, np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0) if order.size else scaled
    return adjusted


def smallest_pvalue(n_units: int) -> float:
    """Smallest two-sided p-value that an exact paired test of so many units can give, ``2 / 2^n``.

    Examples
    --------
    >>> smallest_pvalue(7)
    0.015625
    """
    return min(1.0, 2.0 / 2.0**n_units)


def friedman(merits: NDArray[np.float64]) -> Friedman:
    """Friedman's test that all models rank alike over units, equal merits sharing their mean rank.

    ``12 n / (k (k + 1)) (sum_j R_j^2 - k (k + 1)^2 / 4)``, with ``R_j`` the mean ranks of k models over n units,
    divided by a correction for ties; chi-squared with ``k - 1`` degrees of freedom, roughly for few units. Where no
    unit tells any two models apart, the statistic is 0 and the p-value 1; both are nan for fewer than three models or
    two units. Friedman (1937); Demšar (2006), section 3.2.2.

    Parameters
    ----------
    merits
        ``(models, units)``, larger is better.

    Examples
    --------
    >>> friedman(np.array([[3.0, 2.0], [2.0, 3.0], [1.0, 1.0]])).mean_ranks
    array([1.5, 1.5, 3. ])
    """
    n_models, n_units = merits.shape
    ranks = stats.rankdata(-merits, axis=0)
    mean_ranks = ranks.mean(axis=1)
    if n_models < 3 or n_units < 2:
        return Friedman(mean_ranks, np.nan, np.nan)
    if (ranks == ranks[0]).all():
        return Friedman(mean_ranks, 0.0, 1.0)
    result = stats.friedmanchisquare(*merits)
    return Friedman(mean_ranks, float(result.statistic), float(result.pvalue))


def shift_interval(differences: NDArray[np.float64], level: float = 0.95) -> tuple[float, float]:
    """Interval of the centre of paired differences that Wilcoxon's signed-rank test does not reject.

    Bounded by the ``k + 1``-th smallest and largest of the means of all pairs of differences, each with itself too,
    with the largest ``k`` for which ``2 P(W <= k) <= 1 - level``; nan where there is none, below six differences at
    95 %.
    Hollander, Wolfe and Chicken (2014), chapter 3.

    Parameters
    ----------
    differences
        ``(units,)``.

    Examples
    --------
    >>> shift_interval(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    (1.0, 6.0)
    """
    n = differences.size
    if n <= _EXACT_RANKS:
        ways = _ways(np.arange(1, n + 1))
        k = int(np.count_nonzero(2 * np.cumsum(ways) / ways.sum() <= 1 - level)) - 1
    else:
        spread = np.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        k = int(n * (n + 1) / 4 + stats.norm.ppf((1 - level) / 2) * spread)
    if k < 0 or np.isnan(differences).any():
        return float("nan"), float("nan")
    means = np.sort(((differences[:, None] + differences) / 2)[np.triu_indices(n)])
    return float(means[k]), float(means[-1 - k])


def tied_runs(differ: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Longest runs of models, ordered from best to worst, in which no two differ: first and last of each.

    The bars of a critical-difference diagram. Every model is in at least one, and a model can be in several: two models
    that both tie with a third may differ.

    Parameters
    ----------
    differ
        Whether two models differ, ``(models, models)``.

    Examples
    --------
    >>> tied_runs(np.array([[False, False, True], [False, False, False], [True, False, False]]))
    [(0, 1), (1, 2)]
    """
    n = len(differ)
    stops = [next((j for j in range(i + 1, n) if differ[i:j, j].any()), n) - 1 for i in range(n)]
    fresh = [True, *(before < after for before, after in pairwise(stops))]
    return [(start, stop) for start, stop in enumerate(stops) if fresh[start]]


def _ways(steps: NDArray[np.int_]) -> NDArray[np.float64]:
    """Count the subsets of some whole numbers by their sum."""
    ways = np.zeros(int(steps.sum()) + 1)
    ways[0] = 1.0
    for step in steps:
        ways[step:] += ways[:-step].copy()
    return ways

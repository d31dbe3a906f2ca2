"""What paired tests of models say and could have said, in numbers and in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from pb_eval.statistics import smallest_pvalue

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Verdict", "verdict_of"]


class Verdict(NamedTuple):
    """What the tests of one metric can and do say.

    Attributes
    ----------
    n_units, n_models, n_pairs
        Held-out units, models and pairs of models that were compared.
    smallest
        Smallest p-value that so many units and pairs allow, Holm's correction applied.
    friedman
        P-value of Friedman's test that all models rank alike.
    words
        The same in a sentence or two.
    """

    n_units: int
    n_models: int
    n_pairs: int
    smallest: float
    friedman: float
    words: str


def verdict_of(n_units: int, n_models: int, pairs: pd.DataFrame, friedman_pvalue: float, level: float) -> Verdict:
    """Sum up the tests of one metric."""
    n_pairs = len(pairs)
    smallest = min(1.0, n_pairs * smallest_pvalue(n_units)) if n_pairs else math.nan
    n_differ = int(pairs["differ"].sum())
    if not n_pairs:
        words = "There is one model with a score in every split unit: nothing to compare."
    elif smallest > level:
        words = _out_of_reach(n_units, n_pairs, smallest, level)
    elif n_differ:
        words = f"{n_differ} of {_count(n_pairs, 'pair')} {'differs' if n_differ == 1 else 'differ'} significantly."
    else:
        words = f"None of {_count(n_pairs, 'pair')} differs significantly."
    return Verdict(n_units, n_models, n_pairs, smallest, friedman_pvalue, words)


def _out_of_reach(n_units: int, n_pairs: int, smallest: float, level: float) -> str:
    """Say why no difference could be significant, and what would have to change."""
    needed = math.ceil(math.log2(2 * n_pairs / level))
    affordable = int(level / smallest_pvalue(n_units))
    most = int((1 + math.sqrt(1 + 8 * affordable)) / 2)
    fewer = f", or compare at most {most} models" if most > 1 else ""
    units, pairs = _count(n_units, "split unit"), _count(n_pairs, "pair")
    return (
        f"No difference can be significant at {level:g}: the smallest two-sided p-value of {units} is "
        f"{smallest_pvalue(n_units):.2g}, and {smallest:.2g} after correction for {pairs}. "
        f"Hold out {needed} units{fewer}."
    )


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"

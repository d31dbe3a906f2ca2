"""The paired test of two models over the folds of a cross-validation that papers on losses report.

With five folds the exact tests of `pb_eval.statistics` cannot fall below .06.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["paired_t_test"]


def paired_t_test(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Two-sided p-value of Student's t-test of a - b, t = mean / (sd / sqrt(n)) with n - 1 degrees of freedom.

    Folds share training rows, so that their scores vary less than those of independent data: read it as a lower bound.

    Returns
    -------
    NaN for fewer than two pairs, a NaN among them, or differences that do not vary.

    Examples
    --------
    >>> round(paired_t_test(np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.5, 1.0])), 3)
    0.118
    """
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    n = len(difference)
    if n < 2 or not np.isfinite(difference).all() or np.ptp(difference) == 0:
        return float("nan")
    t = difference.mean() / (difference.std(ddof=1) / np.sqrt(n))
    return float(2 * stats.t.sf(abs(t), n - 1))

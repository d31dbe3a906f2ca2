"""Doses: how far along a shift a dose lies, which seen doses it lies between, and which dose a cell looks like."""

from __future__ import annotations

import math
import warnings
from bisect import bisect
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["dose_coefficient", "dose_shares", "pseudo_dose"]


def dose_coefficient(dose: float, *, reference_dose: float, control_dose: float = 0.0, unit: float = 1.0) -> float:
    """Return the share of the reference dose's shift that belongs to a dose: (l(d) - l(d_0)) / (l(d_ref) - l(d_0)).

    l(d) = log(1 + d / unit); d_0 is the control dose. Because of the 1, the share depends on the unit of the doses: ten
    of 10,000 nM give 0.26, a hundredth of 10 uM gives 0.004. `unit` is the dose around which the logarithm sets in.

    Raises
    ------
    ValueError
        Where the dose lies below the control dose, or the reference dose does not lie above it.

    Warns
    -----
    UserWarning
        Where the dose exceeds the reference dose: an extrapolation, or a dose in another unit.

    Examples
    --------
    >>> [round(dose_coefficient(dose, reference_dose=30), 4) for dose in (0, 0.01, 1, 30)]
    [0.0, 0.0029, 0.2018, 1.0]
    """
    if dose == reference_dose:
        return 1.0
    if not min(dose, reference_dose) >= control_dose or reference_dose == control_dose:
        msg = (
            f"dose {dose:g} and reference dose {reference_dose:g} cannot be compared: the control dose is "
            f"{control_dose:g}, and neither may lie below it; give doses in the unit of the training data"
        )
        raise ValueError(msg)
    if dose > reference_dose:
        msg = (
            f"dose {dose:g} lies beyond the reference dose {reference_dose:g}: the shift is extrapolated; "
            "are both in the same unit?"
        )
        warnings.warn(msg, stacklevel=2)
    low, asked, high = (math.log1p(each / unit) for each in (control_dose, dose, reference_dose))
    return (asked - low) / (high - low)


def dose_shares(dose: float, seen: Sequence[float], *, control_dose: float = 0.0) -> dict[float, float]:
    """Return which seen doses predict a dose, and the share of each; the shares add up to 1.

    A seen dose predicts itself. Any other lies between two neighbours d_1 < d_2 among the control dose and the seen
    doses: d_2 gets (l(d) - l(d_1)) / (l(d_2) - l(d_1)), l(d) = log(1 + d), and d_1 the rest. Beyond the highest seen
    dose, that one alone. A share of the control dose is a share of the control cells, which do not shift.

    Raises
    ------
    ValueError
        Where the dose lies below the control dose.

    Examples
    --------
    >>> dose_shares(1, [3, 10]), dose_shares(3, [3, 10]), dose_shares(99, [3, 10])
    ({0.0: 0.5, 3: 0.5}, {3: 1.0}, {10: 1.0})
    """
    if dose in seen:
        return {dose: 1.0}
    if not dose >= control_dose:
        msg = f"dose {dose:g} lies below the control dose {control_dose:g}; give doses in the unit of the training data"
        raise ValueError(msg)
    if dose > max(seen):
        return {max(seen): 1.0}
    knots = sorted({control_dose, *seen})
    low, high = knots[bisect(knots, dose) - 1], knots[bisect(knots, dose)]
    share = dose_coefficient(dose, reference_dose=high, control_dose=low)
    return {low: 1.0 - share, high: share}


def pseudo_dose(
    latent: NDArray[np.floating], delta: NDArray[np.floating], *, origin: NDArray[np.floating] | None = None
) -> NDArray[np.float64]:
    """Return how far along a shift each cell lies: (z - o) . delta / (delta . delta), (cells,).

    Parameters
    ----------
    latent
        Latent positions z, (cells, latent).
    delta
        The shift, (latent,).
    origin
        The point o that gets 0. With the control centroid, controls lie around 0 and cells at the reference dose around
        1. None is the origin of the latent space, as published: the mean control is then not at 0.

    Raises
    ------
    ValueError
        Where the shift is zero, so that there is no direction.

    Examples
    --------
    >>> pseudo_dose(np.array([[1.0, 5.0], [3.0, 0.0]]), np.array([2.0, 0.0]), origin=np.array([1.0, 1.0])).tolist()
    [0.0, 1.0]
    """
    positions, along = np.asarray(latent, dtype=np.float64), np.asarray(delta, dtype=np.float64)
    length = float(along @ along)
    if length == 0:
        msg = "the shift is zero, so no dose can be read from it; is the perturbed side another one than the control?"
        raise ValueError(msg)
    return np.asarray((positions @ along - (0.0 if origin is None else origin @ along)) / length)

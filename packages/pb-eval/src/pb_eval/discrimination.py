"""Whether a prediction matches its own unit better than it matches the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pb_eval.matrix import Numbers
    from pb_eval.reference import Cells, Reference

__all__ = ["discrimination", "share_beaten"]

_CLOSE = 1e-9  # relative difference of distances that is a tie


def share_beaten(
    prediction: NDArray[np.float64],
    truth: NDArray[np.float64],
    others: NDArray[np.float64],
    counted: NDArray[np.bool_] | None = None,
    distance: str = "l2",
) -> Numbers:
    """Share of the other units whose truth is farther from the prediction than its own truth is, ties counted half.

    1 where its own truth is the nearest, 0.5 in expectation for a prediction that tells nothing, ``1 - k / (n - 1)``
    with the mid-rank ``k`` from 0 among ``n`` units; nan without others.

    Parameters
    ----------
    prediction, truth
        ``(..., genes)``.
    others
        ``(units, genes)``.
    counted
        ``(units, genes)``: the genes that count where the own truth is compared with each other one; all by default. A
        unit without a gene that counts ties.
    distance
        ``l1``, ``l2`` or ``cosine`` (1 - cosine; of a vector without length 1).

    Examples
    --------
    >>> float(share_beaten(np.array([1.0, 0.0]), np.array([2.0, 0.0]), np.array([[0.0, 3.0], [1.0, 0.0]])))
    0.5
    """
    if not len(others):
        return float("nan")
    weights = np.ones(others.shape) if counted is None else counted.astype(np.float64)
    own = np.stack([_DISTANCES[distance](prediction, truth, weight) for weight in weights], axis=-1)
    pairs = zip(others, weights, strict=True)
    theirs = np.stack([_DISTANCES[distance](prediction, other, weight) for other, weight in pairs], axis=-1)
    tie = np.abs(theirs - own) <= _CLOSE * np.maximum(np.abs(theirs), np.abs(own))
    share: Numbers = np.mean(np.where(tie, 0.5, theirs > own), axis=-1)
    return share


def discrimination(prediction: Cells, reference: Reference, *, distance: str, of: str = "shift") -> Numbers:
    """Share of the other units whose truth is farther from the prediction than its own truth is.

    The genes that either unit's perturbation targets are left out of each comparison: knowing what was targeted is not
    knowing the response.

    Parameters
    ----------
    distance
        ``l1``, ``l2`` or ``cosine``.
    of
        ``shift`` compares mean shifts, each against its own unit's measured control; ``mean`` mean expression.
    """
    if not reference.others:
        return float("nan")
    units = list(reference.others.values())
    counted = np.ones((len(units), len(reference.genes)), dtype=bool)
    counted[:, reference.columns(reference.targets)] = False
    for row, unit in zip(counted, units, strict=True):
        row[reference.columns(unit.targets)] = False
    predicted, truth, theirs = (
        [getattr(group, of) for group in groups] for groups in ([prediction], [reference.truth], units)
    )
    return share_beaten(predicted[0], truth[0], np.stack(theirs), counted, distance)


def _l1(x: NDArray[np.float64], y: NDArray[np.float64], counted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of absolute differences, ``(...,)``."""
    return np.asarray(np.abs(x - y) @ counted)


def _l2(x: NDArray[np.float64], y: NDArray[np.float64], counted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Root of the sum of squared differences, ``(...,)``."""
    return np.asarray(np.sqrt((x - y) ** 2 @ counted))


def _cosine(x: NDArray[np.float64], y: NDArray[np.float64], counted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 - cosine of the angle, 1 where there is none, ``(...,)``."""
    size = np.sqrt((x**2 @ counted) * (y**2 @ counted))
    dot = np.asarray((x * y) @ counted)
    return np.asarray(1.0 - np.divide(dot, size, out=np.zeros_like(dot), where=size > 0))


_DISTANCES = {"l1": _l1, "l2": _l2, "cosine": _cosine}

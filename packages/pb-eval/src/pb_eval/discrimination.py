"""Whether a prediction matches its own unit better than it matches the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pb_eval.reference import Cells, Reference

__all__ = ["discrimination", "share_beaten"]

_CLOSE = 1e-9  # relative difference of distances that is a tie


def share_beaten(
    prediction: NDArray[np.float64],
    truth: NDArray[np.float64],
    others: NDArray[np.float64],
    counted: NDArray[np.bool_] | None = None,
    distance: str = "l2",
) -> float:
    """Share of the other units whose truth is farther from the prediction than its own truth is, ties counted half.

    1 where its own truth is the nearest, 0.5 in expectation for a prediction that tells nothing, ``1 - k / (n - 1)``
    with the mid-rank ``k`` from 0 among ``n`` units; nan without others.

    Parameters
    ----------
    prediction, truth
        ``(genes,)``.
    others
        ``(units, genes)``.
    counted
        ``(units, genes)``: the genes that count where the own truth is compared with each other one; all by default. A
        unit without a gene that counts ties.
    distance
        ``l1``, ``l2`` or ``cosine`` (1 - cosine; of a vector without length 1).

    Examples
    --------
    >>> share_beaten(np.array([1.0, 0.0]), np.array([2.0, 0.0]), np.array([[0.0, 3.0], [1.0, 0.0]]))
    0.5
    """
    if not len(others):
        return float("nan")
    weights = np.ones(others.shape) if counted is None else counted.astype(np.float64)
    own = _DISTANCES[distance](prediction, truth[None, :], weights)
    theirs = _DISTANCES[distance](prediction, others, weights)
    tie = np.abs(theirs - own) <= _CLOSE * np.maximum(np.abs(theirs), np.abs(own))
    return float(np.mean(np.where(tie, 0.5, theirs > own)))


def discrimination(prediction: Cells, reference: Reference, *, distance: str, of: str = "shift") -> float:
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
    """Sum of absolute differences, ``(units,)``."""
    return np.asarray(np.sum(counted * np.abs(x - y), axis=1))


def _l2(x: NDArray[np.float64], y: NDArray[np.float64], counted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Root of the sum of squared differences, ``(units,)``."""
    return np.asarray(np.sqrt(np.sum(counted * (x - y) ** 2, axis=1)))


def _cosine(x: NDArray[np.float64], y: NDArray[np.float64], counted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 - cosine of the angle, 1 where there is none, ``(units,)``."""
    size = np.sqrt(np.sum(counted * x**2, axis=1) * np.sum(counted * y**2, axis=1))
    dot = np.sum(counted * (x * y), axis=1)
    return np.asarray(1.0 - np.divide(dot, size, out=np.zeros_like(dot), where=size > 0))


_DISTANCES = {"l1": _l1, "l2": _l2, "cosine": _cosine}

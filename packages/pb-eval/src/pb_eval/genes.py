"""Whether the right genes respond."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pb_eval.reference import Cells, Reference

__all__ = ["direction_match", "overlap", "overlap_top100", "rank_up_regulated", "sign_agreement"]


def rank_up_regulated(score: NDArray[np.float64], shift: NDArray[np.float64], genes: Sequence[str]) -> NDArray[np.intp]:
    """Order genes from most up- to most down-regulated.

    By falling score, ties by falling mean shift, then by name, so that the order in which a file lists its genes does
    not matter.

    Parameters
    ----------
    score, shift
        ``(genes,)``, of a group against control.

    Returns
    -------
    Column indices, ``(genes,)``.

    Examples
    --------
    >>> rank_up_regulated(np.array([0.5, 0.9, 0.5]), np.array([0.0, 2.0, 0.0]), ["B", "C", "A"])
    array([1, 2, 0])
    """
    return np.lexsort((np.asarray(genes, dtype=str), -shift, -score))


def overlap(truth: NDArray[np.intp], prediction: NDArray[np.intp]) -> float:
    """Share of the true list's genes that the predicted list holds; nan where the true list is empty.

    Examples
    --------
    >>> overlap(np.array([1, 2, 3, 4]), np.array([4, 9, 1]))
    0.5
    """
    return float(np.isin(truth, prediction).mean()) if truth.size else float("nan")


def sign_agreement(truth: NDArray[np.float64], prediction: NDArray[np.float64]) -> float:
    """Share of true shifts whose sign the prediction has; true zeros are left out, nan where nothing is left.

    Examples
    --------
    >>> sign_agreement(np.array([1.0, -2.0, 0.0, 3.0]), np.array([0.1, 5.0, 1.0, 0.0])).__round__(3)
    0.333
    """
    moved = truth != 0
    return float(np.mean(np.sign(truth[moved]) == np.sign(prediction[moved]))) if moved.any() else float("nan")


def overlap_top100(prediction: Cells, reference: Reference) -> float:
    """Overlap of the up to 100 most up-regulated genes of prediction and truth."""
    return overlap(reference.up_regulated(reference.truth, 100), reference.up_regulated(prediction, 100))


def direction_match(prediction: Cells, reference: Reference) -> float:
    """Share of the significant genes that are predicted to move the right way."""
    genes = reference.significant
    return sign_agreement(reference.truth.shift[genes], prediction.shift[genes])

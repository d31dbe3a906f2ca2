"""Whether the right genes respond."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from pb_eval.ranking import average_precision, roc_area

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from pb_eval.matrix import Numbers
    from pb_eval.reference import Cells, Reference

__all__ = [
    "auprc_significant",
    "auroc_significant",
    "direction_fidelity",
    "direction_match",
    "jaccard",
    "overlap",
    "overlap_significant",
    "overlap_top100",
    "precision",
    "rank_up_regulated",
    "same_direction",
    "sign_agreement",
    "significant_sets",
    "strongest",
    "top",
]

GeneSet: TypeAlias = "NDArray[np.intp]"

_DECIMALS = 10  # above the rounding of sums over cells


def rank_up_regulated(score: NDArray[np.float64], shift: NDArray[np.float64], genes: Sequence[str]) -> NDArray[np.intp]:
    """Order genes from most up- to most down-regulated.

    By falling score, ties by falling mean shift, then by name, so that the order in which a file lists its genes does
    not matter. Numbers that agree to ten decimals are ties, for how cells are stored must not order genes either.

    Parameters
    ----------
    score, shift
        ``(..., genes)``, of a group against control.

    Returns
    -------
    Column indices, ``(..., genes)``.

    Examples
    --------
    >>> rank_up_regulated(np.array([0.5, 0.9, 0.5]), np.array([0.0, 2.0, 0.0]), ["B", "C", "A"])
    array([1, 2, 0])
    """
    places = np.unique(np.asarray(genes, dtype=str), return_inverse=True)[1]
    ties = -np.round(shift, _DECIMALS), -np.round(score, _DECIMALS)
    return np.lexsort((np.broadcast_to(places, score.shape), *ties))


def overlap(truth: NDArray[np.intp], prediction: NDArray[np.intp]) -> float:
    """Share of the true list's genes that the predicted list holds; nan where the true list is empty.

    Examples
    --------
    >>> overlap(np.array([1, 2, 3, 4]), np.array([4, 9, 1]))
    0.5
    """
    return float(np.isin(truth, prediction).mean()) if truth.size else float("nan")


def jaccard(truth: GeneSet, prediction: GeneSet) -> float:
    """Divide the number of common genes by that of the genes on either list; nan where the true list is empty.

    Examples
    --------
    >>> jaccard(np.array([1, 2, 3]), np.array([3, 4]))
    0.25
    """
    return float(np.intersect1d(truth, prediction).size / np.union1d(truth, prediction).size) if truth.size else np.nan


def precision(truth: GeneSet, prediction: GeneSet) -> float:
    """Share of the predicted list's genes that the true list holds; 0 for an empty prediction, nan for an empty truth.

    Examples
    --------
    >>> precision(np.array([1, 2, 3]), np.array([3, 4]))
    0.5
    """
    if not truth.size:
        return float("nan")
    return float(np.isin(prediction, truth).mean()) if prediction.size else 0.0


def same_direction(
    truth: GeneSet, prediction: GeneSet, true_shift: NDArray[np.float64], predicted_shift: NDArray[np.float64]
) -> float:
    """Genes on both lists that move the same way, over the length of the longer list; nan where the true one is empty.

    Parameters
    ----------
    truth, prediction
        Columns of genes.
    true_shift, predicted_shift
        ``(genes,)``; only their signs count.

    Examples
    --------
    >>> same_direction(np.array([0, 1]), np.array([0, 1, 2]), np.array([1.0, 1.0, 0.0]), np.array([2.0, -1.0, 1.0]))
    0.3333333333333333
    """
    if not truth.size:
        return float("nan")
    common = np.intersect1d(truth, prediction)
    agreeing = np.sign(true_shift[common]) == np.sign(predicted_shift[common])
    return float(agreeing.sum() / max(truth.size, prediction.size))


def strongest(chosen: GeneSet, size: NDArray[np.float64], genes: Sequence[str], k: int) -> GeneSet:
    """Up to ``k`` of the chosen genes with the largest absolute size, ties by name.

    Examples
    --------
    >>> strongest(np.array([0, 2, 3]), np.array([1.0, 9.0, -2.0, 1.0]), ["B", "C", "D", "A"], 2)
    array([2, 3])
    """
    order = np.lexsort((np.asarray(genes, dtype=str)[chosen], -np.abs(size[chosen])))
    return chosen[order[:k]]


def sign_agreement(truth: NDArray[np.float64], prediction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of true shifts whose sign the prediction has; true zeros are left out, nan where nothing is left.

    Parameters
    ----------
    truth, prediction
        ``(..., genes)``.

    Examples
    --------
    >>> float(sign_agreement(np.array([1.0, -2.0, 0.0, 3.0]), np.array([0.1, 5.0, 1.0, 0.0])).round(3))
    0.333
    """
    moved = truth != 0
    right = np.sum(moved & (np.sign(truth) == np.sign(prediction)), axis=-1, dtype=np.float64)
    n_moved = np.sum(moved, axis=-1)
    share = np.divide(right, n_moved, out=np.full_like(right, np.nan), where=n_moved > 0)
    return np.asarray(share)[()]


def overlap_top100(prediction: Cells, reference: Reference) -> float:
    """Overlap of the up to 100 most up-regulated genes of prediction and truth."""
    return overlap(reference.up_regulated(reference.truth, 100), reference.up_regulated(prediction, 100))


def direction_match(prediction: Cells, reference: Reference) -> Numbers:
    """Share of the significant genes that are predicted to move the right way."""
    genes = reference.significant
    return sign_agreement(reference.truth.shift[..., genes], prediction.shift[..., genes])


def top(prediction: Cells, reference: Reference, *, k: int, measure: str) -> float:
    """Likeness of the lists of the up to ``k`` most up-regulated genes of prediction and truth.

    Parameters
    ----------
    measure
        ``overlap``, ``jaccard`` or ``precision``.
    """
    truth, predicted = (reference.up_regulated(cells, k) for cells in (reference.truth, prediction))
    return _MEASURES[measure](truth, predicted)


def significant_sets(prediction: Cells, reference: Reference, *, measure: str) -> float:
    """Likeness of the sets of genes that are significant in prediction and in truth, both against measured control.

    Parameters
    ----------
    measure
        ``overlap`` (recall), ``jaccard`` or ``precision``.
    """
    return _MEASURES[measure](reference.significant, prediction.significant)


def overlap_significant(prediction: Cells, reference: Reference) -> float:
    """Share of the significant genes among as many significant genes of prediction, the largest log fold changes."""
    truth, predicted = reference.significant, prediction.significant
    return overlap(truth, strongest(predicted, prediction.log_fold, reference.genes, truth.size))


def direction_fidelity(prediction: Cells, reference: Reference) -> float:
    """Genes significant in both that move the same way, over the larger number of significant genes."""
    truth, predicted = reference.significant, prediction.significant
    return same_direction(truth, predicted, reference.truth.shift, prediction.shift)


def auprc_significant(prediction: Cells, reference: Reference) -> float:
    """Average precision of the prediction's absolute Wilcoxon score for the genes significant in truth."""
    return float(average_precision(_labels(reference), np.abs(prediction.wilcoxon.score)))


def auroc_significant(prediction: Cells, reference: Reference) -> float:
    """Area under the ROC curve of the prediction's absolute Wilcoxon score for the genes significant in truth."""
    return float(roc_area(_labels(reference), np.abs(prediction.wilcoxon.score)))


def _labels(reference: Reference) -> NDArray[np.bool_]:
    """Whether each gene is significant in truth."""
    labels = np.zeros(len(reference.genes), dtype=bool)
    labels[reference.significant] = True
    return labels


_MEASURES: dict[str, Callable[[GeneSet, GeneSet], float]] = {
    "overlap": overlap,
    "jaccard": jaccard,
    "precision": precision,
}

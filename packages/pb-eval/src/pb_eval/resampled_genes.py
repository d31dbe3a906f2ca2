"""Lists of genes, and orders of genes, in resamples of predicted and true cells: the tests are done in each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pb_eval import ranking
from pb_eval.genes import rank_up_regulated

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pb_eval.reference import Reference
    from pb_eval.resampling import Resampled, ResampledReference

__all__ = [
    "auprc_significant",
    "auroc_significant",
    "common_top100",
    "direction_fidelity",
    "overlap_significant",
    "significant_sets",
    "top",
]


def top(
    prediction: Resampled, reference: ResampledReference, *, k: int = 100, measure: str = "overlap"
) -> NDArray[np.float64]:
    """Likeness of the lists of the up to ``k`` most up-regulated genes of resampled prediction and truth.

    Parameters
    ----------
    measure
        ``overlap``, ``jaccard`` or ``precision``.
    """
    truth = reference.truth.remember(("up-regulated", k), lambda: _up_regulated(reference.truth, reference, k))
    return _likeness(truth, _up_regulated(prediction, reference, k), measure)


def common_top100(prediction: Resampled, reference: ResampledReference) -> NDArray[np.float64]:
    """Count the genes among the 100 with the highest signed Welch t score of resampled truth and of prediction."""
    truth, predicted = (_highest(cells, reference, 100)[0] for cells in (reference.truth, prediction))
    return np.asarray(np.sum(truth & predicted, axis=-1), dtype=np.float64)


def significant_sets(prediction: Resampled, reference: ResampledReference, *, measure: str) -> NDArray[np.float64]:
    """Likeness of the sets of genes that are significant in resampled prediction and truth.

    Parameters
    ----------
    measure
        ``overlap`` (recall), ``jaccard`` or ``precision``.
    """
    return _likeness(_significant(reference.truth), _significant(prediction), measure)


def overlap_significant(prediction: Resampled, reference: ResampledReference) -> NDArray[np.float64]:
    """Share of the significant genes among as many significant genes of prediction, the largest log fold changes."""
    truth, predicted = _significant(reference.truth), _significant(prediction)
    names = np.unique(np.asarray(reference.genes, dtype=str), return_inverse=True)[1]
    size = np.where(predicted, np.abs(prediction.log_fold), -1.0)
    order = np.lexsort((np.broadcast_to(names, size.shape), -size))
    place = np.empty(order.shape, dtype=np.intp)
    np.put_along_axis(place, order, np.arange(size.shape[-1]), axis=-1)
    return _likeness(truth, predicted & (place < truth.sum(axis=-1, keepdims=True)), "overlap")


def direction_fidelity(prediction: Resampled, reference: ResampledReference) -> NDArray[np.float64]:
    """Genes significant in both that move the same way, over the larger number of significant genes."""
    truth, predicted = _significant(reference.truth), _significant(prediction)
    agreeing = truth & predicted & (np.sign(reference.truth.shift) == np.sign(prediction.shift))
    return _share(agreeing, np.maximum(truth.sum(axis=-1), predicted.sum(axis=-1)), truth)


def auprc_significant(prediction: Resampled, reference: ResampledReference) -> NDArray[np.float64]:
    """Average precision of the prediction's absolute Wilcoxon score for the genes significant in truth."""
    return ranking.average_precision(_significant(reference.truth), np.abs(prediction.wilcoxon.score))


def auroc_significant(prediction: Resampled, reference: ResampledReference) -> NDArray[np.float64]:
    """Area under the ROC curve of the prediction's absolute Wilcoxon score for the genes significant in truth."""
    return ranking.roc_area(_significant(reference.truth), np.abs(prediction.wilcoxon.score))


def _significant(cells: Resampled) -> NDArray[np.bool_]:
    """Whether each gene differs from control in each resample (Wilcoxon, FDR < 0.05), ``(draws, genes)``."""
    return cells.remember("significant", lambda: cells.wilcoxon.adjusted < 0.05)


def _likeness(truth: NDArray[np.bool_], predicted: NDArray[np.bool_], measure: str) -> NDArray[np.float64]:
    """Compare lists of genes; nan where the true one is empty."""
    over = {"overlap": truth, "jaccard": truth | predicted, "precision": predicted}[measure]
    return _share(truth & predicted, over.sum(axis=-1), truth)


def _share(common: NDArray[np.bool_], number: NDArray[np.intp], truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Divide the number of common genes by another, 0 where there are none; nan where the true list is empty."""
    share = np.sum(common, axis=-1) / np.maximum(number, 1)
    return np.where(truth.any(axis=-1), share, np.nan)


def _up_regulated(cells: Resampled, reference: Reference, k: int) -> NDArray[np.bool_]:
    """Whether each gene is among the up to ``k`` with the highest Welch t score above 0, ``(draws, genes)``."""
    listed, score = _highest(cells, reference, k)
    return listed & (score > 0) & (cells.shift > 0)


def _highest(cells: Resampled, reference: Reference, k: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Whether each gene is among the ``k`` with the highest Welch t score, and the score, ``(draws, genes)``."""
    control, own = cells.control.moments, cells.moments
    with np.errstate(invalid="ignore", divide="ignore"):
        score = (own.mean - control.mean) / np.sqrt(own.variance / own.n_cells + control.variance / control.n_cells)
    score = np.where(np.isnan(score), 0.0, score)
    listed = np.zeros(score.shape, dtype=bool)
    order = rank_up_regulated(score, cells.shift, reference.genes)
    np.put_along_axis(listed, order[..., :k], values=True, axis=-1)
    return listed, score

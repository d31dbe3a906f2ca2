"""ConR: a contrastive regulariser that acts where predictions contradict labels.

Features z ``(batch, d)`` or ``(batch, views, d)``, labels y ``(batch,)`` or ``(batch, targets)``; a sample with a
NaN label takes no part. It runs over chunks of anchors and makes the gradient in the same pass; it can be
differentiated once. Used in one stage with a direct loss: ``mae(p, y) + w * conr(z, y, p)``.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from .gather import gather_rows
from .numerics import Loss, check_count, check_positive, check_within, upcast
from .pairwise import (
    LabelDistance,
    PairwiseSamples,
    absolute_distance,
    as_labels,
    chunks,
    exclude,
    measured,
    pairwise_samples,
    sum_of_anchors,
    wide_chunk,
)
from .reduction import Reduction

__all__ = ["ConR", "conr"]

_NEVER = -1e30  # the logit of a pair that is not looked at: finite, so that 0 times it is 0


def conr(
    features: Tensor,
    target: Tensor,
    prediction: Tensor,
    *,
    window: float = 1.0,
    temperature: float = 0.07,
    exponent: float = 0.01,
    weight: float = 1.0,
    label_distance: LabelDistance | None = None,
    chunk: int = 128,
    gather: bool = False,
    reference_compatible: bool = False,
    reduction: Reduction = "mean",
) -> Tensor:
    """ConR: push apart features whose labels differ though their predictions agree.

    L_i = log( sum_{Pos} exp(s_ij) + sum_{Neg} w exp(e l_ij) exp(s_ij) ) - mean_{Pos} s_ij, s the cosine similarity
    over t, Pos_i = {j != i: l_ij <= window}, Neg_i = {j: l_ij > window, q_ij <= window}; l and q are the mean over
    targets of the absolute difference of labels and of predictions. An anchor without positives or negatives has
    loss 0. Predictions choose pairs only and get no gradient.

    Parameters
    ----------
    prediction
        Of the labels' shape, or ``(batch, views)``, ``(batch, views, targets)`` for one a view.
    window
        Within it labels or predictions count as alike, in units of the target: scale it with the target, e.g. to its
        standard deviation.
    temperature
        t, of the cosine similarity.
    exponent, weight
        e and w: how much more a negative weighs the farther its label is.
    label_distance
        For both l and q.
    chunk, gather
        See :func:`rnc`.
    reference_compatible
        Add 1 to the denominator for every pair that is no positive, oneself included, as the authors' code does.
    reduction
        Over the labelled anchors.

    Raises
    ------
    ValueError
        As :func:`pb_losses.rnc` for features, labels, distances, chunk and reduction; or if predictions are of none of
        their shapes, the temperature or weight is not positive, or the window or exponent is negative.

    >>> conr(torch.eye(3), torch.tensor([0.0, 0.5, 9.0]), torch.tensor([0.0, 0.1, 0.2]), temperature=1.0)
    tensor(0.4919)

    Source: Keramati et al. 2024, ConR: Contrastive Regularizer for Deep Imbalanced Regression (arXiv 2309.06651),
    L_ConR: equations 1 (the part of an anchor) and 3 of the version reviewed for ICLR 2024.
    """
    _check_settings(temperature, weight, window, exponent, chunk)
    samples = pairwise_samples(features, target, gather=gather)
    predictions = _of_samples(prediction, features, target, gather=gather).unsqueeze(0)
    distance = label_distance or _mean_distance
    kernel = _ConR(
        samples, predictions, window, temperature, exponent, math.log(weight), distance, chunk, reference_compatible
    )
    return sum_of_anchors(kernel, F.normalize(samples.features, dim=1), samples.labelled, reduction)


def _check_settings(temperature: float, weight: float, window: float, exponent: float, chunk: int) -> None:
    check_positive(temperature=temperature, weight=weight)
    check_within("window", window, low=0.0)
    check_within("exponent", exponent, low=0.0)
    check_count("chunk", chunk)


class _LabelPairs(NamedTuple):
    """What labels say of pairs ``(rows, samples)``: 1 for positives, far labels, what raises a negative's logit."""

    positive: Tensor
    far: Tensor
    push: Tensor
    n_positive: Tensor
    active: Tensor


@dataclass(frozen=True)
class _ConR:
    """The kernel of :func:`conr`, on normalised features; what labels say is worked out once for all members.

    Predictions are ``(members, samples, targets)``.
    """

    samples: PairwiseSamples
    predictions: Tensor
    window: float
    temperature: float
    exponent: float
    log_weight: float
    distance: LabelDistance
    chunk: int
    spurious_ones: bool

    def __call__(self, features: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor | None]:
        losses, gradient = [], torch.zeros_like(features)
        with torch.autocast(features.device.type, enabled=False):
            for rows in chunks(features.shape[1], self.chunk):
                pairs, of_chunk = self.label_pairs(rows, features.dtype), []
                for place, (z, p) in enumerate(zip(features, self.predictions, strict=True)):
                    s = (z[rows] / self.temperature) @ z.T
                    loss, of_product, active = self.block(s, p, rows, pairs)
                    of_chunk.append(loss * active)
                    if weights is not None:
                        of_product *= (active * weights[place, rows] / self.temperature).unsqueeze(1)
                        gradient[place, rows] += of_product @ z
                        gradient[place] += (z[rows].T @ of_product).T
                losses.append(torch.stack(of_chunk))
        return torch.cat(losses, dim=1), None if weights is None else gradient

    def block(self, s: Tensor, p: Tensor, rows: slice, pairs: _LabelPairs) -> tuple[Tensor, Tensor, Tensor]:
        """Losses of some anchors, their gradient in s, and 1 for anchors that have positives and negatives, else 0."""
        alike = measured(self.distance, p[rows], p) <= self.window
        negative = alike.logical_and_(pairs.far).to(s.dtype)
        active = pairs.active * negative.amax(1)
        looked_at = (pairs.positive + negative).sub_(1)  # 0, and -1 elsewhere
        logits = torch.addcmul(s, pairs.push, negative).add_(looked_at, alpha=-_NEVER)
        shares = logits.softmax(1)  # far quicker than exp() of logarithms that are mostly -1e30
        share = pairs.positive / pairs.n_positive.unsqueeze(1)
        loss = -(share * logits.log_softmax(1)).sum(1)
        if self.spurious_ones:  # each adds exp(0) to the sum of exponentials
            log_sum = (share * s).sum(1) + loss
            ones = self.samples.labelled.sum() - pairs.n_positive
            more = torch.logaddexp(log_sum, ones.log()) - log_sum
            loss, shares = loss + more, shares * (-more).exp().unsqueeze(1)
        return loss, shares.sub_(share), active

    def label_pairs(self, rows: slice, dtype: torch.dtype) -> _LabelPairs:
        """Compare labels; 1 or 0 rather than masks, as filling by a mask takes ten times as long."""
        label = measured(self.distance, self.samples.labels[rows], self.samples.labels)
        seen = exclude(label, self.samples.labelled, rows, torch.nan)  # neither near nor far
        push = label.to(dtype) * self.exponent
        push = push if self.log_weight == 0 else push + self.log_weight
        positive = (seen <= self.window).to(dtype)
        active = positive.amax(1) * self.samples.labelled[rows]
        return _LabelPairs(positive, seen > self.window, push, positive.sum(1).clamp_(min=1), active)


def _mean_distance(rows: Tensor, columns: Tensor) -> Tensor:
    distance = absolute_distance(rows, columns)
    return distance if rows.shape[1] == 1 else distance / rows.shape[1]


def _of_samples(prediction: Tensor, features: Tensor, target: Tensor, *, gather: bool) -> Tensor:
    """Predictions ``(samples, targets)`` in the order of the features' views."""
    n_views = features.shape[1] if features.ndim == 3 else 1
    per_view = features.ndim == 3 and prediction.shape == (len(target), n_views, *target.shape[1:])
    if not per_view and prediction.shape != target.shape:
        msg = (
            f"predictions of shape {tuple(prediction.shape)} were given for labels of shape {tuple(target.shape)}; "
            "give the labels' shape, or with an axis of views after the first."
        )
        raise ValueError(msg)
    flat = prediction.flatten(0, 1) if per_view else prediction
    predictions = as_labels(flat, len(flat), "predictions")
    if gather:
        predictions = gather_rows(predictions)
    return predictions if per_view else predictions.repeat_interleave(n_views, 0)


@dataclass(eq=False)
class ConR(Loss):
    """Module of :func:`conr`.

    Raises
    ------
    ValueError
        When called, as :func:`conr`.
    """

    window: float = 1.0
    temperature: float = 0.07
    exponent: float = 0.01
    weight: float = 1.0
    label_distance: LabelDistance | None = None
    chunk: int = 128
    gather: bool = False
    reference_compatible: bool = False
    reduction: Reduction = "mean"

    def forward(self, features: Tensor, target: Tensor, prediction: Tensor) -> Tensor:
        """Return the loss."""
        return conr(
            features,
            target,
            prediction,
            window=self.window,
            temperature=self.temperature,
            exponent=self.exponent,
            weight=self.weight,
            label_distance=self.label_distance,
            chunk=self.chunk,
            gather=self.gather,
            reference_compatible=self.reference_compatible,
            reduction=self.reduction,
        )

    def of_members(self, features: Tensor, target: Tensor, prediction: Tensor) -> Tensor:
        """Return the loss of each of many models, given features ``(members, batch, d)`` and their predictions.

        Raises
        ------
        ValueError
            As :func:`conr`.
        """
        _check_settings(self.temperature, self.weight, self.window, self.exponent, self.chunk)
        samples = pairwise_samples(features[0], target, gather=False)
        kernel = _ConR(
            samples,
            upcast(prediction.detach().reshape(*features.shape[:2], -1)),
            self.window,
            self.temperature,
            self.exponent,
            math.log(self.weight),
            self.label_distance or _mean_distance,
            wide_chunk(self.chunk, len(target)),
            self.reference_compatible,
        )
        return sum_of_anchors(kernel, F.normalize(upcast(features), dim=2), samples.labelled, self.reduction)

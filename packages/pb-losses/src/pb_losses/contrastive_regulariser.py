"""ConR: a contrastive regulariser that acts where predictions contradict labels.

Features z ``(batch, d)`` or ``(batch, views, d)``, labels y ``(batch,)`` or ``(batch, targets)``; a sample with a
NaN label takes no part. It runs over chunks of anchors and makes the gradient in the same pass; it can be
differentiated once. Used in one stage with a direct loss: ``mae(p, y) + w * conr(z, y, p)``.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .gather import gather_rows
from .numerics import SAFE_EXPONENT, Loss, check_count, check_positive, check_within, exponential, reads_values, upcast
from .pairwise import (
    LabelDistance,
    PairwiseSamples,
    add_gradient_of_products,
    as_labels,
    chunks,
    exclude,
    mean_distance,
    measured,
    member_blocks,
    pair_memory,
    pairwise_samples,
    sum_of_anchors,
    unit_length,
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
    distance = label_distance or mean_distance
    kernel = _ConR(
        samples, predictions, window, temperature, exponent, math.log(weight), distance, chunk, reference_compatible
    )
    return sum_of_anchors(kernel, unit_length(samples.features), samples.labelled, reduction)


def _check_settings(temperature: float, weight: float, window: float, exponent: float, chunk: int) -> None:
    check_positive(temperature=temperature, weight=weight)
    check_within("window", window, low=0.0)
    check_within("exponent", exponent, low=0.0)
    check_count("chunk", chunk)


class _LabelPairs(NamedTuple):
    """What labels say of pairs ``(rows, samples)``: 1 for positives, what raises a negative's logit, far labels.

    ``far`` is what a negative weighs, 0 where labels are near; 1 for all that are far unless exponentials are safe.
    ``n_spurious`` is how often the authors' code adds exp(0) = 1 to the sum of an anchor, 0 if that is not asked for.
    """

    positive: Tensor
    push: Tensor
    far: Tensor
    is_safe: bool
    n_positive: Tensor
    n_spurious: Tensor
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
        losses, gradient = torch.empty_like(features[..., 0]), torch.zeros_like(features)
        memory, scaled = pair_memory(features, self.chunk, *[features.dtype] * 3), features / self.temperature
        with torch.autocast(features.device.type, enabled=False):
            for rows in chunks(features.shape[1], self.chunk):
                pairs = self.label_pairs(rows, features.dtype)
                contrast = self.by_sums if pairs.is_safe else self.by_logarithms
                for members, (s, alike, e) in member_blocks(features, rows, memory):
                    z = features[members]
                    torch.bmm(scaled[members, rows], z.mT, out=s)
                    self.alike(self.predictions[members], rows, out=alike)
                    loss, shares, active = contrast(s, alike, e, pairs)
                    losses[members, rows] = loss * active
                    if weights is not None:
                        of_anchor = active * weights[members, rows] / self.temperature
                        pull = shares.mul_(of_anchor.unsqueeze(2))
                        pull.addcmul_(pairs.positive, (of_anchor / pairs.n_positive).unsqueeze(2), value=-1)
                        add_gradient_of_products(gradient[members], z, rows, pull)
        return losses, None if weights is None else gradient

    def by_sums(self, s: Tensor, alike: Tensor, e: Tensor, pairs: _LabelPairs) -> tuple[Tensor, Tensor, Tensor]:
        """Losses of some anchors, shares of pairs in their sums, 1 for anchors with positives and negatives, else 0."""
        negative = alike.mul_(pairs.far)
        active = pairs.active * (negative.amax(2) > 0)
        exponential(s, out=e).mul_(negative.add_(pairs.positive))
        total = e.sum(2).add_(pairs.n_spurious)
        of_positives = s.mul_(pairs.positive).sum(2).div_(pairs.n_positive)
        total.clamp_(min=torch.finfo(s.dtype).tiny)  # of anchors that have neither, which are not active
        return total.log() - of_positives, e.div_(total.unsqueeze(2)), active

    def by_logarithms(self, s: Tensor, alike: Tensor, e: Tensor, pairs: _LabelPairs) -> tuple[Tensor, Tensor, Tensor]:
        """Do the same where exp(s) may overflow."""
        negative = alike.mul_(pairs.far)
        active = pairs.active * negative.amax(2)
        logits = torch.addcmul(s, pairs.push, negative, out=e)
        logits.add_(negative.add_(pairs.positive).sub_(1), alpha=-_NEVER)  # 0, and -1 elsewhere
        log_total = torch.logaddexp(logits.logsumexp(2), pairs.n_spurious.log())
        of_positives = s.mul_(pairs.positive).sum(2).div_(pairs.n_positive)
        return log_total - of_positives, logits.sub_(log_total.unsqueeze(2)).exp_(), active

    def alike(self, p: Tensor, rows: slice, out: Tensor) -> None:
        """Set pairs with predictions within the window to 1, others to 0: numbers, which are far quicker than masks."""
        if self.distance is mean_distance and p.dtype == out.dtype:
            apart = mean_distance(p[:, rows], p, out)
        else:
            apart = torch.stack([measured(self.distance, own[rows], own) for own in p])
        torch.le(apart, self.window, out=out)

    def label_pairs(self, rows: slice, dtype: torch.dtype) -> _LabelPairs:
        """Compare labels; 1 or 0 rather than masks, as filling by a mask takes ten times as long."""
        label = measured(self.distance, self.samples.labels[rows], self.samples.labels)
        seen = exclude(label, self.samples.labelled, rows, torch.nan)  # neither near nor far
        positive = torch.le(seen, self.window, out=torch.empty_like(seen)).to(dtype)
        far = torch.gt(seen, self.window, out=torch.empty_like(seen)).to(dtype)
        push = label.to(dtype) * self.exponent + self.log_weight
        is_safe = self.has_safe_exponents(push)
        if is_safe:
            far *= exponential(push)
        active = positive.amax(1) * self.samples.labelled[rows]
        n_positive = positive.sum(1).clamp_(min=1)
        n_spurious = (self.samples.labelled.sum() - n_positive) * self.spurious_ones
        return _LabelPairs(positive, push, far, is_safe, n_positive, n_spurious, active)

    def has_safe_exponents(self, push: Tensor) -> bool:
        """Tell whether no exponential, of a cosine similarity over t and of what is added to it, leaves its range."""
        return reads_values(push) and float(push.abs().amax()) + 1.001 / self.temperature < SAFE_EXPONENT[push.dtype]


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
            self.label_distance or mean_distance,
            wide_chunk(self.chunk, len(target)),
            self.reference_compatible,
        )
        return sum_of_anchors(kernel, unit_length(upcast(features)), samples.labelled, self.reduction)

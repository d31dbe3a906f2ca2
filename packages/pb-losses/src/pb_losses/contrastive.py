"""Rank-N-Contrast: a loss that orders features by their labels.

Features z ``(batch, d)`` or ``(batch, views, d)``, labels y ``(batch,)`` or ``(batch, targets)``; a sample with a
NaN label takes no part. Views of one sample are samples with one label. It runs over chunks of anchors and makes
the gradient in the same pass: memory grows with chunk x batch, not with batch^2. It can be differentiated once.

Two stages: train an encoder with ``rnc(encoder(x), y)`` (first half of the epochs, or to the end), then freeze it
and train a linear head with ``mae(head(encoder(x).detach()), y)``, or train
encoder and head with ``mae`` for the rest.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .numerics import Loss, check_count, check_positive, check_within, reads_values
from .pairwise import (
    LabelDistance,
    PairwiseSamples,
    absolute_distance,
    chunks,
    exclude,
    measured,
    pairwise_samples,
    sum_of_anchors,
)
from .reduction import Reduction

__all__ = ["RNC", "rnc"]

_SAFE_EXPONENT = 600.0  # exp(-600) and sums of it are well above the smallest float64


def rnc(
    features: Tensor,
    target: Tensor,
    *,
    temperature: float = 2.0,
    label_distance: LabelDistance | None = None,
    tie_tolerance: float = 0.0,
    chunk: int = 128,
    gather: bool = False,
    reduction: Reduction = "mean",
) -> Tensor:
    """Rank-N-Contrast: features near in label should be nearer than features farther in label.

    L_i = 1/(n-1) sum_{j != i} [ log sum_{k in S_ij} exp(s_ik) - s_ij ], s_ij = -|z_i - z_j| / t (Euclidean, not
    normalised), S_ij = {k != i: d(y_i, y_k) >= d(y_i, y_j)}. Time n^2 log n, memory chunk x n.

    Parameters
    ----------
    temperature
        t, in units of the features' distance.
    label_distance
        d; by default the sum over targets of |y_i - y_j|.
    tie_tolerance
        Above 0, distances are rounded to multiples of it: float32 labels such as 0.1, 0.2, 0.3 are not exactly
        evenly spaced, and ties share their denominator.
    chunk
        Anchors at a time.
    gather
        In distributed training, contrast the global batch (:func:`pb_losses.gather_rows`).
    reduction
        Over the labelled anchors.

    Raises
    ------
    ValueError
        If features are not (batch, d) or (batch, views, d), are empty or not floating point, labels are not (batch,)
        or (batch, targets), ``label_distance`` gives another shape than (rows, columns), or the reduction is unknown;
        if the temperature is not positive, the tie tolerance negative, or the chunk no whole number of at least 1.

    >>> rnc(torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([0.0, 1.0, 3.0]), temperature=1.0)
    tensor(0.1256)

    Source: Zha et al. 2023, Rank-N-Contrast (arXiv 2210.01189), L_RNC.
    """
    check_positive(temperature=temperature)
    check_within("tie_tolerance", tie_tolerance, low=0.0)
    check_count("chunk", chunk)
    samples = pairwise_samples(features, target, gather=gather)
    kernel = _RankNContrast(samples, temperature, label_distance or absolute_distance, tie_tolerance, chunk)
    return sum_of_anchors(kernel, samples.features, samples.labelled, reduction)


@dataclass(frozen=True)
class _RankNContrast:
    """The kernel of :func:`rnc`."""

    samples: PairwiseSamples
    temperature: float
    distance: LabelDistance
    tie_tolerance: float
    chunk: int

    def __call__(self, features: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor | None]:
        z = features.double()
        z = z - z.mean(0)  # the products below then lose no digits
        labelled = self.samples.labelled.to(z.dtype)
        losses, gradient = [], torch.zeros_like(z)
        for rows in chunks(len(z), self.chunk):
            length, apart = _distances(z[rows], z, exact=features.dtype == torch.float64)
            loss, of_logit = _rank_contrast(length / -self.temperature, self.ranks(rows), weights is not None)
            share = labelled[rows] / (labelled.sum() - 1).clamp(min=1)
            losses.append(loss * share)
            if of_logit is not None and weights is not None:
                pull = of_logit.mul_((share * weights[rows] / -self.temperature).unsqueeze(1)).mul_(apart)
                pull.div_(length.add_(1 - apart))
                gradient[rows] += pull.sum(1, keepdim=True) * z[rows] - pull @ z
                gradient += pull.sum(0).unsqueeze(1) * z - (z[rows].T @ pull).T
        return torch.cat(losses).to(features.dtype), None if weights is None else gradient.to(features.dtype)

    def ranks(self, rows: slice) -> Tensor:
        """Label distances ``(rows, samples)``, -infinity where the pair does not count."""
        d = measured(self.distance, self.samples.labels[rows], self.samples.labels)
        d = d if d.dtype == torch.float32 else d.double()
        d = (d / self.tie_tolerance).round() if self.tie_tolerance > 0 else d
        return exclude(d, self.samples.labelled, rows, -torch.inf)


# Masks below are numbers to multiply with: filling by a mask takes ten times as long on a CPU.


def _rank_contrast(logits: Tensor, d: Tensor, with_gradient: bool) -> tuple[Tensor, Tensor | None]:
    """Sum over j of log sum_{k: d_k >= d_j} exp(s_k) - s_j in each row, over d >= 0, and its gradient in s."""
    # The bits of floating-point numbers of at least 0 are integers in the same order, and sort faster.
    d, order = d.view(torch.int32 if d.dtype == torch.float32 else torch.int64).sort(1)
    counted = (d >= 0).to(logits.dtype)
    s = logits.gather(1, order)
    first, last = torch.searchsorted(d, d), torch.searchsorted(d, d, right=True) - 1  # of the tied
    if not reads_values(s) or bool(logits.amin() < -_SAFE_EXPONENT):
        loss, gradient = _by_logarithms(s, counted, first, last)
    else:
        loss, gradient = _by_sums(s, counted, first, last)
    if not with_gradient:
        return loss, None
    return loss, torch.empty_like(gradient).scatter_(1, order, gradient.mul_(counted))


def _by_sums(s: Tensor, counted: Tensor, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    e = s.exp()
    sums = e.flip(1).cumsum_(1).flip(1).gather(1, first)
    loss = sums.log().sub_(s).mul_(counted).sum(1)
    inverse = sums.reciprocal_().mul_(counted).cumsum_(1).gather(1, last)
    return loss, inverse.mul_(e).sub_(1)


def _by_logarithms(s: Tensor, counted: Tensor, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """Do the same where exp(s) may underflow; about six times slower."""
    log_sums = s.flip(1).logcumsumexp(1).flip(1).gather(1, first)
    loss = (log_sums - s).mul_(counted).sum(1)
    log_inverse = (counted.log() - log_sums).logcumsumexp(1).gather(1, last)
    return loss, log_inverse.add_(s).exp_().sub_(1)


def _distances(rows: Tensor, columns: Tensor, *, exact: bool) -> tuple[Tensor, Tensor]:
    """Euclidean distances, and 1 where they are not 0; by a matrix product unless the features are float64."""
    if exact:
        length = torch.cdist(rows, columns, compute_mode="donot_use_mm_for_euclid_dist")
        return length, (length > 0).to(length.dtype)
    scale = rows.square().sum(1, keepdim=True) + columns.square().sum(1)
    square = torch.addmm(scale, rows, columns.T, alpha=-2)
    apart = (square > scale.mul_(1e-13)).to(square.dtype)
    return square.mul_(apart).sqrt_(), apart


@dataclass(eq=False)
class RNC(Loss):
    """Module of :func:`rnc`.

    Raises
    ------
    ValueError
        When called, as :func:`rnc`.
    """

    temperature: float = 2.0
    label_distance: LabelDistance | None = None
    tie_tolerance: float = 0.0
    chunk: int = 128
    gather: bool = False
    reduction: Reduction = "mean"

    def forward(self, features: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return rnc(
            features,
            target,
            temperature=self.temperature,
            label_distance=self.label_distance,
            tie_tolerance=self.tie_tolerance,
            chunk=self.chunk,
            gather=self.gather,
            reduction=self.reduction,
        )

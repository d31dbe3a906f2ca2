"""Rank-N-Contrast: a loss that orders features by their labels.

Features z ``(batch, d)`` or ``(batch, views, d)``, labels y ``(batch,)`` or ``(batch, targets)``; a sample with a
NaN label takes no part. Views of one sample are samples with one label. It runs over chunks of anchors and makes
the gradient in the same pass: memory grows with chunk x batch, not with batch^2. It can be differentiated once.

Two stages: train an encoder with ``rnc(encoder(x), y)`` (first half of the epochs, or to the end), then freeze it
and train a linear head with ``mae(head(encoder(x).detach()), y)``, or train
encoder and head with ``mae`` for the rest.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .numerics import Loss, check_count, check_positive, check_within, reads_values, upcast
from .pairwise import (
    LabelDistance,
    PairwiseSamples,
    absolute_distance,
    chunks,
    exclude,
    measured,
    pairwise_samples,
    sum_of_anchors,
    wide_chunk,
)
from .reduction import Reduction
from .sorting import ordered_bits, sorted_rows, tied

__all__ = ["RNC", "rnc"]

_SAFE_EXPONENT = {torch.float32: 75.0, torch.float64: 600.0}
"""exp(-75), exp(-600), sums of them and of their reciprocals are well within the range of the type."""


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
    _check_settings(temperature, tie_tolerance, chunk)
    samples = pairwise_samples(features, target, gather=gather)
    kernel = _RankNContrast(samples, temperature, label_distance or absolute_distance, tie_tolerance, chunk)
    return sum_of_anchors(kernel, samples.features, samples.labelled, reduction)


def _check_settings(temperature: float, tie_tolerance: float, chunk: int) -> None:
    check_positive(temperature=temperature)
    check_within("tie_tolerance", tie_tolerance, low=0.0)
    check_count("chunk", chunk)


@dataclass(frozen=True)
class _RankNContrast:
    """The kernel of :func:`rnc`; what it needs of the labels is worked out once for all members."""

    samples: PairwiseSamples
    temperature: float
    distance: LabelDistance
    tie_tolerance: float
    chunk: int

    def __call__(self, features: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor | None]:
        z = features.double()
        z = z - z.mean(1, keepdim=True)  # the products below then lose no digits
        labelled = self.samples.labelled.to(features.dtype)
        share = labelled / (labelled.sum() - 1).clamp(min=1)
        losses, gradient = [], torch.zeros_like(features)
        with torch.autocast(features.device.type, enabled=False):
            for rows in chunks(z.shape[1], self.chunk):
                ranked, of_chunk = _Ranked.of(self.ranks(rows)), []
                for place, own in enumerate(z):
                    pushed = None if weights is None else share[rows] * weights[place, rows] / -self.temperature
                    total = self.block(own, rows, ranked, pushed, gradient[place])
                    of_chunk.append(total * share[rows])
                losses.append(torch.stack(of_chunk))
        return torch.cat(losses, dim=1), None if weights is None else gradient

    def block(self, z: Tensor, rows: slice, ranked: "_Ranked", weights: Tensor | None, gradient: Tensor) -> Tensor:
        """Return sums over j of some anchors of a member; add the gradient, for weights of the anchors."""
        length, apart = _distances(z[rows], z, gradient.dtype)
        loss, pull = ranked.contrast(length / -self.temperature, weights is not None)
        if pull is not None and weights is not None:
            pull = pull.to(gradient.dtype).mul_(weights.unsqueeze(1)).mul_(apart).div_(length.add_(1 - apart))
            near = z.to(gradient.dtype)
            gradient[rows] += pull.sum(1, keepdim=True) * near[rows] - pull @ near
            gradient += pull.sum(0).unsqueeze(1) * near - (near[rows].T @ pull).T
        return loss.to(gradient.dtype)

    def ranks(self, rows: slice) -> Tensor:
        """Label distances ``(rows, samples)``, -infinity where the pair does not count."""
        d = measured(self.distance, self.samples.labels[rows], self.samples.labels)
        d = d if d.dtype == torch.float32 else d.double()
        d = (d / self.tie_tolerance).round() if self.tie_tolerance > 0 else d
        return exclude(d, self.samples.labelled, rows, -torch.inf)


# Masks below are numbers to multiply with: filling by a mask takes ten times as long on a CPU.


class _Ranked(NamedTuple):
    """Columns of each row by label distance, 1 for those that count, and the first and last place of equal distance."""

    order: Tensor
    counted: Tensor
    first: Tensor
    last: Tensor

    @classmethod
    def of(cls, d: Tensor) -> "_Ranked":
        """Rank label distances ``(rows, samples)``, -infinity where a pair does not count."""
        bits, order = sorted_rows(ordered_bits(d))
        return cls(order, (bits >= 0).to(d.dtype), *tied(bits))  # the bits of a distance of at least 0 are so, too

    def contrast(self, logits: Tensor, with_gradient: bool) -> tuple[Tensor, Tensor | None]:
        """Sum over j of log sum_{k: d_k >= d_j} exp(s_k) - s_j in each row, over d >= 0, and its gradient in s."""
        s, sums = logits.gather(1, self.order), _by_sums
        if not reads_values(s):
            s, sums = s.double(), _by_logarithms
        elif (lowest := float(s.amin())) < -_SAFE_EXPONENT[s.dtype]:
            s, sums = s.double(), _by_sums if lowest >= -_SAFE_EXPONENT[torch.float64] else _by_logarithms
        counted = self.counted.to(s.dtype)
        loss, gradient = sums(s, counted, self.first, self.last)
        if not with_gradient:
            return loss, None
        return loss, torch.empty_like(gradient).scatter_(1, self.order, gradient.mul_(counted))


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


def _distances(rows: Tensor, columns: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Euclidean distances, and 1 where they are not 0; by a matrix product unless float64 is asked for."""
    if dtype == torch.float64:
        length = torch.cdist(rows, columns, compute_mode="donot_use_mm_for_euclid_dist")
        return length, (length > 0).to(dtype)
    scale = rows.square().sum(1, keepdim=True) + columns.square().sum(1)
    square = torch.addmm(scale, rows, columns.T, alpha=-2)
    apart = (square > scale.mul_(1e-13)).to(dtype)
    return square.to(dtype).mul_(apart).sqrt_(), apart


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

    def of_members(self, features: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each of many models, given their features ``(members, batch, d)`` of one batch.

        Raises
        ------
        ValueError
            As :func:`rnc`.
        """
        _check_settings(self.temperature, self.tie_tolerance, self.chunk)
        samples = pairwise_samples(features[0], target, gather=False)
        distance, chunk = self.label_distance or absolute_distance, wide_chunk(self.chunk, len(target))
        kernel = _RankNContrast(samples, self.temperature, distance, self.tie_tolerance, chunk)
        return sum_of_anchors(kernel, upcast(features), samples.labelled, self.reduction)

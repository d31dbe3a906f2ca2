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

from .numerics import (
    SAFE_EXPONENT,
    Loss,
    check_count,
    check_positive,
    check_within,
    exponential,
    reads_values,
    upcast,
)
from .pairwise import (
    LabelDistance,
    PairwiseSamples,
    absolute_distance,
    add_gradient_of_products,
    chunks,
    exclude,
    measured,
    member_blocks,
    pair_memory,
    pairwise_samples,
    sum_of_anchors,
    wide_chunk,
)
from .reduction import Reduction
from .sorting import group_sizes, ordered_bits, sorted_rows

__all__ = ["RNC", "rnc"]


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
        losses, gradient = torch.empty_like(features[..., 0]), torch.zeros_like(features)
        memory = pair_memory(features, self.chunk, torch.float64, *[features.dtype] * 4)
        with torch.autocast(features.device.type, enabled=False):
            for rows in chunks(features.shape[1], self.chunk):
                ranked = _Ranked.of(self.ranks(rows), features.dtype)
                for members, (square, s, inverse, *spare) in member_blocks(features, rows, memory):
                    _distances(z[members], rows, s, inverse, spare[0], square)
                    loss, pull = ranked.contrast(s.div_(-self.temperature), spare, weights is not None)
                    losses[members, rows] = loss * share[rows]
                    if pull is not None and weights is not None:
                        of_anchor = share[rows] * weights[members, rows] / self.temperature
                        pull.mul_(inverse).mul_(of_anchor.unsqueeze(2))
                        near, of_members = z[members].to(features.dtype), gradient[members]
                        of_members[:, rows] -= pull.sum(2, keepdim=True) * near[:, rows]
                        of_members -= pull.sum(1).unsqueeze(2) * near
                        add_gradient_of_products(of_members, near, rows, pull)
        return losses, None if weights is None else gradient

    def ranks(self, rows: slice) -> Tensor:
        """Label distances ``(rows, samples)``, -infinity where the pair does not count."""
        d = measured(self.distance, self.samples.labels[rows], self.samples.labels)
        d = d if d.dtype == torch.float32 else d.double()
        d = (d / self.tie_tolerance).round() if self.tie_tolerance > 0 else d
        return exclude(d, self.samples.labelled, rows, -torch.inf)


def _distances(z: Tensor, rows: slice, length: Tensor, inverse: Tensor, spare: Tensor, square: Tensor) -> None:
    """Set ``length`` to Euclidean distances, ``inverse`` to 1 over them, 0 for samples in one place.

    By a product of matrices in float64, as one in float32 would lose half of the digits of near samples, unless float64
    is what is asked for.
    """
    if length.dtype == torch.float64:
        length.copy_(torch.cdist(z[:, rows], z, compute_mode="donot_use_mm_for_euclid_dist"))
        torch.gt(length, 0, out=inverse)
        inverse.div_(torch.sub(length, inverse, out=spare).add_(1))
        return
    norm, one = z.square().sum(2, keepdim=True), torch.ones_like(z[..., :1])
    left, right = torch.cat([-2 * z[:, rows], norm[:, rows], one[:, rows]], 2), torch.cat([z, one, norm], 2)
    length.copy_(torch.bmm(left, right.mT, out=square))
    rounding = (norm * 1e-13).to(length.dtype).add_(torch.finfo(length.dtype).tiny)
    torch.add(rounding[:, rows], rounding.mT, out=inverse)
    torch.maximum(length, inverse, out=length)
    torch.gt(length, inverse, out=inverse).mul_(torch.rsqrt(length, out=spare))
    length.mul_(inverse)


# Masks below are numbers to multiply with: filling by a mask takes ten times as long on a CPU.


class _Ranked(NamedTuple):
    """Columns of each row by label distance, the farthest first, and the place of each, counted from the nearest.

    ``size``, in the order of distance, is how many are at one distance, told at the last of them, and 0 at the others:
    a running sum up to there is one over all that are at least as far. ``counted`` is 1 for pairs that count.
    """

    order: Tensor
    place: Tensor
    size: Tensor
    counted: Tensor

    @classmethod
    def of(cls, d: Tensor, dtype: torch.dtype) -> "_Ranked":
        """Rank label distances ``(rows, samples)``, -infinity where a pair does not count."""
        bits, order = sorted_rows(~ordered_bits(d))
        counted = torch.ge(d, 0, out=torch.empty_like(d)).to(dtype)
        size = group_sizes(bits).to(dtype).mul_(bits < 0)  # ~ of the bits of a distance of at least 0
        from_nearest = torch.arange(d.shape[1], device=d.device).flip(0).expand_as(order)
        return cls(order, torch.empty_like(order).scatter_(1, order, from_nearest), size, counted)

    def contrast(self, s: Tensor, spare: list[Tensor], with_gradient: bool) -> tuple[Tensor, Tensor | None]:
        """Sum over j of log sum_{k: d_k >= d_j} exp(s_k) - s_j in each row, over d >= 0, and its gradient in s.

        Logits ``(members, rows, samples)``, and the memory of two more of these, are overwritten.
        """
        s.mul_(self.counted)
        lowest = float(s.amin()) if reads_values(s) else -torch.inf
        if lowest < -SAFE_EXPONENT[torch.float64]:
            loss, gradient = self._by_logarithms(s.double())
        elif lowest < -SAFE_EXPONENT[s.dtype]:
            loss, gradient = self._by_sums(s.double(), *(memory.double() for memory in spare))
        else:
            loss, gradient = self._by_sums(s, *spare)
        return loss.to(s.dtype), gradient.to(s.dtype) if with_gradient else None

    def _by_sums(self, s: Tensor, far_first: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
        order, place = self.order.expand_as(s), self.place.expand_as(s)
        total, e = s.sum(2), exponential(s, out=s)
        torch.gather(e, 2, order, out=far_first)
        torch.cumsum(far_first, 2, out=sums)
        loss = torch.log(sums, out=far_first).mul_(self.size).sum(2).sub_(total)
        inverse = torch.div(self.size, sums, out=sums).flip(2)
        torch.gather(torch.cumsum(inverse, 2, out=far_first), 2, place, out=sums)
        return loss, sums.mul_(e).sub_(self.counted)

    def _by_logarithms(self, s: Tensor) -> tuple[Tensor, Tensor]:
        """Do the same where exp(s) may underflow; many times slower."""
        log_sums = s.gather(2, self.order.expand_as(s)).logcumsumexp(2)
        loss = (log_sums * self.size - s).sum(2)
        log_inverse = (self.size.log() - log_sums).flip(2).logcumsumexp(2).gather(2, self.place.expand_as(s))
        return loss, log_inverse.add_(s).exp_().sub_(self.counted)


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

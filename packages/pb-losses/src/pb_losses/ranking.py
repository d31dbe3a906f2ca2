"""RankSim: the order of similarities between features should be that of similarities between labels.

Features and labels as in :mod:`pb_losses.contrastive`. Added, times a weight, to a direct loss.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from .numerics import Loss, check_choice, check_positive, upcast
from .pairwise import (
    LabelDistance,
    absolute_distance,
    add_gradient_of_products,
    measured,
    member_blocks,
    pair_memory,
    pairwise_samples,
    unit_length,
)
from .reduction import Reduction, check_reduction
from .sorting import descending_order

__all__ = ["RankSim", "ranksim"]


def ranksim(
    features: Tensor,
    target: Tensor,
    *,
    interpolation: float = 2.0,
    label_distance: LabelDistance | None = None,
    generator: torch.Generator | None = None,
    gather: bool = False,
    reduction: Reduction = "sum",
) -> Tensor:
    """Sum over i the mean square of rank(s_i) - rank(-d_i), s the cosine similarity and d the label distance.

    Ranks are descending, divided by the number of samples, ties broken by position. Samples of one label are
    represented by one of them, drawn at random. Ranks are piecewise constant: the gradient in s is that of an
    interpolation between the ranks of s and of s moved by lambda times the gradient in the ranks. So it depends on
    the weight the loss is multiplied with, and it is not the derivative of the value.

    Parameters
    ----------
    interpolation
        The papers' lambda.
    label_distance
        d; by default the sum over targets of |y_i - y_j|.
    generator
        Of the random numbers that choose representatives; the global one by default.
    gather
        In distributed training, rank the global batch (:func:`pb_losses.gather_rows`); give each process a
        generator of the same seed, else they choose different representatives.
    reduction
        Over the samples. "sum" is the paper's, and grows with the batch; "mean" does not. "none" gives 0 to the
        samples that represent nothing.

    Raises
    ------
    ValueError
        As :func:`pb_losses.rnc` for features, labels, distances and reduction; or if the interpolation is not positive.

    >>> z = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> ranksim(z, torch.tensor([1.0, 2.0, 4.0])), ranksim(z, torch.tensor([1.0, 4.0, 2.0]))
    (tensor(0.), tensor(0.2222))

    Source: Gong, Mori and Tung 2022, RankSim (arXiv 2205.15236), L_RankSim; gradient: Vlastelica et al. 2020 (ICLR),
    equation 5 and algorithm 1.
    """
    check_positive(interpolation=interpolation)
    check_reduction(reduction)
    samples = pairwise_samples(features, target, gather=gather)
    chosen = _representatives(samples.labels, samples.labelled, generator)
    z, labels = unit_length(samples.features[chosen]), samples.labels[chosen]
    losses = _of_representatives(z.unsqueeze(0), labels, interpolation, label_distance).squeeze(0)
    if reduction == "none":
        return losses.new_zeros(len(samples.labels)).index_put((chosen,), losses)
    return losses.sum() / max(len(chosen), 1) if reduction == "mean" else losses.sum()


def _of_representatives(
    z: Tensor, labels: Tensor, interpolation: float, label_distance: LabelDistance | None
) -> Tensor:
    """Return the mean square of differences in rank, given normalised features ``(members, samples, d)``."""
    similarity = -measured(label_distance or absolute_distance, labels, labels)
    order = torch.empty_like(similarity, dtype=torch.int64)
    label_ranks = _ranks(similarity, order, out=torch.empty_like(similarity)).to(z.dtype)
    losses: Tensor = _RankDistance.apply(z, label_ranks, interpolation)  # type: ignore[no-untyped-call]
    return losses


def _representatives(labels: Tensor, labelled: Tensor, generator: torch.Generator | None) -> Tensor:
    """Index of one random sample of each label, in order."""
    known = labelled.nonzero().squeeze(1)
    unique, label = _unique(labels[known])
    if len(unique) == len(known):
        return known
    device = labels.device if generator is None else generator.device
    draw = torch.randperm(len(known), generator=generator, device=device).to(labels.device)
    return known[_lowest(draw, label, len(unique))]


def _first_of_each(labels: Tensor, labelled: Tensor) -> Tensor:
    """Index of the first sample of each label, in order."""
    known = labelled.nonzero().squeeze(1)
    unique, label = _unique(labels[known])
    return known[_lowest(torch.arange(len(known), device=labels.device), label, len(unique))]


def _unique(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Different labels ``(samples, targets)``, and of each sample which it has."""
    one = labels.shape[1] == 1  # thirty times as fast
    unique, label = torch.unique(labels.squeeze(1) if one else labels, dim=None if one else 0, return_inverse=True)
    return unique, label


def _lowest(draw: Tensor, label: Tensor, n_labels: int) -> Tensor:
    """Mark the sample with the lowest of different numbers among those of its label."""
    lowest = draw.new_full((n_labels,), len(draw)).scatter_reduce(0, label, draw, "amin")
    return draw == lowest[label]


def _ranks(x: Tensor, order: Tensor, out: Tensor) -> Tensor:
    """Set ``out`` to the descending ranks in each row, from 1/n to 1; ``x``, and integers for the order, are lost."""
    n = x.shape[-1]
    rank = torch.arange(1, n + 1, device=x.device, dtype=x.dtype) / n
    return out.scatter_(-1, descending_order(x, order), rank.expand_as(x))


class _RankDistance(Function):
    """Mean squares ``(members, samples)`` of ranks of z z' less those of labels; a few members at a time."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, label_ranks: Tensor, interpolation: float) -> Tensor:
        n, known = z.shape[1], z.detach()  # old compilers of torch would differentiate what is done here
        ranks, losses = known.new_empty(len(z), *label_ranks.shape), torch.empty_like(known[..., 0])
        memory = pair_memory(known, n, torch.int64, z.dtype)
        with torch.autocast(z.device.type, enabled=False):
            for members, (order, s) in member_blocks(known, slice(0, n), memory):
                torch.bmm(known[members], known[members].mT, out=s)
                rank = _ranks(s, order, out=ranks[members])
                losses[members] = torch.sub(rank, label_ranks, out=s).square_().sum(2) / max(n, 1)
        ctx.save_for_backward(z, label_ranks, ranks)
        ctx.interpolation = interpolation
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        z, label_ranks, ranks = ctx.saved_tensors
        n, gradient = z.shape[1], torch.zeros_like(z)
        weights = grads[0].unsqueeze(2) * (2 * ctx.interpolation / max(n, 1))
        memory = pair_memory(z, n, torch.int64, z.dtype, z.dtype)
        with torch.autocast(z.device.type, enabled=False):
            for members, (order, pushed, s) in member_blocks(z, slice(0, n), memory):
                own, rank = z[members], ranks[members]
                torch.sub(rank, label_ranks, out=pushed).mul_(weights[members])
                pushed.add_(torch.bmm(own, own.mT, out=s))
                of_product = _ranks(pushed, order, out=s).sub_(rank).div_(ctx.interpolation)
                add_gradient_of_products(gradient[members], own, slice(0, n), of_product)
        return gradient, None, None


@dataclass(eq=False)
class RankSim(Loss):
    """Module of :func:`ranksim`.

    Raises
    ------
    ValueError
        When called, as :func:`ranksim`.
    """

    interpolation: float = 2.0
    label_distance: LabelDistance | None = None
    generator: torch.Generator | None = None
    gather: bool = False
    reduction: Reduction = "sum"

    def forward(self, features: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return ranksim(
            features,
            target,
            interpolation=self.interpolation,
            label_distance=self.label_distance,
            generator=self.generator,
            gather=self.gather,
            reduction=self.reduction,
        )

    def of_members(self, features: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each of many models, given their features ``(members, batch, d)`` of one batch.

        The first sample of each label represents it: a model's loss depends on nothing but its batch, which training
        draws at random.

        Raises
        ------
        ValueError
            As :func:`ranksim`; or if the reduction is "none".
        """
        check_positive(interpolation=self.interpolation)
        check_choice("reduction", self.reduction, ("mean", "sum"))
        samples = pairwise_samples(features[0], target, gather=False)
        chosen = _first_of_each(samples.labels, samples.labelled)
        z = unit_length(upcast(features)[:, chosen])
        losses = _of_representatives(z, samples.labels[chosen], self.interpolation, self.label_distance).sum(1)
        return losses / max(len(chosen), 1) if self.reduction == "mean" else losses

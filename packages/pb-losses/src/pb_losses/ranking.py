"""RankSim: the order of similarities between features should be that of similarities between labels.

Features and labels as in :mod:`pb_losses.contrastive`. Added, times a weight, to a direct loss.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from .numerics import Loss, check_positive
from .pairwise import LabelDistance, absolute_distance, measured, pairwise_samples
from .reduction import Reduction, check_reduction

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

    Source: Gong, Mori and Tung 2022, RankSim (arXiv 2205.15236), L_RankSim; gradient: Vlastelica et al. 2020 (arXiv
    1912.02175).
    """
    check_positive(interpolation=interpolation)
    check_reduction(reduction)
    samples = pairwise_samples(features, target, gather=gather)
    chosen = _representatives(samples.labels, samples.labelled, generator)
    z, labels = F.normalize(samples.features[chosen], dim=1), samples.labels[chosen]
    label_ranks = _ranks(-measured(label_distance or absolute_distance, labels, labels)).to(z.dtype)
    with torch.autocast(z.device.type, enabled=False):
        ranks: Tensor = _InterpolatedRanks.apply(z @ z.T, interpolation)  # type: ignore[no-untyped-call]
    losses = (ranks - label_ranks).square().sum(1) / max(len(chosen), 1)
    if reduction == "none":
        return losses.new_zeros(len(samples.labels)).index_put((chosen,), losses)
    return losses.sum() / max(len(chosen), 1) if reduction == "mean" else losses.sum()


def _representatives(labels: Tensor, labelled: Tensor, generator: torch.Generator | None) -> Tensor:
    """Index of one random sample of each label, in order."""
    known = labelled.nonzero().squeeze(1)
    unique, label = torch.unique(labels[known], dim=0, return_inverse=True)
    if len(unique) == len(known):
        return known
    device = labels.device if generator is None else generator.device
    draw = torch.randperm(len(known), generator=generator, device=device).to(labels.device)
    lowest = draw.new_full((len(unique),), len(known)).scatter_reduce(0, label, draw, "amin")
    return known[draw == lowest[label]]


def _ranks(x: Tensor) -> Tensor:
    """Descending ranks of each row, from 1/n to 1."""
    order = x.argsort(dim=1, descending=True, stable=True)
    rank = torch.arange(1, x.shape[1] + 1, device=x.device, dtype=x.dtype).expand_as(x)
    return torch.empty_like(x).scatter_(1, order, rank) / x.shape[1]


class _InterpolatedRanks(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, interpolation: float) -> Tensor:
        ranks = _ranks(x)
        ctx.save_for_backward(x, ranks)
        ctx.interpolation = interpolation
        return ranks

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        x, ranks = ctx.saved_tensors
        moved = _ranks(x + ctx.interpolation * grads[0])
        return (moved - ranks) / ctx.interpolation, None


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

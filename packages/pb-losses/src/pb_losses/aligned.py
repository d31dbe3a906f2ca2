"""Regression losses that align predictions with targets over the batch: FAR (also called GAR) and MAE + Pearson.

Predictions p and targets y ``(batch,)`` or ``(batch, targets)``, errors e = p - y. For each target, over
the samples at which it is observed (not NaN):

- direction, 1 - corr(p, y), in half the mean square of the difference of z-scores: 0 for any increasing line;
- value, mean |e|;
- magnitude, Var(e) = half the mean of (e_i - e_j)^2: 0 for any constant offset.

Variances divide by the number of samples. A target that is constant in the batch has no direction, and a single
sample has neither direction nor magnitude: such terms are left out rather than guessed. Standard deviations are
floored at max(1e-7, 10 eps |mean|), eps the precision of the type, so that collapsed predictions give finite
gradients.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from .gather import gather_rows
from .moments import Moments, settled
from .numerics import Loss, check_choice, check_positive
from .reduction import Reduction, check_reduction, reduce, regression_inputs

__all__ = ["FAR", "AlignmentTerms", "MAEPearson", "alignment_terms", "far", "mae_pearson"]

Form = Literal["log", "exp"]

Aggregate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Takes terms ``(3, targets)`` and 1 or 0 for defined or not; returns losses ``(targets,)`` or ``(1,)``, gradient."""


class AlignmentTerms(NamedTuple):
    """Direction, value and magnitude, ``(targets,)`` each."""

    direction: Tensor
    value: Tensor
    magnitude: Tensor


def alignment_terms(prediction: Tensor, target: Tensor, *, reference_compatible: bool = False) -> AlignmentTerms:
    """Return 1 - corr(p, y), mean |e| and Var(e) of each target, without gradient; NaN where the batch has none.

    Raises
    ------
    ValueError
        If shapes differ or have more than two axes, the batch is empty, or predictions are not floating point.

    >>> alignment_terms(torch.tensor([0.0, 2.0, 4.0]), torch.tensor([1.0, 2.0, 3.0])).magnitude
    tensor([0.6667])

    Source: Zhu et al. 2024, Function Aligned Regression (arXiv 2402.06104): the three losses it aggregates. That the
    loss on differences of pairs is Var(e) is theorem 1 of Zhu, Yang and Jerby 2025 (ICML, PMLR 267).
    """
    moments = Moments.of(*_columns(prediction.detach(), target.detach()))
    values, defined = moments.terms(reference_compatible=reference_compatible)
    return AlignmentTerms(*values.masked_fill_(defined == 0, torch.nan))


def far(
    prediction: Tensor,
    target: Tensor,
    *,
    alpha: float = 1.0,
    form: Form = "log",
    per_target: bool = False,
    eps: float = 1e-7,
    gather: bool = False,
    reference_compatible: bool = False,
    reduction: Reduction = "mean",
) -> Tensor:
    """Aggregate direction, value and magnitude (see above) as alpha log( (1/3) sum_i L_i^(1/alpha) ).

    The logarithm of a power mean: the largest of the three rules as alpha -> 0, their geometric mean as alpha ->
    infinity. With large alpha the loss does not care about the unit of the target; with alpha <= 1 on targets of
    large scale the variance term rules, so standardise the targets or take alpha > 1.

    Parameters
    ----------
    alpha
        Positive; how evenly the three are weighed.
    form
        "log", or "exp" for the power mean itself: same minimiser, gradient times the power mean.
    per_target
        Aggregate each target on its own, then reduce over the targets, so that no target rules by its scale. By
        default each term is averaged over the targets first, as published.
    eps
        Added to each term, so that a perfect fit is finite.
    gather
        In distributed training, use the global batch (:func:`pb_losses.gather_rows`): statistics of shards differ
        from it.
    reference_compatible
        Use standard deviations of n - 1 and half the variance, as the authors' code does: direction is (n-1)/n of its
        formula and magnitude half of it. The value is still the true one, where their code drops a constant.
    reduction
        Over the targets, with ``per_target``; otherwise there is one value and all are equal, "none" included.

    Raises
    ------
    ValueError
        As :func:`alignment_terms`; or if alpha or eps is not positive and finite, or the form or reduction unknown.

    >>> far(torch.tensor([0.0, 2.0, 4.0]), torch.tensor([1.0, 2.0, 3.0]), form="exp")
    tensor(0.4444)

    Source: Zhu et al. 2024, Function Aligned Regression (arXiv 2402.06104); published as Zhu, Yang and Jerby 2025,
    Gradient Aligned Regression via Pairwise Losses (ICML, PMLR 267), aggregated with the KL divergence.
    """
    check_positive(alpha=alpha, eps=eps)
    check_choice("form", form, ("log", "exp"))
    check_reduction(reduction)
    if gather:
        prediction, target = gather_rows(prediction), gather_rows(target)
    aggregate = partial(_power_mean, alpha=alpha, form=form, eps=eps, per_target=per_target)
    values, known = _aggregated(prediction, target, aggregate, reference_compatible)
    if per_target:
        return reduce(values, known, reduction)
    return values.squeeze(0) if known is None else values.squeeze(0) * known.any()


def mae_pearson(prediction: Tensor, target: Tensor, *, gather: bool = False, reduction: Reduction = "mean") -> Tensor:
    """Absolute error and correlation, (1 - b) mean |e| + b (1 - corr), with b = (1 - corr) / 2 held constant.

    The worse the correlation, the more it weighs. Each target is summed up on its own, then reduced over the
    targets; one without a direction in the batch counts its absolute error.

    Parameters
    ----------
    gather
        See :func:`far`.
    reduction
        Over the targets.

    Raises
    ------
    ValueError
        As :func:`alignment_terms`; or if the reduction is unknown.

    >>> mae_pearson(torch.tensor([0.0, 2.0, 4.0]), torch.tensor([1.0, 2.0, 3.0]))
    tensor(0.6667)

    Source: Zhu et al. 2024, Function Aligned Regression (arXiv 2402.06104), the adaptive baseline of its experiments.
    """
    if gather:
        prediction, target = gather_rows(prediction), gather_rows(target)
    values, known = _aggregated(prediction, target, _mae_and_direction, False)
    return reduce(values, known, reduction)


def _power_mean(
    terms: Tensor, defined: Tensor, *, alpha: float, form: Form, eps: float, per_target: bool
) -> tuple[Tensor, Tensor]:
    count = defined.sum(1, keepdim=True)
    if not per_target:
        defined, count = count.clamp(max=1), count.clamp_(min=1)
        terms = terms.sum(1, keepdim=True) / count
    shifted = terms + eps
    scaled = settled(shifted.log().div_(alpha).add_((defined / defined.sum(0)).log_()))
    log_share = settled(scaled.log_softmax(0))
    value = (scaled[1] - log_share[1]).mul_(alpha)
    gradient = log_share.exp_().div_(shifted)
    if form == "exp":
        value = value.exp_()
        gradient = gradient.mul_(value)
    return value, settled(gradient if per_target else gradient / count)


def _mae_and_direction(terms: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
    direction, value, magnitude = terms.unbind(0)
    weight = direction / 2
    return (1 - weight) * value + weight * direction, torch.stack([weight, 1 - weight, torch.zeros_like(magnitude)])


def _columns(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """Check predictions and targets and lay them out ``(batch, targets)``."""
    prediction, target, mask = regression_inputs(prediction, target)
    if prediction.ndim > 2:
        msg = f"predictions of shape {tuple(prediction.shape)} were given; give (batch,) or (batch, targets)."
        raise ValueError(msg)
    if prediction.ndim == 2:
        return prediction, target, mask
    return prediction.unsqueeze(1), target.unsqueeze(1), None if mask is None else mask.unsqueeze(1)


def _aggregated(
    prediction: Tensor, target: Tensor, aggregate: Aggregate, reference_compatible: bool
) -> tuple[Tensor, Tensor | None]:
    """Losses, and which targets are observed at all (None for all)."""
    values, known = _Aggregated.apply(prediction, target, aggregate, reference_compatible)  # type: ignore[no-untyped-call]
    return values, known


class _Aggregated(Function):
    """Aggregated terms with their gradient in closed form, made in one go: autograd takes three times as long."""

    @staticmethod
    def forward(
        ctx: Any,
        prediction: Tensor,
        target: Tensor,
        aggregate: Aggregate,
        reference_compatible: bool,
    ) -> tuple[Tensor, Tensor | None]:
        moments = Moments.of(*_columns(prediction, target))
        terms, defined = moments.terms(reference_compatible=reference_compatible)
        value, of_terms = aggregate(terms, defined)
        if reference_compatible:
            of_terms = of_terms * moments.published_factors()
        to_prediction, to_target = ctx.needs_input_grad[:2]
        ctx.save_for_backward(
            moments.gradient_in_prediction(of_terms).view(prediction.shape) if to_prediction else None,
            moments.gradient_in_target(of_terms).view(target.shape) if to_target else None,
        )
        if isinstance(moments.n, int):
            return value, None
        known = moments.n > 0
        ctx.mark_non_differentiable(known)
        return value, known

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        to_prediction, to_target = (None if saved is None else saved * grads[0] for saved in ctx.saved_tensors)
        return to_prediction, to_target, None, None


@dataclass(eq=False)
class FAR(Loss):
    """Module of :func:`far`; the registry also knows it as ``gar``.

    Raises
    ------
    ValueError
        When called, as :func:`far`.
    """

    alpha: float = 1.0
    form: Form = "log"
    per_target: bool = False
    eps: float = 1e-7
    gather: bool = False
    reference_compatible: bool = False
    reduction: Reduction = "mean"

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return far(
            prediction,
            target,
            alpha=self.alpha,
            form=self.form,
            per_target=self.per_target,
            eps=self.eps,
            gather=self.gather,
            reference_compatible=self.reference_compatible,
            reduction=self.reduction,
        )


@dataclass(eq=False)
class MAEPearson(Loss):
    """Module of :func:`mae_pearson`.

    Raises
    ------
    ValueError
        When called, as :func:`mae_pearson`.
    """

    gather: bool = False
    reduction: Reduction = "mean"

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return mae_pearson(prediction, target, gather=self.gather, reduction=self.reduction)

"""Regression losses that align predictions with targets over the batch: FAR (also called GAR) and MAE + Pearson.

Predictions p and targets y ``(batch,)`` or ``(batch, targets)``, errors e = p - y. For each target, over the
samples at which
it is observed (not NaN):

- direction, 1 - corr(p, y), in half the mean square of the difference of z-scores: 0 for any increasing line;
- value, mean |e|;
- magnitude, Var(e) = half the mean of (e_i - e_j)^2: 0 for any constant offset.

Variances divide by the number of samples. A target that is constant in the batch has no direction, and a single
sample has neither direction nor magnitude: such terms are left out rather than guessed. Standard deviations are
floored at max(1e-7, 10 eps |mean|), eps the precision of the type, so that collapsed predictions give finite
gradients.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from .gather import gather_rows
from .numerics import Loss, check_choice, check_positive
from .reduction import Reduction, check_reduction, reduce, regression_inputs

__all__ = ["FAR", "AlignmentTerms", "MAEPearson", "alignment_terms", "far", "mae_pearson"]

Form = Literal["log", "exp"]

_FLOOR = 1e-7


class AlignmentTerms(NamedTuple):
    """Direction, value and magnitude of each target, stacked ``(3, targets)``, and which of them the batch defines."""

    values: Tensor
    defined: Tensor

    def averaged(self) -> "AlignmentTerms":
        """Average each term over the targets that define it, to ``(3, 1)``."""
        count = self.defined.sum(1, keepdim=True)
        return AlignmentTerms(self.values.sum(1, keepdim=True) / count.clamp(min=1), count > 0)


def alignment_terms(prediction: Tensor, target: Tensor, *, reference_compatible: bool = False) -> AlignmentTerms:
    """Return 1 - corr(p, y), mean |e| and Var(e) of each target, 0 where undefined.

    >>> values, defined = alignment_terms(torch.tensor([0.0, 2.0, 4.0]), torch.tensor([1.0, 2.0, 3.0]))
    >>> values.squeeze(1)
    tensor([0.0000, 0.6667, 0.6667])

    Source: Zhu et al. 2024, Function Aligned Regression (arXiv 2402.06104): the three losses it aggregates.
    """
    prediction, target, mask = regression_inputs(prediction, target)
    if prediction.ndim > 2:
        msg = f"predictions of shape {tuple(prediction.shape)} were given; give (batch,) or (batch, targets)."
        raise ValueError(msg)
    columns = (x if x is None else x.reshape(len(x), -1) for x in (prediction, target, mask))
    direction, value, magnitude, count, has_direction = _Alignment.apply(*columns)  # type: ignore[no-untyped-call]
    if reference_compatible:
        direction, magnitude = direction * ((count - 1) / count.clamp(min=1)), magnitude / 2
    defined = torch.stack([has_direction, count > 0, count > 1])
    return AlignmentTerms(torch.stack([direction, value, magnitude]), defined)


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
        If shapes differ, the batch is empty, alpha is not positive, or a choice is unknown.

    >>> far(torch.tensor([0.0, 2.0, 4.0]), torch.tensor([1.0, 2.0, 3.0]), form="exp")
    tensor(0.4444)

    Source: Zhu et al. 2024, Function Aligned Regression (arXiv 2402.06104); also Gradient Aligned Regression.
    """
    check_positive(alpha=alpha, eps=eps)
    check_choice("form", form, ("log", "exp"))
    check_reduction(reduction)
    if gather:
        prediction, target = gather_rows(prediction), gather_rows(target)
    terms = alignment_terms(prediction, target, reference_compatible=reference_compatible)
    values = _power_mean(terms if per_target else terms.averaged(), alpha, form, eps)
    if not per_target:
        return values.squeeze(0)
    return reduce(values, terms.defined[1], reduction)


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

    >>> mae_pearson(torch.tensor([0.0, 2.0, 4.0]), torch.tensor([1.0, 2.0, 3.0]))
    tensor(0.6667)

    Source: Zhu et al. 2024, Function Aligned Regression (arXiv 2402.06104), the adaptive baseline of its experiments.
    """
    if gather:
        prediction, target = gather_rows(prediction), gather_rows(target)
    terms = alignment_terms(prediction, target)
    direction, value, _ = terms.values.unbind(0)
    weight = direction.detach() / 2
    return reduce((1 - weight) * value + weight * direction, terms.defined[1], reduction)


def _power_mean(terms: AlignmentTerms, alpha: float, form: Form, eps: float) -> Tensor:
    scaled = torch.log(terms.values + eps) / alpha
    scaled = torch.where(terms.defined, scaled, torch.full_like(scaled, -torch.inf))
    defined = terms.defined[1]  # without an observed target nothing is defined
    scaled = torch.where(defined, scaled, torch.zeros_like(scaled))
    values = alpha * (scaled.logsumexp(0) - terms.defined.to(scaled.dtype).sum(0).clamp(min=1).log())
    values = values if form == "log" else values.exp()
    return torch.where(defined, values, torch.zeros_like(values))


class _Alignment(Function):
    """The three terms with their gradient in closed form: autograd would take three times as many passes."""

    @staticmethod
    def forward(ctx: Any, prediction: Tensor, target: Tensor, mask: Tensor | None) -> tuple[Tensor, ...]:
        weight = None if mask is None else mask.to(prediction.dtype)
        count = prediction.new_full(prediction.shape[1:], len(prediction)) if weight is None else weight.sum(0)
        safe_count = count.clamp(min=1)
        error = prediction - target
        value = error.abs().sum(0) / safe_count
        error_centred, magnitude, _, _ = _standardised(error, weight, safe_count)
        p, _, p_scale, p_varies = _standardised(prediction, weight, safe_count)
        y, _, y_scale, y_varies = _standardised(target, weight, safe_count)
        p.mul_(p_scale)
        difference = torch.addcmul(p, y, y_scale, value=-1)
        direction = _mean_square(difference, safe_count) / 2 * y_varies
        ctx.save_for_backward(error, error_centred, p, difference, direction, safe_count)
        ctx.scales = p_scale * y_varies, y_scale * y_varies, p_varies
        ctx.weight = weight
        ctx.mark_non_differentiable(count, y_varies)
        return direction, value, magnitude, count, y_varies

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        error, error_centred, p, difference, direction, count = ctx.saved_tensors
        of_direction, of_value, of_magnitude = (grad / count for grad in grads[:3])
        p_scale, y_scale, p_varies = ctx.scales
        shared = error.sign().mul_(of_value).addcmul_(error_centred, 2 * of_magnitude)
        if ctx.weight is not None:
            shared = shared * ctx.weight
        to_target = None
        if ctx.needs_input_grad[1]:
            y = p - difference
            to_target = -shared - (difference + direction * y) * (of_direction * y_scale)
        to_prediction = shared.addcmul_(difference, of_direction * p_scale)
        to_prediction = to_prediction.addcmul_(p, -of_direction * p_scale * direction * p_varies)
        return to_prediction, to_target, None


def _standardised(x: Tensor, weight: Tensor | None, count: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    mean = x.sum(0) / count
    centred = x - mean
    if weight is not None:
        centred = centred * weight
    variance = _mean_square(centred, count)
    floor = (10 * torch.finfo(x.dtype).eps * mean.abs()).clamp(min=_FLOOR)
    deviation = variance.sqrt()
    return centred, variance, 1 / deviation.maximum(floor), deviation > floor


def _mean_square(x: Tensor, count: Tensor) -> Tensor:
    return x.square().sum(0) / count


@dataclass(eq=False)
class FAR(Loss):
    """Module of :func:`far`; the registry also knows it as ``gar``."""

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
    """Module of :func:`mae_pearson`."""

    gather: bool = False
    reduction: Reduction = "mean"

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return mae_pearson(prediction, target, gather=self.gather, reduction=self.reduction)

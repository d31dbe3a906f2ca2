"""Losses of one prediction and one target at a time: MAE, MSE, Huber, weighted MSE.

All take predictions and targets of one shape, ``(batch,)`` or ``(batch, targets)``, with e = prediction - target in the
unit of the target. A NaN target is missing and counts for nothing. Half precision is computed and returned in float32.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from .numerics import Loss, check_positive, reads_values
from .reduction import Reduction, reduce, regression_inputs

__all__ = ["MAE", "MSE", "WMSE", "Huber", "huber", "mae", "mse", "wmse"]


def mae(prediction: Tensor, target: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    r"""Mean absolute error, mean |e|; its gradient at e = 0 is 0.

    Raises
    ------
    ValueError
        If shapes differ, the batch is empty, predictions are not floating point, or the reduction is unknown.

    >>> mae(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 4.0]))
    tensor(1.5000)
    """
    prediction, target, mask = regression_inputs(prediction, target)
    return reduce(F.l1_loss(prediction, target, reduction="none"), mask, reduction)


def mse(prediction: Tensor, target: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Mean squared error, mean e^2 (no factor 1/2).

    Raises
    ------
    ValueError
        As :func:`mae`.

    >>> mse(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 4.0]))
    tensor(2.5000)
    """
    prediction, target, mask = regression_inputs(prediction, target)
    return reduce(F.mse_loss(prediction, target, reduction="none"), mask, reduction)


def huber(prediction: Tensor, target: Tensor, *, delta: float = 1.0, reduction: Reduction = "mean") -> Tensor:
    """Huber's loss: e^2/2 where |e| <= delta, else delta (|e| - delta/2).

    ``torch.nn.SmoothL1Loss(beta=delta)``, called Huber in some papers, is this divided by delta: a learning rate tuned
    for one does not carry over to the other unless delta = 1.

    Parameters
    ----------
    delta
        Error at which the square turns into a line, in the unit of the target.

    Raises
    ------
    ValueError
        As :func:`mae`; or if delta is not positive and finite.

    >>> huber(torch.tensor([0.5, 3.0]), torch.tensor([0.0, 0.0]), reduction="none")
    tensor([0.1250, 2.5000])

    Source: Huber 1964, Robust Estimation of a Location Parameter.
    """
    check_positive(delta=delta)
    prediction, target, mask = regression_inputs(prediction, target)
    return reduce(F.huber_loss(prediction, target, delta=delta, reduction="none"), mask, reduction)


def wmse(prediction: Tensor, target: Tensor, weights: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Squared error averaged with given weights, sum w e^2 / sum w over the observed targets.

    Parameters
    ----------
    weights
        Non-negative, ``(targets,)`` or the predictions' own shape, e.g. one weight per gene.
    reduction
        "sum" and "none" return w e^2, not divided by the weights.

    Raises
    ------
    ValueError
        As :func:`mae`; or if weights are of neither shape, or (read on the CPU only) negative or NaN.

    >>> wmse(torch.tensor([[1.0, 3.0]]), torch.zeros(1, 2), torch.tensor([3.0, 1.0]))
    tensor(3.)

    Source: Mejia et al. 2025, Diversity by Design, the weighted MSE.
    """
    weights = _checked_weights(weights, prediction)
    prediction, target, mask = regression_inputs(prediction, target)
    weights = weights.to(prediction)
    values = weights * F.mse_loss(prediction, target, reduction="none")
    if reduction != "mean":
        return reduce(values, mask, reduction)
    weight_of_observed = reduce(weights.expand_as(values), mask, "sum")
    return reduce(values, mask, "sum") / weight_of_observed.clamp(min=torch.finfo(values.dtype).tiny)


def _checked_weights(weights: Tensor, prediction: Tensor) -> Tensor:
    if weights.shape not in (prediction.shape, prediction.shape[1:]) or weights.ndim == 0:
        msg = (
            f"weights of shape {tuple(weights.shape)} were given for predictions of shape {tuple(prediction.shape)}; "
            f"give {tuple(prediction.shape[1:])} (one a target) or {tuple(prediction.shape)}."
        )
        raise ValueError(msg)
    if reads_values(weights) and not bool((weights >= 0).all()):
        msg = "negative or NaN weights were given; give weights of at least 0."
        raise ValueError(msg)
    return weights


@dataclass(eq=False)
class MAE(Loss):
    """Module of :func:`mae`.

    Raises
    ------
    ValueError
        When called, as :func:`mae`.
    """

    reduction: Reduction = "mean"

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return mae(prediction, target, reduction=self.reduction)


@dataclass(eq=False)
class MSE(Loss):
    """Module of :func:`mse`.

    Raises
    ------
    ValueError
        When called, as :func:`mse`.
    """

    reduction: Reduction = "mean"

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return mse(prediction, target, reduction=self.reduction)


@dataclass(eq=False)
class Huber(Loss):
    """Module of :func:`huber`.

    Raises
    ------
    ValueError
        When called, as :func:`huber`.
    """

    delta: float = 1.0
    reduction: Reduction = "mean"

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return huber(prediction, target, delta=self.delta, reduction=self.reduction)


class WMSE(Loss):
    """Module of :func:`wmse`; the weights are a buffer, so they move with the module and are saved with it.

    Raises
    ------
    TypeError
        If the weights are a list, an array or a number.
    ValueError
        When called, as :func:`wmse`.
    """

    weights: Tensor

    def __init__(self, weights: Tensor, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.register_buffer("weights", weights)
        self.reduction: Reduction = reduction

    def extra_repr(self) -> str:
        """Return the settings that ``repr`` shows."""
        return f"weights={tuple(self.weights.shape)}, reduction={self.reduction!r}"

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return wmse(prediction, target, self.weights, reduction=self.reduction)

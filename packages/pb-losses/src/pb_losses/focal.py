"""Losses that down-weight small errors: focal-MAE and focal-MSE.

Inputs and notation as in :mod:`pb_losses.pointwise`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .numerics import Loss, check_positive, check_within
from .reduction import Reduction, reduce, regression_inputs

__all__ = ["FocalMAE", "FocalMSE", "focal_mae", "focal_mse"]


def focal_mae(
    prediction: Tensor, target: Tensor, *, beta: float = 0.2, gamma: float = 1.0, reduction: Reduction = "mean"
) -> Tensor:
    """Absolute error that down-weights small errors, mean |e| tanh(beta |e| / 2)^gamma.

    Small errors cost about beta e^2 / 2 (gamma = 1), large ones |e|. The published
    2 sigmoid(beta |e|) - 1 is this tanh.

    Parameters
    ----------
    beta
        How fast an error leaves the down-weighted zone, per unit of target.
    gamma
        Strength of the down-weighting; 0 gives MAE.

    Raises
    ------
    ValueError
        As :func:`pb_losses.mae`; or if beta is not positive or gamma is negative, or either is not finite.

    >>> focal_mae(torch.tensor([0.0, 100.0]), torch.tensor([0.0, 0.0]), reduction="none")
    tensor([  0., 100.])

    Source: Yang et al. 2021, Delving into Deep Imbalanced Regression, Focal-R (section 4, baselines).
    """
    return _focal(prediction, target, 1, beta, gamma, reduction)


def focal_mse(
    prediction: Tensor, target: Tensor, *, beta: float = 0.2, gamma: float = 1.0, reduction: Reduction = "mean"
) -> Tensor:
    """Squared error that down-weights small errors, mean e^2 tanh(beta |e| / 2)^gamma.

    Small errors cost about beta |e|^3 / 2 (gamma = 1), large ones e^2. The modulator takes |e|, not e^2.

    Parameters
    ----------
    beta
        How fast an error leaves the down-weighted zone, per unit of target.
    gamma
        Strength of the down-weighting; 0 gives MSE.

    Raises
    ------
    ValueError
        As :func:`pb_losses.mae`; or if beta is not positive or gamma is negative, or either is not finite.

    >>> focal_mse(torch.tensor([0.0, 100.0]), torch.tensor([0.0, 0.0]), reduction="none")
    tensor([    0., 10000.])

    Source: Yang et al. 2021, Delving into Deep Imbalanced Regression, Focal-R (section 4, baselines).
    """
    return _focal(prediction, target, 2, beta, gamma, reduction)


def _focal(prediction: Tensor, target: Tensor, power: int, beta: float, gamma: float, reduction: Reduction) -> Tensor:
    check_positive(beta=beta)
    check_within("gamma", gamma, low=0.0)
    prediction, target, mask = regression_inputs(prediction, target)
    error = (prediction - target).abs()
    if 0 < gamma < 1:  # 0^(gamma - 1) is infinite: keep it out of the graph, its product with the error is 0
        at_zero = error == 0
        error = torch.where(at_zero, torch.ones_like(error), error)
        values = error**power * torch.tanh(beta / 2 * error) ** gamma
        return reduce(torch.where(at_zero, torch.zeros_like(values), values), mask, reduction)
    modulator = torch.tanh(beta / 2 * error)
    return reduce(error**power * (modulator if gamma == 1 else modulator**gamma), mask, reduction)


@dataclass(eq=False)
class FocalMAE(Loss):
    """Module of :func:`focal_mae`.

    Raises
    ------
    ValueError
        When called, as :func:`focal_mae`.
    """

    beta: float = 0.2
    gamma: float = 1.0
    reduction: Reduction = "mean"

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return focal_mae(prediction, target, beta=self.beta, gamma=self.gamma, reduction=self.reduction)


@dataclass(eq=False)
class FocalMSE(Loss):
    """Module of :func:`focal_mse`.

    Raises
    ------
    ValueError
        When called, as :func:`focal_mse`.
    """

    beta: float = 0.2
    gamma: float = 1.0
    reduction: Reduction = "mean"

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return focal_mse(prediction, target, beta=self.beta, gamma=self.gamma, reduction=self.reduction)

"""Losses of the label's probability that stay bounded, and sums of them: MAE, Brier, AGCE, AUL, RLL, active + passive.

Inputs and notation as in :mod:`pb_losses.entropy`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from .entropy import nce, rce
from .labels import classification_inputs
from .numerics import Loss, check_above, check_choice, check_positive, check_within
from .reduction import Reduction, reduce

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["AGCE", "APL", "AUL", "RLL", "Brier", "MAEClassification", "agce", "apl", "aul", "brier", "mae_cls", "rll"]

Passive = Literal["rce", "agce", "aul"]


def mae_cls(logits: Tensor, target: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Absolute error of the probabilities, sum_k |y_k - P_k|; for a class index 2 (1 - P_c).

    The most robust to noisy labels, and the slowest to fit.

    Raises
    ------
    ValueError
        As :func:`pb_losses.ce`.

    >>> mae_cls(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
    tensor(1.)

    Source: Ghosh et al. 2017, Robust Loss Functions under Label Noise (arXiv 1712.09482).
    """
    labels = classification_inputs(logits, target)
    if labels.classes is not None:
        values = labels.of_log_probability(lambda log_p: -2 * torch.expm1(log_p))
    else:
        values = (labels.one_hot() - labels.logits.softmax(-1)).abs().sum(-1)
    return reduce(values, labels.mask, reduction)


def brier(logits: Tensor, target: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Squared error of the probabilities, sum_k (y_k - P_k)^2, between 0 and 2.

    Raises
    ------
    ValueError
        As :func:`pb_losses.ce`.

    >>> brier(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
    tensor(0.5000)

    Source: Brier 1950, Verification of Forecasts Expressed in Terms of Probability, equation 2.
    """
    labels = classification_inputs(logits, target)
    values = (labels.one_hot() - labels.logits.softmax(-1)).square().sum(-1)
    return reduce(values, labels.mask, reduction)


def agce(logits: Tensor, target: Tensor, *, a: float = 3.0, q: float = 1.5, reduction: Reduction = "mean") -> Tensor:
    """Asymmetric generalised cross entropy, ((a + 1)^q - (a + P_c)^q) / q.

    Parameters
    ----------
    a, q
        Both positive; a moves the loss from GCE's shape (a -> 0) towards a straight line in P_c.

    Raises
    ------
    ValueError
        As :func:`pb_losses.ce`; or if a or q is not positive and finite.

    >>> agce(torch.tensor([[0.0, 0.0]]), torch.tensor([1]), a=1.0, q=1.0)
    tensor(0.5000)

    Source: Zhou et al. 2021, Asymmetric Loss Functions for Learning with Noisy Labels (arXiv 2106.03110).
    """
    check_positive(a=a, q=q)
    labels = classification_inputs(logits, target)
    values = labels.of_log_probability(lambda log_p: ((a + 1) ** q - (a + log_p.exp()) ** q) / q)
    return reduce(values, labels.mask, reduction)


def aul(logits: Tensor, target: Tensor, *, a: float = 6.0, q: float = 1.5, reduction: Reduction = "mean") -> Tensor:
    """Asymmetric unhinged loss, ((a - P_c)^q - (a - 1)^q) / q.

    Parameters
    ----------
    a, q
        a above 1, q positive.

    Raises
    ------
    ValueError
        As :func:`pb_losses.ce`; or if a is not above 1 or q is not positive, or either is not finite.

    >>> aul(torch.tensor([[0.0, 0.0]]), torch.tensor([1]), a=2.0, q=1.0)
    tensor(0.5000)

    Source: Zhou et al. 2021, Asymmetric Loss Functions for Learning with Noisy Labels (arXiv 2106.03110).
    """
    check_positive(q=q)
    check_above("a", a, 1.0)
    labels = classification_inputs(logits, target)
    values = labels.of_log_probability(lambda log_p: ((a - log_p.exp()) ** q - (a - 1) ** q) / q)
    return reduce(values, labels.mask, reduction)


def rll(logits: Tensor, target: Tensor, *, a: float = 1.0, reduction: Reduction = "mean") -> Tensor:
    """Robust log loss, -log(a + P_c) + sum_{j != c} log(a + P_j) / (classes - 1); 0 in sum over all labels.

    Parameters
    ----------
    a
        Positive; the larger, the flatter.

    Raises
    ------
    ValueError
        As :func:`pb_losses.ce`; or if a is not positive and finite.

    >>> rll(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
    tensor(0.)

    Source: Patel and Sastry 2021, Memorization in Deep Neural Networks: Does the Loss Function Matter? (arXiv
    2107.09957), up to an additive constant.
    """
    check_positive(a=a)
    labels = classification_inputs(logits, target)
    log = torch.log(a + labels.logits.softmax(-1))
    others = log.shape[-1] - 1
    values = log.sum(-1) / others - labels.expect(log) * (1 + 1 / others)
    return reduce(values, labels.mask, reduction)


def apl(
    logits: Tensor,
    target: Tensor,
    *,
    passive: Passive = "rce",
    alpha: float = 5.0,
    beta: float = 5.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Active + passive loss, alpha NCE + beta X: NCE fits the label, X (RCE, AGCE or AUL) keeps it robust.

    Parameters
    ----------
    passive
        Which loss X is, at its defaults.
    alpha, beta
        Weights of NCE and X, at least 0.

    Raises
    ------
    ValueError
        As :func:`pb_losses.ce`; or if alpha or beta is negative or not finite, or ``passive`` is unknown.

    >>> apl(torch.tensor([[0.0, 0.0]]), torch.tensor([1]), beta=0.0)
    tensor(2.5000)

    Source: Ma et al. 2020, Normalized Loss Functions for Deep Learning with Noisy Labels (arXiv 2006.13554).
    """
    check_within("alpha", alpha, low=0.0)
    check_within("beta", beta, low=0.0)
    check_choice("passive", passive, ("rce", "agce", "aul"))
    losses: dict[str, Callable[..., Tensor]] = {"rce": rce, "agce": agce, "aul": aul}
    robust = losses[passive]
    return alpha * nce(logits, target, reduction=reduction) + beta * robust(logits, target, reduction=reduction)


@dataclass(eq=False)
class MAEClassification(Loss):
    """Module of :func:`mae_cls`.

    Raises
    ------
    ValueError
        When called, as :func:`mae_cls`.
    """

    reduction: Reduction = "mean"

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return mae_cls(logits, target, reduction=self.reduction)


@dataclass(eq=False)
class Brier(Loss):
    """Module of :func:`brier`.

    Raises
    ------
    ValueError
        When called, as :func:`brier`.
    """

    reduction: Reduction = "mean"

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return brier(logits, target, reduction=self.reduction)


@dataclass(eq=False)
class AGCE(Loss):
    """Module of :func:`agce`.

    Raises
    ------
    ValueError
        When called, as :func:`agce`.
    """

    a: float = 3.0
    q: float = 1.5
    reduction: Reduction = "mean"

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return agce(logits, target, a=self.a, q=self.q, reduction=self.reduction)


@dataclass(eq=False)
class AUL(Loss):
    """Module of :func:`aul`.

    Raises
    ------
    ValueError
        When called, as :func:`aul`.
    """

    a: float = 6.0
    q: float = 1.5
    reduction: Reduction = "mean"

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return aul(logits, target, a=self.a, q=self.q, reduction=self.reduction)


@dataclass(eq=False)
class RLL(Loss):
    """Module of :func:`rll`.

    Raises
    ------
    ValueError
        When called, as :func:`rll`.
    """

    a: float = 1.0
    reduction: Reduction = "mean"

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return rll(logits, target, a=self.a, reduction=self.reduction)


@dataclass(eq=False)
class APL(Loss):
    """Module of :func:`apl`.

    Raises
    ------
    ValueError
        When called, as :func:`apl`.
    """

    passive: Passive = "rce"
    alpha: float = 5.0
    beta: float = 5.0
    reduction: Reduction = "mean"

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return apl(logits, target, passive=self.passive, alpha=self.alpha, beta=self.beta, reduction=self.reduction)

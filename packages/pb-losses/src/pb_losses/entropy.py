r"""Losses built on cross entropy: CE, RCE, SCE, GCE, NCE.

All take logits f ``(batch, classes)`` or ``(batch, heads, classes)`` and class indices or probabilities y (see
:func:`pb_losses.labels.classification_inputs`); P = softmax(f), P_c is the label's probability. Where a formula
names the label c, probabilities give its expected value over y. All depend on log P through ``log_softmax``: values
and gradients stay finite at any gap between logits, and a constant added to the logits changes nothing.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .labels import Labels, classification_inputs
from .numerics import Loss, check_within
from .reduction import Reduction, reduce

__all__ = ["CE", "GCE", "NCE", "RCE", "SCE", "ce", "gce", "nce", "rce", "sce"]

LOG_ZERO = math.log(1e-4)


def ce(logits: Tensor, target: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Cross entropy, -log P_c (for probabilities -sum_k y_k log P_k).

    Raises
    ------
    ValueError
        If logits have fewer than two classes or are not floating point, the batch is empty, targets are neither class
        indices nor probabilities of these logits (:func:`pb_losses.labels.classification_inputs`), or the reduction is
        unknown.

    >>> ce(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
    tensor(0.6931)
    """
    labels = classification_inputs(logits, target)
    return reduce(_ce(labels), labels.mask, reduction)


def rce(logits: Tensor, target: Tensor, *, log_zero: float = LOG_ZERO, reduction: Reduction = "mean") -> Tensor:
    """Reverse cross entropy, -sum_k P_k log y_k with log 0 set to ``log_zero``; for a class index -log_zero (1 - P_c).

    Bounded and symmetric: the sum over all labels is constant, so uniform label noise leaves its minimiser in place.

    Parameters
    ----------
    log_zero
        The paper's A, negative: what log 0 is set to, and the least that log y may be.

    Raises
    ------
    ValueError
        As :func:`ce`; or if ``log_zero`` is not negative and finite.

    >>> rce(torch.tensor([[0.0, 0.0]]), torch.tensor([1]), log_zero=-4.0)
    tensor(2.)

    Source: Wang et al. 2019, Symmetric Cross Entropy (arXiv 1908.06112), the RCE loss.
    """
    labels = classification_inputs(logits, target)
    return reduce(_rce(labels, log_zero), labels.mask, reduction)


def sce(
    logits: Tensor, target: Tensor, *, balance: float = 0.5, log_zero: float = -4.0, reduction: Reduction = "mean"
) -> Tensor:
    """Symmetric cross entropy, (1 - balance) CE + balance RCE.

    Parameters
    ----------
    balance
        Share of RCE, from 0 (CE) to 1 (RCE).
    log_zero
        See :func:`rce`.

    Raises
    ------
    ValueError
        As :func:`ce`; or if the balance is outside [0, 1] or ``log_zero`` is not negative and finite.

    >>> sce(torch.tensor([[0.0, 0.0]]), torch.tensor([1]), balance=1.0)
    tensor(2.)

    Source: Wang et al. 2019, Symmetric Cross Entropy (arXiv 1908.06112), with the weights of CE and RCE summing to 1.
    """
    check_within("balance", balance, low=0.0, high=1.0)
    labels = classification_inputs(logits, target)
    values = (1 - balance) * _ce(labels) + balance * _rce(labels, log_zero)
    return reduce(values, labels.mask, reduction)


def gce(
    logits: Tensor, target: Tensor, *, q: float = 0.7, truncation: float = 0.0, reduction: Reduction = "mean"
) -> Tensor:
    """Generalised cross entropy, (1 - P_c^q) / q: CE as q -> 0, 1 - P_c at q = 1; the larger q, the more robust.

    Its gradient is that of CE times P_c^q: samples that contradict the model weigh less.

    Parameters
    ----------
    q
        From 0 (which gives CE) to 1.
    truncation
        The paper's k: below P_c = k the loss is constant, (1 - k^q) / q, and such samples teach nothing. 0
        truncates none.

    Raises
    ------
    ValueError
        As :func:`ce`; or if q or the truncation is outside [0, 1].

    >>> gce(torch.tensor([[0.0, 0.0]]), torch.tensor([1]), q=1.0)
    tensor(0.5000)

    Source: Zhang and Sabuncu 2018, Generalized Cross Entropy Loss (arXiv 1805.07836), equation 6 (L_q), and
    truncated L_q.
    """
    check_within("q", q, low=0.0, high=1.0)
    check_within("truncation", truncation, low=0.0, high=1.0)
    labels = classification_inputs(logits, target)

    def of_log(log_p: Tensor) -> Tensor:
        log_p = log_p.clamp(min=math.log(truncation)) if truncation > 0 else log_p
        return -torch.expm1(q * log_p) / q if q > 0 else -log_p

    return reduce(labels.of_log_probability(of_log), labels.mask, reduction)


def nce(logits: Tensor, target: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Normalised cross entropy, log P_c / sum_k log P_k: between 0 and 1, and 1 in sum over all labels.

    Robust, and slow to fit alone; usually added to RCE, AGCE or AUL (:func:`pb_losses.apl`).

    Raises
    ------
    ValueError
        As :func:`ce`.

    >>> nce(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
    tensor(0.5000)

    Source: Ma et al. 2020, Normalized Loss Functions for Deep Learning with Noisy Labels (arXiv 2006.13554).
    """
    labels = classification_inputs(logits, target)
    return reduce(_nce(labels), labels.mask, reduction)


def _ce(labels: Labels) -> Tensor:
    return labels.of_log_probability(torch.neg)


def _rce(labels: Labels, log_zero: float) -> Tensor:
    if not -math.inf < log_zero < 0:
        msg = f"log_zero={log_zero} was given; log 0 must be set to a finite negative number, e.g. -4."
        raise ValueError(msg)
    if labels.probabilities is None:
        return labels.of_log_probability(lambda log_p: log_zero * torch.expm1(log_p))
    log_y = labels.probabilities.log().clamp(min=log_zero)
    return -(labels.logits.softmax(-1) * log_y).sum(-1)


def _nce(labels: Labels) -> Tensor:
    log_p = labels.logits.log_softmax(-1)
    return labels.expect(log_p) / log_p.sum(-1)


@dataclass(eq=False)
class CE(Loss):
    """Module of :func:`ce`.

    Raises
    ------
    ValueError
        When called, as :func:`ce`.
    """

    reduction: Reduction = "mean"

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return ce(logits, target, reduction=self.reduction)


@dataclass(eq=False)
class RCE(Loss):
    """Module of :func:`rce`.

    Raises
    ------
    ValueError
        When called, as :func:`rce`.
    """

    log_zero: float = LOG_ZERO
    reduction: Reduction = "mean"

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return rce(logits, target, log_zero=self.log_zero, reduction=self.reduction)


@dataclass(eq=False)
class SCE(Loss):
    """Module of :func:`sce`.

    Raises
    ------
    ValueError
        When called, as :func:`sce`.
    """

    balance: float = 0.5
    log_zero: float = -4.0
    reduction: Reduction = "mean"

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return sce(logits, target, balance=self.balance, log_zero=self.log_zero, reduction=self.reduction)


@dataclass(eq=False)
class GCE(Loss):
    """Module of :func:`gce`.

    Raises
    ------
    ValueError
        When called, as :func:`gce`.
    """

    q: float = 0.7
    truncation: float = 0.0
    reduction: Reduction = "mean"

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return gce(logits, target, q=self.q, truncation=self.truncation, reduction=self.reduction)


@dataclass(eq=False)
class NCE(Loss):
    """Module of :func:`nce`.

    Raises
    ------
    ValueError
        When called, as :func:`nce`.
    """

    reduction: Reduction = "mean"

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return nce(logits, target, reduction=self.reduction)

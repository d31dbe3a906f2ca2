"""The Jensen-Shannon divergence of label and probabilities.

Inputs and notation as in :mod:`pb_losses.entropy`.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .labels import Labels, classification_inputs
from .numerics import Loss, check_below
from .reduction import Reduction, reduce

__all__ = ["JS", "js"]


def js(logits: Tensor, target: Tensor, *, label_weight: float = 0.5, reduction: Reduction = "mean") -> Tensor:
    """Weighted Jensen-Shannon divergence, [w KL(y||m) + (1-w) KL(P||m)] / (-(1-w) log(1-w)), m = w y + (1-w) P.

    CE as w -> 0, half of the summed absolute error as w -> 1; bounded.

    Parameters
    ----------
    label_weight
        The paper's pi_1, w: between 0 and 1.

    Raises
    ------
    ValueError
        As :func:`pb_losses.ce`; or if the label's weight is not above 0 and below 1.

    >>> js(torch.tensor([[-200.0, 0.0]]), torch.tensor([0]))
    tensor(2.)

    Source: Englesson and Azizpour 2021, Generalized Jensen-Shannon Divergence Loss (arXiv 2105.04522).
    """
    check_below("label_weight", label_weight, 1.0)
    labels = classification_inputs(logits, target)
    values = (
        _js_of_index(labels, label_weight) if labels.classes is not None else _js_of_probabilities(labels, label_weight)
    )
    return reduce(values / (-(1 - label_weight) * math.log1p(-label_weight)), labels.mask, reduction)


def _js_of_index(labels: Labels, w: float) -> Tensor:
    def of_log(log_p: Tensor) -> Tensor:
        p = log_p.exp()
        log_m = torch.log(w + (1 - w) * p)
        others = torch.expm1(log_p) * math.log1p(-w)  # sum over k != c of P_k log(P_k / m_k), as m_k = (1 - w) P_k
        return -w * log_m + (1 - w) * (others + p * (log_p - log_m))

    return labels.of_log_probability(of_log)


def _js_of_probabilities(labels: Labels, w: float) -> Tensor:
    log_p, y = labels.logits.log_softmax(-1), labels.one_hot()
    log_m = torch.logaddexp(math.log(w) + y.log(), math.log1p(-w) + log_p)
    of_label = torch.xlogy(y, y) - y * log_m
    return (w * of_label + (1 - w) * log_p.exp() * (log_p - log_m)).sum(-1)


@dataclass(eq=False)
class JS(Loss):
    """Module of :func:`js`.

    Raises
    ------
    ValueError
        When called, as :func:`js`.
    """

    label_weight: float = 0.5
    reduction: Reduction = "mean"

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return js(logits, target, label_weight=self.label_weight, reduction=self.reduction)

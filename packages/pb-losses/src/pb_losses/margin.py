"""Multiclass hinge losses: Crammer-Singer and Weston-Watkins.

Logits f ``(batch, classes)`` or ``(batch, heads, classes)``; class indices, or probabilities, which give the
expected value over the label (at classes^2 a sample). m is the margin, in units of the logits. Both are 0 once the
label wins by m.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .labels import classification_inputs
from .numerics import Loss, check_within
from .reduction import Reduction, reduce

__all__ = ["CS", "WW", "cs", "margins", "ww"]


def cs(logits: Tensor, target: Tensor, *, margin: float = 1.0, reduction: Reduction = "mean") -> Tensor:
    """Crammer and Singer's hinge, max_k [m 1(k != c) + f_k - f_c]: only the strongest rival counts.

    Raises
    ------
    ValueError
        As :func:`pb_losses.ce`; or if the margin is negative or not finite.

    >>> cs(torch.tensor([[2.0, 1.5, 0.0]]), torch.tensor([0]))
    tensor(0.5000)

    Source: Crammer and Singer 2001, On the Algorithmic Implementation of Multiclass Kernel-based Vector Machines,
    equation 2, the summand.
    """
    check_within("margin", margin, low=0.0)
    labels = classification_inputs(logits, target)
    return reduce(labels.over_labels(lambda f, c: margins(f, c, margin).amax(-1)), labels.mask, reduction)


def ww(logits: Tensor, target: Tensor, *, margin: float = 1.0, reduction: Reduction = "mean") -> Tensor:
    """Weston and Watkins' hinge, (1/classes) sum_k [m 1(k != c) + f_k - f_c]_+: every rival within the margin counts.

    Equal to ``torch.nn.MultiMarginLoss(margin=m)``, which takes neither several heads nor probabilities.

    Raises
    ------
    ValueError
        As :func:`pb_losses.ce`; or if the margin is negative or not finite.

    >>> ww(torch.tensor([[2.0, 1.5, 0.0]]), torch.tensor([0]))
    tensor(0.1667)

    Source: Weston and Watkins 1999, Support Vector Machines for Multi-Class Pattern Recognition.
    """
    check_within("margin", margin, low=0.0)
    labels = classification_inputs(logits, target)
    return reduce(labels.over_labels(lambda f, c: margins(f, c, margin).relu().mean(-1)), labels.mask, reduction)


def margins(logits: Tensor, index: Tensor, margin: float) -> Tensor:
    """Margins q_k = m 1(k != c) + f_k - f_c, exactly 0 at the label; shape of the logits.

    >>> margins(torch.tensor([[2.0, 1.5]]), torch.tensor([0]), 0.25)
    tensor([[ 0.0000, -0.2500]])
    """
    label = index.unsqueeze(-1)
    q = margin + (logits - logits.gather(-1, label))
    return q.scatter(-1, label, torch.zeros_like(label, dtype=q.dtype))


@dataclass(eq=False)
class CS(Loss):
    """Module of :func:`cs`.

    Raises
    ------
    ValueError
        When called, as :func:`cs`.
    """

    margin: float = 1.0
    reduction: Reduction = "mean"

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return cs(logits, target, margin=self.margin, reduction=self.reduction)


@dataclass(eq=False)
class WW(Loss):
    """Module of :func:`ww`.

    Raises
    ------
    ValueError
        When called, as :func:`ww`.
    """

    margin: float = 1.0
    reduction: Reduction = "mean"

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return ww(logits, target, margin=self.margin, reduction=self.reduction)

"""Targets of classification: class indices or probabilities, one head or several, some missing."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .numerics import reads_values, upcast
from .reduction import check_floating

__all__ = ["MISSING", "Labels", "classification_inputs"]

MISSING = -100
"""The class index of a missing label, as in ``torch.nn.functional.cross_entropy``."""

_TOLERANCE = 1e-3  # of the sum of given probabilities: bf16 softmax outputs sum to 1 only to that


class Labels(NamedTuple):
    """Checked logits ``(batch, ..., classes)`` with either class indices ``(batch, ...)`` or probabilities.

    ``mask`` is False where the label is missing, None where all are known to be there.
    """

    logits: Tensor
    classes: Tensor | None
    probabilities: Tensor | None
    mask: Tensor | None

    def of_log_probability(self, loss: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the expected value over the label of a loss of the label's log-probability alone."""
        log_p = self.logits.log_softmax(-1)
        return self.expect(log_p, loss)

    def expect(self, of_class: Tensor, function: Callable[[Tensor], Tensor] = lambda x: x) -> Tensor:
        """Return the expected value over the label of an elementwise function of ``(batch, ..., classes)``."""
        if self.classes is not None:
            return function(of_class.gather(-1, self.classes.unsqueeze(-1)).squeeze(-1))
        assert self.probabilities is not None
        return (self.probabilities * function(of_class)).sum(-1)

    def over_labels(self, loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Return the expected value over the label of ``loss(logits, index)``; probabilities cost classes^2."""
        if self.classes is not None:
            return loss(self.logits, self.classes)
        assert self.probabilities is not None
        shape = self.probabilities.shape
        repeated = self.logits.unsqueeze(-2).expand(*shape, shape[-1])
        every_label = torch.arange(shape[-1], device=self.logits.device).expand(shape)
        return (self.probabilities * loss(repeated, every_label)).sum(-1)

    def one_hot(self) -> Tensor:
        """Return the probabilities of the label, shape ``(batch, ..., classes)``."""
        if self.probabilities is not None:
            return self.probabilities
        assert self.classes is not None
        return torch.zeros_like(self.logits).scatter(-1, self.classes.unsqueeze(-1), 1.0)


def classification_inputs(logits: Tensor, target: Tensor) -> Labels:
    """Check logits against labels.

    Parameters
    ----------
    logits
        ``(batch, classes)``, or ``(batch, heads, classes)`` for several labels a sample.
    target
        Class indices of the logits' shape without its last axis, missing where -100 (or NaN, where indices come as
        floating point); or probabilities of the logits' shape, missing where a row holds NaN.

    Raises
    ------
    ValueError
        If shapes do not fit, the batch is empty, there are fewer than two classes, logits are not floating point, an
        index is no class or not whole, or probabilities are negative or do not sum to 1. Values are read on the CPU
        only, and not inside ``torch.compile``.
    """
    check_floating("logits", logits)
    if logits.ndim < 2 or logits.numel() == 0 or logits.shape[-1] < 2:
        msg = (
            f"logits of shape {tuple(logits.shape)} were given; give (batch, ..., classes), with two classes at least."
        )
        raise ValueError(msg)
    logits = upcast(logits)
    if target.shape == logits.shape[:-1]:
        return _indices(logits, target)
    if target.shape == logits.shape and target.is_floating_point():
        return _probabilities(logits, target.to(logits.dtype))
    msg = (
        f"targets of shape {tuple(target.shape)}, {target.dtype}, were given for logits of {tuple(logits.shape)}; "
        f"give class indices of shape {tuple(logits.shape[:-1])} or probabilities of shape {tuple(logits.shape)}."
    )
    raise ValueError(msg)


def _indices(logits: Tensor, target: Tensor) -> Labels:
    if target.is_floating_point():
        target = _whole(target)
    n_classes = logits.shape[-1]
    target = target.long()
    mask: Tensor | None = target != MISSING
    if reads_values(target):
        low, high = (int(x) for x in target.aminmax())
        if low >= 0:
            mask = None
        if high >= n_classes or bool(((target < 0) & (target != MISSING)).any()):
            msg = f"class indices from {low} to {high} were given; give 0 to {n_classes - 1}, or {MISSING} for none."
            raise ValueError(msg)
    return Labels(logits, target if mask is None else target.where(mask, 0), None, mask)


def _whole(target: Tensor) -> Tensor:
    index = target.nan_to_num(MISSING).long()
    if reads_values(target) and not bool((target.isnan() | (target == index)).all()):
        msg = "class indices that are not whole numbers were given; give 0, 1, ..., with NaN for a missing label."
        raise ValueError(msg)
    return index


def _probabilities(logits: Tensor, target: Tensor) -> Labels:
    mask: Tensor | None = ~target.isnan().any(-1)
    assert mask is not None
    target = torch.where(mask.unsqueeze(-1), target, torch.zeros_like(target))
    if reads_values(target):
        if bool((target < 0).any()) or bool(((target.sum(-1) - 1).abs() > _TOLERANCE)[mask].any()):
            msg = "probabilities that are negative or do not sum to 1 were given; give e.g. a softmax."
            raise ValueError(msg)
        mask = None if bool(mask.all()) else mask
    return Labels(logits, None, target, mask)

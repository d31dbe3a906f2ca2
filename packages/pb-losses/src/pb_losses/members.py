"""Losses of many models at once, which are trained side by side on the same batch, or each on a batch of its own.

The models' outputs have one axis in front, ``(members, batch, ...)``. What a loss makes of the whole is what it makes
of each member alone, in one call where its formula allows: losses of single samples take the members as part of the
batch, those that sum up each target on its own take them as targets, those on pairs of samples have an ``of_members``
that works out once what the labels say. Others are called member by member.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .catalogue import CATALOGUE
from .labels import MISSING
from .registry import get_loss, loss_info

__all__ = ["MemberLoss", "member_loss", "takes_own_batches"]

MemberLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Takes features ``(members, batch, width)``, outputs ``(members, batch, outputs)`` and targets ``(batch, targets)``,
or ``(members, batch, targets)`` where each member has a batch of its own; returns the loss of each member,
``(members,)``."""


def member_loss(name: str, *, n_classes: tuple[int, ...] = (), **settings: Any) -> MemberLoss:
    """Make a loss, by name and settings, that gives one value for each of many models.

    Parameters
    ----------
    n_classes
        Of a classification loss: number of classes of each target, whose logits lie side by side in the outputs. The
        loss is summed over targets. Missing labels are -100, as for the losses themselves.
    settings
        As for :func:`get_loss`; averages are over the batch.

    Raises
    ------
    ValueError
        As :func:`get_loss`; or if the number of classes is missing where it is needed.

    >>> loss = member_loss("mae")
    >>> loss(torch.zeros(2, 3, 4), torch.tensor([[[1.0]], [[2.0]]]), torch.tensor([[3.0]]))
    tensor([2., 1.])
    """
    info = loss_info(name)
    known = name in CATALOGUE
    if info.kind == "classification":
        if not n_classes:
            msg = f"loss {name!r} was asked for without n_classes; give the number of classes of each target."
            raise ValueError(msg)
        return _of_classes(get_loss(name, reduction="none", **settings), n_classes)
    if known and info.family == "pointwise":
        return _of_samples(get_loss(name, reduction="none", **settings))
    loss = get_loss(name, **settings)
    if known and info.family == "aligned":
        changes = {"per_target": True} if hasattr(loss, "per_target") else {}
        return _of_columns(loss, get_loss(name, **(settings | changes | {"reduction": "none"})))
    stacks = hasattr(loss, "of_members") and not settings.get("gather")
    return _stacked(loss, info.inputs) if stacks else _one_by_one(loss, info.inputs)


def takes_own_batches(name: str) -> bool:
    """Return whether one call covers members with a batch each (aligned losses: with one target).

    >>> takes_own_batches("far"), takes_own_batches("rnc")
    (True, False)
    """
    info = loss_info(name)
    return info.kind == "classification" or (name in CATALOGUE and info.family in ("pointwise", "aligned"))


def _of_samples(loss: nn.Module) -> MemberLoss:
    def of_members(_: Tensor, outputs: Tensor, target: Tensor) -> Tensor:
        values: Tensor = loss(outputs, target.expand_as(outputs))
        return values.sum((1, 2)) / (target == target).sum((-2, -1)).clamp(min=1)  # without NaN

    return of_members


def _of_classes(loss: nn.Module, n_classes: tuple[int, ...]) -> MemberLoss:
    def of_members(_: Tensor, outputs: Tensor, target: Tensor) -> Tensor:
        heads = zip(torch.split(outputs, list(n_classes), dim=2), target.unbind(-1), strict=True)
        return torch.stack([_mean_over_labelled(loss, logits, label) for logits, label in heads]).sum(0)

    return of_members


def _mean_over_labelled(loss: nn.Module, logits: Tensor, label: Tensor) -> Tensor:
    values: Tensor = loss(logits, label.expand(logits.shape[:2]))
    return values.sum(1) / (label != MISSING).sum(-1).clamp(min=1)


def _of_columns(loss: nn.Module, per_target: nn.Module) -> MemberLoss:
    """Call a loss of one target with the members as targets, one of several targets member by member."""
    one_by_one = _one_by_one(loss, ("prediction", "target"))

    def of_members(features: Tensor, outputs: Tensor, target: Tensor) -> Tensor:
        if outputs.shape[2] > 1:
            return one_by_one(features, outputs, target)
        columns = outputs.squeeze(2).T
        own = target.squeeze(2).T if target.ndim == 3 else target.expand_as(columns)
        values: Tensor = per_target(columns, own)
        return values

    return of_members


def _stacked(loss: Any, inputs: tuple[str, ...]) -> MemberLoss:
    one_by_one = _one_by_one(loss, inputs)

    def of_members(features: Tensor, outputs: Tensor, target: Tensor) -> Tensor:
        if target.ndim == 3:
            return one_by_one(features, outputs, target)
        given = {"features": features, "prediction": outputs, "target": target}
        values: Tensor = loss.of_members(*(given[name] for name in inputs))
        return values

    return of_members


def _one_by_one(loss: nn.Module, inputs: tuple[str, ...]) -> MemberLoss:
    def of_members(features: Tensor, outputs: Tensor, target: Tensor) -> Tensor:
        values = []
        targets = target if target.ndim == 3 else target.expand(len(outputs), *target.shape)
        for z, prediction, own in zip(features, outputs, targets, strict=True):
            given = {"features": z, "prediction": prediction, "target": own}
            values.append(loss(*(given[name] for name in inputs)))
        return torch.stack(values)

    return of_members

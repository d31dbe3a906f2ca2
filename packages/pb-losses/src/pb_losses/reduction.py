"""Shapes, missing targets and reductions, shared by all losses."""

from typing import Literal

import torch
from torch import Tensor

from .numerics import check_choice, reads_values, upcast

__all__ = [
    "Reduction",
    "check_floating",
    "check_reduction",
    "check_same_shape",
    "observed",
    "reduce",
    "regression_inputs",
]

Reduction = Literal["mean", "sum", "none"]


def reduce(values: Tensor, mask: Tensor | None, reduction: Reduction) -> Tensor:
    """Average or sum the losses of the observed targets, or return them all with zeros at the missing ones.

    The mean over no observed target is 0, with gradient 0.

    Raises
    ------
    ValueError
        If the reduction is unknown.
    """
    check_reduction(reduction)
    if mask is not None:
        values = torch.where(mask, values, torch.zeros_like(values))
    if reduction == "none":
        return values
    if reduction == "sum":
        return values.sum()
    return values.mean() if mask is None else values.sum() / mask.sum().clamp(min=1)


def check_reduction(reduction: str) -> None:
    """Raise ``ValueError`` for a reduction that does not exist."""
    check_choice("reduction", reduction, ("mean", "sum", "none"))


def regression_inputs(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """Check predictions against targets and return both in float32 or wider, with the mask of observed targets.

    A NaN target is missing: it is replaced by 0 and its mask entry is False; its prediction gets gradient 0. The
    mask is None where nothing is missing and the values may be read.

    Raises
    ------
    ValueError
        If the shapes differ (nothing is broadcast), the batch is empty, or the predictions are not floating point.
    """
    check_same_shape(prediction, target)
    prediction = upcast(prediction)
    target = target.to(prediction.dtype)
    mask = observed(target)
    if mask is not None:
        target = torch.where(mask, target, torch.zeros_like(target))
        prediction = torch.where(mask, prediction, torch.zeros_like(prediction))
    return prediction, target, mask


def observed(target: Tensor) -> Tensor | None:
    """Mask of the targets that are not NaN; None where none is missing and the values may be read."""
    if reads_values(target) and not bool(target.detach().sum().isnan()):
        return None
    return target == target  # false for NaN; compiled, isnan() is not vectorised


def check_same_shape(prediction: Tensor, target: Tensor) -> None:
    """Raise ``ValueError`` unless predictions and targets share a non-empty shape and predictions are floating."""
    if prediction.shape != target.shape:
        msg = (
            f"predictions of shape {tuple(prediction.shape)} were given for targets of shape {tuple(target.shape)}; "
            "the shapes must be equal, nothing is broadcast. Use squeeze(-1) or unsqueeze(-1) on one of them."
        )
        raise ValueError(msg)
    if prediction.numel() == 0 or prediction.ndim == 0:
        msg = f"predictions of shape {tuple(prediction.shape)} were given; give at least one sample, as (batch, ...)."
        raise ValueError(msg)
    check_floating("predictions", prediction)


def check_floating(what: str, x: Tensor) -> None:
    """Raise ``ValueError`` unless a tensor is of real floating point."""
    if not x.is_floating_point():
        msg = f"{what} of type {x.dtype} were given; give floating point, as by .float()."
        raise ValueError(msg)

"""Checks that a training stays finite, and the error where it does not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DivergedError", "check_finite", "check_monitor"]


class DivergedError(RuntimeError):
    """A loss term became NaN or infinite."""


def check_finite(values: Tensor, names: list[str], epoch: int, first_batch: int, *, who: str = "") -> None:
    """Raise where any of the (batches, terms) values is not finite, naming the first; the loss is named last."""
    finite = torch.isfinite(values)
    if bool(finite.all()):
        return
    row = int((~finite).any(dim=1).nonzero()[0])
    bad = [name for name, good in zip(names, finite[row].tolist(), strict=True) if not good]
    msg = (
        f"{who}training diverged in epoch {epoch}, batch {first_batch + row}: {', '.join(reversed(bad))} not finite; "
        "check the input's scale (log1p expected) or lower the learning rate"
    )
    raise DivergedError(msg)


def check_monitor(value: float, epoch: int, *, who: str = "") -> float:
    """Return what was watched after an epoch; raises where it is not finite."""
    if not math.isfinite(value):
        msg = f"{who}the monitor is {value} after epoch {epoch}; check the validation cells and the learning rate"
        raise DivergedError(msg)
    return value

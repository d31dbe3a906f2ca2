"""Precision and checks of numbers, shared by all losses."""

import math
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Loss", "check_positive", "check_within", "reads_values", "upcast"]


class Loss(nn.Module):
    """Base of the modules: a dataclass whose fields are the settings, and whose ``forward`` calls a pure function."""

    def __post_init__(self) -> None:
        """Make the dataclass a module."""
        super().__init__()

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return what ``forward`` returns; typed, which ``nn.Module`` is not."""
        value: Tensor = super().__call__(*args, **kwargs)
        return value


def upcast(x: Tensor) -> Tensor:
    """Return half-precision values as float32, others as they are: sums and exponentials need the digits."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def reads_values(x: Tensor) -> bool:
    """Tell whether code may branch on the values of a tensor.

    Not inside ``torch.compile``, where that splits the graph, nor on an accelerator, where it makes the device wait.
    """
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def check_positive(**numbers: float) -> None:
    """Raise ``ValueError`` for a number that is not positive and finite."""
    for name, number in numbers.items():
        check_within(name, number, low=0.0, open_low=True)


def check_within(name: str, number: float, *, low: float, high: float = math.inf, open_low: bool = False) -> None:
    """Raise ``ValueError`` for a number that is not finite or outside [low, high], or (low, high] with ``open_low``."""
    if low <= number <= high and math.isfinite(number) and not (open_low and number == low):
        return
    bounds = f"{'greater than' if open_low else 'at least'} {low:g}" + (
        f" and at most {high:g}" if high < math.inf else ""
    )
    msg = f"{name}={number} was given; {name} must be finite, {bounds}."
    raise ValueError(msg)

"""Precision and checks of numbers, shared by all losses."""

import math
from collections.abc import Collection
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

__all__ = [
    "SAFE_EXPONENT",
    "Loss",
    "check_above",
    "check_below",
    "check_choice",
    "check_positive",
    "check_within",
    "exponential",
    "reads_values",
    "upcast",
]


SAFE_EXPONENT = {torch.float32: 75.0, torch.float64: 600.0}
"""exp(-75), exp(-600), sums of them and of their reciprocals are well within the range of the type."""

_LOG2_E = math.log2(math.e)


class Loss(nn.Module):
    """Base of the modules: a dataclass whose fields are the settings, and whose ``forward`` calls a pure function.

    The function checks the settings, so a module refuses them when it is called, not when it is made.
    """

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


def exponential(x: Tensor, out: Tensor | None = None) -> Tensor:
    """Return exp(x), as a power of 2, which takes a CPU a quarter of the time of ``exp``."""
    return torch.mul(x, _LOG2_E, out=out).exp2_()


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


def check_above(name: str, number: float, bound: float) -> None:
    """Raise ``ValueError`` for a number that is not finite or not above a bound."""
    check_within(name, number, low=bound, open_low=True)


def check_below(name: str, number: float, bound: float) -> None:
    """Raise ``ValueError`` for a number that is not positive or not below a bound."""
    if not 0 < number < bound:
        msg = f"{name}={number} was given; {name} must be above 0 and below {bound:g}."
        raise ValueError(msg)


def check_choice(name: str, value: str, choices: Collection[str]) -> None:
    """Raise ``ValueError`` for a word that is not one of the choices, and suggest the nearest."""
    if value not in choices:
        near = get_close_matches(str(value).lower(), choices, n=1, cutoff=0.3)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        msg = f"{name}={value!r} was given; choose one of {', '.join(choices)}.{hint}"
        raise ValueError(msg)


def check_count(name: str, number: int) -> None:
    """Raise ``ValueError`` for a number that is not a positive integer."""
    if not isinstance(number, int) or number < 1:
        msg = f"{name}={number} was given; {name} must be a whole number of at least 1."
        raise ValueError(msg)

"""Problems that every loss of the registry is tried on, drawn from a seed."""

from typing import Any, NamedTuple

import pb_losses
import pytest
import torch
from torch import Tensor

STYLES = ("random", "ties", "duplicates", "constant")
WEIGHTS = (0.5, 0.0, 2.0)


class Problem(NamedTuple):
    """Settings of a loss and what its ``forward`` takes; the first input is the one to differentiate."""

    name: str
    settings: dict[str, Any]
    inputs: tuple[Tensor, ...]

    def loss(self, **settings: Any) -> torch.nn.Module:
        return pb_losses.get_loss(self.name, **{**self.settings, **settings})

    def value(self, **settings: Any) -> Tensor:
        return self.loss(**settings)(*self.inputs)

    def lists(self) -> list[Any]:
        return [x.tolist() for x in self.inputs]

    def numbers(self) -> dict[str, Any]:
        return {key: x.tolist() if torch.is_tensor(x) else x for key, x in self.settings.items()}

    def value_and_gradient(self, **settings: Any) -> tuple[Tensor, Tensor]:
        x = self.inputs[0].detach().clone().requires_grad_()
        value = self.loss(**settings)(x, *self.inputs[1:])
        value.sum().backward()
        assert x.grad is not None
        return value.detach(), x.grad


def draw(
    name: str, seed: int = 0, n: int = 6, style: str = "random", heads: int | None = None, **settings: Any
) -> Problem:
    """Draw inputs in float64; ``heads`` is the number of targets of a sample, None for a flat target."""
    random = torch.Generator().manual_seed(seed)
    info = pb_losses.loss_info(name)
    tail = () if heads is None else (heads,)
    if name == "wmse":
        tail = (len(WEIGHTS),)
        settings = {"weights": torch.tensor(WEIGHTS, dtype=torch.float64), **settings}
    if info.kind == "classification":
        logits = _values((n, *tail, 4), style, random)
        return Problem(name, settings, (logits, torch.randint(0, 4, (n, *tail), generator=random)))
    target = _values((n, *tail), style, random)
    if info.kind == "regression":
        return Problem(name, settings, (_values((n, *tail), style, random), target))
    features = _values((n, 3), "random" if style == "constant" else style, random)
    if info.inputs == ("features", "target"):
        return Problem(name, settings, (features, target))
    return Problem(name, settings, (features, target, target + _values((n, *tail), "random", random)))


def _values(shape: tuple[int, ...], style: str, random: torch.Generator) -> Tensor:
    values = 2 * torch.randn(shape, generator=random, dtype=torch.float64)
    if style == "constant":
        return torch.full_like(values, float(values.flatten()[0]))
    if style == "ties":
        return values.round()
    if style == "duplicates":
        return values[torch.randint(0, max(1, shape[0] // 2), (shape[0],), generator=random)]
    return values


@pytest.fixture(scope="session")
def problem() -> Any:
    """The function that draws a problem: (name, seed, n, style, heads, **settings)."""
    return draw


@pytest.fixture(scope="session")
def styles() -> tuple[str, ...]:
    return STYLES

"""Optimisers of stacked networks: every member has its own learning rate and weight decay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

__all__ = ["SGD", "Adam", "Rates", "StackedOptimiser"]


class Rates:
    """Learning rates and weight decays, (members, 1, 1) each; a frozen member has a rate of 0."""

    def __init__(self, learning_rates: Sequence[float], weight_decays: Sequence[float]) -> None:
        self.learning = torch.tensor(learning_rates, dtype=torch.float32).view(-1, 1, 1)
        self.decay = torch.tensor(weight_decays, dtype=torch.float32).view(-1, 1, 1)


class StackedOptimiser(Protocol):
    """What training needs of an optimiser."""

    def step(self, gradients: Sequence[Tensor | None], factor: float) -> None:
        """Move the parameters; one without a gradient stays as it is, weight decay included."""

    def forget(self, members: Tensor) -> None:
        """Set weights and state of some members to 0 for good."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state, without the weights."""

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Go on where another optimiser stood."""


class SGD:
    """Stochastic gradient descent with momentum, as torch.optim.SGD without dampening.

    b <- mu b + g + w p and p <- p - r f b, with rate r and decay w of the member and the schedule's factor f; b starts
    at 0.
    """

    def __init__(self, parameters: Sequence[Tensor], rates: Rates, momentum: float) -> None:
        self.parameters, self.rates, self.momentum = parameters, rates, momentum
        self.buffers = [torch.zeros_like(parameter, requires_grad=False) for parameter in parameters]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor | None], factor: float) -> None:
        """See `StackedOptimiser`."""
        rate = -factor * self.rates.learning
        for parameter, gradient, buffer in zip(self.parameters, gradients, self.buffers, strict=True):
            if gradient is not None:
                buffer.mul_(self.momentum).add_(gradient).addcmul_(parameter, self.rates.decay)
                parameter.addcmul_(buffer, rate)

    @torch.no_grad()
    def forget(self, members: Tensor) -> None:
        """See `StackedOptimiser`."""
        _clear(members, self.rates, self.parameters, self.buffers)

    def state_dict(self) -> dict[str, Any]:
        """See `StackedOptimiser`."""
        return {"rates": self.rates.learning, "buffers": self.buffers}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """See `StackedOptimiser`."""
        self.rates.learning, self.buffers = state["rates"], state["buffers"]


class Adam:
    """Adam with the decay added to the gradient, as torch.optim.Adam, at its default moments (0.9, 0.999, 1e-8)."""

    def __init__(self, parameters: Sequence[Tensor], rates: Rates) -> None:
        self.parameters, self.rates = parameters, rates
        self.first = [torch.zeros_like(parameter, requires_grad=False) for parameter in parameters]
        self.second = [torch.zeros_like(parameter, requires_grad=False) for parameter in parameters]
        self.steps = [0] * len(parameters)

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor | None], factor: float) -> None:
        """See `StackedOptimiser`."""
        for number, (parameter, gradient) in enumerate(zip(self.parameters, gradients, strict=True)):
            if gradient is None:
                continue
            self.steps[number] += 1
            gradient = gradient.addcmul(parameter, self.rates.decay)
            first = self.first[number].lerp_(gradient, 0.1)
            second = self.second[number].mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            correction = [1 - moment ** self.steps[number] for moment in (0.9, 0.999)]
            scale = second.sqrt().div_(correction[1] ** 0.5).add_(1e-8)
            parameter.sub_(first / scale * (self.rates.learning * (factor / correction[0])))

    @torch.no_grad()
    def forget(self, members: Tensor) -> None:
        """See `StackedOptimiser`."""
        _clear(members, self.rates, self.parameters, self.first, self.second)

    def state_dict(self) -> dict[str, Any]:
        """See `StackedOptimiser`."""
        return {"rates": self.rates.learning, "first": self.first, "second": self.second, "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """See `StackedOptimiser`."""
        self.rates.learning = state["rates"]
        self.first, self.second, self.steps = state["first"], state["second"], state["steps"]


def _clear(members: Tensor, rates: Rates, *groups: Sequence[Tensor]) -> None:
    rates.learning[members] = 0
    for group in groups:
        for tensor in group:
            tensor[members] = 0

"""Random numbers of networks: a layer that draws standard normal ones, and noise for several networks at once."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

__all__ = ["MemberNoise", "StandardNormal", "continued"]


class StandardNormal(nn.Module):
    """Draws e ~ N(0, 1) in the shape of a tensor: the noise of a sampled latent position, as a layer of the network.

    Examples
    --------
    >>> StandardNormal()(torch.zeros(2, 3)).shape
    torch.Size([2, 3])
    """

    def forward(self, like: Tensor) -> Tensor:
        """Return standard normal numbers in the shape, type and place of a tensor."""
        return torch.randn_like(like)


def continued(device: torch.device) -> torch.Generator:
    """Return a generator that goes on where torch's own on a device stands, and leaves that one alone.

    Examples
    --------
    >>> generator = continued(torch.device("cpu"))
    >>> torch.equal(torch.rand(3, generator=generator), torch.rand(3))
    True
    """
    own = torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
    generator = torch.Generator(device)
    generator.set_state(own)
    return generator


class MemberNoise:
    """Draws for each member, from its own generator, what the member alone would draw: (members, batch, ...).

    `lengths` limits the draws to the first so many rows of each member, where the rest is padding (None: no padding).
    """

    def __init__(self, generators: list[torch.Generator]) -> None:
        self.generators = generators
        self.lengths: list[int] | None = None

    @contextmanager
    def of_lengths(self, lengths: list[int]) -> Iterator[None]:
        """Take the rest of each member's rows for padding inside the block."""
        self.lengths = lengths
        try:
            yield
        finally:
            self.lengths = None

    def normal(self, like: Tensor) -> Tensor:
        """Return standard normal numbers in the shape of a tensor; padding is zero."""
        return self._drawn(like, lambda rows, generator: rows.normal_(generator=generator))

    def dropout(self, like: Tensor, p: float) -> Tensor:
        """Return what dropout multiplies a tensor with: 0 with probability p, else 1 / (1 - p); padding is zero."""
        if like.device.type == "cuda":
            return self._drawn(like, lambda rows, generator: _fused_dropout(rows, p, generator))
        return self._drawn(like, lambda rows, generator: rows.bernoulli_(1 - p, generator=generator)).div_(1 - p)

    def _drawn(self, like: Tensor, fill: Callable[[Tensor, torch.Generator], object]) -> Tensor:
        """Fill every member's rows, which are contiguous, as those of a single network are."""
        new = torch.empty if self.lengths is None else torch.zeros
        drawn = new(like.shape, dtype=like.dtype, device=like.device)
        lengths = self.lengths or [like.shape[1]] * len(drawn)
        for rows, length, generator in zip(drawn, lengths, self.generators, strict=True):
            if length:
                fill(rows[:length], generator)
        return drawn


def _fused_dropout(rows: Tensor, p: float, generator: torch.Generator) -> None:
    """Fill rows on a GPU by dropout's own kernel, which takes torch's default generator and no other."""
    with _as_default(generator):
        rows.copy_(functional.dropout(torch.ones_like(rows), p, training=True))


@contextmanager
def _as_default(generator: torch.Generator) -> Iterator[None]:
    """Let a generator stand in for its GPU's default one; its state is shared, not copied, and moves on."""
    default = torch.cuda.default_generators[generator.device.index or 0]
    before = default.graphsafe_get_state()
    default.graphsafe_set_state(generator)
    try:
        yield
    finally:
        default.graphsafe_set_state(before)

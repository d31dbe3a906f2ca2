"""Feature-wise linear modulation (Perez et al., AAAI 2018) and the decoder that is told its condition by it."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from pb_models.multitask.settings import Modulation

__all__ = ["Film", "FilmDecoder", "xavier_linear"]


def xavier_linear(n_in: int, n_out: int) -> nn.Linear:
    """Build a linear layer whose weights start Xavier-uniform; the bias starts as torch's default."""
    layer = nn.Linear(n_in, n_out)
    nn.init.xavier_uniform_(layer.weight)
    return layer


class Film(nn.Module):
    """Scales and shifts every unit of a layer by amounts that depend on the condition: gamma(c) x + beta(c).

    c is the one-hot condition, or LeakyReLU(Linear(c)) with `n_hidden` > 0. "around-one": gamma = 1 + Linear(c), beta =
    Linear(c), biases zero and weights N(0, spread^2) at the start. "leaky-relu": gamma = LeakyReLU(Linear(c)), beta =
    LeakyReLU(Linear(c)), Xavier-uniform at the start, so that hardly any unit can change its sign or be shifted down.
    Perez et al., AAAI 2018, equation 2.

    Conditions have to differ from the start: with a spread of 0 the code learns to carry the condition before FiLM
    does, and reconstruction, which is as good, never takes that back.

    Examples
    --------
    >>> film = Film(3, 4, modulation="around-one", spread=0)
    >>> film(torch.ones(1, 4), torch.tensor([2])).tolist()
    [[1.0, 1.0, 1.0, 1.0]]
    """

    def __init__(
        self, n_conditions: int, width: int, *, n_hidden: int = 0, modulation: Modulation, spread: float = 0.25
    ) -> None:
        super().__init__()
        self.n_conditions, self.modulation = n_conditions, modulation
        self.hidden = nn.Sequential(xavier_linear(n_conditions, n_hidden), nn.LeakyReLU()) if n_hidden else None
        n_in = n_hidden or n_conditions
        self.gamma, self.beta = xavier_linear(n_in, width), xavier_linear(n_in, width)
        if modulation == "around-one":
            for head in (self.gamma, self.beta):
                nn.init.normal_(head.weight, std=spread)
                nn.init.zeros_(head.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Modulate hidden units (cells, width) by condition numbers (cells,)."""
        code = functional.one_hot(condition, self.n_conditions).to(x.dtype)  # (cells, conditions)
        code = code if self.hidden is None else self.hidden(code)
        gamma, beta = self.gamma(code), self.beta(code)
        if self.modulation == "around-one":
            return torch.addcmul(x + beta, gamma, x)
        return torch.addcmul(functional.leaky_relu(beta), functional.leaky_relu(gamma), x)


class FilmDecoder(nn.Module):
    """Decodes latent positions under a condition: hidden layers Linear, BatchNorm1d, FiLM, LeakyReLU, Dropout.

    The output layer is Linear, LeakyReLU, without FiLM; `sizes` runs from the latent space to the genes.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        n_conditions: int,
        *,
        dropout: float,
        n_film: int,
        modulation: Modulation,
        spread: float = 0.25,
    ) -> None:
        super().__init__()
        widths = sizes[1:-1]
        self.linear = nn.ModuleList(xavier_linear(n_in, n_out) for n_in, n_out in pairwise(sizes[:-1]))
        self.norm = nn.ModuleList(nn.BatchNorm1d(width) for width in widths)
        self.film = nn.ModuleList(
            Film(n_conditions, width, n_hidden=n_film, modulation=modulation, spread=spread) for width in widths
        )
        self.dropout = nn.Dropout(dropout)
        self.output = xavier_linear(sizes[-2], sizes[-1])

    def forward(self, z: Tensor, condition: Tensor) -> Tensor:
        """Return the expression (cells, genes) of latent positions (cells, latent) under conditions (cells,)."""
        for linear, norm, film in zip(self.linear, self.norm, self.film, strict=True):
            z = self.dropout(functional.leaky_relu(film(norm(linear(z)), condition)))
        return functional.leaky_relu(self.output(z))

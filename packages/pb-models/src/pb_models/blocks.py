"""Layers that several networks share."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["Dropout", "hidden_block", "perceptron"]


class Dropout(nn.Dropout):
    """torch's dropout, drawn from uniform numbers on the CPU: zero where u < p, else x / (1 - p), u ~ U(0, 1).

    torch draws Bernoulli numbers one by one there, which for 64 cells of 2,000 genes took as long as two of the layer's
    matrix products (1.5 ms measured; 0.4 ms as here). The masks of a seed are not those of torch's.

    Examples
    --------
    >>> sorted(Dropout(0.5)(torch.ones(100)).unique().tolist())
    [0.0, 2.0]
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the values with some zeroed in training, of the same shape."""
        if x.device.type != "cpu" or not self.training or self.p in (0, 1):
            return super().forward(x)
        return x * torch.rand_like(x).ge_(self.p).div_(1 - self.p)


def hidden_block(
    n_in: int,
    n_out: int,
    *,
    dropout: float,
    bn_eps: float = 1e-3,
    bn_momentum: float = 0.01,
    slope: float = 0.01,
    drop: type[nn.Dropout] = nn.Dropout,
) -> nn.Sequential:
    """Build Linear, BatchNorm1d, LeakyReLU, Dropout, in this order; (batch, n_in) to (batch, n_out).

    Initial weights are torch's defaults; `bn_momentum` is the weight of the new batch in the running statistics.

    Examples
    --------
    >>> [type(layer).__name__ for layer in hidden_block(4, 3, dropout=0.2)]
    ['Linear', 'BatchNorm1d', 'LeakyReLU', 'Dropout']
    """
    norm = nn.BatchNorm1d(n_out, eps=bn_eps, momentum=bn_momentum)
    return nn.Sequential(nn.Linear(n_in, n_out), norm, nn.LeakyReLU(slope), drop(dropout))


def perceptron(sizes: Sequence[int], *, dropout: float) -> nn.Sequential:
    """Chain hidden blocks through layer sizes: (batch, sizes[0]) to (batch, sizes[-1]).

    Examples
    --------
    >>> len(perceptron([6, 5, 4], dropout=0.0))
    2
    """
    return nn.Sequential(*(hidden_block(n_in, n_out, dropout=dropout) for n_in, n_out in pairwise(sizes)))

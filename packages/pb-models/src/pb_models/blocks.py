"""Layers that several networks share."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["hidden_block", "perceptron"]


def hidden_block(
    n_in: int, n_out: int, *, dropout: float, bn_eps: float = 1e-3, bn_momentum: float = 0.01, slope: float = 0.01
) -> nn.Sequential:
    """Build Linear, BatchNorm1d, LeakyReLU, Dropout, in this order; (batch, n_in) to (batch, n_out).

    Initial weights are torch's defaults; `bn_momentum` is the weight of the new batch in the running statistics.

    Examples
    --------
    >>> [type(layer).__name__ for layer in hidden_block(4, 3, dropout=0.2)]
    ['Linear', 'BatchNorm1d', 'LeakyReLU', 'Dropout']
    """
    norm = nn.BatchNorm1d(n_out, eps=bn_eps, momentum=bn_momentum)
    return nn.Sequential(nn.Linear(n_in, n_out), norm, nn.LeakyReLU(slope), nn.Dropout(dropout))


def perceptron(sizes: Sequence[int], *, dropout: float) -> nn.Sequential:
    """Chain hidden blocks through layer sizes: (batch, sizes[0]) to (batch, sizes[-1]).

    Examples
    --------
    >>> len(perceptron([6, 5, 4], dropout=0.0))
    2
    """
    return nn.Sequential(*(hidden_block(n_in, n_out, dropout=dropout) for n_in, n_out in pairwise(sizes)))

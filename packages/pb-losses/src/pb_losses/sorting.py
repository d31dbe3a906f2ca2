"""Sorting rows. numpy, which torch can do without, sorts integers on a CPU several times as fast as torch."""

from importlib.util import find_spec

import torch
from torch import Tensor

from .numerics import reads_values

__all__ = ["ordered_bits", "sorted_rows", "tied"]

_HAS_NUMPY = find_spec("numpy") is not None


def ordered_bits(x: Tensor) -> Tensor:
    """Return floating-point numbers that are not NaN as integers in the same order, equal where they are equal.

    >>> ordered_bits(torch.tensor([-2.0, -0.0, 0.0, 1.0])).argsort().tolist()
    [0, 1, 2, 3]
    """
    kind, low = (torch.int32, 2**31 - 1) if x.dtype == torch.float32 else (torch.int64, 2**63 - 1)
    bits = (x + 0.0).view(kind)  # -0.0 becomes 0.0
    return bits ^ ((bits >> (8 * bits.element_size() - 1)) & low)


def sorted_rows(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Sort integers ``(rows, n)`` along rows; return them and where each was, those that are equal in order of place.

    >>> [x.tolist() for x in sorted_rows(torch.tensor([[3, 1, 3, 2]], dtype=torch.int32))]
    [[[1, 2, 3, 3]], [[1, 3, 0, 2]]]
    """
    if keys.dtype != torch.int32 or not _HAS_NUMPY or not reads_values(keys):
        values, order = keys.sort(dim=1, stable=True)
        return values, order
    packed = (keys.long() << 32) | torch.arange(keys.shape[1])  # the place in the lower half
    packed.numpy().sort(axis=1)
    return packed >> 32, packed & (2**32 - 1)


def tied(ordered: Tensor) -> tuple[Tensor, Tensor]:
    """Return, in sorted rows ``(rows, n)``, the first and the last place of the numbers equal to each.

    >>> [x.tolist() for x in tied(torch.tensor([[1, 2, 2, 3]]))]
    [[[0, 1, 1, 3]], [[0, 2, 2, 3]]]
    """
    n = ordered.shape[1]
    place = torch.arange(n, device=ordered.device).expand_as(ordered)
    differs = ordered[:, 1:] != ordered[:, :-1]
    first = torch.cat([place[:, :1], torch.where(differs, place[:, 1:], 0)], dim=1).cummax(1).values
    last = torch.cat([torch.where(differs, place[:, :-1], n - 1), place[:, -1:]], dim=1)
    return first, last.flip(1).cummin(1).values.flip(1)

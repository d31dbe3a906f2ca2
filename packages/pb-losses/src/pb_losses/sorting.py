"""Sorting rows. numpy, which torch can do without, sorts integers on a CPU several times as fast as torch."""

from importlib.util import find_spec

import torch
from torch import Tensor

from .numerics import reads_values

__all__ = ["descending_order", "group_sizes", "ordered_bits", "sorted_rows"]

_HAS_NUMPY = find_spec("numpy") is not None
_PLACE = 2**32 - 1  # the lower half of a packed key


def ordered_bits(x: Tensor) -> Tensor:
    """Return floating-point numbers that are not NaN as integers in the same order, equal where they are equal.

    >>> ordered_bits(torch.tensor([-2.0, -0.0, 0.0, 1.0])).argsort().tolist()
    [0, 1, 2, 3]
    """
    kind, low = (torch.int32, 2**31 - 1) if x.dtype == torch.float32 else (torch.int64, 2**63 - 1)
    bits = (x + 0.0).view(kind)  # -0.0 becomes 0.0
    return bits ^ ((bits >> (8 * bits.element_size() - 1)) & low)


def sorted_rows(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Sort integers along rows, the last axis; return them and where each was, those that are equal in order of place.

    >>> [x.tolist() for x in sorted_rows(torch.tensor([[3, 1, 3, 2]], dtype=torch.int32))]
    [[[1, 2, 3, 3]], [[1, 3, 0, 2]]]
    """
    if keys.dtype != torch.int32 or not _HAS_NUMPY or not reads_values(keys):
        values, order = keys.sort(stable=True)
        return values, order
    packed = _sort_packed(keys, torch.empty_like(keys, dtype=torch.int64))
    return packed >> 32, packed & _PLACE


def descending_order(x: Tensor, memory: Tensor) -> Tensor:
    """Return where the numbers of each row are that are not NaN, the greatest first, equal ones in order of place.

    ``x`` is overwritten, and so is ``memory``, integers (int64) of its shape, which are what is returned.

    >>> descending_order(torch.tensor([[3.0, 1.0, 3.0, -0.0]]), torch.empty(1, 4, dtype=torch.int64)).tolist()
    [[0, 2, 1, 3]]
    """
    if x.dtype != torch.float32 or not _HAS_NUMPY or not reads_values(x):
        return memory.copy_(x.sort(stable=True, descending=True).indices)
    bits = x.add_(0.0).view(torch.int32)
    mask = memory.view(-1).view(torch.int32)[: x.numel()].view_as(bits)
    torch.bitwise_right_shift(bits, 31, out=mask).bitwise_and_(2**31 - 1).bitwise_xor_(-1)
    return _sort_packed(bits.bitwise_xor_(mask), memory).bitwise_and_(_PLACE)


def _sort_packed(keys: Tensor, packed: Tensor) -> Tensor:
    """Sort int32 keys along rows, each with its place as the lower half of an int64."""
    packed.copy_(keys).bitwise_left_shift_(32).bitwise_or_(torch.arange(keys.shape[-1]))
    packed.numpy().sort(axis=-1)
    return packed


def group_sizes(ordered: Tensor) -> Tensor:
    """Return, in sorted rows ``(rows, n)``, at the last of equal numbers how many they are, and 0 at the others.

    >>> group_sizes(torch.tensor([[1, 2, 2, 3]])).tolist()
    [[1, 0, 2, 1]]
    """
    is_last = torch.ones_like(ordered)
    is_last[:, :-1] = ordered[:, 1:] != ordered[:, :-1]
    ends = is_last * torch.arange(1, ordered.shape[1] + 1, device=ordered.device)
    before = ends[:, :-1].cummax(1).values
    ends[:, 1:] -= before * is_last[:, 1:]
    return ends

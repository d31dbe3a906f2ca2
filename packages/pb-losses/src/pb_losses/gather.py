"""The global batch of distributed training, for losses that are no mean over samples."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function

__all__ = ["gather_rows"]


def gather_rows(x: Tensor) -> Tensor:
    """Return the rows of all processes in order of rank; ``x`` itself where training is not distributed.

    Every process then computes the loss of the global batch. In the backward pass each keeps its own rows' gradient
    times the number of processes, because ``DistributedDataParallel`` divides by it when it averages: parameters
    get the gradient of the global loss, without further communication. Processes may hold different numbers of
    rows; type and further axes must be the same in all, which is not checked.

    Raises
    ------
    IndexError
        In distributed training, if ``x`` is a scalar, which has no rows.

    >>> gather_rows(torch.ones(2, 3)).shape
    torch.Size([2, 3])
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return x
    gathered: Tensor = _GatherRows.apply(x)  # type: ignore[no-untyped-call]
    return gathered


class _GatherRows(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        sizes = _sizes(x)
        ctx.start, ctx.size, ctx.world_size = sum(sizes[: dist.get_rank()]), x.shape[0], len(sizes)
        padded = x.new_zeros(max(sizes), *x.shape[1:])
        padded[: x.shape[0]] = x.detach()
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        own: Tensor = grads[0].narrow(0, ctx.start, ctx.size) * ctx.world_size
        return own


def _sizes(x: Tensor) -> list[int]:
    own = torch.tensor([x.shape[0]], device=x.device)
    sizes = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(sizes, own)
    return [int(size) for size in sizes]

"""One of two processes: computes losses of its shard with ``gather=True`` and saves what it got."""

import sys
from pathlib import Path

import pb_losses
import torch
import torch.distributed as dist


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(7)
    x = torch.randn(9, 5, generator=random, dtype=torch.float64)
    y = torch.randn(9, generator=random, dtype=torch.float64).mul(2).round().div(2)
    y[2] = torch.nan
    return x, y, torch.randn(5, 3, generator=random, dtype=torch.float64)


def losses(x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, *, gather: bool) -> dict[str, torch.Tensor]:
    """Losses of a linear model: features x W, prediction their sum."""
    z = x @ weight
    p = z.sum(1)
    generator = torch.Generator().manual_seed(3)
    return {
        "far": pb_losses.far(p, y, alpha=2.0, gather=gather),
        "mae+pearson": pb_losses.mae_pearson(p, y, gather=gather),
        "rnc": pb_losses.rnc(z, y, gather=gather),
        "rnc-views": pb_losses.rnc(torch.stack([z, 2 * z], 1), y, gather=gather),
        "conr": pb_losses.conr(z, y, p, window=0.6, gather=gather),
        "ranksim": pb_losses.ranksim(z, y, generator=generator, gather=gather),
    }


def gradients(x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, *, gather: bool) -> dict[str, torch.Tensor]:
    weight = weight.requires_grad_()
    values = losses(x, y, weight, gather=gather)
    result = {name: value.detach() for name, value in values.items()}
    for name, value in values.items():
        result[f"{name} gradient"] = torch.autograd.grad(value, weight, retain_graph=True)[0]
    return result


if __name__ == "__main__":
    rank, folder = int(sys.argv[1]), Path(sys.argv[2])
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    x, y, weight = batch()
    shard = slice(0, 4) if rank == 0 else slice(4, 9)  # of unequal size
    result = gradients(x[shard], y[shard], weight, gather=True)
    for name, value in result.items():
        if name.endswith("gradient"):  # as DistributedDataParallel does
            dist.all_reduce(value)
            value /= 2
    torch.save(result, folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()

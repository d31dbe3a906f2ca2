"""Time a scGen training epoch against its bare matrix products and one fused Adam step per batch.

    python benchmarks/scgen_epoch.py --threads 1 --threads 2

Both sides run in this process on the same shapes, in turns, and the shortest time of each is compared: other processes
can only lengthen a time. The epoch is `pb_models`' own training loop on a sparse matrix: drawing and densifying
batches, forward, objective, backward, Adam, checks for divergence, then the monitor on validation cells (10 % of all)
and the copy of the best weights. The products are what no implementation on dense
batches avoids: for each Linear layer forward, gradient of its weights and (but for the first) gradient of its input,
written into memory that is already there. Exits with 1 where the goal is missed.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from pb_models.latent import train_vae
from pb_models.scgen import ScGen
from pb_models.training import Cells, seeded
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Callable

GOAL = 1.5
VALIDATION = 0.1
CPU = torch.device("cpu")


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def epoch_action(n_batches: int, batch_size: int, n_genes: int) -> Callable[[], object]:
    """Return one epoch of the real thing; every call goes through the whole of `train_vae` with a fresh optimiser."""
    n_training = n_batches * batch_size
    n_cells = round(n_training / (1 - VALIDATION))
    X = sparse.random_array((n_cells, n_genes), density=0.08, format="csr", dtype=np.float32, rng=0)
    model = ScGen()
    settings = model.settings.replace(max_epochs=1, batch_size=batch_size)
    network, cells, rows = model.new_network(n_genes), Cells(X, CPU), np.arange(X.shape[0])
    return lambda: train_vae(network, cells, rows[:n_training], rows[n_training:], settings, 0, None)


def bare_action(n_batches: int, batch_size: int, n_genes: int) -> Callable[[], object]:
    """Return the matrix products of the same network and one fused Adam step, once a batch."""
    network = ScGen().new_network(n_genes)
    layers = [layer for layer in network.modules() if isinstance(layer, torch.nn.Linear)]
    products = [product for layer in layers for product in layer_products(layer, batch_size, first=layer is layers[0])]
    for weight in network.parameters():
        weight.grad = torch.rand_like(weight)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, eps=0.01, weight_decay=1e-6, fused=True)

    def batch() -> None:
        for left, right, out in products:
            torch.mm(left, right, out=out)
        optimiser.step()

    def run() -> None:
        with torch.no_grad():
            for _ in range(n_batches):
                batch()

    return run


def layer_products(layer: torch.nn.Linear, batch_size: int, *, first: bool) -> list[tuple[torch.Tensor, ...]]:
    """Return (left, right, out) of a layer's forward product and of its gradients."""
    weight = layer.weight.detach()
    x, gradient = torch.rand(batch_size, layer.in_features), torch.rand(batch_size, layer.out_features)
    found = [(x, weight.t(), torch.empty_like(gradient)), (gradient.t(), x, torch.empty_like(weight))]
    return found if first else [*found, (gradient, weight, torch.empty_like(x))]


def ratio(threads: int, n_batches: int, batch_size: int, n_genes: int, repeats: int) -> float:
    torch.set_num_threads(threads)
    with seeded(0, CPU):
        epoch, bare = (make(n_batches, batch_size, n_genes) for make in (epoch_action, bare_action))
        epoch(), bare()
        pairs = [(seconds(epoch), seconds(bare)) for _ in range(repeats)]
    whole, products = (1000 * min(side) / n_batches for side in zip(*pairs, strict=True))
    print(f"{threads} threads: epoch {whole:.1f} ms a batch, products and Adam {products:.1f} ms a batch", end="; ")
    print(f"ratio {whole / products:.2f} (goal: at most {GOAL})")
    return whole / products


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, action="append", help="may be given more than once (default: 1)")
    parser.add_argument("--batches", type=int, default=10, help="batches in an epoch (default: 10)")
    parser.add_argument("--batch-size", type=int, default=128, help="(default: 128)")
    parser.add_argument("--genes", type=int, default=7000, help="(default: 7000)")
    parser.add_argument("--repeats", type=int, default=15, help="(default: 15)")
    options = parser.parse_args()
    sizes = (options.batches, options.batch_size, options.genes, options.repeats)
    ratios = [ratio(threads, *sizes) for threads in options.threads or [1]]
    raise SystemExit(max(ratios) > GOAL)


if __name__ == "__main__":
    main()

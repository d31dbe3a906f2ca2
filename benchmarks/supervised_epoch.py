"""Time an epoch of the large network on sparse input of Akana's size against its bare products and optimiser steps.

    OMP_NUM_THREADS=1 python benchmarks/supervised_epoch.py [--cells 5448] [--density 0.08]

Cells of 36,592 genes, hidden layers 1024-512-256-128-64, two targets, batches of 256. The epoch is everything that
`train_fold` does in it, validation left out (one validation cell, no test cells): drawing batches, forward, loss,
backward, optimiser, scores of the predictions made on the way. The bare side does, in each batch, the products of a
sparse batch with the first layer's weights and of its transpose with their gradient (scipy, the batch by columns), the
dense products of the other layers, and fused steps of torch.optim.SGD on weights of these shapes. Epochs alternate;
times are CPU seconds, the least of each side. Exits with 1 where the ratio or the memory exceeds the goal.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from itertools import pairwise

import numpy as np
import torch
from pb_models.measures import regression_measures
from pb_models.mlp import HIDDEN, MLPSettings
from pb_models.sweep import FoldSamples, Run, SweepSettings, batches, train_fold
from scipy import sparse

GOAL, GIGABYTES = 1.5, 3.0
GENES, BATCH = 36_592, 256
SIZES = (GENES, *HIDDEN["reference"], 2)


def synthetic(n_cells: int, density: float) -> sparse.csr_matrix:
    """Draw a sparse matrix row by row, so that nothing dense is made."""
    rng = np.random.default_rng(0)
    n_kept = int(GENES * density)
    indices = np.concatenate([np.sort(rng.choice(GENES, n_kept, replace=False)) for _ in range(n_cells)])
    values = rng.random(indices.size, dtype=np.float32) * 3
    return sparse.csr_matrix((values, indices.astype(np.int32), np.arange(n_cells + 1) * n_kept), (n_cells, GENES))


class Bare:
    """The products and optimiser steps of an epoch, in memory that is already there."""

    def __init__(self, x: sparse.csr_matrix) -> None:
        rng = torch.Generator().manual_seed(0)
        self.x = x
        shapes = [*pairwise(SIZES), *((1, n_out) for n_out in SIZES[1:])]
        self.weights = [torch.randn(*shape, generator=rng).mul_(0.01).requires_grad_() for shape in shapes]
        for weight in self.weights:
            weight.grad = torch.zeros_like(weight)
        self.hidden = [torch.randn(BATCH, n, generator=rng) for n in SIZES[1:]]
        self.optimiser = torch.optim.SGD(self.weights, lr=1e-9, momentum=0.9, weight_decay=1e-4, fused=True)

    @torch.no_grad()
    def epoch(self) -> None:
        """Do everything once."""
        for rows in batches(np.arange(self.x.shape[0]), BATCH, torch.Generator().manual_seed(0)):
            columns = self.x[rows].tocsc()
            columns @ self.weights[0].numpy()
            columns.T @ self.hidden[0].numpy()
            for layer in range(1, len(SIZES) - 1):
                left, right, weight = self.hidden[layer - 1], self.hidden[layer], self.weights[layer]
                torch.mm(left, weight)
                torch.mm(right, weight.T)
                torch.mm(left.T, right, out=weight.grad)
            self.optimiser.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", type=int, default=5448)
    parser.add_argument("--density", type=float, default=0.08)
    parser.add_argument("--epochs", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    x = synthetic(arguments.cells, arguments.density)
    y = np.random.default_rng(1).random((arguments.cells, 2), dtype=np.float32)
    train, empty = np.arange(arguments.cells - 1), np.arange(0)
    samples = FoldSamples(x, y, train, np.array([arguments.cells - 1]), empty)
    runs = [Run(1e-2, 1e-4, lambda _, p, t, __: (p - t).abs().mean((1, 2)), 0)]
    bare, marks, others = Bare(x[train]), [], []

    def alternate(_: object) -> None:
        marks.append(time.process_time())
        bare.epoch()
        others.append(time.process_time() - marks[-1])
        marks.append(time.process_time())

    settings = SweepSettings(epochs=arguments.epochs + 1, milestones=(), batch_size=BATCH)
    options = {"n_outputs": 2, "order_seed": 0, "progress": alternate}
    train_fold(samples, runs, MLPSettings(), settings, regression_measures(["mae"]), **options)
    epoch = min(b - a for a, b in zip(marks[1:-1:2], marks[2::2], strict=True))
    ratio = epoch / min(others)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(f"torch {torch.__version__}, 1 thread, {arguments.cells} cells, density {arguments.density:g}")
    print(f"epoch {epoch:.2f} s, bare {min(others):.2f} s, ratio {ratio:.2f} (goal: at most {GOAL})")
    print(f"peak memory of both together {peak:.2f} GB (goal: under {GIGABYTES:g})")
    sys.exit(int(ratio > GOAL or peak > GIGABYTES))


if __name__ == "__main__":
    main()

"""Count how often the training epochs of every model wait for a GPU, on few cells and on four times as many.

    python benchmarks/device_waits.py [--device cuda] [MODEL[:PROFILE] ...]

Exits with 1 where more batches mean more waits: the monitor, the check for divergence and the mean loss wait once an
epoch, no step may. torch warns of each wait (`torch.cuda.set_sync_debug_mode`), and the warnings of an epoch are
counted, each phase's first epoch left out. packages/pb-models/tests/test_device_waits.py sees most of it without a GPU.
"""

from __future__ import annotations

import argparse
import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch
from fits import MODELS, settings_of, synthetic
from pb_models.registry import create

if TYPE_CHECKING:
    from pb_models.base import TrainingStep


def most_waits(model: str, device: str, n_cells: int, *, n_genes: int = 200, n_epochs: int = 4) -> int:
    """Return how often that epoch of a fit waits that does so most often."""
    adata, keys = synthetic(n_cells, n_genes, dosed=model.startswith("scvidr-multi"))
    counts: list[int] = []

    def end_epoch(_: TrainingStep) -> None:
        counts.append(sum("synchronizing" in str(each.message) for each in caught))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            settings = settings_of(model, n_epochs, n_cells // 64, None)
            create(model, **settings).fit(adata, keys=keys, device=device, progress=end_epoch)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    per_epoch = np.diff(counts)
    starts = np.arange(n_epochs, len(counts), n_epochs) - 1  # a phase's first epoch: what is set up is not of its steps
    return int(np.delete(per_epoch, starts).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL[:PROFILE]", help="(default: every trained model)")
    parser.add_argument("--device", default="cuda", help="(default: cuda)")
    parser.add_argument("--cells", type=int, default=512, help="the fewer ones (default: 512)")
    options = parser.parse_args()
    good = True
    print("| model | waits in an epoch | in one of four times the batches |\n|---|---|---|")
    for model in options.models or MODELS:
        few, many = (most_waits(model, options.device, factor * options.cells) for factor in (1, 4))
        print(f"| {model} | {few} | {many} |", flush=True)
        good &= many <= few
    raise SystemExit(not good)


if __name__ == "__main__":
    main()

"""Many settings of one loss trained together on one fold: stacked networks that see the same batches.

Each run has its own learning rate, weight decay, objective and initial weights. All runs of a fold see the rows in the
same order, which follows from the order's seed alone, so that a run gives the same numbers (up to rounding) in any
company. A run whose loss or predictions become NaN or infinite is frozen and reported; the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch

from pb_models.base import TrainingStep
from pb_models.settings import Settings
from pb_models.sweep_training import ROWS, FoldTraces, FoldTraining, batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from scipy import sparse
    from torch import Tensor

    from pb_models.base import Progress
    from pb_models.mlp import MLPSettings
    from pb_models.resumable import Resumable

__all__ = ["FoldSamples", "FoldTraces", "Measure", "Objective", "Run", "SweepSettings", "batches", "train_fold"]

Objective = Callable[["Tensor", "Tensor", "Tensor", int], "Tensor"]
"""Takes features (runs, batch, width), outputs (runs, batch, outputs), targets (batch, targets), which all runs share,
and the epoch from 0; returns the loss of each run, (runs,), and keeps nothing from one call to the next. Weights that
no run's objective uses in an epoch stay as they are then, weight decay included, as a parameter without a gradient does
in torch: train runs together that use the same weights in the same epochs."""

_MEMORY = 512 * 2**20


class Measure(NamedTuple):
    """A score of outputs (runs, samples, outputs) against targets (samples, targets), one value a run."""

    name: str
    function: Callable[[Tensor, Tensor], Tensor]
    higher: bool


class Run(NamedTuple):
    """One training: settings of the optimiser, an objective, the seed of the initial weights."""

    learning_rate: float
    weight_decay: float
    objective: Objective
    seed: int


class FoldSamples(NamedTuple):
    """Inputs of all samples, dense (samples, inputs) or CSR, their targets (samples, targets), and rows by use.

    Targets are float32 with NaN, or class numbers with a negative one, where a label is missing.

    Targets of test rows are not read. `shift` (inputs,) is added to every row of sparse inputs, which stay sparse.
    """

    x: NDArray[np.float32] | sparse.csr_matrix
    y: NDArray[np.float32] | NDArray[np.int64]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    shift: NDArray[np.float32] | None = None


@dataclass(frozen=True, kw_only=True)
class SweepSettings(Settings):
    """How long and how to train; a last batch smaller than `batch_size` is left out, unless it is the only one.

    The learning rate is multiplied with `gamma` after each of the `milestones`, in epochs.
    """

    epochs: int = 100
    batch_size: int = 256
    milestones: tuple[int, ...] = (50, 75)
    gamma: float = 0.1
    optimiser: Literal["sgd", "adam"] = "sgd"
    momentum: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("epochs", "batch_size"):
            self.at_least(name, 1)

    def factor(self, epoch: int) -> float:
        """Return what learning rates are multiplied with in an epoch, counted from 0."""
        return float(self.gamma ** sum(epoch >= milestone for milestone in self.milestones))


def train_fold(
    samples: FoldSamples,
    runs: Sequence[Run],
    network: MLPSettings,
    settings: SweepSettings,
    measures: Sequence[Measure],
    *,
    n_outputs: int,
    order_seed: int,
    keep: NDArray[np.int64] | None = None,
    at_once: int | None = None,
    progress: Progress | None = None,
    resumable: Resumable | None = None,
) -> FoldTraces:
    """Train all runs of a fold, as many together as fit into half a gibibyte, or `at_once`.

    With `keep` (runs, measures), test outputs are those after these epochs, counted from 1, instead of those after the
    best: 0 keeps none. Validation values then choose nothing.

    `resumable` stops the training after an epoch, and lets it go on. Whoever hands it over has begun it
    (`Resumable.begin`), for one fold or for several, one after the other.

    Raises
    ------
    ValueError
        Where there is no run, or no row to train or to validate on.
    PausedError
        Where `resumable` was asked to stop.
    """
    if not runs or not len(samples.train) or not len(samples.validation):
        msg = (
            f"{len(runs)} runs, {len(samples.train)} training and {len(samples.validation)} validation rows were "
            "given; at least one of each is needed"
        )
        raise ValueError(msg)
    together = at_once or _fitting(samples, network, settings, n_outputs)
    report = _Report(progress, len(runs), settings.epochs)
    traces = FoldTraces.unknown(len(runs), settings.epochs, len(measures), len(samples.test), n_outputs)
    for start in range(0, len(runs), together):
        block, own = runs[start : start + together], traces.part(start, start + together)
        kept = None if keep is None else torch.from_numpy(keep[start : start + together])
        FoldTraining(samples, block, network, settings, measures, own, order_seed, kept).run(report, resumable)
        report.done += len(block)
    return traces


class _Report:
    """Tells of epochs of blocks of runs as of epochs of all runs; the time left follows from what was done here."""

    def __init__(self, progress: Progress | None, n_runs: int, n_epochs: int) -> None:
        self.progress, self.n_runs, self.n_epochs = progress, n_runs, n_epochs
        self.done = 0  # runs of blocks that are over
        self.behind = -1.0  # share that was done elsewhere
        self.start = time.perf_counter()

    def __call__(self, epoch: int, loss: float, n_runs: int) -> None:
        """Tell of an epoch of a block of some number of runs."""
        if self.progress is None:
            return
        share, step = ((self.done + n_runs * e / self.n_epochs) / self.n_runs for e in (epoch, epoch - 1))
        self.behind = step if self.behind < 0 else self.behind
        left = (time.perf_counter() - self.start) / (share - self.behind) * (1 - share)
        self.progress(TrainingStep(round(share * self.n_epochs), self.n_epochs, loss, None, left))


def _fitting(samples: FoldSamples, network: MLPSettings, settings: SweepSettings, n_outputs: int) -> int:
    """Say how many runs fit into the memory: weights, gradients and two moments, activations and their gradients."""
    sizes = (samples.x.shape[1], *network.hidden, n_outputs)
    n_weights = sum(a * b for a, b in pairwise(sizes))
    rows = max(2 * settings.batch_size, min(ROWS, max(len(samples.validation), len(samples.test))))
    kept = 3 * len(samples.test) * n_outputs
    return max(1, int(_MEMORY / (4 * (4 * n_weights + rows * sum(sizes[1:]) + kept))))

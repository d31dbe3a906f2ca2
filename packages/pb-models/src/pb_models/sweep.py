"""Many settings of one loss trained together, on one fold or on several: stacked networks.

Each run has its own learning rate, weight decay, objective and initial weights. All runs of a fold see the rows in the
same order, which follows from the order's seed alone, so that a run gives the same numbers (up to rounding) in any
company. A run whose loss or predictions become NaN or infinite is frozen and reported; the others go on.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from scipy import sparse

from pb_models.base import TrainingStep
from pb_models.settings import Settings
from pb_models.sweep_folds import Fold, FoldSamples, FoldTraces, Measure, Objective, Run, batches
from pb_models.sweep_training import ROWS, FoldTraining

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pb_models.base import Progress
    from pb_models.mlp import MLPSettings
    from pb_models.resumable import Resumable

__all__ = [
    "Fold",
    "FoldSamples",
    "FoldTraces",
    "Measure",
    "Objective",
    "Run",
    "SweepSettings",
    "batches",
    "folds_at_once",
    "train_fold",
    "train_folds",
]

_MEMORY = 512 * 2**20
_CACHE = 16 * 2**20


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
    _check(samples, runs)
    together = at_once or _fitting(samples, network, settings, n_outputs)
    report, parts = _Report(progress, len(runs), settings.epochs), []
    for start in range(0, len(runs), together):
        block = slice(start, start + together)
        fold = Fold(samples, runs[block], order_seed, None if keep is None else keep[block])
        training = FoldTraining([fold], network, settings, measures, n_outputs)
        training.run(report, resumable)
        parts += training.traces()
        report.done += len(fold.runs)
    return FoldTraces.joined(parts)


def train_folds(
    folds: Sequence[Fold],
    network: MLPSettings,
    settings: SweepSettings,
    measures: Sequence[Measure],
    *,
    n_outputs: int,
    progress: Progress | None = None,
    resumable: Resumable | None = None,
) -> list[FoldTraces]:
    """Train the runs of several folds as one, which pays where networks are small: see `folds_at_once`.

    Run r has the same objective, learning rate and weight decay on every fold, and an objective that takes targets
    (runs, batch, targets). What becomes of a run is what `train_fold` makes of it, up to rounding.

    Raises
    ------
    ValueError
        As `train_fold`; or where folds differ in the number or the settings of their runs, in the size of their
        batches or in the kind of epochs to keep, or inputs are sparse.
    PausedError
        Where `resumable` was asked to stop.
    """
    for fold in folds:
        _check(fold.samples, fold.runs)
    alike = {
        (_batches(len(fold.samples.train), settings), fold.keep is None, *(run._replace(seed=0) for run in fold.runs))
        for fold in folds
    }
    if len(alike) != 1 or any(sparse.issparse(fold.samples.x) for fold in folds):
        msg = (
            f"{len(folds)} folds were given to train together; they need dense inputs, runs of the same settings, "
            "as many batches of one size, and epochs to keep for all or for none: train them one by one with train_fold"
        )
        raise ValueError(msg)
    training = FoldTraining(folds, network, settings, measures, n_outputs)
    training.run(_Report(progress, len(folds) * len(folds[0].runs), settings.epochs), resumable)
    return training.traces()


def folds_at_once(
    n_train: Sequence[int], n_runs: int, network: MLPSettings, settings: SweepSettings, *, n_inputs: int, n_outputs: int
) -> int:
    """Say how many folds, of so many training rows, are best trained together.

    Of small networks, calls cost the most, and one for five folds takes hardly longer than one for one: as many as keep
    the activations of a batch in the cache, and all in half a gibibyte. 1 where folds differ in the number or size of
    their batches.

    Examples
    --------
    >>> from pb_models.mlp import MLPSettings
    >>> folds_at_once([800, 801], 9, MLPSettings(hidden=(16, 16)), SweepSettings(), n_inputs=8, n_outputs=1)
    2
    >>> folds_at_once([800, 801], 9, MLPSettings(), SweepSettings(), n_inputs=8, n_outputs=1)
    1
    """
    if len({_batches(n_rows, settings) for n_rows in n_train}) != 1:
        return 1
    sizes = (n_inputs, *network.hidden, n_outputs)
    in_cache = _CACHE // (4 * sum(sizes) * settings.batch_size)
    return min(len(n_train), max(1, min(in_cache, _MEMORY // _bytes(sizes, ROWS)) // n_runs))


def _batches(n_rows: int, settings: SweepSettings) -> tuple[int, int]:
    """Return the number and the size of the batches of so many rows."""
    return max(1, n_rows // settings.batch_size), min(n_rows, settings.batch_size)


def _check(samples: FoldSamples, runs: Sequence[Run]) -> None:
    if not runs or not len(samples.train) or not len(samples.validation):
        msg = (
            f"{len(runs)} runs, {len(samples.train)} training and {len(samples.validation)} validation rows were "
            "given; at least one of each is needed"
        )
        raise ValueError(msg)


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
    """Say how many runs fit into the memory, with the test outputs that are kept."""
    sizes = (samples.x.shape[1], *network.hidden, n_outputs)
    rows = max(2 * settings.batch_size, min(ROWS, max(len(samples.validation), len(samples.test))))
    return max(1, _MEMORY // (_bytes(sizes, rows) + 12 * len(samples.test) * n_outputs))


def _bytes(sizes: Sequence[int], n_rows: int) -> int:
    """Return the memory of a run: weights, gradients and two moments, and activations of so many rows."""
    return 4 * (4 * sum(a * b for a, b in pairwise(sizes)) + n_rows * sum(sizes[1:]))

"""What a sweep of settings is given and what it gives: samples of folds, runs, traces."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["Fold", "FoldData", "FoldSamples", "FoldTraces", "Measure", "Objective", "Run", "batches"]

Objective = Callable[["Tensor", "Tensor", "Tensor", int], "Tensor"]
"""Takes features (runs, batch, width), outputs (runs, batch, outputs), targets (batch, targets), which all runs share,
and the epoch from 0; returns the loss of each run, (runs,), and keeps nothing from one call to the next. Where folds
are trained together, targets are (runs, batch, targets). Weights that no run's objective uses in an epoch stay as they
are then, weight decay included, as a parameter without a gradient does in torch: train runs together that use the same
weights in the same epochs."""


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

    Targets are float32 with NaN, or class numbers with a negative one, where a label is missing; those of test rows are
    not read. `shift` (inputs,) is added to every row of sparse inputs, which stay sparse.
    """

    x: NDArray[np.float32] | sparse.csr_matrix
    y: NDArray[np.float32] | NDArray[np.int64]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    shift: NDArray[np.float32] | None = None


class Fold(NamedTuple):
    """Samples, the runs on them, and the seed of the order in which all runs see them.

    With `keep` (runs, measures), test outputs are those after these epochs, counted from 1, instead of those after the
    best: 0 keeps none. Validation values then choose nothing.
    """

    samples: FoldSamples
    runs: Sequence[Run]
    order_seed: int
    keep: NDArray[np.int64] | None = None


class FoldTraces(NamedTuple):
    """What became of the runs of one fold.

    `loss` (runs, epochs); `training` and `validation` (runs, epochs, measures), NaN after a run diverged;
    `test_outputs` (runs, measures, test rows, outputs) after the epoch with the best validation value of that measure;
    `diverged` (runs,), the epoch from 1 in which a run diverged, else 0. Training values are of the predictions
    made on the way, before each step.
    """

    loss: NDArray[np.float32]
    training: NDArray[np.float32]
    validation: NDArray[np.float32]
    test_outputs: NDArray[np.float32]
    diverged: NDArray[np.int64]

    @classmethod
    def joined(cls, parts: Sequence[FoldTraces]) -> FoldTraces:
        """Join those of runs of one fold."""
        return parts[0] if len(parts) == 1 else cls._make(np.concatenate(values) for values in zip(*parts, strict=True))


class FoldData(NamedTuple):
    """Samples of a fold as tensors, sparse inputs as they are."""

    x: Tensor | sparse.csr_matrix
    y: Tensor
    train: NDArray[np.int64]
    held_x: Tensor | sparse.csr_matrix
    held_y: Tensor
    test_x: Tensor | sparse.csr_matrix

    @classmethod
    def of(cls, samples: FoldSamples) -> FoldData:
        """Lay samples out for training."""
        x = samples.x if sparse.issparse(samples.x) else torch.from_numpy(np.ascontiguousarray(samples.x))
        y = torch.from_numpy(np.ascontiguousarray(samples.y))
        return cls(x, y, samples.train, _rows(x, samples.validation), y[samples.validation], _rows(x, samples.test))

    def batch(self, rows: NDArray[np.int64]) -> tuple[Tensor | sparse.csr_matrix, Tensor]:
        """Return inputs and targets of some samples."""
        return _rows(self.x, rows), self.y[rows]


def batches(rows: NDArray[np.int64], size: int, order: torch.Generator) -> Iterator[NDArray[np.int64]]:
    """Shuffle rows and cut them into batches, leaving out a last one that is too small unless it is the only one.

    Examples
    --------
    >>> [len(batch) for batch in batches(np.arange(7), 3, torch.Generator().manual_seed(0))]
    [3, 3]
    """
    shuffled = rows[torch.randperm(len(rows), generator=order).numpy()]
    for start in range(0, max(len(rows) - size, 0) + 1, size):
        yield shuffled[start : start + size]


def _rows(x: Tensor | sparse.csr_matrix, rows: NDArray[np.int64]) -> Tensor | sparse.csr_matrix:
    return x[rows] if sparse.issparse(x) else x[torch.from_numpy(rows)]

"""Many settings of one loss trained together on one fold: stacked networks that see the same batches.

Each run has its own learning rate, weight decay, objective and initial weights. All runs of a fold see the rows in the
same order, which follows from the order's seed alone, so that a run gives the same numbers (up to rounding) in any
company. A run whose loss or predictions become NaN or infinite is frozen and reported; the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch
from scipy import sparse

from pb_models.base import TrainingStep
from pb_models.mlp_stacked import StackedMLP
from pb_models.settings import Settings
from pb_models.sweep_steps import SGD, Adam, Rates

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from pb_models.base import Progress
    from pb_models.mlp import MLPSettings
    from pb_models.sweep_steps import StackedOptimiser

__all__ = ["FoldSamples", "FoldTraces", "Measure", "Objective", "Run", "SweepSettings", "train_fold"]

Objective = Callable[["Tensor", "Tensor", "Tensor", int], "Tensor"]
"""Takes features (runs, batch, width), outputs (runs, batch, outputs), targets (batch, targets), which all runs share,
and the epoch from 0; returns the loss of each run, (runs,). Weights that no run's objective uses in an epoch stay as
they are then, weight decay included, as a parameter without a gradient does in torch: train runs together that use the
same weights in the same epochs."""

_MEMORY = 512 * 2**20
_ROWS = 4096


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
) -> FoldTraces:
    """Train all runs of a fold, as many together as fit into half a gibibyte, or `at_once`.

    With `keep` (runs, measures), test outputs are those after these epochs, counted from 1, instead of those after the
    best: 0 keeps none. Validation values then choose nothing.

    Raises
    ------
    ValueError
        Where there is no run, or no row to train or to validate on.
    """
    if not runs or not len(samples.train) or not len(samples.validation):
        msg = (
            f"{len(runs)} runs, {len(samples.train)} training and {len(samples.validation)} validation rows were "
            "given; at least one of each is needed"
        )
        raise ValueError(msg)
    together = at_once or _fitting(samples, network, settings, n_outputs)
    chunks = [runs[start : start + together] for start in range(0, len(runs), together)]
    start, done = time.perf_counter(), 0

    def report(epoch: int, loss: float, n_runs: int) -> None:
        if progress is not None:
            share = (done + n_runs * epoch / settings.epochs) / len(runs)
            seconds = time.perf_counter() - start
            whole = round(share * settings.epochs)
            progress(TrainingStep(whole, settings.epochs, loss, None, seconds / share - seconds))

    parts = []
    for chunk in chunks:
        kept = None if keep is None else torch.from_numpy(keep[done : done + len(chunk)])
        parts.append(_Training(samples, chunk, network, settings, measures, n_outputs, kept).run(order_seed, report))
        done += len(chunk)
    return FoldTraces(*(np.concatenate(fields) for fields in zip(*parts, strict=True)))


class _Training:
    """Stacked runs in training."""

    def __init__(
        self,
        samples: FoldSamples,
        runs: Sequence[Run],
        network: MLPSettings,
        settings: SweepSettings,
        measures: Sequence[Measure],
        n_outputs: int,
        keep: Tensor | None,
    ) -> None:
        self.samples, self.settings, self.measures, self.keep = samples, settings, measures, keep
        self.x = samples.x if sparse.issparse(samples.x) else torch.from_numpy(np.ascontiguousarray(samples.x))
        self.y = torch.from_numpy(np.ascontiguousarray(samples.y))
        seeds = [run.seed for run in runs]
        self.network = StackedMLP(samples.x.shape[1], n_outputs, network, seeds, shift=samples.shift)
        self.groups = [(objective, len(list(group))) for objective, group in groupby(run.objective for run in runs)]
        rates = Rates([run.learning_rate for run in runs], [run.weight_decay for run in runs])
        parameters = self.network.parameters
        self.optimiser: StackedOptimiser = (
            SGD(parameters, rates, settings.momentum) if settings.optimiser == "sgd" else Adam(parameters, rates)
        )
        n_runs, n_measures = len(runs), len(measures)
        self.diverged = torch.zeros(n_runs, dtype=torch.int64)
        self.best = torch.full((n_runs, n_measures), torch.inf)
        self.sign = torch.tensor([-1.0 if measure.higher else 1.0 for measure in measures])
        self.test_outputs = torch.zeros(n_runs, n_measures, len(samples.test), n_outputs)
        self.held = [(_rows(self.x, rows), self.y[rows]) for rows in (samples.validation, samples.test)]

    def run(self, order_seed: int, report: Callable[[int, float, int], None]) -> FoldTraces:
        """Train epoch by epoch until the last, or until every run has diverged."""
        order = torch.Generator().manual_seed(order_seed)
        n_runs, n_epochs, n_measures = len(self.diverged), self.settings.epochs, len(self.measures)
        loss = torch.full((n_runs, n_epochs), torch.nan)
        training, validation = torch.full((2, n_runs, n_epochs, n_measures), torch.nan)
        for epoch in range(n_epochs):
            loss[:, epoch], training[:, epoch] = self._epoch(epoch, order)
            validation[:, epoch] = self._validate(epoch)
            for trace in (loss, training):
                trace[self.diverged > 0, epoch] = torch.nan
            report(epoch + 1, float(loss[:, epoch].nanmean()), n_runs)
            if bool((self.diverged > 0).all()):
                break
        arrays = (trace.numpy() for trace in (loss, training, validation, self.test_outputs, self.diverged))
        return FoldTraces(*arrays)

    def _epoch(self, epoch: int, order: torch.Generator) -> tuple[Tensor, Tensor]:
        """Take one step on each batch; return mean losses (runs,) and measures of the predictions (runs, measures)."""
        losses, outputs, rows_seen = [], [], []
        factor = self.settings.factor(epoch)
        for rows in batches(self.samples.train, self.settings.batch_size, order):
            loss, output = self._step(rows, epoch, factor)
            losses.append(loss)
            outputs.append(output)
            rows_seen.append(rows)
        seen = self.y[np.concatenate(rows_seen)]
        return torch.stack(losses).mean(0), self._measured(torch.cat(outputs, dim=1), seen)

    def _step(self, rows: NDArray[np.int64], epoch: int, factor: float) -> tuple[Tensor, Tensor]:
        features, outputs = (result.requires_grad_() for result in self.network(_rows(self.x, rows)))
        losses = self._losses(features, outputs, self.y[rows], epoch)
        fresh = self._newly_diverged(losses.detach(), epoch)
        frozen = self.diverged > 0
        any_frozen = bool(frozen.any())
        total = torch.where(frozen, torch.zeros_like(losses), losses).sum() if any_frozen else losses.sum()
        gradients = self.network.gradients(*torch.autograd.grad(total, (features, outputs), allow_unused=True))
        if any_frozen:
            self.optimiser.forget(fresh)
            for gradient in gradients:
                if gradient is not None:
                    gradient[frozen] = 0
        self.optimiser.step(gradients, factor)
        return losses.detach(), outputs.detach()

    def _losses(self, features: Tensor, outputs: Tensor, targets: Tensor, epoch: int) -> Tensor:
        """Call each objective on its runs, which lie side by side."""
        if len(self.groups) == 1:
            return self.groups[0][0](features, outputs, targets, epoch)
        sizes = [size for _, size in self.groups]
        parts = zip(self.groups, torch.split(features, sizes), torch.split(outputs, sizes), strict=True)
        return torch.cat([objective(z, out, targets, epoch) for (objective, _), z, out in parts])

    def _newly_diverged(self, values: Tensor, epoch: int) -> Tensor:
        """Note and return which runs have just come to a value that is not finite."""
        fresh = ~torch.isfinite(values) & (self.diverged == 0)
        self.diverged[fresh] = epoch + 1
        return fresh

    @torch.no_grad()
    def _validate(self, epoch: int) -> Tensor:
        """Return measures of the validation rows (runs, measures), and keep test outputs where one is the best yet."""
        (x, y), (x_test, _) = self.held
        outputs = self._outputs(x)
        self.optimiser.forget(self._newly_diverged(outputs.sum((1, 2)), epoch))
        values = self._measured(outputs, y)
        values[self.diverged > 0] = torch.nan
        better = values * self.sign < self.best if self.keep is None else self.keep == epoch + 1
        improved = better.any(1).nonzero().squeeze(1)
        if len(self.samples.test) and len(improved):
            of_runs = self._outputs(x_test, self.network.members(improved))
            place, measures = better[improved].nonzero().unbind(1)
            self.test_outputs[improved[place], measures] = of_runs[place]
        self.best = torch.where(better, values * self.sign, self.best)
        return values

    def _outputs(self, x: Tensor | sparse.csr_matrix, network: StackedMLP | None = None) -> Tensor:
        network = network or self.network
        return torch.cat([network(x[start : start + _ROWS])[1] for start in range(0, x.shape[0], _ROWS)], dim=1)

    def _measured(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return torch.stack([measure.function(outputs, targets) for measure in self.measures], dim=1)


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


def _fitting(samples: FoldSamples, network: MLPSettings, settings: SweepSettings, n_outputs: int) -> int:
    """Say how many runs fit into the memory: weights, gradients and two moments, activations and their gradients."""
    sizes = (samples.x.shape[1], *network.hidden, n_outputs)
    n_weights = sum(a * b for a, b in pairwise(sizes))
    rows = max(2 * settings.batch_size, min(_ROWS, max(len(samples.validation), len(samples.test))))
    kept = 3 * len(samples.test) * n_outputs
    return max(1, int(_MEMORY / (4 * (4 * n_weights + rows * sum(sizes[1:]) + kept))))

"""Stacked runs of one loss in training on one fold, and what becomes of them."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from scipy import sparse

from pb_models.mlp_stacked import StackedMLP
from pb_models.resumable import TorchGenerators
from pb_models.sweep_steps import SGD, Adam, Rates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from pb_models.mlp import MLPSettings
    from pb_models.resumable import Resumable, Stateful
    from pb_models.sweep import FoldSamples, Measure, Run, SweepSettings
    from pb_models.sweep_steps import StackedOptimiser

__all__ = ["ROWS", "FoldTraces", "FoldTraining", "batches"]

ROWS = 4096  # held out, predicted at once


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
    def unknown(cls, n_runs: int, n_epochs: int, n_measures: int, n_test: int, n_outputs: int) -> FoldTraces:
        """Return traces of runs that have not begun: NaN, zeros where test outputs and divergence will stand."""
        loss = np.full((n_runs, n_epochs), np.nan, np.float32)
        training, validation = np.full((2, n_runs, n_epochs, n_measures), np.nan, np.float32)
        test_outputs = np.zeros((n_runs, n_measures, n_test, n_outputs), np.float32)
        return cls(loss, training, validation, test_outputs, np.zeros(n_runs, np.int64))

    def part(self, start: int, stop: int) -> FoldTraces:
        """Return those of some runs, in the same memory."""
        return FoldTraces._make(values[start:stop] for values in self)


class FoldTraining:
    """Stacked runs in training, which fill their traces: a phase, see `resumable.Phase`."""

    def __init__(
        self,
        samples: FoldSamples,
        runs: Sequence[Run],
        network: MLPSettings,
        settings: SweepSettings,
        measures: Sequence[Measure],
        traces: FoldTraces,
        order_seed: int,
        keep: Tensor | None = None,
    ) -> None:
        self.samples, self.settings, self.measures, self.keep = samples, settings, measures, keep
        self.x = samples.x if sparse.issparse(samples.x) else torch.from_numpy(np.ascontiguousarray(samples.x))
        self.y = torch.from_numpy(np.ascontiguousarray(samples.y))
        seeds = [run.seed for run in runs]
        n_outputs = traces.test_outputs.shape[3]
        self.network = StackedMLP(samples.x.shape[1], n_outputs, network, seeds, shift=samples.shift)
        self.groups = [(objective, len(list(group))) for objective, group in groupby(run.objective for run in runs)]
        rates = Rates([run.learning_rate for run in runs], [run.weight_decay for run in runs])
        parameters = self.network.parameters
        self.optimiser: StackedOptimiser = (
            SGD(parameters, rates, settings.momentum) if settings.optimiser == "sgd" else Adam(parameters, rates)
        )
        self.epoch = 0
        self.order = torch.Generator().manual_seed(order_seed)
        self.loss, self.training, self.validation, self.test_outputs, self.diverged = map(torch.from_numpy, traces)
        self.best = torch.full((len(runs), len(measures)), torch.inf)
        self.sign = torch.tensor([-1.0 if measure.higher else 1.0 for measure in measures])
        self.held = [(_rows(self.x, rows), self.y[rows]) for rows in (samples.validation, samples.test)]

    def run(self, report: Callable[[int, float, int], None], resumable: Resumable | None = None) -> None:
        """Train epoch by epoch until the last, or until every run has diverged, and fill the traces."""
        device = torch.device("cpu")
        parts: list[Stateful] = [self.network, self.optimiser, TorchGenerators(device)]
        if resumable is not None and resumable.enter(self, parts, device=device):
            return
        while self.epoch < self.settings.epochs:
            self._train(self.epoch, report)
            if resumable is not None and self.epoch < self.settings.epochs:
                resumable.pause_if_asked()
        if resumable is not None:
            resumable.leave()

    def _train(self, epoch: int, report: Callable[[int, float, int], None]) -> None:
        """Train one epoch, validate, and note what came of it; the last one is over where every run has diverged."""
        self.loss[:, epoch], self.training[:, epoch] = self._epoch(epoch, self.order)
        self.validation[:, epoch] = self._validate(epoch)
        is_over = self.diverged > 0
        for trace in (self.loss, self.training):
            trace[is_over, epoch] = torch.nan
        self.epoch = self.settings.epochs if bool(is_over.all()) else epoch + 1
        report(epoch + 1, float(self.loss[:, epoch].nanmean()), len(is_over))

    def outcome(self) -> dict[str, Tensor]:
        """Return the traces."""
        return {name: getattr(self, name) for name in FoldTraces._fields}

    def take_outcome(self, outcome: Mapping[str, Tensor]) -> None:
        """Be over, with the traces of another training."""
        self._take_traces(outcome)
        self.epoch = self.settings.epochs

    def state_dict(self) -> dict[str, Any]:
        """Return what is known so far, and where the batch order stands."""
        own = {"epoch": self.epoch, "best": self.best, "order": self.order.get_state()}
        return {**own, "traces": self.outcome()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another training stood."""
        self._take_traces(state["traces"])
        self.epoch, self.best = state["epoch"], state["best"]
        self.order.set_state(state["order"])

    def _take_traces(self, traces: Mapping[str, Tensor]) -> None:
        for name, values in traces.items():
            getattr(self, name).copy_(values)

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
        return torch.cat([network(x[start : start + ROWS])[1] for start in range(0, x.shape[0], ROWS)], dim=1)

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

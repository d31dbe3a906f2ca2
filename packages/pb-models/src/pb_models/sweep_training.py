"""Stacked runs of one loss in training, on one fold or on several alike, and what becomes of them."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pb_models.mlp_stacked import StackedMLP
from pb_models.resumable import TorchGenerators
from pb_models.sweep_folds import FoldData, FoldTraces, batches
from pb_models.sweep_steps import SGD, Adam, Rates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray
    from scipy import sparse
    from torch import Tensor

    from pb_models.mlp import MLPSettings
    from pb_models.resumable import Resumable, Stateful
    from pb_models.sweep import SweepSettings
    from pb_models.sweep_folds import Fold, Measure, Run
    from pb_models.sweep_steps import StackedOptimiser

__all__ = ["ROWS", "FoldTraining"]

ROWS = 4096  # held out, predicted at once


class FoldTraining:
    """Stacked runs in training, and their traces so far: a phase, see `resumable.Phase`.

    Run r of fold f is member r F + f of the stack, of F folds; they have its objective, rate and decay in common.
    """

    def __init__(
        self,
        folds: Sequence[Fold],
        network: MLPSettings,
        settings: SweepSettings,
        measures: Sequence[Measure],
        n_outputs: int,
    ) -> None:
        self.settings, self.measures, self.n_folds = settings, measures, len(folds)
        self.data = [FoldData.of(fold.samples) for fold in folds]
        runs: list[Run] = [run for of_folds in zip(*(fold.runs for fold in folds), strict=True) for run in of_folds]
        seeds, first = [run.seed for run in runs], folds[0].samples
        self.network = StackedMLP(first.x.shape[1], n_outputs, network, seeds, shift=first.shift)
        self.groups = [(objective, len(list(group))) for objective, group in groupby(run.objective for run in runs)]
        rates = Rates([run.learning_rate for run in runs], [run.weight_decay for run in runs])
        parameters = self.network.parameters
        self.optimiser: StackedOptimiser = (
            SGD(parameters, rates, settings.momentum) if settings.optimiser == "sgd" else Adam(parameters, rates)
        )
        self.epoch = 0
        self.orders = [torch.Generator().manual_seed(fold.order_seed) for fold in folds]
        kept = [torch.from_numpy(fold.keep) for fold in folds if fold.keep is not None]
        self.keep = _members(kept) if kept else None
        n_epochs, n_measures = settings.epochs, len(measures)
        self.loss = torch.full((len(runs), n_epochs), torch.nan)
        self.training, self.validation = torch.full((2, len(runs), n_epochs, n_measures), torch.nan)
        self.test_outputs = [torch.zeros(len(f.runs), n_measures, len(f.samples.test), n_outputs) for f in folds]
        self.diverged = torch.zeros(len(runs), dtype=torch.int64)
        self.best = torch.full((len(runs), n_measures), torch.inf)
        self.sign = torch.tensor([-1.0 if measure.higher else 1.0 for measure in measures])

    def run(self, report: Callable[[int, float, int], None], resumable: Resumable | None = None) -> None:
        """Train epoch by epoch until the last, or until every run has diverged, and fill the traces."""
        _keep_freed_memory()
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
        self.loss[:, epoch], self.training[:, epoch] = self._epoch(epoch)
        self.validation[:, epoch] = self._validate(epoch)
        is_over = self.diverged > 0
        for trace in (self.loss, self.training):
            trace[is_over, epoch] = torch.nan
        self.epoch = self.settings.epochs if bool(is_over.all()) else epoch + 1
        report(epoch + 1, float(self.loss[:, epoch].nanmean()), len(is_over))

    def traces(self) -> list[FoldTraces]:
        """Return what became of the runs of each fold."""
        of_members = (self.loss, self.training, self.validation, self.diverged)
        parts = zip(*(_by_fold(values, self.n_folds) for values in of_members), self.test_outputs, strict=True)
        return [
            FoldTraces(loss.numpy(), training.numpy(), validation.numpy(), outputs.numpy(), diverged.numpy())
            for loss, training, validation, diverged, outputs in parts
        ]

    def outcome(self) -> dict[str, Any]:
        """Return the traces."""
        return {name: getattr(self, name) for name in FoldTraces._fields}

    def take_outcome(self, outcome: Mapping[str, Any]) -> None:
        """Be over, with the traces of another training."""
        self._take_traces(outcome)
        self.epoch = self.settings.epochs

    def state_dict(self) -> dict[str, Any]:
        """Return what is known so far, and where the batch orders stand."""
        orders = [order.get_state() for order in self.orders]
        return {"epoch": self.epoch, "best": self.best, "orders": orders, "traces": self.outcome()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another training stood."""
        self._take_traces(state["traces"])
        self.epoch, self.best = state["epoch"], state["best"]
        for order, values in zip(self.orders, state["orders"], strict=True):
            order.set_state(values)

    def _take_traces(self, traces: Mapping[str, Any]) -> None:
        for name, values in traces.items():
            setattr(self, name, values)

    def _epoch(self, epoch: int) -> tuple[Tensor, Tensor]:
        """Take one step on each batch; return mean losses (members,) and measures of the predictions on the way."""
        losses, outputs, rows_seen = [], [], []
        factor = self.settings.factor(epoch)
        orders = [
            batches(data.train, self.settings.batch_size, o) for data, o in zip(self.data, self.orders, strict=True)
        ]
        for rows in zip(*orders, strict=True):
            loss, output = self._step(rows, epoch, factor)
            losses.append(loss)
            outputs.append(output)
            rows_seen.append(rows)
        seen = [
            data.y[np.concatenate(rows)] for data, rows in zip(self.data, zip(*rows_seen, strict=True), strict=True)
        ]
        return torch.stack(losses).mean(0), self._measured(_by_fold(torch.cat(outputs, dim=1), self.n_folds), seen)

    def _step(self, rows: Sequence[NDArray[np.int64]], epoch: int, factor: float) -> tuple[Tensor, Tensor]:
        x, y = self._batch(rows)
        features, outputs = (result.requires_grad_() for result in self.network(x))
        losses = self._losses(features, outputs, y, epoch)
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

    def _batch(self, rows: Sequence[NDArray[np.int64]]) -> tuple[Tensor | sparse.csr_matrix, Tensor]:
        """Return inputs and targets that all members share, or, of several folds, those of each member."""
        if self.n_folds == 1:
            return self.data[0].batch(rows[0])
        x, y = zip(*(data.batch(own) for data, own in zip(self.data, rows, strict=True)), strict=True)
        n_runs = len(self.best) // self.n_folds
        return torch.stack(x).repeat(n_runs, 1, 1), torch.stack(y).repeat(n_runs, 1, 1)

    def _losses(self, features: Tensor, outputs: Tensor, targets: Tensor, epoch: int) -> Tensor:
        """Call each objective on its members, which lie side by side."""
        if len(self.groups) == 1:
            return self.groups[0][0](features, outputs, targets, epoch)
        sizes = [size for _, size in self.groups]
        own = torch.split(targets, sizes) if self.n_folds > 1 else [targets] * len(sizes)
        parts = zip(self.groups, torch.split(features, sizes), torch.split(outputs, sizes), own, strict=True)
        return torch.cat([objective(z, out, y, epoch) for (objective, _), z, out, y in parts])

    def _newly_diverged(self, values: Tensor, epoch: int) -> Tensor:
        """Note and return which members have just come to a value that is not finite."""
        fresh = ~torch.isfinite(values) & (self.diverged == 0)
        self.diverged[fresh] = epoch + 1
        return fresh

    @torch.no_grad()
    def _validate(self, epoch: int) -> Tensor:
        """Return measures of the validation rows (members, measures), and keep test outputs where one is the best."""
        outputs = [self._outputs(data.held_x, self._of_fold(fold)) for fold, data in enumerate(self.data)]
        self.optimiser.forget(self._newly_diverged(_members([values.sum((1, 2)) for values in outputs]), epoch))
        values = self._measured(outputs, [data.held_y for data in self.data])
        values[self.diverged > 0] = torch.nan
        better = values * self.sign < self.best if self.keep is None else self.keep == epoch + 1
        for fold, of_fold in enumerate(_by_fold(better, self.n_folds)):
            self._keep_test_outputs(fold, of_fold)
        self.best = torch.where(better, values * self.sign, self.best)
        return values

    def _keep_test_outputs(self, fold: int, better: Tensor) -> None:
        """Keep what runs of a fold predict now for the measures (runs, measures) that are better than before."""
        improved = better.any(1).nonzero().squeeze(1)
        data = self.data[fold]
        if data.test_x.shape[0] and len(improved):
            of_runs = self._outputs(data.test_x, self.network.members(improved * self.n_folds + fold))
            place, measures = better[improved].nonzero().unbind(1)
            self.test_outputs[fold][improved[place], measures] = of_runs[place]

    def _of_fold(self, fold: int) -> StackedMLP:
        return (
            self.network
            if self.n_folds == 1
            else self.network.members(torch.arange(fold, len(self.best), self.n_folds))
        )

    def _outputs(self, x: Tensor | sparse.csr_matrix, network: StackedMLP) -> Tensor:
        return torch.cat([network(x[start : start + ROWS])[1] for start in range(0, x.shape[0], ROWS)], dim=1)

    def _measured(self, outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
        """Return measures (members, measures) of the outputs and targets of each fold."""
        return _members(
            [
                torch.stack([measure.function(of_fold, y) for measure in self.measures], dim=1)
                for of_fold, y in zip(outputs, targets, strict=True)
            ]
        )


def _keep_freed_memory() -> None:
    """Have the C library keep what training frees, up to 64 MB, for its next batch.

    glibc gives large blocks back to the system and takes fresh ones page by page, which is slow, until the program has
    freed a block of nearly 32 MB (mallopt(3), M_MMAP_THRESHOLD).
    """
    torch.empty(2**25 - 2**16, dtype=torch.uint8)


def _by_fold(values: Tensor, n_folds: int) -> list[Tensor]:
    """Take values of members, in front, apart: run r of fold f is member r F + f."""
    return [values[fold::n_folds] for fold in range(n_folds)]


def _members(values: Sequence[Tensor]) -> Tensor:
    """Put values of runs, fold by fold, together as those of members."""
    return values[0] if len(values) == 1 else torch.stack(tuple(values), dim=1).flatten(0, 1)

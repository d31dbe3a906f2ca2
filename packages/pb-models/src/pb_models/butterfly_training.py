"""scButterfly's three training phases: each side alone, then both with translator and discriminators."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from pb_models.base import TrainingStep
from pb_models.butterfly import SIDES, code_divergence, discrimination, paired_reconstruction, soft_labels
from pb_models.training import Schedule, descend, train

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from pb_models.base import Progress
    from pb_models.butterfly import Butterfly, Codes, Side
    from pb_models.pairing import Pairs
    from pb_models.resumable import Resumable
    from pb_models.scbutterfly import ScButterflySettings
    from pb_models.training import Cells

__all__ = ["BLOCK", "ButterflyTraining", "EpochCount"]

BLOCK = 2048  # cells predicted or watched at once


class EpochCount:
    """Counts the epochs of several training runs and tells a progress callback of them as of one run.

    `resumable` is what these runs are stopped and continued by.
    """

    def __init__(self, progress: Progress | None, n_epochs: int, resumable: Resumable | None = None) -> None:
        self.resumable = resumable
        self.epochs = self.epochs_before = 0
        self._n_epochs, self._progress, self._start = n_epochs, progress, time.perf_counter()

    def __call__(self, step: TrainingStep) -> None:
        """Take one epoch's news, numbered within its own run."""
        self.epochs += 1
        if self._progress is not None:
            pace = (time.perf_counter() - self._start) / (self.epochs - self.epochs_before)
            left = pace * (self._n_epochs - self.epochs)
            self._progress(TrainingStep(self.epochs, self._n_epochs, step.loss, step.monitor, left))

    def state_dict(self) -> dict[str, Any]:
        """Return the number of epochs counted."""
        return {"epochs": self.epochs}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Count on from there."""
        self.epochs = self.epochs_before = state["epochs"]


class ButterflyTraining:
    """Trains a network on pairs of cells; `run` goes through the phases.

    One Adam holds encoders, decoders and translators: parameters without a gradient are passed over and every number
    has its own moments, so that this equals one Adam a module, kept over the phases. The discriminators have plain
    gradient descent.
    """

    def __init__(
        self,
        network: Butterfly,
        cells: Cells,
        training: Pairs,
        validation: Pairs,
        settings: ScButterflySettings,
        count: EpochCount,
    ) -> None:
        self.network, self.cells, self.settings = network, cells, settings
        self.count = count
        self.epoch = 0  # completed epochs of the phase
        self.training, self.validation = (
            {side: cells.index(rows) for side, rows in zip(SIDES, pairs, strict=True)}
            for pairs in (training, validation)
        )
        discriminators = list(network.discriminator.parameters())
        own = {id(weight) for weight in discriminators}
        others = [weight for weight in network.parameters() if id(weight) not in own]
        self.optimiser = torch.optim.Adam(others, lr=settings.learning_rate, fused=True)
        self.discriminator_optimiser = torch.optim.SGD(discriminators, lr=settings.discriminator_learning_rate)

    def run(self, seed: int) -> dict[str, Any]:
        """Go through the phases and return their histories by name; `seed` orders the batches."""
        histories: dict[str, Any] = {}
        for number, side in enumerate(SIDES):
            histories[side] = self._phase(side, self._alone(side), self._watch_alone(side), seed + number)
        histories["joint"] = self._phase("joint", self.joint_step, self.joint_monitor, seed + len(SIDES))
        return histories

    def warmup(self) -> float:
        """Return the share of the KL weight that counts in this epoch: 0 in a phase's first, 1 after the warm-up."""
        return min(1.0, self.epoch / self.settings.warmup_epochs)

    def alone_step(self, rows: Tensor, side: Side) -> dict[str, Tensor]:
        """Do a step of autoencoding one side: MSE + a (w / G) KL, with the KL weight w and its warm-up a."""
        x = self.cells.take(self.training[side][rows])
        reconstructed, translation = self.network.autoencode(x, side, sampled=True)
        reconstruction = functional.mse_loss(reconstructed, x)
        divergence = code_divergence(translation)
        loss = reconstruction + self.warmup() * self.settings.kl_weight / self.cells.n_genes * divergence
        descend(self.optimiser, loss)
        return _detached(loss=loss, reconstruction=reconstruction, kl=divergence)

    def joint_step(self, rows: Tensor) -> dict[str, Tensor]:
        """Do a step of the discriminators down L_D, then one of everything else down `joint_terms`' loss."""
        x = {side: self.cells.take(self.training[side][rows]) for side in SIDES}
        separate = self.settings.passes == "separate"
        with torch.set_grad_enabled(not separate):  # one's own pass needs no graph
            shown = self.network.codes(x, sampled=True)
        told_apart = discrimination(self.network, shown.detached(), self._labels(len(rows)))
        descend(self.discriminator_optimiser, told_apart)
        shown = self.network.codes(x, sampled=True) if separate else shown
        opposed = discrimination(self.network, shown, self._labels(len(rows)))
        decoded = self.network.codes(x, sampled=True) if separate else shown
        terms = self.joint_terms(x, decoded, opposed)
        descend(self.optimiser, terms["loss"])
        return _detached(**terms)

    def joint_terms(self, x: Mapping[Side, Tensor], codes: Codes, opposed: Tensor) -> dict[str, Tensor]:
        """Return the loss L_rec + a (2 w / G) (KL_control + KL_perturbed) - L_D [L_D < threshold], and its terms."""
        reconstruction = paired_reconstruction(self.network, codes, x)
        divergence = torch.stack([code_divergence(codes.translated[side]) for side in SIDES]).sum()
        weight = self.warmup() * 2 * self.settings.kl_weight / self.cells.n_genes
        counts = (opposed.detach() < self.settings.adversarial_below).to(opposed.dtype)  # no wait for the device
        loss = reconstruction + weight * divergence - counts * opposed
        return {"loss": loss, "reconstruction": reconstruction, "kl": divergence, "discrimination": opposed}

    def joint_monitor(self) -> float:
        """Return the validation pairs' paired reconstruction, at mean codes or at sampled ones."""
        sampled = self.settings.monitor == "sampled"

        def block_error(rows: Tensor) -> Tensor:
            x = {side: self.cells.take(self.validation[side][rows]) for side in SIDES}
            return paired_reconstruction(self.network, self.network.codes(x, sampled=sampled), x)

        return self._mean_over_validation(block_error)

    def alone_monitor(self, side: Side) -> float:
        """Return one side's squared error of the validation cells at the mean code."""

        def block_error(rows: Tensor) -> Tensor:
            x = self.cells.take(self.validation[side][rows])
            return functional.mse_loss(self.network.autoencode(x, side, sampled=False)[0], x)

        return self._mean_over_validation(block_error)

    def _alone(self, side: Side) -> Callable[[Tensor], dict[str, Tensor]]:
        return lambda rows: self.alone_step(rows, side)

    def _watch_alone(self, side: Side) -> Callable[[], float]:
        return lambda: self.alone_monitor(side)

    def _mean_over_validation(self, block_error: Callable[[Tensor], Tensor]) -> float:
        n = len(self.validation["control"])
        total = torch.zeros((), dtype=torch.float64, device=self.cells.device)
        for rows in torch.split(self.cells.index(np.arange(n)), BLOCK):
            total += len(rows) * block_error(rows).double()
        return float(total) / n

    def _labels(self, n: int) -> Tensor:
        return soft_labels(torch.rand(n, device=self.cells.device))

    def _phase(
        self, name: str, step: Callable[[Tensor], dict[str, Tensor]], monitor: Callable[[], float], seed: int
    ) -> dict[str, Any]:
        s = self.settings
        self.epoch = 0
        schedule = Schedule(
            max_epochs=s.phases[name],
            batch_size=s.batch_size,
            patience=s.patience,
            keep=s.keep,
            ties_improve=s.ties_improve,
        )
        rows = self.cells.index(np.arange(len(self.training["control"])))
        watch = monitor if len(self.validation["control"]) else None
        history = train(
            self.network,
            rows,
            schedule,
            step=step,
            monitor=watch,
            seed=seed,
            progress=self._tell,
            resumable=self.count.resumable,
            parts=[self, self.count],
        )
        return history.to_dict()

    def state_dict(self) -> dict[str, Any]:
        """Return the optimisers' states and the number of the phase's epochs."""
        optimisers = self.optimiser.state_dict(), self.discriminator_optimiser.state_dict()
        return {"optimisers": optimisers, "epoch": self.epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another training stood."""
        for optimiser, own in zip((self.optimiser, self.discriminator_optimiser), state["optimisers"], strict=True):
            optimiser.load_state_dict(own)
        self.epoch = state["epoch"]

    def _tell(self, step: TrainingStep) -> None:
        self.epoch = step.epoch
        self.count(step)


def _detached(**terms: Tensor) -> dict[str, Tensor]:
    return {name: term.detach() for name, term in terms.items()}

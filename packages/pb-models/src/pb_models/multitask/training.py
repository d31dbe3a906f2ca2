"""The phases in which multi-task networks are trained: reconstruction, discrimination, and both against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from pb_models.butterfly_training import EpochCount
from pb_models.multitask.examples import CONTROL
from pb_models.multitask.network import Terms, discriminator_loss, fooling_loss, reconstruction_terms
from pb_models.multitask.settings import VariationalSettings
from pb_models.training import Schedule, descend, train

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torch import Tensor, nn

    from pb_models.multitask.examples import Examples
    from pb_models.multitask.network import MultiTaskNetwork, Opponent
    from pb_models.multitask.settings import AdversarialSettings, MultiTaskSettings
    from pb_models.training import Cells

__all__ = ["BLOCK", "Contest", "WarmingAdam", "kl_coefficient", "reconstruction_phase", "soft_labels"]

BLOCK = 2048  # cells watched, encoded or predicted at once


class WarmingAdam:
    """Adam whose learning rate rises linearly over the first steps.

    The factor of step k = 0, 1, ... is min(1, (k + 1) / n), or min(1, k / n) where the first step is idle. One object
    for encoder and decoder equals one for each: Adam treats every number by itself.
    """

    def __init__(self, weights: Iterable[nn.Parameter], settings: MultiTaskSettings) -> None:
        self.settings, self.n_done = settings, 0
        trained = [weight for weight in weights if weight.requires_grad]
        self.optimiser = torch.optim.Adam(trained, lr=settings.learning_rate, fused=True)

    def descend(self, loss: Tensor) -> None:
        """Do one step down the gradient of a loss."""
        s = self.settings
        factor = min(1.0, (self.n_done + (0 if s.idle_first_step else 1)) / s.warmup_steps)
        for group in self.optimiser.param_groups:
            group["lr"] = factor * s.learning_rate
        descend(self.optimiser, loss)
        self.n_done += 1

    def restart(self) -> None:
        """Begin the warm-up anew, keeping the moments."""
        self.n_done = 0

    def state_dict(self) -> dict[str, Any]:
        """Return Adam's state and the number of steps done."""
        return {"optimiser": self.optimiser.state_dict(), "n_done": self.n_done}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another one stood."""
        self.optimiser.load_state_dict(state["optimiser"])
        self.n_done = state["n_done"]


class _Shown:
    """Examples on the device: expression and conditions by example number."""

    def __init__(self, cells: Cells, examples: Examples) -> None:
        self.cells, self.n = cells, len(examples.source)
        self.same = examples.target is examples.source
        self.source, self.condition, self.target = (cells.index(rows) for rows in examples)
        self.rows = cells.index(np.arange(self.n))

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return cells shown, conditions and cells to be reproduced."""
        x = self.cells.take(self.source[rows])
        condition = self.condition[rows].to(self.cells.device, non_blocking=True)
        return x, condition, x if self.same else self.cells.take(self.target[rows])


def kl_coefficient(settings: MultiTaskSettings, n_examples: int) -> float:
    """Return the weight of the KL divergence, `kl_weight` * batch size / n; 0 without heads.

    Examples
    --------
    >>> kl_coefficient(VariationalSettings(batch_size=32), 16_000)
    8e-06
    """
    if not isinstance(settings, VariationalSettings):
        return 0.0
    return settings.kl_weight * settings.batch_size / n_examples


def reconstruction_phase(
    network: MultiTaskNetwork,
    cells: Cells,
    training: Examples,
    validation: Examples,
    settings: MultiTaskSettings,
    *,
    seed: int,
    count: EpochCount | None = None,
) -> dict[str, Any]:
    """Train the autoencoder on examples, with an Adam of its own, and return the history.

    The monitor is the loss of the validation examples in evaluation mode, at the mean latent position; without such
    examples, and where the last epoch is kept anyway, nothing is watched.
    """
    shown, watched = _Shown(cells, training), _Shown(cells, validation)
    weight = kl_coefficient(settings, shown.n)
    adam = WarmingAdam(_autoencoder(network), settings)

    def step(rows: Tensor) -> dict[str, Tensor]:
        terms = reconstruction_terms(network, *shown.take(rows), kl_weight=weight, sampled=True)
        adam.descend(terms.loss)
        return terms.detached()

    def monitor() -> float:
        total = torch.zeros((), dtype=torch.float64, device=cells.device)
        for rows in torch.split(watched.rows, BLOCK):
            terms = reconstruction_terms(network, *watched.take(rows), kl_weight=weight, sampled=False)
            total += len(rows) * terms.loss.double()
        return float(total) / watched.n

    schedule = _schedule(settings, shown.n, keep=settings.keep)
    watch = monitor if watched.n and settings.keep == "best" else None
    count = count or EpochCount(None, schedule.max_epochs)
    history = train(
        network,
        shown.rows,
        schedule,
        step=step,
        monitor=watch,
        seed=seed,
        progress=count,
        resumable=count.resumable,
        parts=[adam, count],
    )
    return {**history.to_dict(), "n_training": shown.n, "n_validation": watched.n}


def soft_labels(conditions: Tensor, uniform: Tensor) -> Tensor:
    """Return labels of control cells in (0.9, 1) and of perturbed ones in (0, 0.1), from numbers in (0, 1).

    Examples
    --------
    >>> [round(label, 2) for label in soft_labels(torch.tensor([0, 1]), torch.tensor([0.5, 0.5])).tolist()]
    [0.95, 0.05]
    """
    return 0.1 * uniform + 0.9 * (conditions == CONTROL).to(uniform.dtype)


class Contest:
    """The discriminator's own phase, and the joint one of autoencoder and discriminator, step by step in turn.

    Every training cell has one soft label, drawn here. The discriminator has one Adam for both phases, whose warm-up
    begins anew in the second; the autoencoder has a new one.
    """

    def __init__(
        self,
        network: MultiTaskNetwork,
        cells: Cells,
        training: Examples,
        opponent: Opponent,
        settings: AdversarialSettings,
    ) -> None:
        assert network.discriminator is not None
        self.network, self.opponent, self.settings = network, opponent, settings
        self.shown = _Shown(cells, training)
        labels = soft_labels(torch.from_numpy(training.condition), torch.rand(self.shown.n))
        self.labels = labels.to(cells.device)
        self.judging = WarmingAdam(network.discriminator.parameters(), settings)
        self.autoencoding = WarmingAdam(_autoencoder(network), settings)
        self.codes: Tensor | None = None  # of all examples, where they are encoded once

    def discriminator_phase(self, seed: int, count: EpochCount | None = None) -> dict[str, Any]:
        """Train the discriminator alone and return the history."""
        if self.settings.passes == "shared":
            self.codes = self._encoded()
        return self._phase(self.judge_step, self.settings.discriminator_share, seed, count)

    def joint_phase(self, seed: int, count: EpochCount | None = None) -> dict[str, Any]:
        """Train both and return the history."""
        self.judging.restart()
        return self._phase(self.joint_step, self.settings.joint_share, seed, count)

    def judge_step(self, rows: Tensor) -> dict[str, Tensor]:
        """Step the discriminator on codes of cells, or on those computed beforehand."""
        if self.codes is None:
            with torch.no_grad():
                codes = self.network.encoder(self.shown.take(rows)[0])
        else:
            codes = self.codes[rows.to(self.codes.device, non_blocking=True)]
        return {"loss": self._judge(codes, self._labels(rows)).detach()}

    def joint_step(self, rows: Tensor) -> dict[str, Tensor]:
        """Step the autoencoder down (1 - w) squared error + w fooling loss, then the discriminator down its own."""
        x, condition, _ = self.shown.take(rows)
        labels = self._labels(rows)
        codes = self.network.encoder(x)
        terms = self.joint_terms(codes, condition, x, labels)
        self.autoencoding.descend(terms.loss)
        if self.settings.passes == "separate":
            with torch.no_grad():
                codes = self.network.encoder(x)
        judged = self._judge(codes, labels)
        return {**terms.detached(), "discriminator": judged.detach()}

    def joint_terms(self, codes: Tensor, condition: Tensor, x: Tensor, labels: Tensor) -> Terms:
        """Return the autoencoder's loss; where no cell of the batch is to fool, the squared error alone, unscaled."""
        error = functional.mse_loss(self.network.decoder(codes, condition), x)
        fooling, counts = fooling_loss(self.network, codes, labels, condition != CONTROL, self.opponent)
        weight = self.settings.adversarial_weight * counts
        return Terms((1 - weight) * error + weight * fooling, {"squared_error": error, "fooling": fooling})

    def state_dict(self) -> dict[str, Any]:
        """Return the optimisers' states, the labels, and the codes where there are any."""
        optimisers = self.judging.state_dict(), self.autoencoding.state_dict()
        return {"optimisers": optimisers, "labels": self.labels, "codes": self.codes}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another contest stood."""
        for optimiser, own in zip((self.judging, self.autoencoding), state["optimisers"], strict=True):
            optimiser.load_state_dict(own)
        device, codes = self.labels.device, state["codes"]
        self.labels, self.codes = state["labels"].to(device), None if codes is None else codes.to(device)

    def _phase(
        self, step: Callable[[Tensor], dict[str, Tensor]], share: float, seed: int, count: EpochCount | None
    ) -> dict[str, Any]:
        schedule = _schedule(self.settings, self.shown.n, share=share)
        count = count or EpochCount(None, schedule.max_epochs)
        history = train(
            self.network,
            self.shown.rows,
            schedule,
            step=step,
            seed=seed,
            progress=count,
            resumable=count.resumable,
            parts=[self, count],
        )
        return history.to_dict()

    def _judge(self, codes: Tensor, labels: Tensor) -> Tensor:
        loss = discriminator_loss(self.network, codes, labels, self.opponent)
        self.judging.descend(loss)
        return loss

    def _labels(self, rows: Tensor) -> Tensor:
        return self.labels[rows.to(self.labels.device, non_blocking=True)]

    def _encoded(self) -> Tensor:
        self.network.eval()
        with torch.no_grad():
            blocks = [self.network.encoder(self.shown.take(rows)[0]) for rows in torch.split(self.shown.rows, BLOCK)]
        return torch.cat(blocks)


def _autoencoder(network: MultiTaskNetwork) -> list[nn.Parameter]:
    heads = [] if network.heads is None else list(network.heads.parameters())
    return [*network.encoder.parameters(), *network.decoder.parameters(), *heads]


def _schedule(settings: MultiTaskSettings, n_examples: int, *, share: float = 1.0, keep: str = "last") -> Schedule:
    return Schedule(
        max_epochs=settings.n_epochs(n_examples, share),
        batch_size=settings.batch_size,
        keep="best" if keep == "best" else "last",
        smallest_batch=min(settings.batch_size, max(2, n_examples)) if settings.drop_last else 2,
        settling_steps=settings.settling_steps,
    )

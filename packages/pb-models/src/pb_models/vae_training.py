"""Training the autoencoder of scGen and its kin: its settings, one network, or several together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch

from pb_models.settings import Settings
from pb_models.stacked_training import mean_by_member, take_by_member, train_members
from pb_models.training import Schedule, descend, train
from pb_models.vae import kl_divergence, objective

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from pb_models.base import Progress
    from pb_models.resumable import Resumable
    from pb_models.stacked import Stack
    from pb_models.training import Cells
    from pb_models.vae import Objective, Vae

__all__ = ["BLOCK", "TrainingRows", "VaeSettings", "train_vae", "train_vaes"]

BLOCK = 2048  # cells watched, encoded or decoded at once


@dataclass(frozen=True, kw_only=True)
class VaeSettings(Settings):
    """Settings of the autoencoder and its training.

    `monitor` is what early stopping watches on the validation cells: "objective" is the loss itself at the posterior
    mean, "elbo" is squared error + KL, unweighted, at a sampled latent position (the reference's). `split` says which
    cells those are: "given" (the mask handed to `fit`; without a mask nothing is watched) or "random" (the reference's
    own 10 %). Training ends after `max_epochs`, or with the epoch in which it has done `max_steps` optimiser steps
    (None: no such limit), or after `patience` epochs without improvement (None: never). A last batch of fewer than
    `smallest_batch` cells is left out, and nothing is watched during the first `settling_steps` optimiser steps, or the
    first tenth of the planned ones where that is shorter. `weight_decay` is coupled (L2 on all parameters).
    """

    n_latent: int = 100
    n_hidden: int = 800
    n_layers: int = 2
    dropout: float = 0.2
    kl_weight: float = 5e-5
    learning_rate: float = 1e-3
    adam_eps: float = 0.01
    weight_decay: float = 1e-6
    batch_size: int = 32
    max_epochs: int = 400
    max_steps: int | None = 2800
    patience: int | None = None
    monitor: Literal["objective", "elbo"] = "objective"
    keep: Literal["best", "last"] = "best"
    split: Literal["given", "random"] = "given"
    smallest_batch: int = 3
    settling_steps: int = 300
    precision: Literal["float32", "bf16"] = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n_latent", "n_hidden", "n_layers", "max_epochs", "max_steps", "patience"):
            self.at_least(name, 1)
        for name in ("batch_size", "smallest_batch"):
            self.at_least(name, 2)
        for name in ("dropout", "kl_weight", "weight_decay", "settling_steps"):
            self.at_least(name, 0)
        for name in ("learning_rate", "adam_eps"):
            self.at_least(name, 0, strictly=True)
        if self.dropout >= 1:
            msg = f"{type(self).__name__}.dropout is {self.dropout}; it has to be less than 1"
            raise ValueError(msg)


class TrainingRows(NamedTuple):
    """Row numbers of the cells to train on and of those to watch, each (cells,)."""

    training: NDArray[np.int64]
    validation: NDArray[np.int64]


def train_vae(
    network: Vae,
    cells: Cells,
    training: NDArray[np.int64],
    validation: NDArray[np.int64],
    settings: VaeSettings,
    seed: int,
    progress: Progress | None,
    resumable: Resumable | None = None,
) -> dict[str, Any]:
    """Train an autoencoder with Adam (coupled weight decay) and return the history.

    `training` and `validation` are row numbers of the cells; without validation cells nothing is watched. Dropout and
    sampling use torch's generator (see `seeded`), the batch order `seed`.
    """
    optimiser = _adam(network, settings)
    autocast = _autocast(cells, settings)

    def step(rows: Tensor) -> dict[str, Tensor]:
        x = cells.take(rows)
        with autocast:
            posterior, reconstruction = network(x)
        terms = objective(x, reconstruction.to(x.dtype), posterior, kl_weight=settings.kl_weight)
        descend(optimiser, terms.loss)
        return terms.detached()

    watched = _whole_batches(validation, settings)

    def monitor() -> float:
        total = torch.zeros((), dtype=torch.float64, device=cells.device)
        for rows in torch.split(cells.index(watched), BLOCK):
            with autocast:
                total += _monitored(network, cells.take(rows), settings).sum()
        return float(total) / len(watched)

    schedule, rows = _schedule(len(training), settings), cells.index(training)
    watch = monitor if len(watched) else None
    history = train(
        network,
        rows,
        schedule,
        step=step,
        monitor=watch,
        seed=seed,
        progress=progress,
        resumable=resumable,
        parts=[optimiser],
    )
    return history.to_dict()


def train_vaes(
    stack: Stack[Vae],
    cells: Sequence[Cells],
    rows: Sequence[TrainingRows],
    settings: VaeSettings,
    seeds: Sequence[int],
    names: Sequence[str],
    progress: Progress | None,
    resumable: Resumable | None = None,
) -> list[dict[str, Any]]:
    """Train a stack of autoencoders, each as `train_vae` would alone, and return their histories.

    Raises
    ------
    ValueError
        Where members' batches are of different sizes, or some have validation cells and others none.
    """
    optimiser = _adam(stack, settings)
    autocast = _autocast(cells[0], settings)
    terms_of = torch.vmap(partial(objective, kl_weight=settings.kl_weight))

    def step(batch: Tensor) -> dict[str, Tensor]:
        x = take_by_member(cells, stack.numbers, batch)
        with autocast:
            posterior, reconstruction = stack(x)
        terms: Objective = terms_of(x, reconstruction.to(x.dtype), posterior)
        descend(optimiser, terms.loss.sum())
        return terms.detached()

    def measure(batch: Tensor) -> Tensor:
        with autocast:
            return _monitored(stack.body, take_by_member(cells, stack.numbers, batch), settings)

    watched = [own.index(_whole_batches(member.validation, settings)) for own, member in zip(cells, rows, strict=True)]
    # a sampled position is drawn block by block: the blocks have to be those of a single network
    block = BLOCK if settings.monitor == "elbo" else -(-BLOCK // len(rows))
    counts = [len(own) for own in watched]
    if any(counts) and not all(counts):
        without = ", ".join(name for name, count in zip(names, counts, strict=True) if not count)
        msg = f"{without} without validation cells, others with; give all of them some, or none"
        raise ValueError(msg)
    histories = train_members(
        stack,
        [own.index(member.training) for own, member in zip(cells, rows, strict=True)],
        _schedule(len(rows[0].training), settings),
        step=step,
        optimisers=[optimiser],
        monitor=partial(mean_by_member, stack, watched, measure, block=block) if all(counts) else None,
        seeds=seeds,
        names=names,
        progress=progress,
        resumable=resumable,
    )
    return [history.to_dict() for history in histories]


def _adam(network: nn.Module, settings: VaeSettings) -> torch.optim.Adam:
    return torch.optim.Adam(
        network.parameters(),
        lr=settings.learning_rate,
        eps=settings.adam_eps,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def _autocast(cells: Cells, settings: VaeSettings) -> torch.autocast:
    return torch.autocast(cells.device.type, dtype=torch.bfloat16, enabled=settings.precision == "bf16")


def _schedule(n_training: int, settings: VaeSettings) -> Schedule:
    return Schedule(
        max_epochs=_n_epochs(n_training, settings),
        batch_size=settings.batch_size,
        patience=settings.patience,
        keep=settings.keep,
        smallest_batch=settings.smallest_batch,
        settling_steps=settings.settling_steps,
    )


def _n_epochs(n_training: int, settings: VaeSettings) -> int:
    if settings.max_steps is None:
        return settings.max_epochs
    steps_an_epoch = max(1, n_training // settings.batch_size)
    return min(settings.max_epochs, math.ceil(settings.max_steps / steps_an_epoch))


def _whole_batches(validation: NDArray[np.int64], settings: VaeSettings) -> NDArray[np.int64]:
    """Leave out the last validation batch where it is smaller than the smallest batch, as the reference does."""
    rest = len(validation) % settings.batch_size
    return (
        validation[: len(validation) - rest]
        if settings.split == "random" and rest < settings.smallest_batch
        else validation
    )


def _monitored(network: Vae, x: Tensor, settings: VaeSettings) -> Tensor:
    """Return what early stopping watches for each cell, (cells,), or of a stacked network (members, cells)."""
    posterior = network.encode(x)
    position = posterior.sample(network.noise) if settings.monitor == "elbo" else posterior.mean
    squared_error = (network.decode(position).float() - x).square().sum(dim=-1)
    kl = kl_divergence(posterior)
    return squared_error + kl if settings.monitor == "elbo" else 0.5 * (squared_error + settings.kl_weight * kl)

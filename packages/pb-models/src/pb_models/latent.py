"""What scGen and its kin share: train the autoencoder, encode every cell once, shift latent positions, decode."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from pb_models.base import Model
from pb_models.settings import Settings
from pb_models.training import Cells, Schedule, descend, random_split, resolve_device, seeded, train
from pb_models.vae import Vae, kl_divergence, objective

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from pb_models.base import Progress, Query
    from pb_models.cells import Matrix, TrainingData

__all__ = ["LatentModel", "VaeSettings", "train_vae"]

BLOCK = 2048  # cells encoded or decoded at once


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


class LatentModel(Model):
    """A model that predicts by moving cells in the latent space of the autoencoder `network`."""

    settings: VaeSettings
    network: Vae

    @abstractmethod
    def _fit_latent(self, data: TrainingData, latent: NDArray[np.float64], seed: int) -> dict[str, Any]:
        """Learn from the posterior means (cells, latent) of the training cells; returns what is worth recording."""

    def _fit(self, data: TrainingData, *, seed: int, device: str, progress: Progress | None) -> dict[str, Any]:
        where = resolve_device(device)
        training, validation = self._rows(data, seed)
        cells = Cells(data.X, where)
        with seeded(seed, where):
            self.network = self.new_network(len(data.genes)).to(where)
            history = train_vae(self.network, cells, training, validation, self.settings, seed, progress)
        latent = self.encode(data.X)
        return {
            **history,
            "n_training": len(training),
            "n_validation": len(validation),
            "device": str(where),
            "precision": self.settings.precision,
            **self._fit_latent(data, latent, seed),
        }

    def encode(self, X: Matrix) -> NDArray[np.float64]:
        """Return the posterior means (cells, latent) of log1p expression (cells, genes)."""
        cells = Cells(X, self._device)
        blocks = np.array_split(np.arange(cells.n), max(1, -(-cells.n // BLOCK)))
        with torch.inference_mode():
            means = [self.network.encode(cells.take(cells.index(rows))).mean.cpu() for rows in blocks]
        return torch.cat(means).double().numpy()

    def decode(self, latent: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Return the log1p expression (cells, genes) of latent positions (cells, latent); it can be negative."""
        positions = torch.from_numpy(np.asarray(latent, dtype=np.float32))
        with torch.inference_mode():
            blocks = [self.network.decode(block.to(self._device)).cpu() for block in torch.split(positions, BLOCK)]
        return torch.cat(blocks).numpy()

    def _predict(self, query: Query) -> NDArray[np.float32]:
        latent = self.encode(query.X)
        return self.decode(latent + self._shift(query, latent))

    @abstractmethod
    def _shift(self, query: Query, latent: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the latent shift, (latent,) or one a cell, of control cells at (cells, latent)."""

    @property
    def n_parameters(self) -> int:
        """How many trainable parameters the network has."""
        return sum(weight.numel() for weight in self.network.parameters())

    def _rows(self, data: TrainingData, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if self.settings.split == "random":
            return random_split(len(data.control), seed)
        mask = np.zeros(len(data.control), dtype=bool) if data.validation is None else data.validation
        return np.flatnonzero(~mask), np.flatnonzero(mask)

    def new_network(self, n_genes: int) -> Vae:
        """Build an untrained network of the settings' sizes."""
        s = self.settings
        return Vae(n_genes, n_latent=s.n_latent, n_hidden=s.n_hidden, n_layers=s.n_layers, dropout=s.dropout)

    @property
    def _device(self) -> torch.device:
        return self.network.output.weight.device

    def _state(self) -> dict[str, NDArray[Any]]:
        return {f"network.{name}": value.cpu().numpy() for name, value in self.network.state_dict().items()}

    def _restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        prefix = "network."
        weights = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        with torch.device("meta"):
            network = self.new_network(len(self.genes))
        network.load_state_dict({name: torch.tensor(value) for name, value in weights.items()}, assign=True)
        self.network = network.to(resolve_device("auto")).eval()


def train_vae(
    network: Vae,
    cells: Cells,
    training: NDArray[np.int64],
    validation: NDArray[np.int64],
    settings: VaeSettings,
    seed: int,
    progress: Progress | None,
) -> dict[str, Any]:
    """Train an autoencoder with Adam (coupled weight decay) and return the history.

    `training` and `validation` are row numbers of the cells; without validation cells nothing is watched. Dropout and
    sampling use torch's generator (see `seeded`), the batch order `seed`.
    """
    optimiser = torch.optim.Adam(
        network.parameters(),
        lr=settings.learning_rate,
        eps=settings.adam_eps,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    autocast = torch.autocast(cells.device.type, dtype=torch.bfloat16, enabled=settings.precision == "bf16")

    def step(rows: Tensor) -> dict[str, Tensor]:
        x = cells.take(rows)
        with autocast:
            posterior, reconstruction = network(x)
        terms = objective(x, reconstruction.float(), posterior, kl_weight=settings.kl_weight)
        descend(optimiser, terms.loss)
        return terms.detached()

    watched = _whole_batches(validation, settings)

    def monitor() -> float:
        total = torch.zeros((), dtype=torch.float64, device=cells.device)
        for rows in torch.split(cells.index(watched), BLOCK):
            with autocast:
                total += _monitored(network, cells.take(rows), settings).sum()
        return float(total) / len(watched)

    schedule = Schedule(
        max_epochs=_n_epochs(len(training), settings),
        batch_size=settings.batch_size,
        patience=settings.patience,
        keep=settings.keep,
        smallest_batch=settings.smallest_batch,
        settling_steps=settings.settling_steps,
    )
    rows = cells.index(training)
    watch = monitor if len(watched) else None
    return train(network, rows, schedule, step=step, monitor=watch, seed=seed, progress=progress).to_dict()


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
    """Return what early stopping watches for each cell, (cells,)."""
    posterior = network.encode(x)
    position = posterior.sample() if settings.monitor == "elbo" else posterior.mean
    squared_error = (network.decode(position).float() - x).square().sum(dim=1)
    kl = kl_divergence(posterior)
    return squared_error + kl if settings.monitor == "elbo" else 0.5 * (squared_error + settings.kl_weight * kl)

"""What scGen and its kin share: train the autoencoder, encode every cell once, shift latent positions, decode."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch

from pb_models.base import Model
from pb_models.noise import continued
from pb_models.stacked import stack
from pb_models.training import Cells, random_split, resolve_device, seeded
from pb_models.vae import Vae
from pb_models.vae_training import BLOCK, TrainingRows, VaeSettings, train_vae, train_vaes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pb_models.base import Progress
    from pb_models.cells import Matrix, TrainingData
    from pb_models.query import Query

__all__ = ["LatentModel", "VaeSettings", "train_vae"]


class LatentModel(Model):
    """A model that predicts by moving cells in the latent space of the autoencoder `network`."""

    can_stack: ClassVar[bool] = True
    settings: VaeSettings
    network: Vae

    @abstractmethod
    def _fit_latent(self, data: TrainingData, latent: NDArray[np.float64], seed: int) -> dict[str, Any]:
        """Learn from the posterior means (cells, latent) of the training cells; returns what is worth recording."""

    def _fit(self, data: TrainingData, *, seed: int, device: str, progress: Progress | None) -> dict[str, Any]:
        where = resolve_device(device)
        rows = self.rows(data, seed)
        cells = Cells(data.X, where)
        with seeded(seed, where):
            self.network = self.new_network(len(data.genes)).to(where)
            history = train_vae(self.network, cells, *rows, self.settings, seed, progress, self.resumable)
        return self.learn(data, rows, seed, history)

    @classmethod
    def fit_members(
        cls,
        models: Sequence[Self],
        data: Sequence[TrainingData],
        *,
        seeds: Sequence[int],
        device: str,
        progress: Progress | None,
    ) -> list[dict[str, Any]]:
        """Fit models of equal settings in one pass; see `fit_together`."""
        where = resolve_device(device)
        cells = {id(own): Cells(own.X, where) for own in data}
        generators = [
            model.start(len(own.genes), seed, where) for model, own, seed in zip(models, data, seeds, strict=True)
        ]
        rows = [model.rows(own, seed) for model, own, seed in zip(models, data, seeds, strict=True)]
        networks = stack([model.network for model in models], generators)
        names = [f"model {number} (seed {seed})" for number, seed in enumerate(seeds)]
        own_cells = [cells[id(own)] for own in data]
        first = models[0]
        histories = train_vaes(networks, own_cells, rows, first.settings, seeds, names, progress, first.resumable)
        members = zip(data, rows, seeds, histories, strict=True)
        return [model.learn(*member) for model, member in zip(models, members, strict=True)]

    def start(self, n_genes: int, seed: int, device: torch.device) -> torch.Generator:
        """Build the network as a seed draws it; returns the generator that its training goes on with."""
        with seeded(seed, device):
            self.network = self.new_network(n_genes).to(device)
            return continued(device)

    def learn(self, data: TrainingData, rows: TrainingRows, seed: int, history: dict[str, Any]) -> dict[str, Any]:
        """Learn the shift from what the trained network makes of the cells; returns what is worth recording."""
        latent = self.encode(data.X)
        return {
            **history,
            "n_training": len(rows.training),
            "n_validation": len(rows.validation),
            "device": str(self._device),
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

    def rows(self, data: TrainingData, seed: int) -> TrainingRows:
        """Return the cells to train on and those to watch."""
        if self.settings.split == "random":
            return TrainingRows(*random_split(len(data.control), seed))
        mask = np.zeros(len(data.control), dtype=bool) if data.validation is None else data.validation
        return TrainingRows(np.flatnonzero(~mask), np.flatnonzero(mask))

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

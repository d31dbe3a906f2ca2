"""The variational autoencoder of scGen and scVIDR, and its objective."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from pb_models.blocks import perceptron
from pb_models.noise import StandardNormal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

__all__ = ["Objective", "Posterior", "Vae", "kl_divergence", "objective", "reference_state"]

VARIANCE_FLOOR = 1e-4


class Posterior(NamedTuple):
    """The normal distribution of a cell's latent position: mean and variance, each (cells, latent)."""

    mean: Tensor
    variance: Tensor

    def sample(self, noise: Callable[[Tensor], Tensor] = torch.randn_like) -> Tensor:
        """Draw z = mean + sqrt(variance) * e with e ~ N(0, 1), drawn by `noise` in the shape of the mean."""
        return self.mean + self.variance.sqrt() * noise(self.mean)


class Vae(nn.Module):
    """A variational autoencoder of log1p expression: genes to 800, 800, latent 100, and back; linear output.

    Hidden block: Linear, BatchNorm1d (eps 1e-3, momentum 0.01), LeakyReLU(0.01), Dropout; the variance is
    exp(linear) + 1e-4. With the default sizes it has 1601 G + 1,529,800 trainable parameters for G genes.

    Examples
    --------
    >>> sum(weight.numel() for weight in Vae(10).parameters()) == 1601 * 10 + 1_529_800
    True
    """

    stackable = True

    def __init__(
        self, n_genes: int, *, n_latent: int = 100, n_hidden: int = 800, n_layers: int = 2, dropout: float = 0.2
    ) -> None:
        super().__init__()
        hidden = [n_hidden] * n_layers
        self.encoder = perceptron([n_genes, *hidden], dropout=dropout)
        self.mean = nn.Linear(n_hidden, n_latent)
        self.log_variance = nn.Linear(n_hidden, n_latent)
        self.decoder = perceptron([n_latent, *hidden], dropout=dropout)
        self.output = nn.Linear(n_hidden, n_genes)
        self.noise = StandardNormal()

    def encode(self, x: Tensor) -> Posterior:
        """Return the posterior of cells (cells, genes), in float32 under autocast too."""
        hidden = self.encoder(x)
        return Posterior(self.mean(hidden).float(), self.log_variance(hidden).float().exp() + VARIANCE_FLOOR)

    def decode(self, z: Tensor) -> Tensor:
        """Return the expression (cells, genes) of latent positions (cells, latent); it can be negative."""
        expression: Tensor = self.output(self.decoder(z))
        return expression

    def forward(self, x: Tensor) -> tuple[Posterior, Tensor]:
        """Return the posterior and the expression decoded from one sample of it."""
        posterior = self.encode(x)
        return posterior, self.decode(posterior.sample(self.noise))


class Objective(NamedTuple):
    """Loss per cell and its two parts, each a mean over cells."""

    loss: Tensor
    squared_error: Tensor
    kl: Tensor

    def detached(self) -> dict[str, Tensor]:
        """Return the terms by name, without their graph."""
        return {name: term.detach() for name, term in self._asdict().items()}


def kl_divergence(posterior: Posterior) -> Tensor:
    """Return a cell's KL(N(mean, variance) || N(0, 1)), (cells,): 1/2 sum_l (mean^2 + variance - 1 - ln variance).

    Kingma and Welling, ICLR 2014, appendix B.
    """
    mean, variance = posterior
    return 0.5 * (mean.square() + variance - 1 - variance.log()).sum(dim=-1)


def objective(x: Tensor, reconstruction: Tensor, posterior: Posterior, *, kl_weight: float) -> Objective:
    """Return the training objective 1/|B| sum_i (1/2 SSE_i + 1/2 w KL_i), with SSE_i = sum_g (x_ig - xhat_ig)^2.

    Parameters
    ----------
    x, reconstruction
        log1p expression, (cells, genes).
    posterior
        Of the same cells.
    kl_weight
        The w of the formula; the deviation from a unit weight is scGen's choice.
    """
    squared_error = functional.mse_loss(reconstruction, x, reduction="sum") / len(x)
    kl = kl_divergence(posterior).mean()
    return Objective(0.5 * squared_error + 0.5 * kl_weight * kl, squared_error, kl)


def reference_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of a reference scGen 2.1 model (scvi-tools layout) to those of `Vae`.

    Raises
    ------
    ValueError
        Where a name is not one of the reference's.

    Examples
    --------
    >>> list(reference_state({"z_encoder.encoder.fc_layers.Layer 1.0.bias": torch.zeros(1)}))
    ['encoder.1.0.bias']
    """
    return {_renamed(name): value for name, value in state.items()}


_REFERENCE_NAMES = (
    (r"z_encoder\.encoder\.fc_layers\.Layer (\d+)\.([01])\.(\w+)", r"encoder.\1.\2.\3"),
    (r"z_encoder\.mean_encoder\.(\w+)", r"mean.\1"),
    (r"z_encoder\.var_encoder\.(\w+)", r"log_variance.\1"),
    (r"decoder\.decoder\.fc_layers\.Layer (\d+)\.([01])\.(\w+)", r"decoder.\1.\2.\3"),
    (r"decoder\.linear_out\.(\w+)", r"output.\1"),
)


def _renamed(name: str) -> str:
    for pattern, ours in _REFERENCE_NAMES:
        if match := re.fullmatch(pattern, name):
            return match.expand(ours)
    msg = (
        f"{name!r} is no weight of a reference scGen 2.1 model; expected names such as 'z_encoder.mean_encoder.weight'"
    )
    raise ValueError(msg)

"""The multi-task network and its loss terms."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from pb_models.blocks import hidden_block
from pb_models.multitask.film import FilmDecoder, xavier_linear
from pb_models.multitask.settings import AdversarialSettings, VariationalSettings

if TYPE_CHECKING:
    from torch import Tensor

    from pb_models.multitask.settings import MultiTaskSettings

__all__ = [
    "Heads",
    "MultiTaskNetwork",
    "Opponent",
    "discriminator_loss",
    "fooling_loss",
    "gaussian_divergence",
    "reconstruction_terms",
]

Opponent = Literal["controls", "gaussian"]


class Heads(nn.Module):
    """Mean and log variance of a latent position, each Linear(latent, latent), then LeakyReLU if `activated`."""

    def __init__(self, n_latent: int, *, activated: bool) -> None:
        super().__init__()
        self.mean, self.log_variance = (
            nn.Sequential(xavier_linear(n_latent, n_latent), nn.LeakyReLU() if activated else nn.Identity())
            for _ in range(2)
        )


class MultiTaskNetwork(nn.Module):
    """Encoder genes to 256 to latent 128, decoder the way back with FiLM on its hidden layer; C conditions.

    Encoder: Dropout 0.2 on the genes (the mask), Linear, BatchNorm1d, LeakyReLU, Dropout 0.5, Linear, LeakyReLU. With
    the default sizes, G genes and FiLM without a hidden layer it has 513 G + 67,200 + 512 (C + 1) trainable parameters;
    a FiLM hidden layer of 16 makes the last term 17 * 512 + 16 (C + 1). Variational settings add `heads` (33,024),
    adversarial ones `discriminator` (4,161): spectrally normalised Linear(128, 32), LeakyReLU, Dropout 0.1,
    Linear(32, 1), whose sigmoid is in the losses.
    """

    def __init__(self, n_genes: int, n_conditions: int, settings: MultiTaskSettings) -> None:
        super().__init__()
        s = settings
        sizes = [n_genes, *[s.n_hidden] * s.n_layers, s.n_latent]
        blocks = [
            hidden_block(n_in, n_out, dropout=s.dropout, bn_eps=1e-5, bn_momentum=0.1)
            for n_in, n_out in pairwise(sizes[:-1])
        ]
        for block in blocks:
            nn.init.xavier_uniform_(block.get_parameter("0.weight"))
        activation = nn.LeakyReLU() if s.latent_activation == "leaky-relu" else nn.Identity()
        self.encoder = nn.Sequential(nn.Dropout(s.mask), *blocks, xavier_linear(sizes[-2], sizes[-1]), activation)
        n_film = (16 if n_conditions > 2 else 0) if s.n_film is None else s.n_film
        self.decoder = FilmDecoder(
            sizes[::-1],
            n_conditions,
            dropout=s.dropout,
            n_film=n_film,
            modulation=s.modulation,
            spread=s.film_spread,
        )
        self.heads: Heads | None = None
        self.discriminator: nn.Sequential | None = None
        if isinstance(s, VariationalSettings):
            self.heads = Heads(s.n_latent, activated=s.head_activation == "leaky-relu")
            self.heads.requires_grad_(requires_grad=s.heads == "trained")
        if isinstance(s, AdversarialSettings):
            first, last = xavier_linear(s.n_latent, s.n_discriminator), xavier_linear(s.n_discriminator, 1)
            self.discriminator = nn.Sequential(spectral_norm(first), nn.LeakyReLU(), nn.Dropout(0.1), last)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return cells (cells, genes) as they would be under conditions (cells,), at the mean latent position."""
        hidden = self.encoder(x)
        decoded: Tensor = self.decoder(hidden if self.heads is None else self.heads.mean(hidden), condition)
        return decoded

    def judge(self, codes: Tensor) -> Tensor:
        """Return the discriminator's logits (cells,) of codes (cells, latent)."""
        assert self.discriminator is not None
        logits: Tensor = self.discriminator(codes)
        return logits.squeeze(1)


class Terms(NamedTuple):
    """A loss and its parts by name; the loss is minimised."""

    loss: Tensor
    parts: dict[str, Tensor]

    def detached(self) -> dict[str, Tensor]:
        """Return loss and parts by name, without their graph."""
        return {name: term.detach() for name, term in {"loss": self.loss, **self.parts}.items()}


def gaussian_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the mean over cells of KL(N(mean, exp(s)) || N(0, 1)) = 1/2 sum_l (mean^2 + exp(s) - 1 - s).

    Examples
    --------
    >>> gaussian_divergence(torch.ones(2, 3), torch.zeros(2, 3)).item()
    1.5
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1).mean()


def reconstruction_terms(
    network: MultiTaskNetwork, x: Tensor, condition: Tensor, target: Tensor, *, kl_weight: float, sampled: bool
) -> Terms:
    """Return mean (decode(encode(x), c) - target)^2 + w KL; the mean is over cells and genes, KL only with heads.

    Parameters
    ----------
    network
        With heads, the latent position is mean + exp(s / 2) e, e ~ N(0, 1), where `sampled`, else the mean.
    x, target
        Cells shown and cells to be reproduced, log1p, (cells, genes).
    condition
        Numbers (cells,).
    kl_weight
        The w of the formula.
    """
    hidden = network.encoder(x)
    if network.heads is None:
        loss = functional.mse_loss(network.decoder(hidden, condition), target)
        return Terms(loss, {})
    mean, log_variance = network.heads.mean(hidden), network.heads.log_variance(hidden)
    z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean) if sampled else mean
    error = functional.mse_loss(network.decoder(z, condition), target)
    kl = gaussian_divergence(mean, log_variance)
    return Terms(error + kl_weight * kl, {"squared_error": error, "kl": kl})


def discriminator_loss(network: MultiTaskNetwork, codes: Tensor, labels: Tensor, opponent: Opponent) -> Tensor:
    """Return the binary cross-entropy that the discriminator minimises on codes (cells, latent), without their graph.

    "controls": BCE(D(code), y) with the soft labels y (cells,), near 1 for control cells. "gaussian":
    1/2 BCE(D(e), 1) + 1/2 BCE(D(code), 0) with e ~ N(0, I), as many as cells.
    """
    codes = codes.detach()
    if opponent == "controls":
        return functional.binary_cross_entropy_with_logits(network.judge(codes), labels)
    logits = network.judge(torch.cat([torch.randn_like(codes), codes]))
    truth = torch.cat([torch.ones_like(labels), torch.zeros_like(labels)])
    return functional.binary_cross_entropy_with_logits(logits, truth)


def fooling_loss(
    network: MultiTaskNetwork, codes: Tensor, labels: Tensor, perturbed: Tensor, opponent: Opponent
) -> tuple[Tensor, Tensor]:
    """Return what the encoder minimises against the discriminator, and 1 where it counts in this batch, else 0.

    "controls": the mean over the perturbed cells (mask, (cells,)) of BCE(D(code), 1 - y), which does not count in a
    batch without any. "gaussian": the mean over all cells of BCE(D(code), 1).
    """
    logits = network.judge(codes)
    if opponent == "gaussian":
        truth = torch.ones_like(logits)
        return functional.binary_cross_entropy_with_logits(logits, truth), logits.new_ones(())
    each = functional.binary_cross_entropy_with_logits(logits, 1 - labels, reduction="none")
    weights = perturbed.to(each.dtype)
    return (each * weights).sum() / weights.sum().clamp(min=1), weights.amax()

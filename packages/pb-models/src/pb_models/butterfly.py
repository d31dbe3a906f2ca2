"""scButterfly's network: an encoder and a decoder for each side, a translator between them, and its loss terms."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from pb_models.blocks import Dropout, hidden_block

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

__all__ = [
    "SIDES",
    "Butterfly",
    "Codes",
    "Side",
    "Translation",
    "Translator",
    "butterfly_block",
    "code_divergence",
    "discrimination",
    "paired_reconstruction",
    "soft_labels",
]

Side = Literal["control", "perturbed"]
SIDES: tuple[Side, Side] = ("control", "perturbed")
OTHER: dict[Side, Side] = {"control": "perturbed", "perturbed": "control"}


def butterfly_block(sizes: Sequence[int], *, dropout: float, noise: float = 0.0) -> nn.Sequential:
    """Chain Dropout(noise) and, for each pair of sizes, Linear, BatchNorm1d (eps 1e-5, momentum 0.1), LeakyReLU(0.01).

    Dropout lies between the layers, not after the last one. The noise zeroes inputs and scales the rest by
    1 / (1 - noise). Weights start Xavier-uniform, biases as torch's default.

    Examples
    --------
    >>> block = butterfly_block([5, 4, 3], dropout=0.1, noise=0.5)
    >>> [type(layer).__name__ for layer in block]
    ['Dropout', 'Sequential', 'Sequential']
    """
    widths = list(pairwise(sizes))
    rates = [dropout] * (len(widths) - 1) + [0.0]
    layers = [
        hidden_block(n_in, n_out, dropout=rate, bn_eps=1e-5, bn_momentum=0.1, drop=Dropout)
        for (n_in, n_out), rate in zip(widths, rates, strict=True)
    ]
    return _with_xavier_weights(nn.Sequential(Dropout(noise), *layers))


class Translation(NamedTuple):
    """A cell's latent codes on each side it is translated to, and mean and log variance they were drawn with."""

    codes: dict[Side, Tensor]
    mean: Tensor
    log_variance: Tensor


class Translator(nn.Module):
    """Blocks of one layer (latent to latent) for mean, log variance and output code of each of its sides.

    mean = LeakyReLU(BN(W h)), s = LeakyReLU(BN(W' h)), z = mean + exp(s / 2) e with e ~ N(0, 1); every side's output
    block takes z. The activation keeps s above -0.03 or so: the standard deviation is hardly ever below one.
    """

    def __init__(self, n_latent: int, sides: Sequence[Side] = SIDES) -> None:
        super().__init__()
        self.sides = tuple(sides)
        kinds = [
            nn.ModuleDict({side: butterfly_block([n_latent, n_latent], dropout=0.0) for side in sides})
            for _ in range(3)
        ]
        self.mean, self.log_variance, self.output = kinds

    def forward(self, hidden: Tensor, side: Side, *, sampled: bool) -> Translation:
        """Translate encoded cells (cells, latent) of a side, from a draw or from the mean (z = mean)."""
        mean, log_variance = self.mean[side](hidden), self.log_variance[side](hidden)
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean) if sampled else mean
        return Translation({to: self.output[to](z) for to in self.sides}, mean, log_variance)


class Codes(NamedTuple):
    """Codes of paired cells by side: as encoded, and as translated from it, each (cells, latent)."""

    encoded: dict[Side, Tensor]
    translated: dict[Side, Translation]

    def detached(self) -> Codes:
        """Return the codes without their graph."""
        translated = {
            side: Translation(
                {to: code.detach() for to, code in each.codes.items()}, each.mean.detach(), each.log_variance.detach()
            )
            for side, each in self.translated.items()
        }
        return Codes({side: code.detach() for side, code in self.encoded.items()}, translated)


class Butterfly(nn.Module):
    """scButterfly's network for two sides of log1p expression, control and perturbed.

    Encoders: genes to 256 (perturbed: 128) to latent 128, input noise 0.5; decoders the way back, with normalisation
    and LeakyReLU over the genes too; a translator of six blocks, two single ones (three blocks each) that only
    pretraining uses; on each side a discriminator Linear(latent, 1), BatchNorm1d, whose sigmoid is in the loss. With
    the default sizes it has 774 G + 302,854 trainable parameters for G genes.

    Examples
    --------
    >>> sum(weight.numel() for weight in Butterfly(10).parameters()) == 774 * 10 + 302_854
    True
    """

    def __init__(
        self,
        n_genes: int,
        *,
        n_latent: int = 128,
        n_hidden: int = 256,
        n_hidden_perturbed: int = 128,
        dropout: float = 0.1,
        noise: float = 0.5,
    ) -> None:
        super().__init__()
        sizes: dict[Side, list[int]] = {
            "control": [n_genes, n_hidden, n_latent],
            "perturbed": [n_genes, n_hidden_perturbed, n_latent],
        }
        self.encoder = nn.ModuleDict(
            {side: butterfly_block(widths, dropout=dropout, noise=noise) for side, widths in sizes.items()}
        )
        self.decoder = nn.ModuleDict(
            {side: butterfly_block(widths[::-1], dropout=dropout) for side, widths in sizes.items()}
        )
        self.translator = Translator(n_latent)
        self.single_translator = nn.ModuleDict({side: Translator(n_latent, [side]) for side in SIDES})
        self.discriminator = nn.ModuleDict(
            {side: _with_xavier_weights(nn.Sequential(nn.Linear(n_latent, 1), nn.BatchNorm1d(1))) for side in SIDES}
        )

    def codes(self, x: Mapping[Side, Tensor], *, sampled: bool) -> Codes:
        """Encode and translate paired cells, (cells, genes) on each side."""
        encoded: dict[Side, Tensor] = {side: self.encoder[side](x[side]) for side in SIDES}
        return Codes(encoded, {side: self.translator(encoded[side], side, sampled=sampled) for side in SIDES})

    def autoencode(self, x: Tensor, side: Side, *, sampled: bool) -> tuple[Tensor, Translation]:
        """Return the reconstruction (cells, genes) by a side's encoder, single translator and decoder."""
        translation = self.single_translator[side](self.encoder[side](x), side, sampled=sampled)
        return self.decoder[side](translation.codes[side]), translation

    def forward(self, x: Tensor) -> Tensor:
        """Return the perturbed expression (cells, genes) of control cells, from the mean code."""
        translation = self.translator(self.encoder["control"](x), "control", sampled=False)
        expression: Tensor = self.decoder["perturbed"](translation.codes["perturbed"])
        return expression


def code_divergence(translation: Translation) -> Tensor:
    """Return the mean over cells and latent dimensions of 1/2 (mean^2 + exp(s) - 1 - s), s the log variance."""
    log_variance = translation.log_variance
    return 0.5 * (translation.mean.square() + log_variance.exp() - 1 - log_variance).mean()


def paired_reconstruction(network: Butterfly, codes: Codes, x: Mapping[Side, Tensor]) -> Tensor:
    """Return the sum over source and target sides of the mean squared error over cells and genes.

    L = sum_(from, to) MSE(decoder_to(code of x_from, translated to `to`), x_to); `x` is without noise.
    """
    errors = [
        functional.mse_loss(network.decoder[to](codes.translated[source].codes[to]), x[to])
        for source in SIDES
        for to in SIDES
    ]
    return torch.stack(errors).sum()


def soft_labels(uniform: Tensor) -> Tensor:
    """Return labels of real (above 1/2) and translated (below) codes: u kept out of (0.2, 0.8), u ~ U(0, 1).

    Examples
    --------
    >>> [round(label, 2) for label in soft_labels(torch.tensor([0.1, 0.3, 0.5, 0.6, 0.9])).tolist()]
    [0.1, 0.2, 0.2, 0.8, 0.9]
    """
    return torch.where(uniform > 0.5, uniform.clamp(min=0.8), uniform.clamp(max=0.2))


def discrimination(network: Butterfly, codes: Codes, labels: Tensor) -> Tensor:
    """Return the discriminators' loss: the sum over sides of the binary cross-entropy with soft labels (cells,).

    Where a label is above 1/2 a side's discriminator sees the cell's own encoded code, else the partner's code
    translated to that side. Chance is 2 ln 2 = 1.386, the least possible 0.844 on average.
    """
    real = (labels > 0.5)[:, None]  # (cells, 1)
    losses = []
    for side in SIDES:
        shown = torch.where(real, codes.encoded[side], codes.translated[OTHER[side]].codes[side])  # (cells, latent)
        logits = network.discriminator[side](shown)[:, 0]
        losses.append(functional.binary_cross_entropy_with_logits(logits, labels))
    return torch.stack(losses).sum()


def _with_xavier_weights(block: nn.Sequential) -> nn.Sequential:
    for layer in block.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
    return block

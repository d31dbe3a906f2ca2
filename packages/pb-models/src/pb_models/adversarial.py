"""Networks and losses of unpaired translation between two domains: an encoder, a generator and a critic for each."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = [
    "ClassLoss",
    "Critic",
    "Domains",
    "Fakes",
    "SpectralLinear",
    "Translator",
    "Verdict",
    "class_loss",
    "classifier_loss",
    "encoding_loss",
    "gradient_penalty",
    "reconstruction_loss",
    "translate",
    "wasserstein_loss",
]

ClassLoss = Literal["log-likelihood", "probability"]


class Domains(NamedTuple):
    """Something of the control cells, and the same of the perturbed cells."""

    control: Tensor
    perturbed: Tensor


class Translator(nn.Module):
    """One encoder for both domains and one generator for each: genes to 2h, h, latent; latent to h, 2h, genes.

    Hidden block: Linear, normalisation, ReLU; the latent position is linear, the generators end in a hidden block over
    the genes, so that expression is never negative. `norm` is over the genes of a cell ("layer") or over the cells of a
    batch ("batch"). With h = 256 and 16 latent dimensions it has 1542 G + 412,432 trainable parameters for G genes.

    Examples
    --------
    >>> sum(weight.numel() for weight in Translator(10).parameters()) == 1542 * 10 + 412_432
    True
    """

    def __init__(
        self, n_genes: int, *, n_latent: int = 16, n_hidden: int = 256, norm: Literal["layer", "batch"] = "layer"
    ) -> None:
        super().__init__()
        inwards, outwards = [n_genes, 2 * n_hidden, n_hidden], [n_latent, n_hidden, 2 * n_hidden, n_genes]
        self.encoder = nn.Sequential(*_blocks(inwards, norm), nn.Linear(n_hidden, n_latent))
        self.to_control = nn.Sequential(*_blocks(outwards, norm))
        self.to_perturbed = nn.Sequential(*_blocks(outwards, norm))
        self.rowwise = norm == "layer"

    def forward(self, x: Tensor) -> Tensor:
        """Return control cells (cells, genes) as perturbed cells."""
        perturbed: Tensor = self.to_perturbed(self.encoder(x))
        return perturbed

    def each(self, network: nn.Module, *batches: Tensor) -> list[Tensor]:
        """Pass batches of equal size through a part; in one call where a row's result depends on that row alone."""
        if self.rowwise:
            return list(network(torch.cat(batches)).chunk(len(batches)))
        return [network(batch) for batch in batches]


def _blocks(sizes: Sequence[int], norm: str) -> list[nn.Module]:
    normalise = nn.LayerNorm if norm == "layer" else nn.BatchNorm1d
    return [nn.Sequential(nn.Linear(n, m), normalise(m), nn.ReLU()) for n, m in pairwise(sizes)]


class SpectralLinear(nn.Linear):
    """A linear layer divided by its largest singular value: x W^T / sigma + bias, (batch, n_in) to (batch, n_out).

    sigma = u^T W v follows one power iteration a call in training, none in evaluation; gradients pass through sigma but
    not through u and v. The same as torch's spectral_norm hook, but what is divided is the product, which is smaller
    than the weights where there are more genes than cells in a batch. Miyato et al., ICLR 2018, equation 8 and
    algorithm 1.
    """

    u: Tensor
    v: Tensor

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(n_in, n_out)
        self.register_buffer("u", functional.normalize(torch.randn(n_out), dim=0))
        self.register_buffer("v", functional.normalize(torch.randn(n_in), dim=0))

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised product of cells (cells, n_in)."""
        if self.training:
            with torch.no_grad():  # new tensors: a graph may still hold the old ones
                self.v = functional.normalize(self.weight.t() @ self.u, dim=0)
                self.u = functional.normalize(self.weight @ self.v, dim=0)
        sigma = self.u @ (self.weight @ self.v)
        return functional.linear(x, self.weight) / sigma + self.bias


class Verdict(NamedTuple):
    """What a critic says of cells, in logits: how real (cells,); and of which class (cells, classes), or None."""

    realness: Tensor
    classes: Tensor | None

    def split(self, n: int) -> tuple[Verdict, Verdict]:
        """Return the verdicts on the first n cells and on the others."""
        realness, classes = self
        if classes is None:
            return Verdict(realness[:n], None), Verdict(realness[n:], None)
        return Verdict(realness[:n], classes[:n]), Verdict(realness[n:], classes[n:])


class Critic(nn.Module):
    """Says how real cells of one domain look, and of which class they are: genes to 2h, h, then one linear head each.

    The two hidden layers are spectrally normalised (one power iteration a call in training), the heads are not; both
    return logits. With h = 256 it has 512 G + 132,097 + 257 K trainable parameters for G genes and K classes.

    Examples
    --------
    >>> sum(weight.numel() for weight in Critic(10, n_classes=3).parameters()) == 512 * 10 + 132_097 + 257 * 3
    True
    """

    def __init__(self, n_genes: int, *, n_classes: int = 0, n_hidden: int = 256) -> None:
        super().__init__()
        first, second = SpectralLinear(n_genes, 2 * n_hidden), SpectralLinear(2 * n_hidden, n_hidden)
        self.trunk = nn.Sequential(first, nn.ReLU(), second, nn.ReLU())
        self.realness = nn.Linear(n_hidden, 1)
        self.classes = nn.Linear(n_hidden, n_classes) if n_classes else None

    def forward(self, x: Tensor) -> Verdict:
        """Return the verdict on cells (cells, genes)."""
        hidden = self.trunk(x)
        return Verdict(self.realness(hidden).squeeze(1), self.classes(hidden) if self.classes is not None else None)


class Fakes(NamedTuple):
    """All that is generated from one batch of control cells (a) and one of perturbed cells (b).

    `codes` are the latent positions of a and b. Of the names of expression (batch, genes), the first letter is the
    source and the last the domain it is put into; `aba` goes through the other domain. `recoded` are the latent
    positions of aa, ab, ba, bb, in this order.
    """

    codes: Domains
    aa: Tensor
    ab: Tensor
    ba: Tensor
    bb: Tensor
    aba: Tensor
    bab: Tensor
    recoded: tuple[Tensor, Tensor, Tensor, Tensor]


def translate(network: Translator, cells: Domains) -> Fakes:
    """Generate every cell that a generator's step looks at."""
    codes = Domains(*network.each(network.encoder, *cells))
    aa, ba = network.each(network.to_control, *codes)
    ab, bb = network.each(network.to_perturbed, *codes)
    zaa, zab, zba, zbb = network.each(network.encoder, aa, ab, ba, bb)
    aba, bab = network.to_control(zab), network.to_perturbed(zba)
    return Fakes(codes, aa, ab, ba, bb, aba, bab, (zaa, zab, zba, zbb))


def reconstruction_loss(fakes: Fakes, cells: Domains) -> Tensor:
    """Return mean (aa - a)^2 + mean (bb - b)^2, means over cells and genes."""
    return functional.mse_loss(fakes.aa, cells.control) + functional.mse_loss(fakes.bb, cells.perturbed)


def encoding_loss(fakes: Fakes) -> Tensor:
    """Return the sum over aa, ab, ba, bb of mean (E(fake) - E(source))^2; no gradient reaches E(source)."""
    a, b = (code.detach() for code in fakes.codes)
    pairs = zip(fakes.recoded, (a, a, b, b), strict=True)
    return torch.stack([functional.mse_loss(code, source) for code, source in pairs]).sum()


def class_loss(logits: Tensor, labels: Tensor, kind: ClassLoss) -> Tensor:
    """Return -mean ln q[y] ("log-likelihood"), or -mean q[y] ("probability"), with q = softmax(logits).

    The second, in [-1, 0], is what a negative log-likelihood gives that is handed probabilities.

    Examples
    --------
    >>> logits, labels = torch.zeros(2, 4), torch.tensor([0, 3])
    >>> round(class_loss(logits, labels, "log-likelihood").item(), 4), class_loss(logits, labels, "probability").item()
    (1.3863, -0.25)
    """
    log_probabilities = functional.log_softmax(logits, dim=1)
    return functional.nll_loss(
        log_probabilities if kind == "log-likelihood" else log_probabilities.exp(), labels, reduction="mean"
    )


def classifier_loss(verdict: Verdict, labels: Tensor, *, real: bool, kind: ClassLoss) -> Tensor:
    """Return the binary cross-entropy of taking cells for real (or fake) plus the loss of their classes.

    The critic minimises it with real=True on real cells and real=False on fakes, the generator with real=True on fakes.
    """
    assert verdict.classes is not None
    wanted = torch.full_like(verdict.realness, float(real))
    realness = functional.binary_cross_entropy_with_logits(verdict.realness, wanted)
    return realness + class_loss(verdict.classes, labels, kind)


def wasserstein_loss(verdict: Verdict, *, real: bool) -> Tensor:
    """Return -mean D(x) of cells to be taken for real, mean D(x) of cells to be taken for fakes."""
    mean = verdict.realness.mean()
    return -mean if real else mean


def gradient_penalty(critic: Critic, real: Tensor, fake: Tensor, *, weight: float, power: float) -> Tensor:
    """Return k mean_i ||grad D(x_i)||_2^p at x_i = e_i real_i + (1 - e_i) fake_i, e_i ~ U(0, 1).

    The Wasserstein divergence's penalty (Wu et al., ECCV 2018), with k = 2 and p = 6 there.
    """
    share = torch.rand((len(real), 1), dtype=real.dtype, device=real.device)
    between = torch.lerp(fake, real, share).requires_grad_()  # (batch, genes)
    (gradient,) = torch.autograd.grad(critic(between).realness.sum(), between, create_graph=True)
    return weight * gradient.square().sum(dim=1).pow(power / 2).mean()

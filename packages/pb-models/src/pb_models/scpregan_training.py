"""How scPreGAN is trained: its network, the objectives of the two sides, and their steps in turn."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from pb_models.adversarial import (
    Critic,
    Domains,
    Translator,
    classifier_loss,
    encoding_loss,
    gradient_penalty,
    reconstruction_loss,
    translate,
    wasserstein_loss,
)
from pb_models.training import descend

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from torch import Tensor

    from pb_models.adversarial import Verdict
    from pb_models.scpregan import ScPreGanSettings
    from pb_models.training import Cells

__all__ = ["Contest", "ScPreGanNetwork", "batch_pairs", "critic_objective", "generator_objective"]


class ScPreGanNetwork(nn.Module):
    """The translator and the two critics; `n_classes` cell types are told apart, 0 in version "wgan-div".

    With the default sizes it has 2566 G + 676,626 + 514 K trainable parameters for G genes and K cell types.
    """

    def __init__(self, n_genes: int, n_classes: int, settings: ScPreGanSettings) -> None:
        super().__init__()
        norm: Literal["layer", "batch"] = "layer" if settings.version == "ac" else "batch"
        n_hidden = settings.n_hidden
        self.translator = Translator(n_genes, n_latent=settings.n_latent, n_hidden=n_hidden, norm=norm)
        self.critic_control = Critic(n_genes, n_classes=n_classes, n_hidden=n_hidden)
        self.critic_perturbed = Critic(n_genes, n_classes=n_classes, n_hidden=n_hidden)

    @property
    def critics(self) -> tuple[Critic, Critic]:
        """The critics of control and of perturbed cells."""
        return self.critic_control, self.critic_perturbed


def critic_objective(network: ScPreGanNetwork, cells: Domains, classes: Domains, settings: ScPreGanSettings) -> Tensor:
    """Return the loss of both critics on real cells and on cells translated into their domain.

    L = sum over domains of l(D(x), real) + l(D(fake), fake), plus the gradient penalty in version "wgan-div"; l is
    `classifier_loss` or `wasserstein_loss`. A fake's class is its source cell's. No gradient reaches the generators.
    """
    translator, losses = network.translator, []
    with torch.no_grad():
        codes = Domains(*translator.each(translator.encoder, *cells))
        fakes = Domains(translator.to_control(codes.perturbed), translator.to_perturbed(codes.control))
    for critic, real, fake, labels in zip(network.critics, cells, fakes, (classes, classes[::-1]), strict=True):
        verdicts = critic(torch.cat([real, fake])).split(len(real))
        judged = zip(verdicts, labels, (True, False), strict=True)
        losses += [_judged(verdict, own, settings, real=is_real) for verdict, own, is_real in judged]
        if settings.version == "wgan-div":
            weight, power = settings.penalty_weight, settings.penalty_power
            losses.append(gradient_penalty(critic, real, fake, weight=weight, power=power))
    return torch.stack(losses).sum()


def generator_objective(
    network: ScPreGanNetwork, cells: Domains, classes: Domains, settings: ScPreGanSettings
) -> dict[str, Tensor]:
    """Return the loss of encoder and generators and its parts: L = reconstruction + 0.1 encoding + 0.001 adversarial.

    The adversarial part is the sum over the six fakes of l(D(fake), real), with aa, ba, aba before the critic of
    control cells and bb, ab, bab before that of perturbed ones; a fake's class is its source cell's.
    """
    fakes, (a, b) = translate(network.translator, cells), classes
    before = ((fakes.aa, fakes.ba, fakes.aba), (a, b, a)), ((fakes.bb, fakes.ab, fakes.bab), (b, a, b))
    judged = [
        len(shown) * _judged(critic(torch.cat(shown)), torch.cat(labels), settings, real=True)
        for critic, (shown, labels) in zip(network.critics, before, strict=True)
    ]
    reconstruction, encoding = reconstruction_loss(fakes, cells), encoding_loss(fakes)
    adversarial = torch.stack(judged).sum()
    loss = reconstruction + settings.encoding_weight * encoding + settings.adversarial_weight * adversarial
    return {"loss": loss, "reconstruction": reconstruction, "encoding": encoding, "adversarial": adversarial}


def _judged(verdict: Verdict, classes: Tensor, settings: ScPreGanSettings, *, real: bool) -> Tensor:
    if settings.version == "wgan-div":
        return wasserstein_loss(verdict, real=real)
    return classifier_loss(verdict, classes, real=real, kind=settings.class_loss)


class Contest:
    """The optimisers of both sides, and their steps; `classes` holds each training cell's class number (cells,)."""

    def __init__(self, network: ScPreGanNetwork, cells: Cells, classes: Tensor, settings: ScPreGanSettings) -> None:
        self.network, self.cells, self.classes, self.settings = network, cells, classes, settings
        self.n_steps, self.n_done = settings.max_epochs * settings.steps_per_epoch, 0
        translator, rate, betas = network.translator, settings.learning_rate, (0.5, 0.9)
        generators = chain(translator.to_control.parameters(), translator.to_perturbed.parameters())
        encoder = {"params": list(translator.encoder.parameters()), "lr": settings.encoder_learning_rate}
        groups = [{"params": list(generators), "lr": rate, "betas": betas}, {**encoder, "betas": (0.9, 0.999)}]
        self.translating = torch.optim.Adam(groups, fused=True)
        critics = chain.from_iterable(critic.parameters() for critic in network.critics)
        self.judging = torch.optim.Adam(critics, lr=rate, betas=betas, fused=True)

    def step(self, draws: Tensor) -> dict[str, Tensor]:
        """Step the critics on all draws but the last, then encoder and generators on that; (draws, 2, batch) rows."""
        self._decay()
        for rows in draws[:-1]:
            critic_loss = critic_objective(self.network, self._cells(rows), self._classes(rows), self.settings)
            descend(self.judging, critic_loss)
        told = self._classes(draws[-1] if self.settings.labels == "fresh" else draws[-2])
        with _without_gradients(self.network.critics):
            terms = generator_objective(self.network, self._cells(draws[-1]), told, self.settings)
            descend(self.translating, terms["loss"])
        return {name: term.detach() for name, term in {**terms, "critic": critic_loss}.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the optimisers' states and the number of steps done."""
        states = {name: getattr(self, name).state_dict() for name in ("translating", "judging")}
        return {**states, "n_done": self.n_done}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another contest stood."""
        for name in ("translating", "judging"):
            getattr(self, name).load_state_dict(state[name])
        self.n_done = state["n_done"]

    def _decay(self) -> None:
        self.n_done += 1
        if 2 * self.n_done % self.n_steps == 0:
            for group in chain(self.translating.param_groups, self.judging.param_groups):
                group["lr"] *= self.settings.decay

    def _cells(self, rows: Tensor) -> Domains:
        return Domains(*(self.cells.take(side) for side in rows))

    def _classes(self, rows: Tensor) -> Domains:
        return Domains(*self.classes[rows].to(self.cells.device, non_blocking=True))


@contextmanager
def _without_gradients(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Spare the gradients of networks that are passed through but not stepped."""
    for network in networks:
        network.requires_grad_(requires_grad=False)
    yield
    for network in networks:
        network.requires_grad_(requires_grad=True)


def batch_pairs(control: Tensor, perturbed: Tensor, size: int, order: torch.Generator) -> Iterator[Tensor]:
    """Yield rows of both domains without end, (2, size); both are shuffled anew when the smaller one is used up.

    Examples
    --------
    >>> pairs = batch_pairs(torch.arange(5), torch.arange(10, 30), 2, torch.Generator().manual_seed(0))
    >>> sorted(torch.cat([next(pairs)[0], next(pairs)[0]]).unique().tolist()) != [0, 1]
    True
    """
    n = min(len(control), len(perturbed)) // size
    while True:
        sides = [
            rows[torch.randperm(len(rows), generator=order).to(rows.device, non_blocking=True)]
            for rows in (control, perturbed)
        ]
        yield from torch.stack([side[: n * size].view(n, size) for side in sides], dim=1)

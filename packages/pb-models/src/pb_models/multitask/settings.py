"""Settings of the multi-task family."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pb_models.pairing import MAX_PIVOTS
from pb_models.settings import Settings

__all__ = [
    "AdversarialSettings",
    "Modulation",
    "MultiTaskSettings",
    "TransportSettings",
    "VariationalSettings",
    "VariationalTransportSettings",
]

Modulation = Literal["around-one", "leaky-relu"]


@dataclass(frozen=True, kw_only=True)
class MultiTaskSettings(Settings):
    """Settings that all variants share.

    `mask` is the share of genes zeroed at the input in training; `n_film` the width of a FiLM generator's hidden layer
    (0: none; None: 16 where there is more than one perturbed condition, else none); `modulation` and `film_spread`
    are `Film`'s.

    A phase lasts `max_epochs`, or to the end of the epoch in which it has done `max_steps` optimiser steps (None: no
    such limit). The learning rate rises linearly over the first `warmup_steps` of a phase, from zero, in a first step
    that does nothing, where `idle_first_step`. `keep` says whether a reconstruction phase ends with the epoch of the
    lowest validation loss, looked for after `settling_steps`, or with its last one. `split`: "given" validates on the
    mask handed to `fit`; "leading" trains on the first 80 % of the cells of each context and condition, in file order.
    `drop_last` leaves incomplete batches out.
    """

    n_latent: int = 128
    n_hidden: int = 256
    n_layers: int = 1
    n_film: int | None = None
    dropout: float = 0.5
    mask: float = 0.2
    modulation: Modulation = "around-one"
    film_spread: float = 0.25
    latent_activation: Literal["linear", "leaky-relu"] = "leaky-relu"
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    idle_first_step: bool = False
    batch_size: int = 64
    drop_last: bool = False
    max_epochs: int = 400
    max_steps: int | None = 3600
    keep: Literal["best", "last"] = "best"
    settling_steps: int = 100
    split: Literal["given", "leading"] = "given"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n_latent", "n_hidden", "n_layers", "max_epochs", "max_steps", "warmup_steps"):
            self.at_least(name, 1)
        self.at_least("batch_size", 2)
        for name in ("n_film", "film_spread", "dropout", "mask", "settling_steps"):
            self.at_least(name, 0)
        self.at_least("learning_rate", 0, strictly=True)
        for name in ("dropout", "mask"):
            if (rate := getattr(self, name)) >= 1:
                msg = f"{type(self).__name__}.{name} is {rate}; it has to be less than 1"
                raise ValueError(msg)

    def n_epochs(self, n_examples: int, share: float = 1.0) -> int:
        """Return how many epochs of some number of examples a phase lasts that has a share of the usual length.

        Examples
        --------
        >>> MultiTaskSettings().n_epochs(12_800), MultiTaskSettings(max_steps=None).n_epochs(12_800, share=0.25)
        (18, 100)
        """
        epochs = max(1, round(share * self.max_epochs))
        if self.max_steps is None:
            return epochs
        steps_an_epoch = max(1, n_examples // self.batch_size)
        return min(epochs, math.ceil(share * self.max_steps / steps_an_epoch))


@dataclass(frozen=True, kw_only=True)
class AdversarialSettings(MultiTaskSettings):
    """Settings of the variants with a discriminator.

    Its own phase and the joint one last `discriminator_share` and `joint_share` of the reconstruction phase's length.
    In the joint phase the autoencoder minimises (1 - w) squared error + w fooling loss, w = `adversarial_weight`.
    `passes`: "shared" encodes a batch of the joint phase once for both sides, and all cells once, in evaluation mode,
    for the discriminator's own phase; "separate" anew for every loss, in training mode (the reference's).
    """

    n_discriminator: int = 32
    adversarial_weight: float = 0.01
    discriminator_share: float = 0.25
    joint_share: float = 0.25
    passes: Literal["shared", "separate"] = "shared"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least("n_discriminator", 1)
        self.at_least("adversarial_weight", 0)
        for name in ("discriminator_share", "joint_share"):
            self.at_least(name, 0, strictly=True)


@dataclass(frozen=True, kw_only=True)
class TransportSettings(MultiTaskSettings):
    """Settings of the variants that learn from optimal-transport pairs.

    `targets`: "partners" are the cells that transport gives; "misplaced" are those found by taking a partner's place in
    its own context for a row of the whole condition (the reference's error). `max_pivots` is that of `pair_controls`.
    """

    targets: Literal["partners", "misplaced"] = "partners"
    max_pivots: int = MAX_PIVOTS

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least("max_pivots", 1)


@dataclass(frozen=True, kw_only=True)
class VariationalSettings(MultiTaskSettings):
    """Settings of the variational variants.

    The KL divergence is weighted by `kl_weight` * batch size / number of training examples. `heads` says whether the
    layers of mean and log variance are trained or stay as they start, `head_activation` what follows them.
    """

    kl_weight: float = 0.004
    heads: Literal["trained", "frozen"] = "trained"
    head_activation: Literal["linear", "leaky-relu"] = "linear"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least("kl_weight", 0)


@dataclass(frozen=True, kw_only=True)
class VariationalTransportSettings(VariationalSettings, TransportSettings):
    """Settings of the variational variants that learn from optimal-transport pairs."""

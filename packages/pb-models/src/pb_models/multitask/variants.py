"""The eight variants of the multi-task family: which phases, which settings, nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pb_models.multitask.model import MultiTaskModel, Phase
from pb_models.multitask.settings import (
    AdversarialSettings,
    MultiTaskSettings,
    TransportSettings,
    VariationalSettings,
    VariationalTransportSettings,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pb_models.multitask.network import Opponent
    from pb_models.settings import Settings

__all__ = ["Mtae", "MtaeAdv", "MtaeAdvGauss", "MtaeAndOt", "MtaeOt", "Mtvae", "MtvaeAndOt", "MtvaeOt"]

_REFERENCE: dict[str, Any] = {
    "modulation": "leaky-relu",
    "learning_rate": 1e-5,
    "idle_first_step": True,
    "drop_last": True,
    "max_steps": None,
    "keep": "last",
    "split": "leading",
}
_REFERENCE_ADVERSARY: dict[str, Any] = {
    "discriminator_share": 1.0,
    "passes": "separate",
    "latent_activation": "leaky-relu",
}
_REFERENCE_TRANSPORT: dict[str, Any] = {"targets": "misplaced", "max_pivots": 100_000}
_REFERENCE_VARIATIONAL: dict[str, Any] = {
    "learning_rate": 6.62135564829619e-06,
    "batch_size": 32,
    "heads": "frozen",
    "head_activation": "leaky-relu",
}


def _profiles(fixed: MultiTaskSettings, *references: dict[str, Any]) -> Mapping[str, Settings]:
    changes = _REFERENCE.copy()
    for reference in references:
        changes |= reference
    return {"fixed": fixed, "reference": fixed.replace(**changes)}


class Mtae(MultiTaskModel):
    """Multi-task autoencoder (the reference benchmark's `simple`): reconstructs each cell under its own condition.

    L = mean (decode(encode(x), c) - x)^2. Nothing tells the network what a cell would be under another condition; a
    prediction swaps c.

    Profile `reference` trains 400 epochs at a learning rate of 1e-5, the first step doing nothing, on the first 80 % of
    each context and condition, incomplete batches left out, and takes the last epoch's weights. Its separate optimisers
    of encoder and decoder are one Adam here, which is the same.

    Profile `fixed`, the default, mends that, for all variants:

    - FiLM is gamma = 1 + Linear(c) and beta = Linear(c), and can shrink, flip or lower a unit; how far its weights are
      spread at the start was chosen on synthetic cells with a known shift;
    - the validation cells handed in choose the epoch whose weights are kept;
    - the first step does something, and every cell is seen;
    - a phase takes 3,600 steps at Adam's own rate of 1e-3: the reference's sum of learning rates over steps (80,000
      steps at 1e-5 on 13,000 cells) is reached after 800. The sizes, which the reference chose on test scores of one
      cell type, are left as they are.

    Examples
    --------
    >>> Mtae(profile="reference").settings.learning_rate
    1e-05
    """

    name: ClassVar[str] = "mtae"
    summary: ClassVar[str] = (
        "Autoencoder for all conditions, told which by FiLM layers in the decoder; predicts by swapping the condition."
    )
    phases: ClassVar[tuple[Phase, ...]] = ("autoencoding",)
    profiles: ClassVar[Mapping[str, Settings]] = _profiles(MultiTaskSettings())


class MtaeAdv(MultiTaskModel):
    """`Mtae`, then a discriminator of control and perturbed codes, then both together (`adversarial`).

    The encoder learns to make perturbed cells' codes look like control ones: it minimises 0.99 squared error + 0.01
    BCE(D(code), 1 - y) over the perturbed cells, D minimises BCE(D(code), y) over all, y the soft labels.

    Profile `reference` encodes in training mode for each loss anew, so that batch normalisation's statistics go on
    moving while the discriminator learns alone, for 400 epochs. Profile `fixed`: they stand still, codes are computed
    once, and that phase takes a quarter of the first one's length, as the joint one does.
    """

    name: ClassVar[str] = "mtae-adv"
    summary: ClassVar[str] = (
        "Multi-task FiLM autoencoder whose encoder also learns to make perturbed cells look like control cells."
    )
    phases: ClassVar[tuple[Phase, ...]] = ("autoencoding", "discriminator", "joint")
    profiles: ClassVar[Mapping[str, Settings]] = _profiles(AdversarialSettings(), _REFERENCE_ADVERSARY)


class MtaeAdvGauss(MultiTaskModel):
    """`MtaeAdv` with a normal distribution as what all codes shall look like (`adversarial_gaussian`).

    D minimises 1/2 BCE(D(e), 1) + 1/2 BCE(D(code), 0), e ~ N(0, I); the encoder 0.99 squared error + 0.01 BCE(D(code),
    1). In profile `fixed` codes have no LeakyReLU, with which they cannot be normal.
    """

    name: ClassVar[str] = "mtae-adv-gauss"
    summary: ClassVar[str] = (
        "Multi-task FiLM autoencoder whose encoder also learns to make its codes normally distributed."
    )
    phases: ClassVar[tuple[Phase, ...]] = ("autoencoding", "discriminator", "joint")
    opponent: ClassVar[Opponent] = "gaussian"
    profiles: ClassVar[Mapping[str, Settings]] = _profiles(
        AdversarialSettings(latent_activation="linear"), _REFERENCE_ADVERSARY
    )


class MtaeOt(MultiTaskModel):
    """Multi-task autoencoder of optimal-transport pairs (`simple_ot`): from a control cell to its partners.

    L = mean (decode(encode(control cell), c) - partner in c)^2 over all conditions; in the control condition a cell is
    its own partner. Contexts without pairs, hence the target's control cells, take no part.

    Profile `reference` keeps the error of the published code: a partner's place among its own context's cells is taken
    for a row of the whole condition, ordered by context, so that nearly all partners are of the alphabetically first
    contexts. Profile `fixed` takes the partners.
    """

    name: ClassVar[str] = "mtae-ot"
    summary: ClassVar[str] = (
        "Multi-task FiLM autoencoder trained to turn control cells into their optimal-transport partners."
    )
    phases: ClassVar[tuple[Phase, ...]] = ("transport",)
    profiles: ClassVar[Mapping[str, Settings]] = _profiles(TransportSettings(), _REFERENCE_TRANSPORT)


class MtaeAndOt(MultiTaskModel):
    """`Mtae`, then `MtaeOt` with the weights so found, a new Adam and a new warm-up (`simple_and_ot`)."""

    name: ClassVar[str] = "mtae-and-ot"
    summary: ClassVar[str] = (
        "Multi-task FiLM autoencoder trained to reconstruct cells, then to turn control cells into transport partners."
    )
    phases: ClassVar[tuple[Phase, ...]] = ("autoencoding", "transport")
    profiles: ClassVar[Mapping[str, Settings]] = _profiles(TransportSettings(), _REFERENCE_TRANSPORT)


class Mtvae(MultiTaskModel):
    """Variational `Mtae` (`simple_vae`): L = squared error + 0.004 (batch size / n) KL, predicting at the mean code.

    Profile `reference` never trains the layers of mean and log variance, since no optimiser has them, and puts a
    LeakyReLU on both, which keeps the standard deviation near or above one. Profile `fixed` trains them and leaves them
    linear.
    """

    name: ClassVar[str] = "mtvae"
    summary: ClassVar[str] = "Variational multi-task FiLM autoencoder; predicts by swapping the condition."
    phases: ClassVar[tuple[Phase, ...]] = ("autoencoding",)
    profiles: ClassVar[Mapping[str, Settings]] = _profiles(VariationalSettings(), _REFERENCE_VARIATIONAL)


class MtvaeOt(MultiTaskModel):
    """Variational `MtaeOt` (`simple_vae_ot`), with the profiles' differences of both `MtaeOt` and `Mtvae`."""

    name: ClassVar[str] = "mtvae-ot"
    summary: ClassVar[str] = (
        "Variational multi-task FiLM autoencoder trained to turn control cells into their optimal-transport partners."
    )
    phases: ClassVar[tuple[Phase, ...]] = ("transport",)
    profiles: ClassVar[Mapping[str, Settings]] = _profiles(
        VariationalTransportSettings(), _REFERENCE_TRANSPORT, _REFERENCE_VARIATIONAL
    )


class MtvaeAndOt(MultiTaskModel):
    """`Mtvae`, then `MtvaeOt` with the weights so found, a new Adam and a new warm-up (`simple_vae_and_ot`)."""

    name: ClassVar[str] = "mtvae-and-ot"
    summary: ClassVar[str] = (
        "Variational multi-task FiLM autoencoder trained to reconstruct cells, then to produce transport partners."
    )
    phases: ClassVar[tuple[Phase, ...]] = ("autoencoding", "transport")
    profiles: ClassVar[Mapping[str, Settings]] = _profiles(
        VariationalTransportSettings(), _REFERENCE_TRANSPORT, _REFERENCE_VARIATIONAL
    )

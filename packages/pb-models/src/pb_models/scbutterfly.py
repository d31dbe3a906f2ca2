"""scButterfly: translation of control cells into perturbed ones, learnt from optimal-transport pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch

from pb_models.base import Model
from pb_models.butterfly import Butterfly
from pb_models.butterfly_training import BLOCK, ButterflyTraining, EpochCount
from pb_models.pairing import MAX_PIVOTS, Assignment, Pairs, pair_controls
from pb_models.settings import Settings
from pb_models.training import Cells, resolve_device, seeded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from pb_models.base import Progress
    from pb_models.cells import TrainingData
    from pb_models.query import Query

__all__ = ["ScButterfly", "ScButterflySettings", "leading_split"]

_NO_PAIRS = Pairs(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))


@dataclass(frozen=True, kw_only=True)
class ScButterflySettings(Settings):
    """Settings of scButterfly.

    Training has three phases: autoencoding of the control side, then of the perturbed side, `pretrain_epochs` each
    (None: half of `max_epochs`), then `max_epochs` of everything together; each phase ends after `patience` epochs
    without a better reconstruction of the validation pairs (None: never), and `keep` says whose epoch's weights it
    leaves: "best-if-stopped" is the best where patience ran out, else the last (the reference's). `ties_improve`: an
    equal reconstruction counts as better. `monitor`: "mean" watches the codes' means, "sampled" a draw of them.

    `split`: "given" pairs the training cells and the validation cells of the mask handed to `fit`, each among
    themselves; "leading" pairs all and takes the first 80 % of each context's control cells for training (the
    reference's). `assignment` and `max_pivots` are those of `pair_controls`. `passes`: "shared" encodes a batch once a
    step, "separate" three times, once for each loss (the reference's). `kl_weight` is divided by the number of genes,
    counts twice in the last phase and rises linearly from 0 during `warmup_epochs` of each phase. The discriminators'
    loss moves the rest of the network only while it is below `adversarial_below`. Predicted values below `clip` are set
    to 0.
    """

    n_latent: int = 128
    n_hidden: int = 256
    n_hidden_perturbed: int = 128
    dropout: float = 0.1
    noise: float = 0.5
    kl_weight: float = 20.0
    warmup_epochs: int = 50
    adversarial_below: float = 1.35
    learning_rate: float = 1e-3
    discriminator_learning_rate: float = 5e-3
    batch_size: int = 64
    max_epochs: int = 200
    pretrain_epochs: int | None = None
    patience: int | None = 50
    keep: Literal["last", "best", "best-if-stopped"] = "best"
    ties_improve: bool = False
    monitor: Literal["mean", "sampled"] = "mean"
    split: Literal["given", "leading"] = "given"
    assignment: Assignment = "reuse"
    max_pivots: int = MAX_PIVOTS
    passes: Literal["shared", "separate"] = "shared"
    clip: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n_latent", "n_hidden", "n_hidden_perturbed", "warmup_epochs", "max_pivots"):
            self.at_least(name, 1)
        for name in ("max_epochs", "pretrain_epochs", "patience"):
            self.at_least(name, 1)
        self.at_least("batch_size", 2)
        for name in ("dropout", "noise", "kl_weight", "adversarial_below", "clip"):
            self.at_least(name, 0)
        for name in ("learning_rate", "discriminator_learning_rate"):
            self.at_least(name, 0, strictly=True)
        for name in ("dropout", "noise"):
            if (rate := getattr(self, name)) >= 1:
                msg = f"{type(self).__name__}.{name} is {rate}; it has to be less than 1"
                raise ValueError(msg)

    @property
    def phases(self) -> dict[str, int]:
        """The training phases in order, and the epochs of each."""
        pretraining = max(1, self.max_epochs // 2) if self.pretrain_epochs is None else self.pretrain_epochs
        return {"control": pretraining, "perturbed": pretraining, "joint": self.max_epochs}


class ScButterfly(Model):
    """scButterfly (Cao et al., Nature Communications 2024): paired autoencoders with a translator between their codes.

    Control cells are paired with perturbed cells of their own context by optimal transport (`pb_models.pairing`). Two
    autoencoders, one a side, are trained alone, then together with a translator of codes: every cell is reconstructed
    from itself and from its partner, and discriminators that tell encoded from translated codes are opposed. A
    prediction encodes a control cell, translates the mean code and decodes it as perturbed, each control cell once.
    Contexts without cells on both sides, hence the target's control cells, take no part in training. With several
    perturbations, each has a network of its own.

    Profile `reference` is version 0.0.9 of the published package as the reference benchmark ran it: partners may be
    reused, the first 80 % of each context's controls train and the rest validate (the mask is ignored), validation is
    noisy, the best epoch is restored only where patience ran out, values below 1e-4 are set to 0. Its separate
    optimisers of the modules are one Adam here, which is the same, since Adam treats each number by itself.

    Profile `fixed`, the default, mends that:

    - training and validation cells are paired each among themselves, so that no perturbed cell is in both;
    - early stopping watches the validation cells handed in, at the mean code, without sampling noise;
    - the best epoch's weights are restored whether or not patience ran out, and equal epochs do not prolong training;
    - the transport problem is solved to its optimum, not left after 100,000 pivots;
    - only negative values are set to 0, not small positive ones;
    - each batch is encoded once a step, not three times.

    The reference's variant without reuse picks pairs that carry no transport mass: `assignment="minimise"`; meant was
    "maximise".

    Examples
    --------
    >>> ScButterfly(profile="reference").settings.phases
    {'control': 100, 'perturbed': 100, 'joint': 200}
    """

    name: ClassVar[str] = "scbutterfly"
    summary: ClassVar[str] = (
        "Two autoencoders with a translator between their codes, trained on optimal-transport pairs of cells."
    )
    profiles: ClassVar[Mapping[str, Settings]] = {
        "fixed": ScButterflySettings(),
        "reference": ScButterflySettings(
            keep="best-if-stopped",
            ties_improve=True,
            monitor="sampled",
            split="leading",
            max_pivots=100_000,
            passes="separate",
            clip=1e-4,
        ),
    }
    settings: ScButterflySettings
    networks: dict[str, Butterfly]

    def _fit(self, data: TrainingData, *, seed: int, device: str, progress: Progress | None) -> dict[str, Any]:
        where = resolve_device(device)
        cells = Cells(data.X, where)
        names = data.perturbation_names
        count = EpochCount(progress, len(names) * sum(self.settings.phases.values()), self.resumable)
        self.networks, records = {}, {}
        for name in names:
            training, validation = self._pairs(data, name)
            with seeded(seed, where):
                network = self.new_network(len(data.genes)).to(where)
                phases = ButterflyTraining(network, cells, training, validation, self.settings, count).run(seed)
            self.networks[name] = network
            records[name] = {
                "n_training": len(training.control),
                "n_validation": len(validation.control),
                "phases": phases,
            }
        return {"epochs": count.epochs, "device": str(where), "precision": "float32", "perturbations": records}

    def _pairs(self, data: TrainingData, perturbation: str) -> tuple[Pairs, Pairs]:
        """Return the pairs to train on and those to validate on, as the setting `split` says."""
        paired = np.isin(data.contexts, data.paired_contexts(perturbation))
        everything = np.ones(len(data.control), dtype=bool)
        if self.settings.split == "leading":
            return leading_split(self._paired(data, perturbation, paired), data.contexts, data.control & paired)
        held = ~everything if data.validation is None else data.validation
        return self._paired(data, perturbation, paired & ~held), self._paired(data, perturbation, paired & held)

    def _paired(self, data: TrainingData, perturbation: str, among: NDArray[np.bool_]) -> Pairs:
        control, perturbed = data.control & among, ~data.control & (data.perturbations == perturbation) & among
        if not np.intersect1d(data.contexts[control], data.contexts[perturbed]).size:
            return _NO_PAIRS
        s = self.settings
        return pair_controls(
            data.X, data.contexts, control, perturbed, assignment=s.assignment, max_pivots=s.max_pivots
        )

    def _predict(self, query: Query) -> NDArray[np.float32]:
        network = self.networks[query.perturbation]
        cells = Cells(query.X, next(network.parameters()).device)
        with torch.inference_mode():
            blocks = [network(cells.take(rows)).cpu() for rows in torch.split(cells.index(np.arange(cells.n)), BLOCK)]
        expression = torch.cat(blocks).numpy()
        return np.where(expression < self.settings.clip, np.float32(0), expression)

    @property
    def n_parameters(self) -> int:
        """How many trainable parameters the networks have, discriminators and single translators included."""
        return sum(weight.numel() for network in self.networks.values() for weight in network.parameters())

    def new_network(self, n_genes: int) -> Butterfly:
        """Build an untrained network of the settings' sizes."""
        s = self.settings
        return Butterfly(
            n_genes,
            n_latent=s.n_latent,
            n_hidden=s.n_hidden,
            n_hidden_perturbed=s.n_hidden_perturbed,
            dropout=s.dropout,
            noise=s.noise,
        )

    def _state(self) -> dict[str, NDArray[Any]]:
        return {
            f"{name}/{perturbation}": value.cpu().numpy()
            for perturbation, network in self.networks.items()
            for name, value in network.state_dict().items()
        }

    def _restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        weights: dict[str, dict[str, Tensor]] = {perturbation: {} for perturbation in self.doses}
        for key, value in state.items():
            name, _, perturbation = key.partition("/")
            weights[perturbation][name] = torch.tensor(value)
        self.networks = {}
        for perturbation, values in weights.items():
            with torch.device("meta"):
                network = self.new_network(len(self.genes))
            network.load_state_dict(values, assign=True)
            self.networks[perturbation] = network.to(resolve_device("auto")).eval()


def leading_split(pairs: Pairs, contexts: NDArray[np.str_], control: NDArray[np.bool_]) -> tuple[Pairs, Pairs]:
    """Split pairs by file order, as the reference does: of each context the first int(0.8 n) train, the rest validate.

    n counts the context's control cells (mask, (cells,)), not its pairs; a context with int(0.8 n) = 0 is left out.

    Examples
    --------
    >>> pairs, mask = Pairs(np.arange(6), np.arange(6, 12)), np.arange(12) < 6
    >>> [part.control.tolist() for part in leading_split(pairs, np.array(["B"] * 5 + ["T"] * 7), mask)]
    [[0, 1, 2, 3], [4]]
    """
    first, rest = [_NO_PAIRS.control], [_NO_PAIRS.control]
    for context in np.unique(contexts[pairs.control]):
        members = np.flatnonzero(contexts[pairs.control] == context)
        n_training = int(0.8 * int((control & (contexts == context)).sum()))
        if n_training:
            first.append(members[:n_training])
            rest.append(members[n_training:])
    chosen = [np.sort(np.concatenate(part)) for part in (first, rest)]
    return Pairs(*(side[chosen[0]] for side in pairs)), Pairs(*(side[chosen[1]] for side in pairs))

"""scPreGAN: unpaired translation of control cells into perturbed cells, with a critic for each of the two domains."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch import nn

from pb_models.base import Model
from pb_models.scpregan_training import Contest, ScPreGanNetwork, batch_pairs
from pb_models.settings import Settings
from pb_models.training import Cells, Schedule, resolve_device, seeded, train

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from pb_models.base import Progress
    from pb_models.cells import TrainingData
    from pb_models.query import Query

__all__ = ["ScPreGan", "ScPreGanSettings"]

BLOCK = 2048  # cells translated at once


@dataclass(frozen=True, kw_only=True)
class ScPreGanSettings(Settings):
    """Settings of scPreGAN.

    `version`: "ac" has critics that also tell the cell type, and normalises over genes; "wgan-div" has Wasserstein
    critics under a gradient penalty, and batch normalisation. For "ac" alone: `labels`, whether the generators' step is
    told the cell types of its own cells ("fresh") or of those of the critics' step before it ("stale"); `class_loss`,
    the log-likelihood of the cell type or its probability. For "wgan-div" alone: `penalty_weight`, `penalty_power` and
    `statistics`, what batch normalisation uses in prediction, the running statistics of training or those of the batch
    of all cells to predict. `initialisation`: "xavier" (uniform, gain 0.01, bias 0.01) or torch's.

    Training lasts `max_epochs` epochs of `steps_per_epoch` generator steps, each after `critic_steps` critics' steps;
    every step takes new batches of `batch_size` control and as many perturbed cells. All learning rates are multiplied
    by `decay` before the middle and before the last step. `n_hidden` is the width of the narrower hidden layers.
    """

    version: Literal["ac", "wgan-div"] = "ac"
    labels: Literal["fresh", "stale"] = "fresh"
    class_loss: Literal["log-likelihood", "probability"] = "log-likelihood"
    initialisation: Literal["xavier", "torch"] = "xavier"
    statistics: Literal["running", "batch"] = "running"
    n_latent: int = 16
    n_hidden: int = 256
    max_epochs: int = 400
    steps_per_epoch: int = 50
    critic_steps: int = 1
    batch_size: int = 64
    learning_rate: float = 1e-3
    encoder_learning_rate: float = 1e-4
    decay: float = 0.9
    adversarial_weight: float = 1e-3
    encoding_weight: float = 0.1
    penalty_weight: float = 2.0
    penalty_power: float = 6.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n_latent", "n_hidden", "max_epochs", "steps_per_epoch", "critic_steps"):
            self.at_least(name, 1)
        for name in ("batch_size", "penalty_power"):
            self.at_least(name, 2)
        for name in ("adversarial_weight", "encoding_weight", "penalty_weight"):
            self.at_least(name, 0)
        for name in ("learning_rate", "encoder_learning_rate", "decay"):
            self.at_least(name, 0, strictly=True)


class ScPreGan(Model):
    """scPreGAN (Wei et al., Bioinformatics 2022): prediction = G_perturbed(E(control cell)), never negative.

    An encoder E, a generator for each domain (control cells, perturbed cells) and a critic for each, trained on batches
    drawn from the two domains independently. All control cells are used, the target's too, and the validation mask is
    ignored: nothing is watched, and the last step's weights are kept. One perturbation at a time.

    Version "ac" (critics also tell the cell type; what the reference benchmark ran) has the profiles `fixed`, the
    default, and `reference`; version "wgan-div" (Wasserstein critics) `wgan-div` and `wgan-div-reference`. The
    reference profiles keep the errors of the published code that the others mend:

    - the generators are told the cell types of the cells they were given, not of the critics' batch before (ac);
    - the cell type enters by its log-likelihood, not by its probability (ac);
    - weights start as the code intends (Xavier, gain 0.01) but never calls, not as torch has it (both);
    - a prediction uses the running statistics of batch normalisation, so that it does not depend on which other cells
      are predicted with it (wgan-div).

    Examples
    --------
    >>> ScPreGan(profile="wgan-div").settings.critic_steps
    5
    """

    name: ClassVar[str] = "scpregan"
    summary: ClassVar[str] = (
        "Adversarial autoencoder; one encoder and a generator for each condition translate cells without pairing them."
    )
    profiles: ClassVar[Mapping[str, Settings]] = {
        "fixed": ScPreGanSettings(),
        "reference": ScPreGanSettings(labels="stale", class_loss="probability", initialisation="torch"),
        "wgan-div": ScPreGanSettings(version="wgan-div", critic_steps=5),
        "wgan-div-reference": ScPreGanSettings(
            version="wgan-div", critic_steps=5, initialisation="torch", statistics="batch"
        ),
    }
    settings: ScPreGanSettings
    network: ScPreGanNetwork

    def _fit(self, data: TrainingData, *, seed: int, device: str, progress: Progress | None) -> dict[str, Any]:
        self._require_one_perturbation(data)
        where, s = resolve_device(device), self.settings
        names, numbers = np.unique(data.contexts, return_inverse=True)
        cells = Cells(data.X, where)
        schedule = Schedule(max_epochs=s.max_epochs, batch_size=s.batch_size)
        with seeded(seed, where):
            self.network = self.new_network(len(data.genes), len(names)).to(where)
            contest = Contest(self.network, cells, cells.index(numbers), s)
            draws = self._draws(data, cells, seed)
            history = train(
                self.network,
                draws,
                schedule,
                step=contest.step,
                seed=seed,
                progress=progress,
                resumable=self.resumable,
                parts=[contest],
            )
        return {
            **history.to_dict(),
            "steps": len(history.loss) * s.steps_per_epoch,
            "n_control": int(data.control.sum()),
            "n_perturbed": int((~data.control).sum()),
            "classes": names.tolist(),
            "device": str(where),
        }

    def _draws(self, data: TrainingData, cells: Cells, seed: int) -> Callable[[], list[Tensor]]:
        """Return what draws an epoch's batches, (critic steps + 1, 2, batch) for each generator step."""
        s = self.settings
        control, perturbed = (cells.index(np.flatnonzero(side)) for side in (data.control, ~data.control))
        size = min(s.batch_size, len(control), len(perturbed))
        if size < Schedule.smallest_batch:
            msg = (
                f"{len(control)} control and {len(perturbed)} perturbed cells are too few: {self.name} needs 2 of each"
            )
            raise ValueError(msg)
        pairs = batch_pairs(control, perturbed, size, torch.Generator().manual_seed(seed))

        def epoch() -> list[Tensor]:
            return [torch.stack([next(pairs) for _ in range(s.critic_steps + 1)]) for _ in range(s.steps_per_epoch)]

        return epoch

    def _require_one_perturbation(self, data: TrainingData) -> None:
        if len(names := data.perturbation_names) > 1:
            msg = f"{self.name} learns one perturbation at a time, but the cells hold {names}; train it on one of them"
            raise ValueError(msg)

    def new_network(self, n_genes: int, n_classes: int) -> ScPreGanNetwork:
        """Build an untrained network of the settings' sizes."""
        network = ScPreGanNetwork(n_genes, n_classes if self.settings.version == "ac" else 0, self.settings)
        if self.settings.initialisation == "xavier":
            network.apply(_initialise)
        return network

    def _predict(self, query: Query) -> NDArray[np.float32]:
        translator, device = self.network.translator, next(self.network.parameters()).device
        cells = Cells(query.X, device)
        n_blocks = -(-cells.n // BLOCK)
        if self.settings.version == "wgan-div" and self.settings.statistics == "batch":
            if cells.n < Schedule.smallest_batch:
                msg = f"{self.name}:{self.profile} takes its statistics from the cells to predict; give more than one"
                raise ValueError(msg)
            translator, n_blocks = copy.deepcopy(translator).train(), 1  # the copy: running statistics move otherwise
        blocks = np.array_split(np.arange(cells.n), n_blocks)
        with torch.inference_mode():
            return torch.cat([translator(cells.take(cells.index(rows))).cpu() for rows in blocks]).numpy()

    @property
    def n_parameters(self) -> int:
        """How many trainable parameters the network has, critics included."""
        return sum(weight.numel() for weight in self.network.parameters())

    def _state(self) -> dict[str, NDArray[Any]]:
        return {name: value.cpu().numpy() for name, value in self.network.state_dict().items()}

    def _restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        n_classes = len(state.get("critic_control.classes.weight", ()))
        with torch.device("meta"):
            network = ScPreGanNetwork(len(self.genes), n_classes, self.settings)
        network.load_state_dict({name: torch.tensor(value) for name, value in state.items()}, assign=True)
        self.network = network.to(resolve_device("auto")).eval()


def _initialise(layer: nn.Module) -> None:
    if isinstance(layer, nn.Linear):
        nn.init.xavier_uniform_(layer.weight, gain=1e-2)
        nn.init.constant_(layer.bias, 0.01)

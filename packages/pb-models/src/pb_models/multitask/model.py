"""What all multi-task variants share: conditions, examples, phases, prediction, files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch

from pb_models.base import Model
from pb_models.butterfly_training import EpochCount
from pb_models.multitask.examples import CONTROL, autoencoding, condition_numbers, conditions, leading, paired
from pb_models.multitask.network import MultiTaskNetwork
from pb_models.multitask.settings import AdversarialSettings, TransportSettings
from pb_models.multitask.training import BLOCK, Contest, reconstruction_phase
from pb_models.training import Cells, resolve_device, seeded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pb_models.base import Progress
    from pb_models.cells import TrainingData
    from pb_models.multitask.examples import Examples
    from pb_models.multitask.network import Opponent
    from pb_models.multitask.settings import MultiTaskSettings
    from pb_models.query import Query

__all__ = ["MultiTaskModel", "Phase"]

Phase = Literal["autoencoding", "transport", "discriminator", "joint"]


class MultiTaskModel(Model):
    """An autoencoder for all conditions: prediction = decode(encode(control cell), condition), each cell once.

    Conditions are labels: control and every perturbation at every dose of the training data; doses in between are
    refused. Control cells of all contexts, the target's too, are used, except in the phase "transport".
    """

    multi_dose: ClassVar[bool] = True
    phases: ClassVar[tuple[Phase, ...]]
    opponent: ClassVar[Opponent] = "controls"
    settings: MultiTaskSettings
    network: MultiTaskNetwork

    def _fit(self, data: TrainingData, *, seed: int, device: str, progress: Progress | None) -> dict[str, Any]:
        where = resolve_device(device)
        numbers = condition_numbers(data, conditions(self.doses))
        training = self._training_cells(data, numbers)
        examples = {phase: self._examples(phase, data, numbers, training) for phase in self.phases}
        lengths = [self._n_epochs(phase, len(examples[phase][0].source)) for phase in self.phases]
        count = EpochCount(progress, sum(lengths), self.resumable)
        cells = Cells(data.X, where)
        with seeded(seed, where):
            self.network = self.new_network(len(data.genes)).to(where)
            phases = self._run(cells, examples, seed, count)
        return {
            "epochs": count.epochs,
            "conditions": [None, *map(list, conditions(self.doses))],
            "device": str(where),
            "precision": "float32",
            "phases": phases,
        }

    def _run(
        self, cells: Cells, examples: Mapping[Phase, tuple[Examples, Examples]], seed: int, count: EpochCount
    ) -> dict[str, Any]:
        """Go through the phases and return their histories by name; the n-th orders its batches by seed + n."""
        histories: dict[str, Any] = {}
        contest: Contest | None = None
        for number, phase in enumerate(self.phases, seed):
            training, validation = examples[phase]
            if phase in ("autoencoding", "transport"):
                histories[phase] = reconstruction_phase(
                    self.network, cells, training, validation, self.settings, seed=number, count=count
                )
                continue
            assert isinstance(self.settings, AdversarialSettings)
            contest = contest or Contest(self.network, cells, training, self.opponent, self.settings)
            run = contest.discriminator_phase if phase == "discriminator" else contest.joint_phase
            histories[phase] = run(number, count)
        return histories

    def _training_cells(self, data: TrainingData, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        if self.settings.split == "leading":
            return leading(data.contexts, numbers)
        return np.ones(len(numbers), dtype=bool) if data.validation is None else ~data.validation

    def _examples(
        self, phase: Phase, data: TrainingData, numbers: NDArray[np.int64], training: NDArray[np.bool_]
    ) -> tuple[Examples, Examples]:
        """Return the examples to train on and those to validate on."""
        if phase != "transport":
            return autoencoding(numbers, training), autoencoding(numbers, ~training)
        assert isinstance(self.settings, TransportSettings)
        for name in data.perturbation_names:
            data.paired_contexts(name)  # warns of contexts, and refuses perturbations, that cannot be paired
        first, second = (paired(data, numbers, among, self.settings) for among in (training, ~training))
        perturbed = conditions(self.doses)
        numbered = range(CONTROL + 1, CONTROL + 1 + len(perturbed))
        if lost := [condition for number, condition in zip(numbered, perturbed, strict=True) if number not in first[1]]:
            names = ", ".join(name if dose is None else f"{name} at dose {dose}" for name, dose in lost)
            msg = f"no context has both control cells and cells of {names} to train on; {self.name} cannot pair them"
            raise ValueError(msg)
        return first, second

    def _n_epochs(self, phase: Phase, n_examples: int) -> int:
        s = self.settings
        if isinstance(s, AdversarialSettings) and phase in ("discriminator", "joint"):
            return s.n_epochs(n_examples, s.joint_share if phase == "joint" else s.discriminator_share)
        return s.n_epochs(n_examples)

    def _predict(self, query: Query) -> NDArray[np.float32]:
        number = self._number(query.perturbation, query.dose)
        cells = Cells(query.X, self.network.decoder.output.weight.device)
        condition = torch.full((min(BLOCK, cells.n),), number, device=cells.device)
        with torch.inference_mode():
            blocks = [
                self.network(cells.take(rows), condition[: len(rows)]).cpu()
                for rows in torch.split(cells.index(np.arange(cells.n)), BLOCK)
            ]
        return torch.cat(blocks).numpy()

    def _number(self, perturbation: str, dose: float | None) -> int:
        seen = self.doses[perturbation]
        if seen and dose not in seen:
            msg = (
                f"{self.name} knows {perturbation!r} at the doses {seen}, not at {dose}: a dose is a label to it, "
                "nothing is interpolated; ask for one of them"
            )
            raise ValueError(msg)
        return CONTROL + 1 + conditions(self.doses).index((perturbation, dose if seen else None))

    @property
    def n_parameters(self) -> int:
        """How many parameters the network has, a discriminator and frozen heads included."""
        return sum(weight.numel() for weight in self.network.parameters())

    def new_network(self, n_genes: int) -> MultiTaskNetwork:
        """Build an untrained network of the settings' sizes, for control and the perturbed conditions."""
        return MultiTaskNetwork(n_genes, 1 + len(conditions(self.doses)), self.settings)

    def _state(self) -> dict[str, NDArray[Any]]:
        return {name: value.cpu().numpy() for name, value in self.network.state_dict().items()}

    def _restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        with torch.device("meta"):
            network = self.new_network(len(self.genes))
        network.load_state_dict({name: torch.tensor(value) for name, value in state.items()}, assign=True)
        self.network = network.to(resolve_device("auto")).eval()

"""The backbone of the supervised arm: a perceptron that also gives its last hidden layer."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn

from pb_models.settings import Settings
from pb_models.training import seeded

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["HIDDEN", "MLP", "MLPSettings", "build_mlp"]

HIDDEN: dict[str, tuple[int, ...]] = {
    "reference": (1024, 512, 256, 128, 64),
    "small": (16, 32, 16, 8),
    "wide": (128, 256, 128, 64),
}
"""Hidden layers by name: of the Perturb-seq reference, and of its tabular experiments (few and many features)."""

_ACTIVATIONS = {"elu": nn.ELU, "tanh": nn.Tanh, "relu": nn.ReLU}


@dataclass(frozen=True, kw_only=True)
class MLPSettings(Settings):
    """Widths of the hidden layers, what follows each, and how weights start (torch's default, or Xavier normal)."""

    hidden: tuple[int, ...] = HIDDEN["reference"]
    activation: Literal["elu", "tanh", "relu"] = "elu"
    weights: Literal["default", "xavier-normal"] = "default"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.hidden or min(self.hidden) < 1:
            msg = f"hidden is {self.hidden}; give the width of at least one hidden layer, each 1 or more"
            raise ValueError(msg)


class MLP(nn.Module):
    """Linear layers with an activation between them; `encoder` ends with the last hidden layer, `head` is linear."""

    stackable = True

    def __init__(self, n_inputs: int, n_outputs: int, settings: MLPSettings) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise((n_inputs, *settings.hidden)):
            layers += [nn.Linear(n_in, n_out), _ACTIVATIONS[settings.activation]()]
        self.encoder, self.head = nn.Sequential(*layers), nn.Linear(settings.hidden[-1], n_outputs)
        if settings.weights == "xavier-normal":
            for layer in self.linear_layers():
                nn.init.xavier_normal_(layer.weight)
                nn.init.zeros_(layer.bias)

    def linear_layers(self) -> list[nn.Linear]:
        """Return the linear layers from input to output."""
        return [layer for layer in (*self.encoder, self.head) if isinstance(layer, nn.Linear)]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the last hidden layer (..., width) and the outputs (..., outputs)."""
        features = self.encoder(x)
        return features, self.head(features)


def build_mlp(n_inputs: int, n_outputs: int, settings: MLPSettings, *, seed: int) -> MLP:
    """Make a network whose initial weights follow from the seed alone.

    Examples
    --------
    >>> features, output = build_mlp(8, 1, MLPSettings(hidden=(16, 4)), seed=0)(torch.zeros(5, 8))
    >>> features.shape, output.shape
    (torch.Size([5, 4]), torch.Size([5, 1]))
    """
    with seeded(seed, torch.device("cpu")):
        return MLP(n_inputs, n_outputs, settings)

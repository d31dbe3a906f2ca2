"""The backbone of the supervised arm: a perceptron that also gives its last hidden layer, alone or many at once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import torch
from scipy import sparse
from torch import nn
from torch.nn import functional

from pb_models.settings import Settings
from pb_models.training import seeded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["HIDDEN", "MLP", "MLPSettings", "StackedMLP", "build_mlp"]

HIDDEN: dict[str, tuple[int, ...]] = {
    "reference": (1024, 512, 256, 128, 64),
    "small": (16, 32, 16, 8),
    "wide": (128, 256, 128, 64),
}
"""Hidden layers by name: of the Perturb-seq reference, and of its tabular experiments (few and many features)."""

_ACTIVATIONS = {"elu": nn.ELU, "tanh": nn.Tanh, "relu": nn.ReLU}
_IN_PLACE: dict[str, Callable[[Tensor], Tensor]] = {
    "elu": lambda x: functional.elu(x, inplace=True),
    "tanh": torch.tanh,
    "relu": torch.relu_,
}


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


class StackedMLP:
    """Networks of equal shapes as one: weights (members, in, out) and biases (members, 1, out), layer by layer.

    Member m has the initial weights of `build_mlp(..., seed=seeds[m])`. Weights lie as (in, out) so that a sparse batch
    times the first of them runs along rows; `pb_models.stacked.stack`, which keeps torch's (out, in), is for dense
    networks of any kind. `shift` (inputs,) is added to every row of a sparse batch.
    """

    def __init__(
        self,
        n_inputs: int,
        n_outputs: int,
        settings: MLPSettings,
        seeds: Sequence[int],
        *,
        shift: NDArray[np.float32] | None = None,
    ) -> None:
        self.settings, self.shift = settings, shift
        sizes = (n_inputs, *settings.hidden, n_outputs)
        self.weights = [torch.empty(len(seeds), n_in, n_out) for n_in, n_out in pairwise(sizes)]
        self.biases = [torch.empty(len(seeds), 1, n_out) for n_out in sizes[1:]]
        for place, seed in enumerate(seeds):
            for number, layer in enumerate(build_mlp(n_inputs, n_outputs, settings, seed=seed).linear_layers()):
                self.weights[number][place] = layer.weight.detach().T
                self.biases[number][place, 0] = layer.bias.detach()
        for parameter in self.parameters:
            parameter.requires_grad_()

    @property
    def parameters(self) -> list[Tensor]:
        """All weights, then all biases; the first axis is the member."""
        return [*self.weights, *self.biases]

    def __call__(self, x: Tensor | sparse.csr_matrix) -> tuple[Tensor, Tensor]:
        """Return features (members, batch, width) and outputs (members, batch, outputs).

        `x` is (members, batch, inputs), or one batch for all: a dense (batch, inputs) or a sparse matrix, which is
        multiplied as it is.
        """
        act = _IN_PLACE[self.settings.activation]
        h = self._first(x)
        for weight, bias in zip(self.weights[1:], self.biases[1:], strict=True):
            features = act(h)
            h = torch.baddbmm(bias, features, weight)
        return features, h

    def _first(self, x: Tensor | sparse.csr_matrix) -> Tensor:
        weight, bias = self.weights[0], self.biases[0]
        if sparse.issparse(x):
            done: Tensor = _SparseAffine.apply(x.tocsc(), self.shift, weight, bias)  # type: ignore[no-untyped-call] # torch's own
            return done
        return torch.baddbmm(bias, x if x.dim() == 3 else x.expand(len(weight), *x.shape), weight)


class _SparseAffine(torch.autograd.Function):
    """One sparse batch (batch, in) times the weights (members, in, out) of each member, plus its bias.

    scipy multiplies a matrix held by columns in the order in which the weights lie in memory. For 256 cells of 36,592
    genes with 8 % non-zeros, times 1,024 units, torch's product of a CSR matrix took nine times as long on the CPU.
    """

    @staticmethod
    def forward(
        ctx: Any, x: sparse.csc_matrix, shift: NDArray[np.float32] | None, weight: Tensor, bias: Tensor
    ) -> Tensor:
        ctx.x, ctx.shift = x, None if shift is None else torch.from_numpy(shift)
        done = torch.stack([torch.from_numpy(x @ own.numpy()) for own in weight.detach()]) + bias
        return done if ctx.shift is None else done + torch.matmul(ctx.shift, weight).unsqueeze(1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, Tensor, Tensor]:
        transposed = ctx.x.T  # by rows, without a copy
        of_weight = [torch.from_numpy(transposed @ own.numpy()) for own in gradient]
        joined = of_weight[0].unsqueeze(0) if len(of_weight) == 1 else torch.stack(of_weight)
        of_bias = gradient.sum(dim=1, keepdim=True)
        if ctx.shift is not None:
            joined.addcmul_(ctx.shift.view(1, -1, 1), of_bias)
        return None, None, joined, of_bias

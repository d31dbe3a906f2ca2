"""Many perceptrons of equal shapes as one, with gradients worked out by hand."""

from __future__ import annotations

import copy
import math
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from scipy import sparse
from torch.nn import functional

from pb_models.mlp import build_mlp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from pb_models.mlp import MLPSettings

__all__ = ["StackedMLP"]


class _Activation(NamedTuple):
    """An activation, and a gradient times its slope given its values; both overwrite what they are given."""

    apply: Callable[[Tensor], Tensor]
    pull: Callable[[Tensor, Tensor], Tensor]


_ACTIVATIONS = {
    "elu": _Activation(partial(functional.elu, inplace=True), lambda g, y: g.addcmul_(g, y.clamp_(max=0))),
    "tanh": _Activation(torch.tanh_, lambda g, y: g.addcmul_(g, y.square_(), value=-1)),
    "relu": _Activation(torch.relu_, lambda g, y: g.mul_(y.sign_())),
}


class StackedMLP:
    """Networks of equal shapes as one: weights (members, in, out) and biases (members, 1, out), layer by layer.

    Member m has the initial weights of `build_mlp(..., seed=seeds[m])`. `shift` (inputs,) is added to every row of a
    sparse batch. Call the network on a batch, then ask for `gradients`: they are worked out here, in memory that every
    batch uses anew, because getting fresh memory for activations took autograd longer than computing them.
    `pb_models.stacked.stack` is for networks of any kind.

    Examples
    --------
    >>> from pb_models.mlp import MLPSettings
    >>> network = StackedMLP(3, 1, MLPSettings(hidden=(4,)), seeds=[0, 1])
    >>> features, outputs = network(torch.zeros(5, 3))
    >>> features.shape, outputs.shape
    (torch.Size([2, 5, 4]), torch.Size([2, 5, 1]))
    >>> [gradient.shape for gradient in network.gradients(None, torch.ones(2, 5, 1))][-1]
    torch.Size([2, 1, 1])
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
        self.shift = None if shift is None else torch.from_numpy(shift)
        self.activation = _ACTIVATIONS[settings.activation]
        self.scratch = _Scratch()
        self.inputs: Any = None
        self.is_sparse = False
        self.hidden: list[Tensor] = []
        sizes = (n_inputs, *settings.hidden, n_outputs)
        self.weights = [torch.empty(len(seeds), n_in, n_out) for n_in, n_out in pairwise(sizes)]
        self.biases = [torch.empty(len(seeds), 1, n_out) for n_out in sizes[1:]]
        for place, seed in enumerate(seeds):
            for number, layer in enumerate(build_mlp(n_inputs, n_outputs, settings, seed=seed).linear_layers()):
                self.weights[number][place] = layer.weight.detach().T
                self.biases[number][place, 0] = layer.bias.detach()

    @property
    def parameters(self) -> list[Tensor]:
        """All weights, then all biases; the first axis is the member."""
        return [*self.weights, *self.biases]

    def state_dict(self) -> dict[str, Any]:
        """Return the weights, and how much memory a batch uses anew: sums can depend on where numbers lie in it."""
        return {"parameters": self.parameters, "scratch": max(self.scratch.size, self.scratch.used)}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Take the weights of a network of the same shapes."""
        for parameter, values in zip(self.parameters, state["parameters"], strict=True):
            parameter.copy_(values)
        self.scratch.used = state["scratch"]

    def members(self, places: Tensor) -> StackedMLP:
        """Return the members at some places, with copies of their weights, to predict with."""
        chosen = copy.copy(self)
        chosen.weights = [weight[places] for weight in self.weights]
        chosen.biases = [bias[places] for bias in self.biases]
        return chosen

    @torch.no_grad()
    def __call__(self, x: Tensor | sparse.csr_matrix) -> tuple[Tensor, Tensor]:
        """Return features (members, batch, width), which the next call overwrites, and outputs.

        `x` is one batch for all members, dense (batch, inputs) or a sparse matrix, which is multiplied as it is, or one
        for each, (members, batch, inputs). In between, units lie before samples, which makes products of a batch with
        a handful of units faster.
        """
        self.scratch.clear()
        self.is_sparse, self.hidden = sparse.issparse(x), []
        self.inputs = x.tocsc() if sparse.issparse(x) else x.mT
        for number, bias in enumerate(self.biases[:-1]):
            h = self._layer(number, self.scratch.take(len(bias), bias.shape[2], x.shape[-2]))
            self.hidden.append(self.activation.apply(h))
        return self.hidden[-1].mT, self._layer(len(self.hidden), None).mT

    @torch.no_grad()
    def gradients(self, of_features: Tensor | None, of_outputs: Tensor | None) -> list[Tensor | None]:
        """Return gradients of the parameters, given those of what the last call returned; None where there is none.

        Activations are used up, and the next call overwrites the gradients.
        """
        of_weights: list[Tensor | None] = []
        of_biases: list[Tensor | None] = []
        gradient, added = _units_first(of_outputs), _units_first(of_features)
        for number in reversed(range(len(self.weights))):
            of_weight, of_bias = (None, None) if gradient is None else self._of_layer(number, gradient)
            of_weights.insert(0, of_weight)
            of_biases.insert(0, of_bias)
            if number:
                gradient, added = self._below(number, gradient, added), None
        return [*of_weights, *of_biases]

    def _layer(self, number: int, out: Tensor | None) -> Tensor:
        """Return W' x + b of each member, (members, units, batch)."""
        weight, bias = self.weights[number], self.biases[number]
        if number == 0 and self.is_sparse:
            products = torch.stack([_product(self.inputs, own).T for own in weight])
            bias = bias if self.shift is None else bias + torch.matmul(self.shift, weight).unsqueeze(1)
            return torch.add(products, bias.mT, out=out)
        return torch.baddbmm(bias.mT, weight.mT, self._below_layer(number), out=out)

    def _of_layer(self, number: int, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Return gradients of weight and bias of a layer, given that of its result."""
        of_bias = gradient.sum(dim=2).unsqueeze(1)
        if number or not self.is_sparse:
            out = self.scratch.take(*self.weights[number].shape)
            return torch.bmm(self._below_layer(number), gradient.mT, out=out), of_bias
        transposed = self.inputs.T  # by rows, without a copy
        products = [_product(transposed, own.T.contiguous()) for own in gradient]
        of_weight = products[0].unsqueeze(0) if len(products) == 1 else torch.stack(products)
        return of_weight if self.shift is None else of_weight.addcmul_(self.shift.view(1, -1, 1), of_bias), of_bias

    def _below_layer(self, number: int) -> Tensor:
        """Return what a layer is given, (members, units, batch)."""
        if number:
            return self.hidden[number - 1]
        given: Tensor = self.inputs
        return given if given.ndim == 3 else given.expand(len(self.weights[0]), *given.shape)

    def _below(self, number: int, gradient: Tensor | None, added: Tensor | None) -> Tensor | None:
        """Return the gradient of the result of the layer below, given those of a layer's result and of what it got."""
        if gradient is None and added is None:
            return None
        values = self.hidden[number - 1]
        lower = self.scratch.take(*values.shape)
        if gradient is not None:
            torch.bmm(self.weights[number], gradient, out=lower)
        if added is not None:
            lower = lower.copy_(added) if gradient is None else lower.add_(added)
        return self.activation.pull(lower, values)


def _product(x: sparse.csc_matrix | sparse.csr_matrix, y: Tensor) -> Tensor:
    """Return x y. scipy multiplies a matrix held by columns in the order in which y lies in memory.

    For 256 cells of 36,592 genes with 8 % non-zeros, times 1,024 units, torch's product of a CSR matrix took nine times
    as long on the CPU.
    """
    return torch.from_numpy(x @ y.numpy())


def _units_first(gradient: Tensor | None) -> Tensor | None:
    return None if gradient is None else gradient.mT


class _Scratch:
    """Memory handed out piece by piece, and again from its start once cleared."""

    def __init__(self) -> None:
        self.memory, self.size, self.used = torch.empty(0), 0, 0
        self.pieces: dict[tuple[int, ...], Tensor] = {}

    def clear(self) -> None:
        """Take all pieces back, and make room for as many."""
        if self.used > self.size:
            self.memory, self.size, self.pieces = torch.empty(self.used), self.used, {}
        self.used = 0

    def take(self, *shape: int) -> Tensor:
        """Hand out a piece, its values undefined."""
        start, self.used = self.used, self.used + math.prod(shape)
        if self.used > self.size:
            return torch.empty(shape)
        if (start, *shape) not in self.pieces:
            self.pieces[start, *shape] = self.memory[start : self.used].view(shape)
        return self.pieces[start, *shape]

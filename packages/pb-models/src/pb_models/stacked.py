"""Networks of equal shapes run as one: weights stacked along a first axis, every member with its own random numbers.

A stacked network takes and returns (members, batch, ...). Linear layers are one batched product, BatchNorm1d sees every
member's units as channels of its own, noise is drawn member by member, in the shapes and order in which the single
network draws it. `torch.func.vmap` over stacked weights gives the same numbers but for the noise, which it cannot draw
from several generators; on small networks it also took about twice as long on the CPU as the layers here.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import torch
from torch import nn
from torch.nn import functional

from pb_models.noise import MemberNoise, StandardNormal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

__all__ = ["Stack", "stack"]

Network = TypeVar("Network", bound=nn.Module)


class Stack(nn.Module, Generic[Network]):
    """Members of equal shapes as one network; call it with (members, batch, ...) tensors.

    `networks` are the members as they were handed in, `body` is the stacked network, of the same class as a member, and
    `numbers` says which members are still in it. Parameters and buffers have a member's names and one more axis in
    front.
    """

    def __init__(self, networks: Sequence[Network], generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        self.networks = tuple(networks)
        self.noise = MemberNoise(list(generators))
        self.numbers = list(range(len(networks)))
        self.body = cast("Network", _stacked(self.networks, "", self.noise))
        self.train(networks[0].training)

    def forward(self, *inputs: Tensor) -> Any:
        """Run every member on its own slice of the inputs."""
        return self.body(*inputs)

    def state(self, place: int) -> dict[str, Tensor]:
        """Return the weights of the member at a place of the stack, by the names of the single network."""
        return {name: value[place] for name, value in self.body.state_dict().items()}

    def keep(self, places: Sequence[int], *optimisers: torch.optim.Optimizer) -> None:
        """Take all but the members at some places out of the stack and out of its optimisers."""
        index = torch.tensor(places, dtype=torch.int64)
        for tensor in (*self.body.parameters(), *self.body.buffers()):
            _keep_rows(tensor, index)
        for optimiser in optimisers:
            for parameter, moments in optimiser.state.items():
                for moment in moments.values():
                    if isinstance(moment, torch.Tensor) and moment.dim() == parameter.dim():
                        _keep_rows(moment, index)
        self.numbers = [self.numbers[place] for place in places]
        self.noise.generators = [self.noise.generators[place] for place in places]


def stack(networks: Sequence[Network], generators: Sequence[torch.Generator]) -> Stack[Network]:
    """Stack networks of equal shapes, each with the generator of its dropout and sampling.

    Layers known are Linear, BatchNorm1d, Dropout, StandardNormal and activations that work number by number; they may
    sit in Sequential, ModuleList or a module of one's own that says `stackable = True`: that its `forward` works as
    well on tensors with one more axis in front, and holds no weights and no randomness but those of its layers.

    Raises
    ------
    ValueError
        Where there is nothing to stack, shapes or layers differ, or a layer is not known.

    Examples
    --------
    >>> members = [nn.Sequential(nn.Linear(3, 2), nn.ReLU()) for _ in range(4)]
    >>> stack(members, [torch.Generator() for _ in members])(torch.zeros(4, 5, 3)).shape
    torch.Size([4, 5, 2])
    """
    if not networks or len(networks) != len(generators):
        msg = f"{len(networks)} networks and {len(generators)} generators cannot be stacked; give one for each network"
        raise ValueError(msg)
    if len(list(networks[0].named_parameters(remove_duplicate=False))) != len(list(networks[0].parameters())):
        msg = f"{type(networks[0]).__name__} uses the same weights in two places and cannot be stacked"
        raise ValueError(msg)
    return Stack(networks, generators)


class _Affine(torch.autograd.Function):
    """x W' + b by member, x (members, batch, in), W (members, out, in), b (members, 1, out).

    Autograd's own gradient of W comes out transposed and is copied to W's layout, a fifth of a step on the CPU.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.baddbmm(bias, x, weight.transpose(1, 2))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        of_x = torch.bmm(gradient, weight) if ctx.needs_input_grad[0] else None
        return of_x, torch.bmm(gradient.transpose(1, 2), x), gradient.sum(dim=1, keepdim=True)


class _Linear(nn.Module):
    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight = _joined([layer.weight for layer in layers])
        self.bias = None if layers[0].bias is None else _joined([layer.bias for layer in layers])

    def forward(self, x: Tensor) -> Tensor:
        weight, kind = self.weight, x.device.type
        bias = weight.new_zeros(len(weight), 1, weight.shape[1]) if self.bias is None else self.bias.unsqueeze(1)
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        done: Tensor = _Affine.apply(x.to(dtype), weight.to(dtype), bias.to(dtype))  # type: ignore[no-untyped-call] # torch's own
        return done


class _BatchNorm(nn.Module):
    """Members' units are channels side by side, so that each has the statistics it has alone."""

    weight: nn.Parameter | None
    bias: nn.Parameter | None
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, layers: Sequence[nn.BatchNorm1d]) -> None:
        super().__init__()
        first = layers[0]
        if first.momentum is None or not first.track_running_stats:
            msg = "BatchNorm1d can be stacked only with running statistics and a momentum; train these one by one"
            raise ValueError(msg)
        self.eps, self.momentum = first.eps, first.momentum
        for name in ("weight", "bias"):
            values = [getattr(layer, name) for layer in layers]
            setattr(self, name, None if values[0] is None else _joined(values))
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, torch.stack([getattr(layer, name) for layer in layers]))

    def forward(self, x: Tensor) -> Tensor:
        n_members, n, width = x.shape
        if self.training:
            self.num_batches_tracked.add_(1)
        channels = x.transpose(0, 1).reshape(n, n_members * width)
        weight, bias = (None if value is None else value.view(-1) for value in (self.weight, self.bias))
        mean, variance = self.running_mean.view(-1), self.running_var.view(-1)
        done = functional.batch_norm(
            channels, mean, variance, weight, bias, training=self.training, momentum=self.momentum, eps=self.eps
        )
        return done.view(n, n_members, width).transpose(0, 1)


class _Dropout(nn.Module):
    def __init__(self, p: float, noise: MemberNoise) -> None:
        super().__init__()
        self.p, self.noise = p, noise

    def forward(self, x: Tensor) -> Tensor:
        return x * self.noise.dropout(x, self.p) if self.training and self.p > 0 else x


class _Normal(StandardNormal):
    def __init__(self, noise: MemberNoise) -> None:
        super().__init__()
        self.noise = noise

    def forward(self, like: Tensor) -> Tensor:
        return self.noise.normal(like)


def _stack_linear(layers: Sequence[nn.Linear], noise: MemberNoise) -> nn.Module:  # noqa: ARG001 - it has none
    return _Linear(layers)


def _stack_norm(layers: Sequence[nn.BatchNorm1d], noise: MemberNoise) -> nn.Module:  # noqa: ARG001 - it has none
    return _BatchNorm(layers)


def _stack_dropout(layers: Sequence[nn.Dropout], noise: MemberNoise) -> nn.Module:
    return _Dropout(layers[0].p, noise)


def _stack_normal(layers: Sequence[StandardNormal], noise: MemberNoise) -> nn.Module:  # noqa: ARG001 - all are alike
    return _Normal(noise)


def _unchanged(layers: Sequence[nn.Module], noise: MemberNoise) -> nn.Module:  # noqa: ARG001 - it has none
    return copy.copy(layers[0])


_LAYERS: dict[type[nn.Module], Callable[..., nn.Module]] = {
    nn.Linear: _stack_linear,
    nn.BatchNorm1d: _stack_norm,
    nn.Dropout: _stack_dropout,
    StandardNormal: _stack_normal,
    **dict.fromkeys(
        (nn.Identity, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Softplus), _unchanged
    ),
}
_CONTAINERS = (nn.Sequential, nn.ModuleList)


def _stacked(modules: Sequence[nn.Module], where: str, noise: MemberNoise) -> nn.Module:
    """Stack modules found at the same place of every member."""
    _require_alike(modules, where)
    first = modules[0]
    if type(first) in _LAYERS:
        return _LAYERS[type(first)](modules, noise)
    if type(first) not in _CONTAINERS and not getattr(first, "stackable", False):
        msg = (
            f"{type(first).__name__}{_at(where)} cannot be stacked; known are "
            f"{', '.join(layer.__name__ for layer in (*_LAYERS, *_CONTAINERS))}, and modules with stackable = True"
        )
        raise ValueError(msg)
    if own := [name for name, _ in (*first.named_parameters(recurse=False), *first.named_buffers(recurse=False))]:
        msg = f"{type(first).__name__}{_at(where)} holds weights of its own ({', '.join(own)}); only known layers may"
        raise ValueError(msg)
    whole = copy.copy(first)
    whole._modules = {  # noqa: SLF001 - a shallow copy gets children of its own
        name: _stacked([module.get_submodule(name) for module in modules], f"{where}.{name}", noise)
        for name in first._modules  # noqa: SLF001 - named_children leaves out a layer that occurs twice
    }
    return whole


def _require_alike(modules: Sequence[nn.Module], where: str) -> None:
    described = [(type(module).__name__, module.extra_repr(), sorted(module._modules)) for module in modules]  # noqa: SLF001 - see _stacked
    for number, other in enumerate(described):
        if other != described[0]:
            names = [f"{name}({options})" for name, options, _ in (described[0], other)]
            msg = f"networks 0 and {number} differ{_at(where)}: {names[0]}, {names[1]}; only equal ones can be stacked"
            raise ValueError(msg)


def _at(where: str) -> str:
    return f" at {where.removeprefix('.')!r}" if where else ""


def _joined(weights: Sequence[Tensor]) -> nn.Parameter:
    whole = torch.stack([weight.detach() for weight in weights])
    return nn.Parameter(whole, requires_grad=weights[0].requires_grad)


def _keep_rows(tensor: Tensor, index: Tensor) -> None:
    """Shorten a tensor in place, so that whoever holds it (a network, an optimiser) sees the shorter one."""
    tensor.data = tensor.data[index.to(tensor.device)]
    tensor.grad = None

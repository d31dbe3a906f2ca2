"""Pairs of samples, shared by the losses on features: inputs, distances between labels, sums over anchors in chunks."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from .gather import gather_rows
from .numerics import reads_values, upcast
from .reduction import Reduction, check_floating, check_reduction

__all__ = [
    "LabelDistance",
    "PairwiseKernel",
    "PairwiseSamples",
    "absolute_distance",
    "mean_distance",
    "pairwise_samples",
    "sum_of_anchors",
    "unit_length",
]

LabelDistance = Callable[[Tensor, Tensor], Tensor]
"""Takes labels ``(rows, targets)`` and ``(columns, targets)``, returns distances ``(rows, columns)``."""


_PAIRS = 2**16
"""That many stay in the cache."""


class PairwiseSamples(NamedTuple):
    """Features ``(samples, d)``, labels ``(samples, targets)``, 0 where missing, and which are labelled."""

    features: Tensor
    labels: Tensor
    labelled: Tensor


class PairwiseKernel(Protocol):
    """Losses of all anchors of each member and, for weights of the anchors, the gradient of their weighted sum."""

    def __call__(self, features: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return losses ``(members, samples)`` and the gradient ``(members, samples, d)``, None without weights."""


def pairwise_samples(features: Tensor, target: Tensor, *, gather: bool) -> PairwiseSamples:
    """Check features against labels, gather them, and lay views out as samples of the same label.

    Parameters
    ----------
    features
        ``(batch, d)`` or ``(batch, views, d)``.
    target
        ``(batch,)`` or ``(batch, targets)``; a sample with a NaN label takes no part.

    Raises
    ------
    ValueError
        If shapes do not fit, the batch is empty, or the features are not floating point.
    """
    if features.ndim not in (2, 3) or features.numel() == 0:
        msg = f"features of shape {tuple(features.shape)} were given; give (batch, d) or (batch, views, d), not empty."
        raise ValueError(msg)
    check_floating("features", features)
    labels = as_labels(target, len(features), "labels")
    if gather:
        features, labels = gather_rows(features), gather_rows(labels)
    if features.ndim == 3:
        labels = labels.repeat_interleave(features.shape[1], 0)
        features = features.flatten(0, 1)
    labelled = ~labels.isnan().any(1)
    return PairwiseSamples(upcast(features), labels.masked_fill(~labelled.unsqueeze(1), 0.0), labelled)


def as_labels(target: Tensor, n_samples: int, what: str) -> Tensor:
    """Return labels as ``(batch, targets)``, float32 or wider (integers as float64), without gradient.

    Raises
    ------
    ValueError
        If labels are not ``(batch,)`` or ``(batch, targets)`` of as many samples.
    """
    if target.ndim not in (1, 2) or target.shape[0] != n_samples or target.numel() == 0:
        msg = (
            f"{what} of shape {tuple(target.shape)} were given for {n_samples} samples; "
            f"give ({n_samples},) or ({n_samples}, targets)."
        )
        raise ValueError(msg)
    target = target.detach().reshape(n_samples, -1)
    return upcast(target) if target.is_floating_point() else target.double()


def absolute_distance(rows: Tensor, columns: Tensor, out: Tensor | None = None) -> Tensor:
    """Sum over targets of |y_i - y_j|; one target after the other, so that equal labels are at equal distances.

    Labels may have axes in front, the same for both.

    >>> absolute_distance(torch.tensor([[0.0], [1.0]]), torch.tensor([[3.0]])).tolist()
    [[3.0], [2.0]]
    """
    distance = torch.sub(rows[..., :1], columns[..., 0].unsqueeze(-2), out=out).abs_()
    for row, column in zip(rows.unbind(-1)[1:], columns.unbind(-1)[1:], strict=True):
        distance += (row.unsqueeze(-1) - column.unsqueeze(-2)).abs_()
    return distance


def mean_distance(rows: Tensor, columns: Tensor, out: Tensor | None = None) -> Tensor:
    """Mean over targets of |y_i - y_j|; see :func:`absolute_distance`."""
    distance = absolute_distance(rows, columns, out)
    return distance if rows.shape[-1] == 1 else distance.div_(rows.shape[-1])


def measured(distance: LabelDistance, rows: Tensor, columns: Tensor) -> Tensor:
    """Return label distances, checked for their shape: a callable may be anybody's.

    Raises
    ------
    ValueError
        If they are not ``(rows, columns)``.
    """
    distances = distance(rows, columns)
    if distances.shape != (len(rows), len(columns)):
        msg = (
            f"label_distance returned shape {tuple(distances.shape)} for {len(rows)} and {len(columns)} labels; "
            f"it must return ({len(rows)}, {len(columns)})."
        )
        raise ValueError(msg)
    return distances


def unit_length(features: Tensor) -> Tensor:
    """Scale features ``(..., d)`` to length 1, zeros to zeros.

    As ``torch.nn.functional.normalize``, which takes a CPU half as long again, or more, with its gradient.

    >>> unit_length(torch.tensor([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    square = features.square().sum(-1, keepdim=True)
    return features * square.clamp(min=1e-24).rsqrt()


def chunks(n_samples: int, chunk: int) -> Iterator[slice]:
    """Yield slices of at most ``chunk`` anchors."""
    for start in range(0, n_samples, chunk):
        yield slice(start, min(start + chunk, n_samples))


def wide_chunk(chunk: int, n_samples: int) -> int:
    """Return as many anchors as have 65,536 pairs, which stay in the cache, or ``chunk`` where that is more."""
    return max(chunk, _PAIRS // n_samples)


def pair_memory(features: Tensor, chunk: int, *dtypes: torch.dtype) -> list[Tensor]:
    """Return memory of each type for pairs of ``chunk`` anchors and all samples, of as many members as fit the cache.

    Made once and used again and again, as fresh memory takes a CPU longer than most of what is done in it.
    """
    n_members, n_samples = features.shape[:2]
    n_pairs = min(chunk, n_samples) * n_samples
    at_once = min(max(1, 4 * _PAIRS // max(1, n_pairs)), n_members)
    return [features.new_empty(at_once * n_pairs, dtype=dtype) for dtype in dtypes]


def member_blocks(features: Tensor, rows: slice, memory: list[Tensor]) -> Iterator[tuple[slice, list[Tensor]]]:
    """Yield members, as many at a time as the memory is for, and the memory as ``(members, rows, samples)``."""
    (n_members, n_samples), n_rows = features.shape[:2], rows.stop - rows.start
    n_pairs = n_rows * n_samples
    at_once = max(1, len(memory[0]) // max(1, n_pairs))
    for start in range(0, n_members, at_once):
        members = slice(start, min(start + at_once, n_members))
        n = members.stop - start
        yield members, [flat[: n * n_pairs].view(n, n_rows, n_samples) for flat in memory]


def add_gradient_of_products(gradient: Tensor, z: Tensor, rows: slice, weights: Tensor) -> None:
    """Add that of sum_ij w_ij z_i z_j, i in the rows, for weights ``(members, rows, samples)``: w z and w' z.

    Written z' w', a product with 8 features takes a CPU a third of the time, with more the same.
    """
    gradient[:, rows] += torch.bmm(z.mT, weights.mT).mT
    gradient += torch.bmm(z[:, rows].mT, weights).mT


def exclude(distance: Tensor, labelled: Tensor, rows: slice, value: float) -> Tensor:
    """Set pairs that do not count, with oneself or of an unlabelled sample, to an infinite or NaN value."""
    if reads_values(labelled) and bool(labelled.all()):
        distance = distance.clone()
        distance.diagonal(rows.start).fill_(value)
        return distance
    blocked = torch.zeros_like(labelled, dtype=distance.dtype).masked_fill_(~labelled, value)
    distance = distance + blocked
    distance += blocked[rows].unsqueeze(1)
    distance.diagonal(rows.start).fill_(value)
    return distance


def sum_of_anchors(kernel: PairwiseKernel, features: Tensor, labelled: Tensor, reduction: Reduction) -> Tensor:
    """Reduce the losses of the labelled anchors; the gradient is made in the same pass, no pair is kept.

    ``features`` are ``(samples, d)``, or ``(members, samples, d)`` for as many results.

    Raises
    ------
    ValueError
        If the reduction is unknown.
    """
    check_reduction(reduction)
    stacked = features if features.ndim == 3 else features.unsqueeze(0)
    if reduction == "none":
        values: Tensor = _EachAnchor.apply(stacked, kernel)  # type: ignore[no-untyped-call]
    else:
        weights = labelled.to(features.dtype)
        if reduction == "mean":
            weights = weights / weights.sum().clamp(min=1)
        values = _WeightedAnchors.apply(stacked, weights, kernel)  # type: ignore[no-untyped-call]
    return values if features.ndim == 3 else values.squeeze(0)


class _WeightedAnchors(Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weights: Tensor, kernel: PairwiseKernel) -> Tensor:
        losses, gradient = kernel(features, weights.expand(len(features), -1) if ctx.needs_input_grad[0] else None)
        ctx.save_for_backward(gradient)
        return (losses * weights).sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return grads[0].view(-1, 1, 1) * gradient, None, None


class _EachAnchor(Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, kernel: PairwiseKernel) -> Tensor:
        ctx.save_for_backward(features)
        ctx.kernel = kernel
        return kernel(features, None)[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None]:
        (features,) = ctx.saved_tensors
        return ctx.kernel(features, grads[0])[1], None

"""Scores of many runs at once, for choosing epochs and settings while training; what is published comes from pb-eval.

Outputs (runs, samples, outputs), targets (samples, targets) that all runs share; a value for each run (runs,), averaged
over the targets that have one. Definitions are those of `pb_eval.supervised`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from pb_models.sweep import Measure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

__all__ = ["CLASSIFICATION_MEASURES", "REGRESSION_MEASURES", "classification_measures", "regression_measures"]

REGRESSION_MEASURES = ("mae", "rmse", "pearson", "spearman")
CLASSIFICATION_MEASURES = ("accuracy", "balanced_accuracy", "auroc")


def regression_measures(names: Sequence[str] = REGRESSION_MEASURES) -> list[Measure]:
    """Return measures of predicted numbers; a NaN target is left out.

    Examples
    --------
    >>> mae = regression_measures(["mae"])[0].function
    >>> mae(torch.tensor([[[1.0], [2.0]]]), torch.tensor([[1.0], [4.0]]))
    tensor([1.])
    """
    functions = {"mae": _mae, "rmse": _rmse, "pearson": _pearson, "spearman": _spearman}
    return [Measure(name, partial(_over_targets, functions[name]), name in ("pearson", "spearman")) for name in names]


def classification_measures(n_classes: Sequence[int], names: Sequence[str] = CLASSIFICATION_MEASURES) -> list[Measure]:
    """Return measures of logits, those of each target's classes side by side; a negative class is a missing label.

    Examples
    --------
    >>> accuracy = classification_measures([2], ["accuracy"])[0].function
    >>> accuracy(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), torch.tensor([[0], [0]]))
    tensor([0.5000])
    """
    functions = {"accuracy": _accuracy, "balanced_accuracy": _balanced, "auroc": _auroc}
    return [Measure(name, partial(_over_heads, functions[name], tuple(n_classes)), True) for name in names]


def _over_targets(function: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, targets: Tensor) -> Tensor:
    values = []
    for column, y in enumerate(targets.unbind(1)):
        known = ~y.isnan()
        p = outputs[:, :, column] if bool(known.all()) else outputs[:, known, column]
        values.append(function(p, y[known]) if bool(known.any()) else outputs.new_full((len(outputs),), torch.nan))
    return torch.stack(values).nanmean(0)


def _over_heads(
    function: Callable[[Tensor, Tensor], Tensor], n_classes: tuple[int, ...], outputs: Tensor, targets: Tensor
) -> Tensor:
    values = []
    for logits, y in zip(torch.split(outputs, list(n_classes), dim=2), targets.unbind(1), strict=True):
        known = y >= 0
        kept = logits if bool(known.all()) else logits[:, known]
        values.append(function(kept, y[known]) if bool(known.any()) else outputs.new_full((len(outputs),), torch.nan))
    return torch.stack(values).nanmean(0)


def _mae(p: Tensor, y: Tensor) -> Tensor:
    return (p - y).abs_().mean(1)


def _rmse(p: Tensor, y: Tensor) -> Tensor:
    return (p - y).square_().mean(1).sqrt_()


def _pearson(p: Tensor, y: Tensor) -> Tensor:
    """Correlation; 0 for a constant prediction, NaN for a constant target."""
    u = (p - p[:, :1]).double()  # so that a constant is exactly 0 apart from its mean
    v = (y - y[:1]).double()
    u, v = u - u.mean(1, keepdim=True), v - v.mean()
    length = u.norm(dim=1) * v.norm()
    value = torch.where(length > 0, (u @ v) / length, torch.zeros_like(length)).clamp_(-1, 1)
    return (value if bool((v != 0).any()) else torch.full_like(value, torch.nan)).to(p.dtype)


def _spearman(p: Tensor, y: Tensor) -> Tensor:
    return _pearson(_ranks(p), _ranks(y.unsqueeze(0))[0])


def _ranks(x: Tensor) -> Tensor:
    """Ranks from 1 along the last axis, the mean rank for ties."""
    order = torch.from_numpy(np.argsort(x.numpy(), axis=-1))  # torch's sort takes eight times as long on a CPU
    ordered = x.gather(-1, order)
    rank = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype).expand_as(x)
    if bool((ordered[..., 1:] == ordered[..., :-1]).any()):
        first, last = torch.searchsorted(ordered, ordered), torch.searchsorted(ordered, ordered, right=True)
        rank = (first + last + 1).to(x.dtype) / 2
    return torch.empty_like(x).scatter_(-1, order, rank)


def _accuracy(logits: Tensor, y: Tensor) -> Tensor:
    return (logits.argmax(2) == y).to(logits.dtype).mean(1)


def _balanced(logits: Tensor, y: Tensor) -> Tensor:
    present, label = torch.unique(y, return_inverse=True)
    share = torch.nn.functional.one_hot(label, len(present)).to(logits.dtype)
    found = (logits.argmax(2) == y).to(logits.dtype)
    return (found @ (share / share.sum(0))).mean(1)


def _auroc(logits: Tensor, y: Tensor) -> Tensor:
    """Mean over classes of the share of pairs, one sample of the class and one of the rest, in the right order."""
    n_classes = logits.shape[2]
    member = torch.nn.functional.one_hot(y, n_classes).to(logits.dtype)
    n_in = member.sum(0)
    told = (n_in > 0) & (n_in < len(y))
    if not bool(told.any()):
        return logits.new_full((len(logits),), torch.nan)
    p = logits.softmax(2)
    p = torch.stack([p[..., 0] - p[..., 1], p[..., 1] - p[..., 0]], dim=2) if n_classes == 2 else p
    ranks = _ranks(p[:, :, told].transpose(1, 2).contiguous()).double()
    n_in, inside = n_in[told].double(), member[:, told].T.double()
    pairs = (ranks * inside).sum(2) - n_in * (n_in + 1) / 2
    return (pairs / (n_in * (len(y) - n_in))).mean(1).to(logits.dtype)

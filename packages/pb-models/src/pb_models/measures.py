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
    pairs = zip(outputs.unbind(2), targets.unbind(1), strict=True)
    return _mean([_of_known(function, p, y, ~y.isnan()) for p, y in pairs])


def _over_heads(
    function: Callable[[Tensor, Tensor], Tensor], n_classes: tuple[int, ...], outputs: Tensor, targets: Tensor
) -> Tensor:
    pairs = zip(torch.split(outputs, list(n_classes), dim=2), targets.unbind(1), strict=True)
    return _mean([_of_known(function, logits, y, y >= 0) for logits, y in pairs])


def _of_known(function: Callable[[Tensor, Tensor], Tensor], p: Tensor, y: Tensor, known: Tensor) -> Tensor:
    """Compute a score of the samples that have a label, NaN where none has."""
    if bool(known.all()):
        return function(p, y)
    return function(p[:, known], y[known]) if bool(known.any()) else p.new_full((len(p),), torch.nan)


def _mean(values: list[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.stack(values).nanmean(0)


def _mae(p: Tensor, y: Tensor) -> Tensor:
    return (p - y).abs_().mean(1)


def _rmse(p: Tensor, y: Tensor) -> Tensor:
    return (p - y).square_().mean(1).sqrt_()


def _pearson(p: Tensor, y: Tensor) -> Tensor:
    """Correlation; 0 for a constant prediction, NaN for a constant target."""
    u, v = _centred(p), _centred(y)
    length = u.square().sum(1).sqrt_() * v.square().sum().sqrt_()
    value = ((u @ v) / length.clamp(min=torch.finfo(length.dtype).tiny)).clamp_(-1, 1)
    return (value if bool(v.any()) else torch.full_like(value, torch.nan)).to(p.dtype)


def _centred(x: Tensor) -> Tensor:
    """Subtract the mean along the last axis; a constant is exactly 0 thereafter."""
    apart = (x - x[..., :1]).double()
    return apart.sub_(apart.mean(-1, keepdim=True))


def _spearman(p: Tensor, y: Tensor) -> Tensor:
    return _pearson(_ranks(p), _ranks(y.unsqueeze(0))[0])


def _ranks(x: Tensor) -> Tensor:
    """Ranks from 1 along the last axis, the mean rank for ties."""
    values = x.numpy()
    order = values.argsort(axis=-1)  # torch's takes eight times as long on a CPU
    ordered = np.take_along_axis(values, order, axis=-1)
    place = np.broadcast_to(np.arange(x.shape[-1], dtype=values.dtype), values.shape)
    ends = ordered[..., 1:] != ordered[..., :-1]
    if not ends.all():
        first, last = place.copy(), place.copy()
        first[..., 1:][~ends], last[..., :-1][~ends] = 0, x.shape[-1] - 1
        last = np.minimum.accumulate(last[..., ::-1], axis=-1)[..., ::-1]
        place = (np.maximum.accumulate(first, axis=-1) + last) / 2
    ranks = np.empty_like(values)
    np.put_along_axis(ranks, order, place + 1, axis=-1)
    return torch.from_numpy(ranks)


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

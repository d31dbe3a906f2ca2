"""Moments of predictions and targets over the batch, and gradients through them, for :mod:`pb_losses.aligned`."""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Moments", "settled"]

_FLOOR = 1e-7


def settled(x: Tensor) -> Tensor:
    """Keep the compiler from computing a number of a column anew for every row: put it in memory first."""
    return x.as_strided(x.shape, x.stride()) if torch.compiler.is_compiling() else x


class Moments(NamedTuple):
    """z-scores u of predictions and v of targets, signs of errors, and statistics ``(targets,)``, ``(2, targets)``."""

    u: Tensor
    v: Tensor
    sign: Tensor
    direction: Tensor
    value: Tensor
    magnitude: Tensor
    deviation: Tensor
    varies: Tensor
    weight: Tensor | None
    n: Tensor | int

    @classmethod
    def of(cls, prediction: Tensor, target: Tensor, mask: Tensor | None) -> "Moments":
        """Measure ``(batch, targets)``; the mask is False where a target is missing, None where none is."""
        weight = None if mask is None else mask.to(prediction.dtype)
        count = len(prediction) if weight is None else weight.sum(0)
        share = 1 / (count if isinstance(count, int) else count.clamp(min=1))
        error = prediction - target
        buffer = error.abs()
        value = buffer.sum(0).mul_(share)
        mean = settled(torch.stack([prediction.sum(0), target.sum(0)]).mul_(share))
        u, v = prediction - mean[0], target - mean[1]
        if weight is not None:
            u, v = u.mul_(weight), v.mul_(weight)
        square = [torch.mul(x, x, out=buffer).sum(0) for x in (u, v)]
        deviation = torch.stack(square).mul_(share).sqrt_()
        floor = mean.abs_().mul_(10 * torch.finfo(mean.dtype).eps).clamp_(min=_FLOOR)
        varies, deviation = (deviation > floor).to(mean.dtype), deviation.maximum(floor)
        magnitude = torch.sub(u, v, out=buffer).square_().sum(0).mul_(share)
        scale = settled(deviation.reciprocal())
        u, v = u.mul_(scale[0]), v.mul_(scale[1])
        direction = torch.sub(u, v, out=buffer).square_().sum(0).mul_(varies[1] * (share / 2))
        return cls(u, v, error.sign_(), direction, value, magnitude, deviation, varies, weight, count)

    def terms(self, *, reference_compatible: bool) -> tuple[Tensor, Tensor]:
        """Direction, value and magnitude ``(3, targets)``, and 1 where the batch defines them; value always is."""
        values = torch.stack([self.direction, self.value, self.magnitude])
        if isinstance(self.n, int):
            several = torch.full_like(self.value, float(self.n > 1))
        else:
            several = (self.n > 1).to(values.dtype)
        defined = torch.stack([self.varies[1], torch.ones_like(several), several])
        return values * self.published_factors() if reference_compatible else values, defined

    def published_factors(self) -> Tensor:
        """Return what the authors' code multiplies the terms with, ``(3, targets)``."""
        count = torch.ones_like(self.value) * self.n
        shrunk = (count - 1).clamp(min=0) / count.clamp(min=1)
        return torch.stack([shrunk, torch.ones_like(shrunk), torch.full_like(shrunk, 0.5)])

    def gradient_in_prediction(self, of_terms: Tensor) -> Tensor:
        """Sum (u - v - direction u) / std(p) / n, sign(e) / n and 2 (p - y, centred) / n, times ``of_terms``."""
        of_direction, of_value, of_magnitude = self._shares(of_terms)
        of_direction = of_direction / self.deviation[0]
        own = of_direction * (1 - self.direction * self.varies[0]) + of_magnitude * self.deviation[0]
        return self._combined(self.u, own, self.v, of_direction + of_magnitude * self.deviation[1], of_value)

    def gradient_in_target(self, of_terms: Tensor) -> Tensor:
        """Do the same with the parts of prediction and target exchanged."""
        of_direction, of_value, of_magnitude = self._shares(of_terms)
        of_direction = of_direction / self.deviation[1]
        own = of_direction * (1 - self.direction) + of_magnitude * self.deviation[1]
        return self._combined(self.v, own, self.u, of_direction + of_magnitude * self.deviation[0], -of_value)

    def _shares(self, of_terms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        count = self.n if isinstance(self.n, int) else self.n.clamp(min=1)
        of_direction, of_value, of_magnitude = (of_terms / count).expand(3, self.u.shape[1]).unbind(0)
        return of_direction * self.varies[1], of_value, 2 * of_magnitude

    def _combined(self, own: Tensor, of_own: Tensor, other: Tensor, of_other: Tensor, of_sign: Tensor) -> Tensor:
        of_own, of_other, of_sign = settled(of_own), settled(of_other), settled(of_sign)
        total, buffer = own * of_own, other * of_other
        total = total.sub_(buffer).add_(torch.mul(self.sign, of_sign, out=buffer))
        return total if self.weight is None else total.mul_(self.weight)

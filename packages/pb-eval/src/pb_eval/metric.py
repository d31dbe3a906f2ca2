"""What a metric declares about itself; importable without numpy."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from pb_eval.reference import Cells, Reference
    from pb_eval.resampling import Resampled, ResampledReference

__all__ = ["DRAWS", "INF", "NAN", "Metric", "Sampling"]

NAN = math.nan
INF = math.inf

Sampling = Literal["unbiased", "inverse", "root", "correlation", "squared correlation", "determination", "unknown"]

DRAWS = 100
"""Resamples where nobody says how many: the ends of a 95 % interval are then known to a seventh of its half width."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One way to compare predicted with true cells, and all one has to know to read its value.

    Attributes
    ----------
    function
        Where it is computed, ``"module:function"`` of ``(prediction: Cells, reference: Reference) -> float``.
    arguments
        Keyword arguments that the function takes besides.
    family
        Kind of evidence: ``means``, ``shifts``, ``distributions``, ``genes``, ``discrimination`` or ``classic``.
    direction
        ``higher`` or ``lower`` is better, or nearer to ``perfect`` is (``target``).
    range
        Smallest and largest value that can occur.
    perfect
        Value of a prediction drawn from the same distribution as the truth; nan where it depends on the truth.
    space
        ``log1p`` (genes) or ``pca`` (components fitted on training cells).
    gene_set
        Which genes enter.
    needs
        Optional arguments of the reference without which there is no value: a default metric is then left out, one
        asked for by name is nan.
    degenerate
        Value for each degenerate input that leaves the formula undefined; every other input gives a finite value. A
        prediction without a shift or spread scores as no skill, a truth without one cannot score anything (nan).
    draws
        Where its values on resampled cells are computed all at once, for its bootstrap interval, ``"module:function"``
        of ``(prediction: Resampled, reference: ResampledReference) -> (draws,)``; often ``function`` itself, which then
        works along the last axis of stacks of means. Empty: no interval.
    default
        Whether it is computed where nobody names metrics.
    sampling
        How the score of a replicate moves with the number n of cells (:mod:`pb_eval.sampling`): not at all
        (``unbiased``), its distance from perfect as 1/n (``inverse``) or n^(-1/2) (``root``), as a correlation of two
        noisy vectors, its square or their coefficient of determination, or as seen at two sizes (``unknown``).
    version
        Raised whenever a value changes for the same input.
    definition
        The formula in words.
    """

    name: str
    function: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    family: str
    direction: Literal["higher", "lower", "target"]
    range: tuple[float, float]
    perfect: float
    space: Literal["log1p", "pca"] = "log1p"
    gene_set: str = "all"
    needs: tuple[str, ...] = ()
    degenerate: Mapping[str, float] = field(default_factory=dict)
    draws: str = ""
    default: bool = True
    sampling: Sampling = "unknown"
    version: int = 1
    definition: str

    def compute(self, prediction: Cells, reference: Reference) -> float:
        """Value of this metric for one group of predicted cells of one held-out unit."""
        if any(getattr(reference, need) is None for need in self.needs):
            return NAN
        return float(_load(self.function)(prediction, reference, **self.arguments))

    def compute_draws(self, prediction: Resampled, reference: ResampledReference) -> NDArray[np.float64] | None:
        """Values on resampled cells, ``(draws,)``; None where the metric declares none or lacks what it needs."""
        if not self.draws or any(getattr(reference, need) is None for need in self.needs):
            return None
        values: NDArray[np.float64] = _load(self.draws)(prediction, reference, **self.arguments)
        return values


def _load(path: str) -> Callable[..., Any]:
    """Import what ``"module:function"`` names."""
    module, _, attribute = path.partition(":")
    return cast("Callable[..., Any]", getattr(importlib.import_module(module), attribute))

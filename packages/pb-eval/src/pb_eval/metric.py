"""What a metric declares about itself; importable without numpy."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pb_eval.reference import Cells, Reference

__all__ = ["INF", "NAN", "Metric"]

NAN = math.nan
INF = math.inf


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
    faults
        What it does in cases of the audit (:data:`pb_eval.audit.CASES`) that a sound metric would not, by the case's
        name: ``rewards`` the cheat, is ``blind`` to it, has its value ``moved`` or ``undefined``.
    default
        Whether it is computed where nobody names metrics.
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
    faults: Mapping[str, str] = field(default_factory=dict)
    default: bool = True
    version: int = 1
    definition: str

    @property
    def caveat(self) -> str:
        """Its faults in words, empty where it has none.

        Examples
        --------
        >>> from pb_eval import get_metric
        >>> get_metric("r2_mean_all").caveat
        'blind to rescaled'
        """
        said = {"rewards": "rewards", "blind": "blind to", "moved": "moved by", "undefined": "undefined for"}
        parts = []
        for verdict, words in said.items():
            if cases := [case.replace("_", " ") for case, found in self.faults.items() if found == verdict]:
                parts.append(f"{words} {', '.join(cases)}")
        return "; ".join(parts)

    def compute(self, prediction: Cells, reference: Reference) -> float:
        """Value of this metric for one group of predicted cells of one held-out unit."""
        if any(getattr(reference, need) is None for need in self.needs):
            return NAN
        module, _, attribute = self.function.partition(":")
        function = cast("Callable[..., float]", getattr(importlib.import_module(module), attribute))
        return float(function(prediction, reference, **self.arguments))

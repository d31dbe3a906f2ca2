"""The metrics by name, with what each declares; importable without numpy."""

from __future__ import annotations

import difflib
import importlib
import math
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pb_eval.reference import Cells, Reference

__all__ = ["DEFAULT_METRICS", "METRICS", "Metric", "default_metrics", "get_metric", "metric_names"]

NAN = math.nan
INF = math.inf


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One way to compare predicted with true cells, and all one has to know to read its value.

    Attributes
    ----------
    function
        Where it is computed, ``"module:function"`` of ``(prediction: Cells, reference: Reference) -> float``.
    family
        Kind of evidence: ``means``, ``shifts``, ``genes`` or ``distributions``.
    direction
        ``higher`` or ``lower`` is better, or nearer to ``perfect`` is (``target``).
    range
        Smallest and largest value that can occur.
    perfect
        Value of a prediction drawn from the same distribution as the truth.
    space
        ``log1p`` (genes) or ``pca`` (components fitted on training cells).
    gene_set
        Which genes enter.
    degenerate
        Value for each degenerate input that leaves the formula undefined; every other input gives a finite value. A
        prediction without a shift or spread scores as no skill, a truth without one cannot score anything (nan).
    default
        Whether it is computed where nobody names metrics.
    version
        Raised whenever a value changes for the same input.
    definition
        The formula in words.
    """

    name: str
    function: str
    family: str
    direction: Literal["higher", "lower", "target"]
    range: tuple[float, float]
    perfect: float
    space: Literal["log1p", "pca"] = "log1p"
    gene_set: str = "all"
    degenerate: Mapping[str, float] = field(default_factory=dict)
    default: bool = True
    version: int = 1
    definition: str

    def compute(self, prediction: Cells, reference: Reference) -> float:
        """Value of this metric for one group of predicted cells of one held-out unit."""
        module, _, attribute = self.function.partition(":")
        function = cast("Callable[[Cells, Reference], float]", getattr(importlib.import_module(module), attribute))
        return float(function(prediction, reference))


def _r2(name: str, gene_set: str, definition: str) -> Metric:
    """Entry of one squared Pearson correlation of means."""
    return Metric(
        name=name,
        function=f"pb_eval.means:{name}",
        family="means",
        direction="higher",
        range=(0.0, 1.0),
        perfect=1.0,
        gene_set=gene_set,
        degenerate={"constant prediction": 0.0, "constant truth": NAN},
        definition=definition,
    )


_TOP = "the {k} genes with the highest Wilcoxon score of truth against the measured control (up-regulated, signed)"
_RESAMPLED = (
    "mean over 100 seeded draws of 80 % of the true and 80 % of the predicted cells, without replacement, of the "
)
_SQUARED = "squared Pearson correlation of true and predicted mean expression over "

METRICS: dict[str, Metric] = {  # in the order of the leaderboard
    "r2_mean_all": _r2("r2_mean_all", "all", f"{_SQUARED}all genes"),
    "r2_mean_top100": _r2("r2_mean_top100", "top100", _SQUARED + _TOP.format(k=100)),
    "r2_mean_top20": _r2("r2_mean_top20", "top20", _SQUARED + _TOP.format(k=20)),
    "pearson_delta": Metric(
        name="pearson_delta",
        function="pb_eval.deltas:pearson_delta",
        family="shifts",
        direction="higher",
        range=(-1.0, 1.0),
        perfect=1.0,
        degenerate={"copied control": 0.0, "truth equals control": NAN},
        definition="Pearson correlation over genes of true and predicted mean shift, both against the measured control",
    ),
    "cosine_delta": Metric(
        name="cosine_delta",
        function="pb_eval.deltas:cosine_delta",
        family="shifts",
        direction="higher",
        range=(-1.0, 1.0),
        perfect=1.0,
        degenerate={"copied control": 0.0, "truth equals control": NAN},
        definition="cosine of the angle between true and predicted mean shift, both against the measured control",
    ),
    "mse_mean": Metric(
        name="mse_mean",
        function="pb_eval.means:mse_mean",
        family="means",
        direction="lower",
        range=(0.0, INF),
        perfect=0.0,
        definition="mean over genes of the squared difference of true and predicted mean expression",
    ),
    "mae_mean": Metric(
        name="mae_mean",
        function="pb_eval.means:mae_mean",
        family="means",
        direction="lower",
        range=(0.0, INF),
        perfect=0.0,
        definition="mean over genes of the absolute difference of true and predicted mean expression",
    ),
    "edistance": Metric(
        name="edistance",
        function="pb_eval.distributions:edistance",
        family="distributions",
        direction="lower",
        range=(-INF, INF),
        perfect=0.0,
        space="pca",
        degenerate={"one predicted cell": NAN, "one true cell": NAN},
        definition=(
            "2 E|X-Y| - E|X-X'| - E|Y-Y'| with the Euclidean norm, within terms over n(n-1) pairs (unbiased, hence "
            "below 0 at times), in a PCA fitted on training cells, the larger group cut to the smaller by a seeded draw"
        ),
    ),
    "variance_ratio": Metric(
        name="variance_ratio",
        function="pb_eval.distributions:variance_ratio",
        family="distributions",
        direction="target",
        range=(0.0, INF),
        perfect=1.0,
        gene_set="variable in truth",
        degenerate={"one predicted cell": NAN, "one true cell": NAN, "constant truth": NAN},
        definition="median of predicted / true variance (n - 1) over the genes whose true variance is not zero",
    ),
    "overlap_top100": Metric(
        name="overlap_top100",
        function="pb_eval.genes:overlap_top100",
        family="genes",
        direction="higher",
        range=(0.0, 1.0),
        perfect=1.0,
        gene_set="top100",
        degenerate={"one true cell": NAN, "no up-regulated gene": NAN, "truth equals control": NAN},
        definition=(
            "share of the true list's genes in the predicted list, each list holding the up to 100 genes with the "
            "highest Welch t score above 0 against the measured control (common genes / 100 where 100 go up in truth); "
            "t as in the reference benchmark, for ranks call any shift of a zero the largest"
        ),
    ),
    "direction_match": Metric(
        name="direction_match",
        function="pb_eval.genes:direction_match",
        family="genes",
        direction="higher",
        range=(0.0, 1.0),
        perfect=1.0,
        gene_set="significant",
        degenerate={"no significant gene": NAN, "truth equals control": NAN},
        definition=(
            "share of the significant genes (Wilcoxon of truth against the measured control, Benjamini-Hochberg "
            "FDR < 0.05) whose predicted mean shift has the sign of the true one; no shift counts as wrong"
        ),
    ),
    "r2_mean_all_resampled": _r2("r2_mean_all_resampled", "all", f"{_RESAMPLED}{_SQUARED}all genes"),
    "r2_mean_top100_resampled": _r2("r2_mean_top100_resampled", "top100", _RESAMPLED + _SQUARED + _TOP.format(k=100)),
    "r2_mean_top20_resampled": _r2("r2_mean_top20_resampled", "top20", _RESAMPLED + _SQUARED + _TOP.format(k=20)),
}

DEFAULT_METRICS: tuple[str, ...] = tuple(name for name, metric in METRICS.items() if metric.default)


@cache
def _plugins() -> dict[str, Metric]:
    """Metrics of other installed packages (entry points ``pb.metrics``, each a Metric)."""
    return {point.name: point.load() for point in entry_points(group="pb.metrics")}


def metric_names() -> list[str]:
    """List every metric, those of other installed packages included, sorted.

    Examples
    --------
    >>> metric_names()[:3]
    ['cosine_delta', 'direction_match', 'edistance']
    """
    return sorted({*METRICS, *_plugins()})


def default_metrics() -> list[str]:
    """List the metrics computed where nobody names any: the built-in ones in order, then those of other packages.

    Examples
    --------
    >>> default_metrics()[0]
    'r2_mean_all'
    """
    added = [name for name, metric in _plugins().items() if metric.default and name not in METRICS]
    return [*DEFAULT_METRICS, *sorted(added)]


def get_metric(name: str) -> Metric:
    """Look a metric up by its name.

    Raises
    ------
    ValueError
        For an unknown name, with the nearest ones.

    Examples
    --------
    >>> get_metric("mse_mean").direction
    'lower'
    """
    found = METRICS.get(name) or _plugins().get(name)
    if found is None:
        names = metric_names()
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else f"choose among {', '.join(names)}."
        msg = f"unknown metric {name!r}: {hint}"
        raise ValueError(msg)
    return found

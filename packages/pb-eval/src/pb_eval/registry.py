"""The metrics by name; importable without numpy."""

from __future__ import annotations

import difflib
from functools import cache
from importlib.metadata import entry_points

from pb_eval import catalogue
from pb_eval.metric import Metric

__all__ = ["DEFAULT_METRICS", "METRICS", "Metric", "default_metrics", "get_metric", "metric_names"]

METRICS: dict[str, Metric] = {metric.name: metric for metric in catalogue.METRICS}

DEFAULT_METRICS: tuple[str, ...] = tuple(name for name, metric in METRICS.items() if metric.default)


@cache
def _plugins() -> dict[str, Metric]:
    """Metrics of other installed packages (entry points ``pb.metrics``, each a Metric)."""
    return {point.name: point.load() for point in entry_points(group="pb.metrics")}


def metric_names() -> list[str]:
    """List every metric, those of other installed packages included, sorted.

    Examples
    --------
    >>> [name for name in metric_names() if name.endswith("_delta")]
    ['cosine_delta', 'pearson_delta', 'r2_score_delta', 'r2_weighted_delta', 'sign_delta', 'spearman_delta']
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
        usual = (
            f"choose among {', '.join(default_metrics())}, or another of the {len(names)} that metric_names() lists."
        )
        hint = f"did you mean {' or '.join(near)}?" if near else usual
        msg = f"unknown metric {name!r}: {hint}"
        raise ValueError(msg)
    return found

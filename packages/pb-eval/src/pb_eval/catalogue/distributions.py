"""Metrics of the spread of cells."""

from __future__ import annotations

from pb_eval.metric import INF, NAN, Metric

__all__ = ["METRICS"]

METRICS = (
    Metric(
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
    Metric(
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
)

"""Metrics of the genes that respond."""

from __future__ import annotations

from pb_eval.metric import NAN, Metric

__all__ = ["METRICS"]

METRICS = (
    Metric(
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
    Metric(
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
)

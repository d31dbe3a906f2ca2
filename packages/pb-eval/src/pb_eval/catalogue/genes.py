"""Metrics of the genes that respond."""

from __future__ import annotations

from typing import Any

from pb_eval.metric import INF, NAN, Metric

__all__ = ["METRICS"]

_NO_LIST = {"one true cell": NAN, "no up-regulated gene": NAN, "truth equals control": NAN}
_NO_SET = {"no significant gene": NAN, "truth equals control": NAN}
_LISTS = (
    "each list holding the up to {k} genes with the highest Welch t score above 0 against the measured control{more}; "
    "t as in the reference benchmark, for ranks call any shift of a zero the largest"
)
_SIGNIFICANT = "Wilcoxon against the measured control, Benjamini-Hochberg FDR < 0.05"
_FOLD = "log2 fold changes, log2((m + 0.1) / (m0 + 0.1)) of means before log1p against the measured control,"


def _genes(name: str, definition: str, **fields: Any) -> Metric:
    """Entry of one metric of genes."""
    settings: dict[str, Any] = {
        "function": f"pb_eval.genes:{name}",
        "direction": "higher",
        "range": (0.0, 1.0),
        "perfect": 1.0,
        "gene_set": "significant",
        "degenerate": _NO_SET,
    }
    return Metric(name=name, family="genes", definition=definition, **(settings | fields))


def _top(measure: str, k: int, definition: str) -> Metric:
    """Entry of one comparison of lists, computed on request."""
    return _genes(
        f"{measure}_top{k}",
        f"{definition}, {_LISTS.format(k=k, more='')}",
        function="pb_eval.genes:top",
        draws="pb_eval.resampled_genes:top",
        arguments={"k": k, "measure": measure},
        gene_set=f"top{k}",
        degenerate=_NO_LIST,
        default=False,
    )


def _sets(name: str, measure: str, definition: str) -> Metric:
    """Entry of one comparison of the significant sets."""
    return _genes(
        f"{name}_significant",
        f"{definition} ({_SIGNIFICANT}, on both sides)",
        function="pb_eval.genes:significant_sets",
        draws="pb_eval.resampled_genes:significant_sets",
        arguments={"measure": measure},
    )


METRICS = (
    _genes(
        "overlap_top100",
        "share of the true list's genes in the predicted list, "
        + _LISTS.format(k=100, more=" (common genes / 100 where 100 go up in truth)"),
        gene_set="top100",
        draws="pb_eval.resampled_genes:top",
        degenerate=_NO_LIST,
    ),
    _genes(
        "direction_match",
        "share of the significant genes (Wilcoxon of truth against the measured control, Benjamini-Hochberg "
        "FDR < 0.05) whose predicted mean shift has the sign of the true one; no shift counts as wrong",
        draws="pb_eval.genes:direction_match",
    ),
    _sets("precision", "precision", "share of the genes significant in prediction that are so in truth"),
    _sets("recall", "overlap", "share of the genes significant in truth that are so in prediction"),
    _sets("jaccard", "jaccard", "genes significant in truth and in prediction over those significant in either"),
    _genes(
        "auprc_significant",
        "average precision (scikit-learn's) over genes, the label being significance in truth and the score the "
        f"absolute Wilcoxon score of prediction ({_SIGNIFICANT}); no skill is the share of significant genes",
        draws="pb_eval.resampled_genes:auprc_significant",
    ),
    _genes(
        "direction_fidelity",
        "number of genes significant in truth and in prediction whose mean shifts have one sign, over the larger of "
        f"the numbers significant in truth and in prediction ({_SIGNIFICANT})",
        draws="pb_eval.resampled_genes:direction_fidelity",
    ),
    _genes(
        "lfc_nmae",
        f"sum |p - t| / sum |t| over the genes significant in truth ({_SIGNIFICANT}) of true and predicted {_FOLD} 1 "
        "for a copied control",
        function="pb_eval.folds:lfc_nmae",
        draws="pb_eval.folds:lfc_nmae",
        direction="lower",
        range=(0.0, INF),
        perfect=0.0,
    ),
    _genes(
        "spearman_lfc",
        f"Spearman correlation over the genes significant in truth ({_SIGNIFICANT}) of true and predicted {_FOLD} "
        "equal values sharing their mean rank",
        function="pb_eval.folds:spearman_lfc",
        draws="pb_eval.folds:spearman_lfc",
        range=(-1.0, 1.0),
        degenerate=_NO_SET | {"one true cell": NAN},
    ),
    _genes(
        "pearson_lfc",
        f"Pearson correlation over the genes significant in truth ({_SIGNIFICANT}) of true and predicted {_FOLD} each "
        "gene counting alike",
        function="pb_eval.folds:pearson_lfc",
        draws="pb_eval.folds:pearson_lfc",
        range=(-1.0, 1.0),
        degenerate=_NO_SET | {"one true cell": NAN},
        default=False,
    ),
    _genes(
        "auroc_significant",
        "area under the ROC curve over genes, the label being significance in truth and the score the absolute "
        f"Wilcoxon score of prediction ({_SIGNIFICANT})",
        draws="pb_eval.resampled_genes:auroc_significant",
        default=False,
    ),
    _genes(
        "overlap_significant",
        "share of the n genes significant in truth that are among the n significant genes of prediction with the "
        f"largest absolute log2 fold change ({_SIGNIFICANT}); recall that a long predicted list cannot buy",
        draws="pb_eval.resampled_genes:overlap_significant",
        default=False,
    ),
    _top("overlap", 20, "share of the true list's genes in the predicted list"),
    _top("jaccard", 20, "common genes over the genes on either list"),
    _top("jaccard", 100, "common genes over the genes on either list"),
)

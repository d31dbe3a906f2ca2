"""What the audit found: for each of its cases the metrics that reward it, are blind to it or are moved by it.

The tests hold this list to what the audit finds on embedded and on simulated data, in both directions.
"""

from __future__ import annotations

__all__ = ["faults_of"]

_FOUND: dict[str, dict[str, tuple[str, ...]]] = {
    "cells_permuted": {
        "moved": (
            "r2_mean_all_resampled",
            "r2_mean_top100_resampled",
            "r2_mean_top20_resampled",
        ),
    },
    "duplicated_cells": {
        "rewards": (
            "direction_fidelity",
            "overlap_significant",
            "recall_significant",
        ),
    },
    "constant_prediction": {
        "rewards": (
            "correlation_distance",
            "correlation_distance_relative",
            "recall_significant",
        ),
        "blind": (
            "discrimination_l2",
            "discrimination_cosine",
            "discrimination_l1",
            "discrimination_l2_mean",
        ),
    },
    "control_copy": {
        "blind": (
            "discrimination_l2",
            "discrimination_cosine",
            "discrimination_l1",
            "discrimination_l2_mean",
        ),
    },
    "mean_response": {
        "rewards": ("recall_significant",),
        "blind": (
            "direction_match",
            "discrimination_l2_mean",
        ),
    },
    "shuffled_labels": {
        "rewards": ("recall_significant",),
        "blind": ("discrimination_l2_mean",),
    },
    "inflated_variance": {
        "rewards": (
            "edistance_squared",
            "mmd_linear",
            "edistance_squared_relative",
            "mmd_linear_relative",
            "wasserstein1_over_shift",
            "wasserstein2_over_shift",
            "mean_pairwise_over_shift",
            "recall_significant",
            "classic_wasserstein",
            "classic_mean_pairwise",
        ),
    },
    "no_spread": {
        "rewards": (
            "wasserstein1",
            "wasserstein2",
            "mean_pairwise",
            "correlation_distance",
            "wasserstein1_relative",
            "wasserstein1_over_shift",
            "wasserstein2_relative",
            "wasserstein2_over_shift",
            "mean_pairwise_relative",
            "mean_pairwise_over_shift",
            "correlation_distance_relative",
            "recall_significant",
            "overlap_significant",
        ),
    },
    "exaggerated_response": {
        "rewards": (
            "pearson_residual",
            "cosine_residual",
            "edistance_over_shift",
            "edistance_squared_over_shift",
            "mmd_linear_over_shift",
            "sinkhorn_over_shift",
            "wasserstein1_over_shift",
            "wasserstein2_over_shift",
            "sliced_wasserstein_over_shift",
            "mean_pairwise_over_shift",
            "euclidean_over_shift",
            "gene_wasserstein_over_shift",
            "recall_significant",
            "overlap_significant",
            "classic_edistance",
            "classic_edistance_squared",
            "classic_wasserstein",
            "classic_euclidean",
            "classic_mean_pairwise",
            "classic_mmd",
        ),
        "blind": (
            "pearson_delta",
            "cosine_delta",
            "spearman_delta",
            "sign_delta",
            "correlation_distance",
            "variance_ratio",
            "correlation_distance_relative",
            "correlation_distance_over_shift",
            "overlap_top100",
            "direction_match",
            "overlap_top20",
            "jaccard_top20",
            "jaccard_top100",
            "discrimination_l2",
            "discrimination_cosine",
            "discrimination_l1",
            "discrimination_l2_mean",
            "classic_common_top100",
        ),
    },
    "log1p_twice": {
        "rewards": (
            "mean_pairwise",
            "mean_pairwise_relative",
            "mean_pairwise_over_shift",
            "recall_significant",
            "direction_fidelity",
            "overlap_significant",
        ),
        "blind": (
            "discrimination_l2",
            "discrimination_cosine",
            "discrimination_l1",
            "discrimination_l2_mean",
        ),
    },
    "rescaled": {
        "rewards": (
            "wasserstein1_over_shift",
            "wasserstein2_over_shift",
            "mean_pairwise_over_shift",
            "recall_significant",
            "jaccard_significant",
            "direction_fidelity",
            "overlap_significant",
            "classic_wasserstein",
            "classic_mean_pairwise",
        ),
        "blind": (
            "r2_mean_all",
            "r2_mean_top100",
            "r2_mean_top20",
            "r2_mean_all_resampled",
            "r2_mean_top100_resampled",
            "r2_mean_top20_resampled",
            "correlation_distance",
            "correlation_distance_relative",
            "correlation_distance_over_shift",
            "discrimination_cosine",
            "discrimination_l2_mean",
            "direction_match",
            "discrimination_l1",
        ),
    },
}


def faults_of(metric: str) -> dict[str, str]:
    """Verdict of each case in which a metric is not sound.

    Examples
    --------
    >>> faults_of("r2_mean_all")
    {'rescaled': 'blind'}
    """
    return {case: verdict for case, found in _FOUND.items() for verdict, names in found.items() if metric in names}

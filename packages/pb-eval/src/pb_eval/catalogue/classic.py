"""The reference benchmark's metrics, on request only."""

from __future__ import annotations

from pb_eval.metric import INF, NAN, Metric

__all__ = ["METRICS"]

_RATIO = (
    "{} of truth and prediction over that of control and prediction (pertpy's simple comparison), in a PCA of all "
    "three groups together, all cells; as the reference benchmark has it, {}"
)
_DISTANCES = {
    "edistance": (
        "2 E|X-Y| - E|X-X'| - E|Y-Y'| with the Euclidean norm, within terms over n^2 pairs,",
        "computed with pertpy 0.11 or later",
    ),
    "edistance_squared": (
        "2 E|X-Y|^2 - E|X-X'|^2 - E|Y-Y'|^2 with the squared Euclidean norm, within terms over n^2 pairs,",
        "computed with pertpy 0.8 to 0.10; equal to classic_mmd",
    ),
    "wasserstein": (
        "entropic transport cost <P, |x-y|^2> + e KL(P | a b), e a twentieth of the standard deviation of |x-y|^2,",
        "not 0 for a perfect prediction",
    ),
    "euclidean": ("Euclidean distance of the mean cells", "biased by the number of cells"),
    "mean_pairwise": ("mean Euclidean distance of all pairs of cells", "not 0 for a perfect prediction"),
    "mmd": ("squared distance of the mean cells (MMD with the linear kernel)", "biased by the number of cells"),
}


def _ratio(name: str) -> Metric:
    """Entry of one distance over that of control and prediction."""
    words, note = _DISTANCES[name]
    perfect = NAN if name in {"wasserstein", "mean_pairwise"} else 0.0
    return Metric(
        name=f"classic_{name}",
        function="pb_eval.classic:distance",
        arguments={"of": name},
        family="classic",
        direction="lower",
        range=(0.0, INF),
        perfect=perfect,
        degenerate={} if name in {"wasserstein", "mean_pairwise"} else {"copied control": INF},
        default=False,
        definition=_RATIO.format(words, note),
    )


METRICS = (
    Metric(
        name="classic_common_top100",
        function="pb_eval.classic:common_genes",
        draws="pb_eval.resampled_genes:common_top100",
        family="classic",
        direction="higher",
        range=(0.0, 100.0),
        perfect=100.0,
        gene_set="top100",
        default=False,
        definition=(
            "number of genes among the 100 with the highest signed Welch t score (up-regulated first, down-regulated "
            "where too few go up) against the measured control, of truth and of prediction"
        ),
    ),
    *(_ratio(name) for name in _DISTANCES),
)

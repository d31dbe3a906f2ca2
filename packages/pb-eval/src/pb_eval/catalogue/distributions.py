"""Metrics of the spread of cells."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from pb_eval.metric import INF, NAN, Metric

__all__ = ["METRICS"]


class _Distance(NamedTuple):
    """What the three metrics of one distance share."""

    name: str
    definition: str
    unbiased: bool = False
    default: bool = False
    space: Literal["log1p", "pca"] = "pca"
    gene_set: str = "all"
    degenerate: tuple[str, ...] = ()


_CUT = "in a PCA fitted on training cells, the larger group cut to the smaller by a seeded draw"
_BIASED = "above 0 for finite groups of one distribution"
_ROOT = {"sliced_wasserstein", "gene_wasserstein", "euclidean", "correlation_distance"}
_ONE_CELL = ("one predicted cell", "one true cell")

_DISTANCES = (
    _Distance(
        "edistance",
        "2 E|X-Y| - E|X-X'| - E|Y-Y'| with the Euclidean norm, within terms over n(n-1) pairs (unbiased, hence "
        f"below 0 at times), {_CUT}",
        unbiased=True,
        default=True,
        degenerate=_ONE_CELL,
    ),
    _Distance(
        "edistance_squared",
        "2 E|X-Y|^2 - E|X-X'|^2 - E|Y-Y'|^2 with the squared Euclidean norm, within terms over n(n-1) pairs "
        f"(unbiased), {_CUT}; twice mmd_linear, blind to all but the means",
        unbiased=True,
        degenerate=_ONE_CELL,
    ),
    _Distance(
        "mmd_rbf",
        "squared maximum mean discrepancy E k(X,X') + E k(Y,Y') - 2 E k(X,Y), k = exp(-|x-y|^2 / (2 s^2)), within "
        "terms over n(n-1) pairs (unbiased), s the median distance between measured (true and control) cells, at most "
        f"500 of each, so that no prediction sets it; {_CUT}",
        unbiased=True,
        default=True,
        degenerate=_ONE_CELL,
    ),
    _Distance(
        "mmd_linear",
        "squared distance of the means less the sampling variance of both (the maximum mean discrepancy with the "
        f"linear kernel, unbiased), {_CUT}",
        unbiased=True,
        degenerate=_ONE_CELL,
    ),
    _Distance(
        "sinkhorn",
        "Sinkhorn divergence S(X,Y) - S(X,X)/2 - S(Y,Y)/2, S the least <P, |x-y|^2> + e KL(P | a b), e half the "
        "squared median distance between measured (true and control) cells; of at most 1,000 cells a group, "
        f"{_CUT}; {_BIASED}",
    ),
    _Distance(
        "wasserstein1",
        "exact Wasserstein distance with the Euclidean norm, min_P sum P |x-y|, of at most 1,000 cells a group, "
        f"{_CUT}; {_BIASED}, by far in many dimensions",
    ),
    _Distance(
        "wasserstein2",
        "exact Wasserstein distance with the squared Euclidean norm, (min_P sum P |x-y|^2)^(1/2), of at most 1,000 "
        f"cells a group, {_CUT}; {_BIASED}, by far in many dimensions",
    ),
    _Distance(
        "sliced_wasserstein",
        "(mean over 200 seeded directions of the squared 2-Wasserstein distance of the projected cells)^(1/2), "
        f"{_CUT}; {_BIASED}",
        default=True,
    ),
    _Distance(
        "mean_pairwise",
        f"mean Euclidean distance of all pairs of a true and a predicted cell, {_CUT}; not 0 for cells of one "
        "distribution, and least for a prediction without spread",
    ),
    _Distance("euclidean", f"Euclidean distance of the mean true and the mean predicted cell, {_CUT}; {_BIASED}"),
    _Distance(
        "gene_wasserstein",
        "mean over genes of the 1-Wasserstein distance of a gene's expression in true and in predicted cells, the "
        f"larger group cut to the smaller by a seeded draw; {_BIASED}",
        default=True,
        space="log1p",
    ),
    _Distance(
        "correlation_distance",
        "root mean square difference, over all pairs of the 100 genes with the highest Wilcoxon score of truth, of "
        "their Pearson correlation over true and over predicted cells (0 for a gene without variance), the larger "
        f"group cut to the smaller by a seeded draw; {_BIASED}",
        default=True,
        space="log1p",
        gene_set="top100",
        degenerate=(*_ONE_CELL, "constant truth"),
    ),
)


def _entry(distance: _Distance, suffix: str, definition: str, **fields: Any) -> Metric:
    """One of the three metrics of a distance."""
    settings: dict[str, Any] = {
        "arguments": {"of": distance.name},
        "range": (-INF if distance.unbiased else 0.0, INF),
        "degenerate": dict.fromkeys(distance.degenerate, NAN),
        "sampling": "unbiased" if distance.unbiased else "root" if distance.name in _ROOT else "unknown",
        "default": False,
    }
    return Metric(
        name=distance.name + suffix,
        function="pb_eval.distributions:distance",
        family="distributions",
        direction="lower",
        perfect=NAN if distance.name == "mean_pairwise" else 0.0,
        space=distance.space,
        gene_set=distance.gene_set,
        draws="pb_eval.resampling:distance",
        definition=definition,
        **(settings | fields),
    )


def _ratios(distance: _Distance) -> tuple[Metric, Metric]:
    """Distance over that of control and truth, and over that of control and prediction."""
    no_response: dict[str, float] = {"truth equals control": NAN}
    copied: dict[str, float] = {"copied control": INF}
    if distance.name == "mean_pairwise":  # that of a group with itself is its spread
        no_response, copied = {}, {}
    if distance.name == "correlation_distance":  # halving every value leaves correlations as they are
        no_response["no up-regulated gene"] = NAN
    nans = dict.fromkeys(distance.degenerate, NAN)
    return (
        _entry(
            distance,
            "_relative",
            f"{distance.name} of truth and prediction over that of control and truth: 1 is as far as the measured "
            "control; all three groups cut to the smallest; nan where control and truth are not apart",
            arguments={"of": distance.name, "over": "response"},
            degenerate=nans | no_response,
        ),
        _entry(
            distance,
            "_over_shift",
            f"{distance.name} of truth and prediction over that of control and prediction, as the reference benchmark "
            "reports it (pertpy's simple comparison): rewards being far from control; all three groups cut to the "
            "smallest; infinite where control and prediction are not apart",
            arguments={"of": distance.name, "over": "shift"},
            degenerate=nans | copied,
        ),
    )


METRICS = (
    *(_entry(distance, "", distance.definition, default=distance.default) for distance in _DISTANCES),
    Metric(
        name="variance_ratio",
        function="pb_eval.distributions:variance_ratio",
        draws="pb_eval.distributions:variance_ratio",
        family="distributions",
        direction="target",
        range=(0.0, INF),
        perfect=1.0,
        gene_set="variable in truth",
        degenerate={"one predicted cell": NAN, "one true cell": NAN, "constant truth": NAN},
        definition="median of predicted / true variance (n - 1) over the genes whose true variance is not zero",
    ),
    *(metric for distance in _DISTANCES for metric in _ratios(distance)),
)

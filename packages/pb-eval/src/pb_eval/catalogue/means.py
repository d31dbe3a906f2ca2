"""Metrics of mean expression."""

from __future__ import annotations

from typing import Any

from pb_eval.metric import INF, NAN, Metric

__all__ = ["METRICS"]


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
        draws="" if name.endswith("_resampled") else f"pb_eval.means:{name}",
        degenerate={"constant prediction": 0.0, "constant truth": NAN},
        sampling="squared correlation",
        definition=definition,
    )


def _error(name: str, limits: tuple[float, float], definition: str, **fields: Any) -> Metric:
    """Entry of one error of means."""
    settings: dict[str, Any] = {"sampling": "inverse"}
    return Metric(
        name=name,
        function=f"pb_eval.means:{name}",
        family="means",
        direction="lower",
        range=limits,
        perfect=0.0,
        draws=f"pb_eval.means:{name}",
        definition=definition,
        **(settings | fields),
    )


_TOP = "the {k} genes with the highest Wilcoxon score of truth against the measured control (up-regulated, signed)"
_RESAMPLED = (
    "mean over 100 seeded draws of 80 % of the true and 80 % of the predicted cells, without replacement, of the "
)
_SQUARED = "squared Pearson correlation of true and predicted mean expression over "

METRICS = (
    _r2("r2_mean_all", "all", f"{_SQUARED}all genes"),
    _r2("r2_mean_top100", "top100", _SQUARED + _TOP.format(k=100)),
    _r2("r2_mean_top20", "top20", _SQUARED + _TOP.format(k=20)),
    _error(
        "mse_mean",
        (0.0, INF),
        "mean over genes of the squared difference of true and predicted mean expression",
    ),
    _error(
        "mae_mean",
        (0.0, INF),
        "mean over genes of the absolute difference of true and predicted mean expression",
        sampling="root",
    ),
    _r2("r2_mean_all_resampled", "all", f"{_RESAMPLED}{_SQUARED}all genes"),
    _r2("r2_mean_top100_resampled", "top100", _RESAMPLED + _SQUARED + _TOP.format(k=100)),
    _r2("r2_mean_top20_resampled", "top20", _RESAMPLED + _SQUARED + _TOP.format(k=20)),
    _error(
        "rmse_mean",
        (0.0, INF),
        "square root of the mean over genes of the squared difference of true and predicted mean expression",
        sampling="root",
    ),
    Metric(
        name="r2_score_mean",
        function="pb_eval.means:r2_score_mean",
        draws="pb_eval.means:r2_score_mean",
        family="means",
        direction="higher",
        range=(-INF, 1.0),
        perfect=1.0,
        degenerate={"constant truth": NAN},
        sampling="determination",
        definition=(
            "coefficient of determination over genes of predicted against true mean expression, 1 - sum (t - p)^2 / "
            "sum (t - mean t)^2 (scikit-learn's r2_score(truth, prediction)); sees scale and offset, unlike r2_mean"
        ),
    ),
    _error(
        "mse_mean_corrected",
        (-INF, INF),
        "mean over genes of the squared difference of true and predicted mean expression less the true cells' "
        "variance / number: unbiased for the error against the mean of infinitely many true cells, below 0 at times; "
        "the prediction's own noise stays in",
        degenerate={"one true cell": NAN},
    ),
    _error(
        "wmse_mean",
        (0.0, INF),
        "squared difference of true and predicted mean expression averaged over genes with weights from the training "
        "contexts' t scores, which are not scored",
        gene_set="weighted",
        needs=("weights",),
    ),
)

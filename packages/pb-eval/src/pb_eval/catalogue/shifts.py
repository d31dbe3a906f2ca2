"""Metrics of the shift from control."""

from __future__ import annotations

from typing import Any

from pb_eval.metric import INF, NAN, Metric

__all__ = ["METRICS"]


def _delta(name: str, definition: str, **fields: Any) -> Metric:
    """Entry of one likeness of true and predicted shift."""
    settings: dict[str, Any] = {
        "function": f"pb_eval.deltas:{name}",
        "range": (-1.0, 1.0),
        "degenerate": {"copied control": 0.0, "truth equals control": NAN},
    }
    settings |= fields
    return Metric(
        name=name,
        family="shifts",
        direction="higher",
        perfect=1.0,
        draws=settings["function"],
        definition=definition,
        **settings,
    )


def _residual(measure: str, definition: str, lowest: float = -1.0, **fields: Any) -> Metric:
    """Entry of one likeness of context-specific residuals."""
    return _delta(
        f"{measure}_residual",
        f"{definition} of the true and the predicted mean shift, each less the mean shift of the training contexts: "
        "what is specific to this context; the training contexts' mean response has none and scores 0",
        function="pb_eval.deltas:similarity",
        arguments={"measure": measure, "specific": True},
        range=(lowest, 1.0),
        needs=("training_shift",),
        degenerate={},
        **fields,
    )


_AGAINST = "true and predicted mean shift, both against the measured control"

METRICS = (
    _delta("pearson_delta", f"Pearson correlation over genes of {_AGAINST}", sampling="correlation"),
    _delta("cosine_delta", f"cosine of the angle between {_AGAINST}", sampling="correlation"),
    _delta(
        "spearman_delta",
        f"Spearman correlation over genes of {_AGAINST}; equal shifts share their mean rank",
        function="pb_eval.deltas:similarity",
        arguments={"measure": "spearman"},
    ),
    _delta(
        "sign_delta",
        "share of genes whose predicted mean shift has the sign of the true one, both against the measured control, "
        "over the genes with a true shift; no predicted shift counts as wrong",
        function="pb_eval.deltas:similarity",
        arguments={"measure": "sign"},
        range=(0.0, 1.0),
        gene_set="shifted in truth",
    ),
    _delta(
        "r2_score_delta",
        f"coefficient of determination over genes, 1 - sum (t - p)^2 / sum (t - mean t)^2, of {_AGAINST}",
        range=(-INF, 1.0),
        sampling="determination",
        degenerate={"truth equals control": NAN},
    ),
    _delta(
        "r2_weighted_delta",
        f"weighted coefficient of determination over genes, 1 - sum w (t - p)^2 / sum w (t - mean_w t)^2, of "
        f"{_AGAINST}; weights from the training contexts' t scores, which are not scored",
        range=(-INF, 1.0),
        sampling="determination",
        gene_set="weighted",
        needs=("weights",),
        degenerate={"truth equals control": NAN},
    ),
    _residual("pearson", "Pearson correlation over genes", sampling="correlation"),
    _residual("spearman", "Spearman correlation over genes"),
    _residual("cosine", "cosine of the angle", sampling="correlation"),
    _residual("sign", "share of genes with the same sign", lowest=0.0),
)

"""Metrics of telling the units apart."""

from __future__ import annotations

from typing import Literal

from pb_eval.metric import Metric

__all__ = ["METRICS"]

_WORDS = {
    "l1": "sum of absolute differences",
    "l2": "Euclidean distance",
    "cosine": "1 - cosine of the angle",
}
_COMPARED = {
    "shift": "mean shifts, each against its own unit's measured control",
    "mean": "mean expression (contexts differ without a perturbation, so a copied control does well)",
}


def _entry(distance: str, of: Literal["shift", "mean"], *, default: bool) -> Metric:
    """Entry of one discrimination score."""
    return Metric(
        name=f"discrimination_{distance}" + ("" if of == "shift" else "_mean"),
        function="pb_eval.discrimination:discrimination",
        draws="pb_eval.discrimination:discrimination",
        arguments={"distance": distance, "of": of},
        family="discrimination",
        direction="higher",
        range=(0.0, 1.0),
        perfect=1.0,
        gene_set="all but targets",
        needs=("others",),
        default=default,
        definition=(
            "share of the other units (contexts or perturbations) whose truth is farther from the prediction than its "
            f"own truth is, ties counted half, by {_WORDS[distance]} of {_COMPARED[of]}; the target genes of both "
            "units left out of each comparison; 0.5 tells nothing"
        ),
    )


METRICS = (
    _entry("l2", "shift", default=True),
    _entry("cosine", "shift", default=True),
    _entry("l1", "shift", default=False),
    _entry("l2", "mean", default=False),
)

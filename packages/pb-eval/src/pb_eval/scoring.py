"""Score a prediction by any choice of metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pb_eval.reference import Cells
from pb_eval.registry import default_metrics, get_metric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pb_eval.metric import Metric
    from pb_eval.reference import Reference

__all__ = ["chosen_metrics", "evaluate"]


def evaluate(prediction: Any, reference: Reference, metrics: Sequence[str] | None = None) -> dict[str, float]:
    """Compare predicted with true cells of one held-out unit.

    Parameters
    ----------
    prediction
        Predicted perturbed cells, ``(cells, genes)``, log1p, dense or CSR, genes in the reference's order. Or a
        :class:`pb_eval.Cells`, whose shifts and tests are then taken against the control it brings.
    reference
        True and control cells of the unit; keep it for the next model, it remembers what it has computed.
    metrics
        Names; None for the default ones (`Metric.default`, those of other packages too), less those that need what the
        reference was not given: a basis (PCA space), or what `Metric.needs` lists.

    Returns
    -------
    Value by name, in the order asked for. A metric's value does not depend on which others are asked for.

    Raises
    ------
    ValueError
        For an unknown metric (with the nearest names) or an unusable prediction, in one sentence.

    Examples
    --------
    >>> import numpy as np
    >>> from pb_eval import Reference, evaluate
    >>> control, truth = np.zeros((3, 2)), np.array([[2.0, 0.0], [3.0, 0.0]])
    >>> reference = Reference(truth, control, ["ISG15", "CD3D"])
    >>> evaluate(truth + 0.5, reference, ["mse_mean", "mae_mean"])
    {'mse_mean': 0.25, 'mae_mean': 0.5}
    """
    chosen = chosen_metrics(reference, metrics)
    cells = prediction if isinstance(prediction, Cells) else reference.cells(prediction)
    return {metric.name: metric.compute(cells, reference) for metric in chosen}


def chosen_metrics(reference: Reference, metrics: Sequence[str] | None = None) -> list[Metric]:
    """Look metrics up; None stands for the default ones that the reference has what they need for."""
    chosen = [get_metric(name) for name in (default_metrics() if metrics is None else metrics)]
    return chosen if metrics is not None else [metric for metric in chosen if _can_be_computed(metric, reference)]


def _can_be_computed(metric: Metric, reference: Reference) -> bool:
    """Tell whether the reference holds what the metric needs."""
    needs = ("basis", *metric.needs) if metric.space == "pca" else metric.needs
    return all(getattr(reference, need) is not None for need in needs)

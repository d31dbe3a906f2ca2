"""Scores of predicted cells, with their intervals and ceilings; no model is needed for it, and none imported."""

from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
from anndata import AnnData
from pb_eval import Cells, PredictionInfo, Reference, evaluate, intervals, result_rows
from pb_eval.metric import DRAWS
from pb_eval.table import merge_tables

from pb_cli.references import Condition, ceilings

if TYPE_CHECKING:
    from pb_cli.unit import Unit

__all__ = ["SCORING", "Scoring", "score", "score_cells"]


class Scoring(NamedTuple):
    """How predictions are scored: resamples of the cells for intervals (0: none), whether with a ceiling, by what.

    Without `metrics`, by the default ones.
    """

    bootstrap: int = DRAWS
    limits: bool = True
    metrics: tuple[str, ...] | None = None


SCORING = Scoring()


def score(
    predictions: dict[Condition, AnnData], unit: "Unit", info: PredictionInfo, scoring: Scoring = SCORING
) -> pd.DataFrame:
    """Compare each condition's prediction with its measured cells: one row per condition and metric."""
    tables = []
    for condition, prediction in predictions.items():
        reference = unit.references[condition]
        if scoring.limits and scoring.metrics is None:
            unit.ceilings(condition)  # remembered by the reference
        tables.append(score_cells(reference.cells(prediction.X), reference, info, condition, scoring))
    return merge_tables(tables)


def score_cells(
    prediction: Cells, reference: Reference, info: PredictionInfo, condition: Condition, scoring: Scoring = SCORING
) -> pd.DataFrame:
    """Compare predicted with measured cells of one condition: one row per metric.

    The ceiling costs about as much as scoring three predictions; it is computed once a unit, and the tasks of a run
    share it. The floor is known when the baselines are: `RunFolder.collect`.
    """
    scores = evaluate(prediction, reference, scoring.metrics)
    return result_rows(
        info,
        scores,
        intervals=intervals(prediction, reference, scores, draws=scoring.bootstrap),
        ceilings=ceilings(reference, metrics=scoring.metrics) if scoring.limits else None,
        context=condition.context,
        perturbation=condition.perturbation,
        dose=condition.dose,
        n_predicted=prediction.n_cells,
        n_true=reference.truth.n_cells,
    )

"""Score a prediction file: rebuild truth and control from what the file says, then evaluate."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from pb_eval import PredictionInfo, read_prediction
from pb_eval.survey import nothing_predicted

from pb_cli.console import messages
from pb_cli.floors import with_quick_floor
from pb_cli.foreign import Draw
from pb_cli.references import Condition
from pb_cli.scoring import SCORING, Scoring, score
from pb_cli.unit import Unit, prepare

__all__ = ["Matched", "matched", "rescore"]


def rescore(path: Path, data: Path | None = None, scoring: Scoring = SCORING, draw: Draw | None = None) -> pd.DataFrame:
    """Give the rows of one prediction file; `data` overrides where its data file lies.

    `draw` is called with the model, the condition's words, prediction and reference of each condition.

    Raises
    ------
    ValueError
        If the file is not a valid prediction, its genes are not those of its preprocessing, its data have changed, or
        its cells are too few or express nothing.
    """
    found, asked, info = matched(path, data)
    predictions = _worth_scoring(path, found)
    asked = asked._replace(references={condition: asked.references[condition] for condition in predictions})
    if draw is not None:
        for condition, cells in predictions.items():
            reference = asked.references[condition]
            draw(info.model, condition.words(), reference.cells(cells.X), reference)
    rows = score(predictions, asked, info, scoring)
    return with_quick_floor(rows, asked, info, scoring.metrics) if scoring.limits else rows


def _worth_scoring(path: Path, predictions: dict[Condition, AnnData]) -> dict[Condition, AnnData]:
    """Leave conditions with one predicted cell out, and say so; refuse one that expresses nothing."""
    for condition, cells in predictions.items():
        if cells.X.max() == cells.X.min() == 0:
            raise nothing_predicted(path, condition.words())
    single = [condition.words() for condition, cells in predictions.items() if cells.n_obs == 1]
    if len(single) == len(predictions):
        msg = f"{path}: {single[0]} has 1 predicted cell and cannot be scored, nor can any other: two cells are needed."
        raise ValueError(msg)
    if single:
        words = f"Not scored, having 1 predicted cell: {', '.join(single)}."
        messages.print(words, style="yellow", soft_wrap=True)
    return {condition: cells for condition, cells in predictions.items() if cells.n_obs > 1}


class Matched(NamedTuple):
    """The predicted cells of each measured condition, what they are held against, and what the file says of itself."""

    predictions: dict[Condition, AnnData]
    unit: Unit
    info: PredictionInfo


def matched(path: Path, data: Path | None = None) -> Matched:
    """Read a prediction file and rebuild what it is compared with, its conditions only.

    Raises
    ------
    ValueError
        As :func:`rescore`.
    """
    prediction, info = read_prediction(path)
    _check_complete(path, info)
    unit = prepare(_located(info.source, data), info.split, info.split_parameters, info.split_hash, info.preprocess)
    genes = unit.preprocessor.genes
    if set(prediction.var_names) != set(genes) or prediction.n_vars != len(genes):
        msg = f"{path}: its {prediction.n_vars} genes are not the {len(genes)} of its preprocessing; predict these."
        raise ValueError(msg)
    prediction = prediction[:, genes]
    predictions = _by_condition(prediction, info, unit)
    if not predictions:
        known = ", ".join(sorted({condition.perturbation for condition in unit.references}))
        msg = f"{path}: it predicts none of the perturbations measured in {unit.split.held_out!r} ({known})."
        raise ValueError(msg)
    asked = {condition: unit.references[condition] for condition in predictions}
    return Matched(predictions, unit._replace(references=asked), info)


def _check_complete(path: Path, info: PredictionInfo) -> None:
    """Refuse a file that cannot be compared, saying what is missing."""
    missing = [name for name in ("source", "split_parameters", "split_hash", "preprocess") if not getattr(info, name)]
    if missing:
        msg = (
            f"{path} does not say what its truth is ({', '.join(missing)} missing in uns['pb']); pb bench writes that. "
            "Give the measured cells with --truth FILE."
        )
        raise ValueError(msg)
    if info.scale != "log1p":
        msg = f"{path} holds {info.scale}, but the truth is log1p; normalise it as its preprocessing says, write log1p."
        raise ValueError(msg)


def _located(source: dict[str, Any], data: Path | None) -> dict[str, Any]:
    """Point the recipe to where the data file lies now; its checksum still has to fit."""
    return source if data is None else source | {"path": str(data.resolve())}


def _by_condition(prediction: AnnData, info: PredictionInfo, unit: Unit) -> dict[Condition, AnnData]:
    """Take the predicted cells of each measured condition."""
    found = {}
    for condition in unit.references:
        rows = (prediction.obs[info.perturbation_key] == condition.perturbation).to_numpy()
        rows &= (prediction.obs[info.context_key].astype(str) == condition.context).to_numpy()
        if info.dose_key and condition.dose is not None:
            rows &= np.isclose(prediction.obs[info.dose_key].astype(float), condition.dose)
        if rows.any():
            found[condition] = prediction[rows]
        else:
            words = f"No prediction of {condition.words()}: it is measured, but not scored."
            messages.print(words, style="yellow", soft_wrap=True)
    return found

"""Score a prediction file: rebuild truth and control from what the file says, then evaluate."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from pb_eval import PredictionInfo, read_prediction

from pb_cli.runner import score
from pb_cli.unit import Condition, Unit, prepare

__all__ = ["rescore"]


def rescore(path: Path, data: Path | None = None) -> pd.DataFrame:
    """Give the rows of one prediction file; `data` overrides where its data file lies.

    Raises
    ------
    ValueError
        If the file is not a valid prediction, its genes are not those of its preprocessing, or its data have changed.
    """
    prediction, info = read_prediction(path)
    unit = prepare(_located(info.source, data), info.split, info.split_parameters, info.split_hash, info.preprocess)
    if list(prediction.var_names) != unit.preprocessor.genes:
        msg = f"{path}: its genes or their order are not those of its preprocessing; it was changed after it was made."
        raise ValueError(msg)
    return score(_by_condition(prediction, info, unit), unit, info)


def _located(source: dict[str, Any], data: Path | None) -> dict[str, Any]:
    """Point the recipe to where the data file lies now; its checksum still has to fit."""
    return source if data is None else source | {"path": str(data.resolve())}


def _by_condition(prediction: AnnData, info: PredictionInfo, unit: Unit) -> dict[Condition, AnnData]:
    """Take the predicted cells of each measured condition."""
    found = {}
    for condition in unit.references:
        rows = (prediction.obs[info.perturbation_key] == condition.perturbation).to_numpy()
        if info.dose_key and condition.dose is not None:
            rows &= np.isclose(prediction.obs[info.dose_key].astype(float), condition.dose)
        found[condition] = prediction[rows]
    return found

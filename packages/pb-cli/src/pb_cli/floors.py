"""The floor of a unit whose baselines nobody has run: those that are quick are fitted there and then."""

import dataclasses
import warnings
from typing import TYPE_CHECKING

from pb_eval import PredictionInfo, with_floor
from pb_eval.table import merge_tables
from pb_models import Model, create

from pb_cli.plan import suited_models
from pb_cli.runner import predict, score

if TYPE_CHECKING:
    import pandas as pd

    from pb_cli.unit import Unit

__all__ = ["QUICK", "fit_quick", "quick_baselines", "with_quick_floor"]

QUICK = ("control", "mean-shift", "similarity-shift", "perturbed-mean", "additive")
"""Baselines fitted in well under a second: means of cells, no PCA, regression or transport."""


def quick_baselines(split: str) -> list[str]:
    """List the quick baselines made for what a split holds out."""
    suited = suited_models(split)
    return [name for name in QUICK if name in suited]


def fit_quick(name: str, unit: "Unit") -> Model:
    """Fit a baseline on a unit's training cells."""
    return create(name).fit(unit.training, keys=unit.keys, validation=unit.validation, seed=0, device="cpu")


def with_quick_floor(rows: "pd.DataFrame", unit: "Unit", info: PredictionInfo) -> "pd.DataFrame":
    """Give the rows of a prediction their floor, the best of the quick baselines on the same unit."""

    def baselines() -> "pd.DataFrame":
        tables = []
        for name in quick_baselines(unit.split.name):
            made = predict(fit_quick(name, unit), unit).predictions
            tables.append(score(made, unit, dataclasses.replace(info, model=name, profile="default")))
        return merge_tables(tables)

    conditions = tuple(unit.references)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are about the baselines' answers, which nobody asked for
        known = unit.references[conditions[0]].truth.remember(("baselines", conditions), baselines)
    return with_floor(rows, known)

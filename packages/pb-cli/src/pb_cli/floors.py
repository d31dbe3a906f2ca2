"""The floor of a unit whose baselines nobody has run: those that are quick are fitted there and then."""

import dataclasses
import warnings
from typing import TYPE_CHECKING

from pb_eval import PredictionInfo, with_floor
from pb_eval.table import merge_tables
from pb_models import Model, create

from pb_cli.console import messages
from pb_cli.planning import suited_models
from pb_cli.runner import predict
from pb_cli.scoring import Scoring, score

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


def with_quick_floor(
    rows: "pd.DataFrame", unit: "Unit", info: PredictionInfo, metrics: tuple[str, ...] | None = None
) -> "pd.DataFrame":
    """Give the rows of a prediction their floor, the best of the quick baselines on the same unit."""
    conditions = tuple(unit.references)
    first = unit.references[conditions[0]].truth
    found = first.remember(("baselines", conditions, metrics), lambda: _quick_rows(unit, info, metrics))
    return with_floor(rows, found)


def _quick_rows(unit: "Unit", info: PredictionInfo, metrics: tuple[str, ...] | None) -> "pd.DataFrame":
    """Score the quick baselines; one that has no answer to the unit gives no floor, and it is said why."""
    tables, bare = [], Scoring(0, limits=False, metrics=metrics)
    for name in quick_baselines(unit.split.name):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # they are about the baseline's answers, which nobody asked for
                made = predict(fit_quick(name, unit), unit).predictions
        except ValueError as error:
            messages.print(f"{name} gives no floor: {error}", style="yellow", soft_wrap=True)
            continue
        tables.append(score(made, unit, dataclasses.replace(info, model=name, profile="default"), bare))
    return merge_tables(tables)

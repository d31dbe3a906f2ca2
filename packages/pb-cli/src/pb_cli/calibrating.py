"""What each metric can tell on a data set: baselines and a technical duplicate held against the same halves."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from anndata import AnnData
from pb_eval import DynamicRange, dynamic_range, technical_duplicate
from pb_models import Model

from pb_cli.plan import Task
from pb_cli.references import Condition
from pb_cli.runner import fit, unit_of
from pb_cli.unit import Unit

if TYPE_CHECKING:
    from pb_eval.matrix import Matrix

__all__ = ["calibrate", "held_out_units"]

FEWEST = 4  # true cells and control cells that two halves need


def held_out_units(tasks: Sequence[Task]) -> list[list[Task]]:
    """Group the tasks of a plan by what they hold out, in order."""
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        groups.setdefault(task.split_hash, []).append(task)
    return list(groups.values())


def calibrate(
    units: Sequence[Sequence[Task]],
    *,
    metrics: Sequence[str] | None,
    draws: int,
    seed: int,
    progress: Callable[[str], None],
) -> tuple[DynamicRange, list[str]]:
    """Score every unit's negative controls and its duplicate, and compare them; name the units too small for it."""
    tables, small = [], []
    for tasks in units:
        progress(tasks[0].held_out)
        unit = unit_of(tasks[0])
        models = {task.model: fit([task], unit, device="cpu")[0] for task in tasks}
        for condition, reference in unit.references.items():
            if min(reference.truth.n_cells, reference.control.n_cells) < FEWEST:
                small.append(", ".join(str(part) for part in condition if part is not None))
                continue
            scores = technical_duplicate(
                reference, dict(predictors(models, unit, condition)), metrics, draws=draws, seed=seed
            )
            tables.append(scores.assign(dataset=unit.split.dataset, split=unit.split.name, **named(condition)))
    if not tables:
        msg = f"No unit has {FEWEST} perturbed and {FEWEST} control cells, so that none can be parted into halves."
        raise ValueError(msg)
    return dynamic_range(pd.concat(tables, ignore_index=True)), small


def predictors(
    models: dict[str, Model], unit: Unit, condition: Condition
) -> "Iterator[tuple[str, Callable[[Matrix], Any]]]":
    """Turn fitted models into functions from control cells of a condition's context to predicted cells."""
    for name, model in models.items():

        def predict(control: "Matrix", model: Model = model) -> Any:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of doses beyond those seen: a negative control may be bad
                made = model.predict(
                    control_cells(control, unit, condition), perturbation=condition.perturbation, dose=condition.dose
                )
            return made.X

        yield name, predict


def control_cells(matrix: "Matrix", unit: Unit, condition: Condition) -> AnnData:
    """Label control cells of a condition's context as the models expect it."""
    labels: dict[str, Any] = {unit.keys.context: condition.context, unit.keys.perturbation: unit.keys.control}
    if unit.keys.dose is not None:
        labels[unit.keys.dose] = unit.keys.control_dose
    index = [f"control {row}" for row in range(matrix.shape[0])]
    return AnnData(matrix, obs=pd.DataFrame(labels, index=index), var=unit.training.var[[]])


def named(condition: Condition) -> dict[str, Any]:
    """Columns of a condition in a result table."""
    dose = float("nan") if condition.dose is None else condition.dose
    return {"context": condition.context, "perturbation": condition.perturbation, "dose": dose}

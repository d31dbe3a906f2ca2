"""One task: split, fit, predict, score, write. The model is handed training and control cells, never the truth."""

import dataclasses
import json
import platform
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import anndata as ad
import pb_models
from anndata import AnnData
from pb_data import write_manifest
from pb_eval import PredictionInfo, evaluate, result_rows, write_prediction, write_table
from pb_eval.table import merge_tables
from pb_models import Model, TrainingStep

from pb_cli.plan import Task
from pb_cli.resources import peak_memory, reset_peak_memory, versions
from pb_cli.store import RunFolder, write_text
from pb_cli.unit import Condition, Unit, prepare

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Fitted", "fit_and_predict", "run_task", "score"]


class Fitted(NamedTuple):
    """A fitted model, its predictions by condition, and what they cost."""

    model: Model
    predictions: dict[Condition, AnnData]
    costs: dict[str, Any]


def run_task(
    task: Task,
    folder: RunFolder,
    *,
    device: str = "auto",
    save_model: bool = True,
    progress: Callable[[TrainingStep], None] | None = None,
) -> None:
    """Run one task and write its folder; the folder appears only when everything in it is complete."""
    with folder.writing(task) as draft, (draft / "log.txt").open("w", encoding="utf-8", buffering=1) as log:

        def report(step: TrainingStep) -> None:
            log.write(f"epoch {step.epoch}/{step.n_epochs} loss {step.loss:.6g} monitor {step.monitor}\n")
            if progress is not None:
                progress(step)

        log.write(f"{task.label} seed {task.seed}, held out: {task.held_out!r}\n")
        unit = prepare(task.source, task.split, task.split_parameters, task.split_hash, task.preprocess)
        unit = unit.at_dose(task.dose)
        fitted = fit_and_predict(task, unit, device=device, progress=report)
        log.write(f"costs {json.dumps(fitted.costs)}\n")
        write_manifest(unit.split, draft / "manifest.json")
        info = describe(task, unit, fitted)
        write_prediction(draft / "prediction.h5ad", join(fitted.predictions, unit), info)
        if save_model:
            fitted.model.save(draft / "model")
        write_table(score(fitted.predictions, unit, info), draft / "metrics.csv")
        record = {"task": task.id, "costs": fitted.costs, "fit": fitted.model.fit_record, "versions": versions()}
        write_text(draft / "task.json", json.dumps(record, indent=2) + "\n")


def fit_and_predict(
    task: Task, unit: Unit, *, device: str, progress: Callable[[TrainingStep], None] | None = None
) -> Fitted:
    """Fit the task's model on training cells and predict every held-out condition from control cells."""
    reset_peak_memory()
    model = pb_models.create(task.label, **task.settings)
    start = time.perf_counter()
    model.fit(
        unit.training, keys=unit.keys, validation=unit.validation, seed=task.seed, device=device, progress=progress
    )
    fitted = time.perf_counter()
    predictions = {
        condition: model.predict(unit.inputs(condition), perturbation=condition.perturbation, dose=condition.dose)
        for condition in unit.references
    }
    costs = {
        "fit_seconds": round(fitted - start, 3),
        "predict_seconds": round(time.perf_counter() - fitted, 3),
        "peak_memory_bytes": peak_memory(),
        "n_parameters": model.n_parameters,
        "device": str(model.fit_record.get("device", "cpu")),
        "host": platform.node(),
    }
    return Fitted(model, predictions, costs)


def score(predictions: dict[Condition, AnnData], unit: Unit, info: PredictionInfo) -> "pd.DataFrame":
    """Compare each condition's prediction with its measured cells: one row per condition and metric."""
    return merge_tables(
        result_rows(
            info,
            evaluate(prediction.X, unit.references[condition]),
            context=condition.context,
            perturbation=condition.perturbation,
            dose=condition.dose,
            n_predicted=prediction.n_obs,
            n_true=unit.references[condition].truth.n_cells,
        )
        for condition, prediction in predictions.items()
    )


def describe(task: Task, unit: Unit, fitted: Fitted) -> PredictionInfo:
    """Say in the prediction file where it comes from, completely enough to score it again elsewhere."""
    costs = {key: fitted.costs[key] for key in fitted.costs if key != "host"}
    contexts = sorted({condition.context for condition in fitted.predictions})
    return PredictionInfo(
        dataset=unit.split.dataset,
        source=task.source,
        split=task.split,
        split_hash=task.split_hash,
        split_parameters=task.split_parameters,
        preprocess=task.preprocess,
        context=contexts[0] if len(contexts) == 1 else "",
        model=task.model,
        profile=task.profile,
        settings=dataclasses.asdict(fitted.model.settings),
        seed=task.seed,
        versions=versions(),
        scale="log1p",
        context_key=unit.keys.context,
        perturbation_key=unit.keys.perturbation,
        dose_key=unit.keys.dose,
        **costs,
    )


def join(predictions: dict[Condition, AnnData], unit: Unit) -> AnnData:
    """Put the predictions of all conditions into one AnnData, with unique cell names."""
    parts = []
    for condition, prediction in predictions.items():
        if unit.keys.dose:
            prediction.obs[unit.keys.dose] = condition.dose
        if len(predictions) > 1:
            prediction.obs_names = [
                f"{name}|{condition.perturbation}|{condition.dose}" for name in prediction.obs_names
            ]
        parts.append(prediction)
    return parts[0] if len(parts) == 1 else ad.concat(parts, merge="same")

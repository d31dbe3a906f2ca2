"""Tasks: split, fit, predict, score, write. A model is handed training and control cells, never the truth."""

import dataclasses
import json
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import anndata as ad
import pb_models
from anndata import AnnData
from pb_data import write_manifest
from pb_eval import PredictionInfo, write_prediction, write_table
from pb_eval.metric import DRAWS
from pb_models import Model, TrainingStep
from pb_models.pairing import keeping_pairs

from pb_cli.continuing import logged, resumed
from pb_cli.files import write_text
from pb_cli.merging import file_record
from pb_cli.plan import Task
from pb_cli.references import Condition
from pb_cli.resources import Clocks, device_costs, peak_memory, reset_peak_memory, versions
from pb_cli.scoring import Scoring, score
from pb_cli.shared import Shared
from pb_cli.store import SHARED, RunFolder
from pb_cli.supervised.task import SupervisedTask
from pb_cli.unit import Unit, prepare

__all__ = ["Fitted", "run_tasks"]


_OF_THE_RUN = {"host", "trained_together", "seconds", "cpu_seconds"}


class Fitted(NamedTuple):
    """A fitted model, its predictions by condition, and what they cost."""

    model: Model
    predictions: dict[Condition, AnnData]
    costs: dict[str, Any]


def run_tasks(
    tasks: Sequence[Task],
    folder: RunFolder,
    *,
    device: str = "auto",
    save_model: bool = True,
    bootstrap: int = DRAWS,
    data: Path | None = None,
    progress: Callable[[TrainingStep], None] | None = None,
) -> None:
    """Run one task, or several that differ in their seeds only and are trained together, and write their folders.

    The folders appear only when everything in them is complete. `data` is where the data file lies now.
    """
    if isinstance(first := tasks[0], SupervisedTask):
        from pb_cli.supervised.run import run_supervised

        run_supervised(first, folder, data=data, progress=progress)
        return
    with ExitStack() as stack:
        drafts = [stack.enter_context(folder.writing(task)) for task in tasks]
        logs = [stack.enter_context((draft / "log.txt").open("w", encoding="utf-8", buffering=1)) for draft in drafts]
        resumable = stack.enter_context(resumed(first, folder))
        report = logged(logs, resumable, epoch_line, progress)
        for task, log in zip(tasks, logs, strict=True):
            log.write(f"{task.label} seed {task.seed}, held out: {task.held_out!r}\n")
        clocks = Clocks.read()
        unit = unit_of(tasks[0], data, folder.path / SHARED)
        reset_peak_memory()
        with keeping_pairs(Shared(folder.path / SHARED).arrays):
            models = fit(tasks, unit, device=device, progress=report, resumable=resumable)
        for task, model, draft, log in zip(tasks, models, drafts, logs, strict=True):
            fitted = predict(model, unit)
            fitted.costs.update(clocks.since(len(tasks)))
            log.write(f"costs {json.dumps(fitted.costs)}\n")
            write_task(task, unit, fitted, draft, save_model=save_model, bootstrap=bootstrap)


def epoch_line(step: TrainingStep) -> str:
    """Say in a line of the log what came of an epoch."""
    return f"epoch {step.epoch}/{step.n_epochs} loss {step.loss:.6g} monitor {step.monitor}\n"


def unit_of(task: Task, data: Path | None = None, shared: Path | None = None) -> Unit:
    """Prepare what a task trains on and is scored against; `data` is where the data file lies now."""
    source = task.source if data is None else task.source | {"path": str(data.absolute())}
    unit = prepare(source, task.split, task.split_parameters, task.split_hash, task.preprocess, shared)
    return unit.at_dose(task.dose)


def fit(
    tasks: Sequence[Task],
    unit: Unit,
    *,
    device: str,
    progress: Callable[[TrainingStep], None] | None = None,
    resumable: pb_models.Resumable | None = None,
) -> list[Model]:
    """Fit the model of each task on training cells, all in one pass where there are several."""
    models = [pb_models.create(task.label, **task.settings) for task in tasks]
    options: dict[str, Any] = {"keys": unit.keys, "validation": unit.validation, "device": device}
    options |= {"progress": progress, "resumable": resumable}
    if len(models) == 1:
        return [models[0].fit(unit.training, seed=tasks[0].seed, **options)]
    return pb_models.fit_together(models, unit.training, seeds=[task.seed for task in tasks], **options)


def predict(model: Model, unit: Unit) -> Fitted:
    """Predict every held-out condition from control cells, and say what model and predictions cost."""
    start = time.perf_counter()
    predictions = {
        condition: model.predict(unit.inputs(condition), perturbation=condition.perturbation, dose=condition.dose)
        for condition in unit.references
    }
    costs = {
        "fit_seconds": round(model.fit_record["seconds"], 3),
        "predict_seconds": round(time.perf_counter() - start, 3),
        "peak_memory_bytes": peak_memory(),
        "n_parameters": model.n_parameters,
        **device_costs(str(model.fit_record.get("device", "cpu"))),
        "host": platform.node(),
        "trained_together": model.fit_record.get("together", 1),
    }
    return Fitted(model, predictions, costs)


def write_task(
    task: Task, unit: Unit, fitted: Fitted, folder: Path, *, save_model: bool, bootstrap: int = DRAWS
) -> None:
    """Write manifest, prediction, model, scores and costs of a task."""
    write_manifest(unit.split, folder / "manifest.json")
    info = describe(task, unit, fitted)
    write_prediction(folder / "prediction.h5ad", join(fitted.predictions, unit), info)
    if save_model:
        fitted.model.save(folder / "model")
    write_table(score(fitted.predictions, unit, info, Scoring(bootstrap)), folder / "metrics.csv")
    record: dict[str, Any] = {
        "task": task.id,
        "split_hash": task.split_hash,
        "files": file_record(folder),
        "costs": fitted.costs,
    }
    record |= {"fit": fitted.model.fit_record, "versions": versions(), "bootstrap": bootstrap}
    write_text(folder / "task.json", json.dumps(record, indent=2) + "\n")


def describe(task: Task, unit: Unit, fitted: Fitted) -> PredictionInfo:
    """Say in the prediction file where it comes from, completely enough to score it again elsewhere."""
    costs = {key: fitted.costs[key] for key in fitted.costs if key not in _OF_THE_RUN}
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

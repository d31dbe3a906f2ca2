"""One supervised task: train the whole grid on every fold, choose by validation, score the test rows, write."""

import json
import platform
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pb_eval import write_table
from pb_models import TrainingStep

from pb_cli.files import write_text
from pb_cli.merging import file_record
from pb_cli.resources import Clocks, device_costs, peak_memory, reset_peak_memory, versions
from pb_cli.store import RunFolder
from pb_cli.supervised.grids import baseline_names
from pb_cli.supervised.objectives import make_objective
from pb_cli.supervised.problem import Problem, prepare
from pb_cli.supervised.scores import score_rows, selector
from pb_cli.supervised.selection import Choice, select
from pb_cli.supervised.task import SupervisedTask

if TYPE_CHECKING:
    import pandas as pd
    from pb_models.sweep import FoldTraces, Measure, Run

__all__ = ["Outcome", "run_supervised", "settings_of_runs"]

Report = Callable[[TrainingStep], None]
Rows = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""Rows that train, validate, and are predicted."""


class Outcome(NamedTuple):
    """Chosen predictions of the test rows by measure, fold by fold, and what is kept of the way there."""

    outputs: list[dict[str, NDArray[Any] | None]]
    traces: "list[FoldTraces]"
    choices: list[Choice]


def run_supervised(
    task: SupervisedTask, folder: RunFolder, *, data: Path | None = None, progress: Report | None = None
) -> None:
    """Run a task and write its folder, which appears only when everything in it is complete.

    `data` is where the data file lies now.
    """
    with folder.writing(task) as draft, (draft / "log.txt").open("w", encoding="utf-8", buffering=1) as log:
        log.write(f"{task.label} seed {task.seed}, {task.held_out}\n")
        clocks = Clocks.read()
        problem = prepare(task, data)
        reset_peak_memory()
        start = Clocks.read()
        outcome = _baseline(task, problem) if is_baseline(task) else _sweep(task, problem, progress)
        costs = {
            "fit_seconds": start.since(1)["seconds"],
            "peak_memory_bytes": peak_memory(),
            "n_parameters": n_parameters(task, problem),
            **device_costs("cpu"),
            "host": platform.node(),
            "trained_together": len(settings_of_runs(task)),
            "n_diverged": sum(int((trace.diverged > 0).sum()) for trace in outcome.traces),
            **clocks.since(1),
        }
        log.write(f"costs {json.dumps(costs)}\n")
        _write(task, problem, outcome, costs, draft)


def is_baseline(task: SupervisedTask) -> bool:
    """Whether a task is one of the baselines of its kind."""
    return task.model in baseline_names(task.source["task"])


def n_parameters(task: SupervisedTask, problem: Problem) -> int | None:
    """Count the parameters of one network; None for a baseline."""
    if is_baseline(task):
        return None
    widths: tuple[int, ...] = (problem.data.X.shape[1], *task.settings["network"]["hidden"], problem.n_outputs)
    return sum((n_in + 1) * n_out for n_in, n_out in pairwise(widths))


def settings_of_runs(task: SupervisedTask) -> list[dict[str, Any]]:
    """List the settings of each training of a fold, in the order of the runs; empty for a baseline."""
    if is_baseline(task):
        return []
    grid = task.settings
    return [
        {"parameters": parameters, "learning_rate": rate, "weight_decay": decay}
        for parameters, rate, decay in product(grid["parameters"], grid["learning_rates"], grid["weight_decays"])
    ]


def seed_of(*numbers: int) -> int:
    """Make one seed of several numbers: the task's seed, the fold, the run."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _baseline(task: SupervisedTask, problem: Problem) -> Outcome:
    from pb_models.supervised_baselines import FoldRows, fit_baseline

    outputs: list[dict[str, NDArray[Any] | None]] = []
    for fold, (train, validation) in enumerate(problem.folds.folds):
        inner = problem.inner[fold] if problem.is_nested else ()
        rows = FoldRows(problem.inputs(train).x, problem.y, train, validation, problem.scored(fold), inner)
        options: dict[str, Any] = {"n_classes": problem.n_classes, "seed": task.seed}
        _, test = fit_baseline(task.model, problem.data.task, rows, **options)
        outputs.append(dict.fromkeys(task.settings["metrics"], test))
    return Outcome(outputs, [], [])


def _sweep(task: SupervisedTask, problem: Problem, progress: Report | None) -> Outcome:
    """Train all runs of each fold, and choose; or choose by inner folds, and train all runs again on each fold."""
    measures, folds = _measures(task, problem), problem.folds.folds
    rounds = _rounds(progress, len(folds) + sum(map(len, problem.inner)))
    empty = problem.folds.test[:0]

    def trained(rows: Rows, fold: int, *inner: int, keep: NDArray[np.int64] | None = None) -> "FoldTraces":
        return _train(task, problem, rows, measures, (fold, *inner), keep, next(rounds))

    if not problem.is_nested:
        traces = [trained((*rows, problem.folds.test), fold) for fold, rows in enumerate(folds)]
        choices = _select(task, np.stack([trace.validation for trace in traces]), measures)
        return Outcome(_chosen_outputs(problem, traces, choices, measures), traces, choices)
    validation = [
        np.mean([trained((*rows, empty), fold, n).validation for n, rows in enumerate(inner, 1)], axis=0)
        for fold, inner in enumerate(problem.inner)
    ]
    choices = _select(task, np.stack(validation), measures)
    keep = _epochs_to_keep(choices, measures, len(folds), validation[0].shape[0])
    traces = [trained((train, own, own), fold, keep=keep[fold]) for fold, (train, own) in enumerate(folds)]
    return Outcome(_chosen_outputs(problem, traces, choices, measures), traces, choices)


def _train(
    task: SupervisedTask,
    problem: Problem,
    rows: Rows,
    measures: "Sequence[Measure]",
    place: tuple[int, ...],
    keep: NDArray[np.int64] | None,
    progress: Report | None,
) -> "FoldTraces":
    """Train all runs on some rows; `place` is the fold and, where there is one, its inner fold."""
    from pb_models.sweep import FoldSamples, SweepSettings, train_fold

    x, shift = problem.inputs(rows[0])
    labels = problem.y if problem.data.task == "regression" else np.where(problem.y < 0, -100, problem.y)
    return train_fold(
        FoldSamples(x, labels, *rows, shift),
        _runs(task, problem, place[0]),
        _network(task),
        SweepSettings(**task.settings["training"]),
        measures,
        n_outputs=problem.n_outputs,
        order_seed=seed_of(task.seed, *place),
        keep=keep,
        progress=progress,
    )


def _select(task: SupervisedTask, validation: NDArray[np.floating[Any]], measures: "Sequence[Measure]") -> list[Choice]:
    return select(
        validation,
        [measure.name for measure in measures],
        [measure.higher for measure in measures],
        one_setting=task.settings["selection"] == "one-setting",
    )


def _epochs_to_keep(
    choices: Sequence[Choice], measures: "Sequence[Measure]", n_folds: int, n_runs: int
) -> NDArray[np.int64]:
    """Lay the chosen epochs out as (folds, runs, measures), 0 where nothing was chosen."""
    place = {measure.name: number for number, measure in enumerate(measures)}
    keep = np.zeros((n_folds, n_runs, len(measures)), dtype=np.int64)
    for choice in choices:
        if choice.run >= 0:
            keep[choice.fold, choice.run, place[choice.measure]] = choice.epoch
    return keep


def _runs(task: SupervisedTask, problem: Problem, fold: int) -> "list[Run]":
    """Make the runs of a fold: run k of every loss has the same initial weights."""
    from pb_models.sweep import Run

    epochs = task.settings["training"]["epochs"]
    options: dict[str, Any] = {"epochs": epochs, "n_classes": problem.n_classes}
    made = {
        key: make_objective(task.model, json.loads(key), **options)
        for key in {json.dumps(parameters) for parameters in task.settings["parameters"]}
    }
    return [
        Run(
            setting["learning_rate"],
            setting["weight_decay"],
            made[json.dumps(setting["parameters"])],
            seed_of(task.seed, fold, number),
        )
        for number, setting in enumerate(settings_of_runs(task))
    ]


def _network(task: SupervisedTask) -> Any:
    from pb_models.mlp import MLPSettings

    return MLPSettings(**task.settings["network"])


def _measures(task: SupervisedTask, problem: Problem) -> "list[Measure]":
    from pb_models.measures import classification_measures, regression_measures

    names = task.settings["metrics"]
    if problem.data.task == "regression":
        return regression_measures(names)
    return classification_measures(problem.n_classes, names)


def _rounds(progress: Report | None, n_rounds: int) -> Iterator[Report | None]:
    """Yield, for each training of all runs, what turns its news into news of the whole."""
    for number in range(n_rounds):
        yield None if progress is None else partial(_report, progress, number, n_rounds)


def _report(progress: Report, number: int, n_rounds: int, step: TrainingStep) -> None:
    progress(TrainingStep(number * step.n_epochs + step.epoch, n_rounds * step.n_epochs, *step[2:]))


def _chosen_outputs(
    problem: Problem, traces: "Sequence[FoldTraces]", choices: Sequence[Choice], measures: "Sequence[Measure]"
) -> list[dict[str, NDArray[Any] | None]]:
    """Collect the test predictions of each choice; logits become probabilities."""
    place = {measure.name: number for number, measure in enumerate(measures)}
    outputs: list[dict[str, NDArray[Any] | None]] = [{} for _ in traces]
    for choice in choices:
        trace, found = traces[choice.fold], choice.run >= 0
        found = found and not 0 < trace.diverged[choice.run] <= choice.epoch  # trained again, a chosen run may diverge
        values = trace.test_outputs[choice.run, place[choice.measure]] if found else None
        if values is not None and problem.n_classes:
            values = _probabilities(values, problem.n_classes)
        outputs[choice.fold][choice.measure] = values
    return outputs


def _probabilities(logits: NDArray[Any], n_classes: tuple[int, ...]) -> NDArray[np.float64]:
    heads = []
    for head in np.split(logits.astype(np.float64), np.cumsum(n_classes)[:-1], axis=1):
        exponential = np.exp(head - head.max(axis=1, keepdims=True))
        heads.append(exponential / exponential.sum(axis=1, keepdims=True))
    return np.concatenate(heads, axis=1)


def _write(task: SupervisedTask, problem: Problem, outcome: Outcome, costs: dict[str, Any], draft: Path) -> None:
    """Write scores, traces of every epoch and fold, a figure of the chosen ones, and what was chosen."""
    from pb_cli.supervised.curves import draw_curves, trace_table

    scored = [problem.scored(fold) for fold in range(len(problem.folds.folds))]
    write_table(score_rows(task, problem.data, scored, outcome.outputs), draft / "metrics.csv")
    if outcome.traces:
        table = trace_table(task, outcome.traces)
        table.to_parquet(draft / "traces.parquet", index=False)
        draw_curves(table, outcome.choices, task.settings["metrics"][0], task.label, draft / "curves.svg")
        _choice_table(task, outcome).to_csv(draft / "chosen.csv", index=False)
    arrays: dict[str, Any] = _predictions(problem, outcome, scored)
    np.savez_compressed(draft / "predictions.npz", **arrays)
    record: dict[str, Any] = {"task": task.id, "split_hash": task.split_hash, "files": file_record(draft)}
    record |= {"costs": costs, "claim": problem.folds.claim, "versions": versions()}
    write_text(draft / "task.json", json.dumps(record, indent=2) + "\n")


def _choice_table(task: SupervisedTask, outcome: Outcome) -> "pd.DataFrame":
    """One row for each fold and measure: the chosen setting and epoch, and how many runs diverged."""
    import pandas as pd

    runs, rows = settings_of_runs(task), []
    for choice in outcome.choices:
        setting = (
            runs[choice.run] if choice.run >= 0 else {"parameters": {}, "learning_rate": None, "weight_decay": None}
        )
        rows.append(
            {
                "fold": choice.fold + 1,
                "metric": choice.measure,
                "run": choice.run,
                "epoch": choice.epoch,
                "validation": choice.validation,
                "learning_rate": setting["learning_rate"],
                "weight_decay": setting["weight_decay"],
                "parameters": json.dumps(setting["parameters"]),
                "n_diverged": int((outcome.traces[choice.fold].diverged > 0).sum()),
                "n_runs": len(runs),
            }
        )
    return pd.DataFrame(rows)


def _predictions(problem: Problem, outcome: Outcome, scored: Sequence[NDArray[np.int64]]) -> dict[str, NDArray[Any]]:
    """Predictions of the scored rows by fold and measure, row numbers and true labels, by fold where they differ."""
    named = {
        f"fold{fold}_{measure}": values.astype(np.float32)
        for fold, chosen in enumerate(outcome.outputs, 1)
        for measure, values in chosen.items()
        if values is not None and (outcome.traces or measure == selector(measure, list(chosen)[:1]))
    }
    y = problem.data.y
    if not problem.is_nested:
        return named | {"rows": scored[0], "truth": y[scored[0]]}
    of_folds = {f"fold{fold}_rows": rows for fold, rows in enumerate(scored, 1)}
    return named | of_folds | {f"fold{fold}_truth": y[rows] for fold, rows in enumerate(scored, 1)}

"""One supervised task: train the whole grid on every fold, choose by validation."""

import json
import platform
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pb_models import Resumable, TrainingStep

from pb_cli.continuing import Report, logged, resumed
from pb_cli.resources import Clocks, device_costs, peak_memory, reset_peak_memory
from pb_cli.store import RunFolder
from pb_cli.supervised.outcome import Outcome, write_outcome
from pb_cli.supervised.problem import Problem, prepare
from pb_cli.supervised.selection import Choice, select
from pb_cli.supervised.task import SupervisedTask
from pb_cli.supervised.training import Part, Trainer

if TYPE_CHECKING:
    from pb_models.sweep import FoldTraces, Measure

__all__ = ["run_supervised"]


def run_supervised(
    task: SupervisedTask, folder: RunFolder, *, data: Path | None = None, progress: Report | None = None
) -> None:
    """Run a task and write its folder, which appears only when everything in it is complete.

    `data` is where the data file lies now.
    """
    with ExitStack() as stack:
        draft = stack.enter_context(folder.writing(task))
        log = stack.enter_context((draft / "log.txt").open("w", encoding="utf-8", buffering=1))
        resumable = stack.enter_context(resumed(task, folder))
        log.write(f"{task.label} seed {task.seed}, {task.held_out}\n")
        clocks = Clocks.read()
        problem = prepare(task, data)
        reset_peak_memory()
        start = Clocks.read()
        resumable.begin(partial(_identity, task, problem))
        report = logged([log], resumable, _epoch_lines(resumable), progress)
        outcome = _baseline(task, problem) if task.is_baseline else _sweep(task, problem, resumable, report)
        fit, seconds = resumable.add_before({}, start.since(1)["seconds"])
        costs = {
            "fit_seconds": round(seconds, 3),
            "peak_memory_bytes": peak_memory(),
            "n_parameters": n_parameters(task, problem),
            **device_costs("cpu"),
            "host": platform.node(),
            "trained_together": len(task.runs),
            "n_diverged": sum(int((trace.diverged > 0).sum()) for trace in outcome.traces),
            **clocks.since(1),
        }
        log.write(f"costs {json.dumps(costs)}\n")
        write_outcome(task, problem, outcome, {"costs": costs, "fit": fit}, draft)


def n_parameters(task: SupervisedTask, problem: Problem) -> int | None:
    """Count the parameters of one network; None for a baseline."""
    if task.is_baseline:
        return None
    widths: tuple[int, ...] = (problem.data.X.shape[1], *task.settings["network"]["hidden"], problem.n_outputs)
    return sum((n_in + 1) * n_out for n_in, n_out in pairwise(widths))


def _identity(task: SupervisedTask, problem: Problem) -> dict[str, Any]:
    """Say which training this is, so that no other's state is taken up."""
    from pb_models.resumable import array_hash

    rows = [rows for fold in problem.folds.folds for rows in fold]
    return {"task": task.id, "data": array_hash("", [problem.data.X, problem.y, problem.folds.test, *rows])}


def _epoch_lines(resumable: Resumable) -> Callable[[TrainingStep], str]:
    """Return what gives the log a line where the whole is an epoch further.

    The grid is trained block by block, and the number is that of epochs of blocks, of which there can be many.
    """
    last = -1

    def line(step: TrainingStep) -> str:
        nonlocal last
        if step.epoch == last:
            return ""
        last = step.epoch
        return f"epoch {resumable.epochs}, {step.epoch / step.n_epochs:.1%} of the whole, loss {step.loss:.6g}\n"

    return line


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


def _sweep(task: SupervisedTask, problem: Problem, resumable: Resumable, progress: Report) -> Outcome:
    """Train all runs of each fold, and choose; or choose by inner folds, and train all runs again on each fold."""
    folds, test = problem.folds.folds, problem.folds.test
    trainer = Trainer(task, problem, len(folds) + sum(map(len, problem.inner)), resumable, progress)
    measures = trainer.measures
    if not problem.is_nested:
        traces = trainer.train([Part((*rows, test), (fold,)) for fold, rows in enumerate(folds)])
        choices = _select(task, np.stack([trace.validation for trace in traces]), measures)
        return Outcome(_chosen_outputs(problem, traces, choices, measures), traces, choices)
    inner = [
        Part((*rows, test[:0]), (fold, n)) for fold, own in enumerate(problem.inner) for n, rows in enumerate(own, 1)
    ]
    of_inner = iter(trainer.train(inner))
    validation = [np.mean([next(of_inner).validation for _ in own], axis=0) for own in problem.inner]
    choices = _select(task, np.stack(validation), measures)
    keep = _epochs_to_keep(choices, measures, len(folds), validation[0].shape[0])
    traces = trainer.train([Part((train, own, own), (f,), keep[f]) for f, (train, own) in enumerate(folds)])
    return Outcome(_chosen_outputs(problem, traces, choices, measures), traces, choices)


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

"""Train the whole grid of a task on parts of its data, several parts at once where that is quicker."""

import json
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pb_models import Resumable, TrainingStep

from pb_cli.continuing import Report
from pb_cli.supervised.objectives import make_objective
from pb_cli.supervised.problem import SMALL, Problem
from pb_cli.supervised.task import SupervisedTask

if TYPE_CHECKING:
    from pb_models.sweep import Fold, FoldTraces, Measure, Run

__all__ = ["Part", "Trainer"]


class Part(NamedTuple):
    """Rows that train, validate and are predicted; the fold and, where there is one, its inner fold, from 1.

    `keep` (runs, measures) says after which epochs the predictions are kept, where validation does not choose.
    """

    rows: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
    place: tuple[int, ...]
    keep: NDArray[np.int64] | None = None


class Trainer:
    """Trains all runs of a task on each part, and reports progress as part of `n_parts` such trainings."""

    def __init__(
        self, task: SupervisedTask, problem: Problem, n_parts: int, resumable: Resumable, progress: Report
    ) -> None:
        from pb_models.mlp import MLPSettings
        from pb_models.sweep import SweepSettings

        self.task, self.problem, self.resumable = task, problem, resumable
        self.progress, self.n_parts, self.done = progress, n_parts, 0
        self.network = MLPSettings(**task.settings["network"])
        self.settings = SweepSettings(**task.settings["training"])
        self.measures = _measures(task, problem)
        self.objectives = {
            key: make_objective(task.model, json.loads(key), epochs=self.settings.epochs, n_classes=problem.n_classes)
            for key in map(json.dumps, task.settings["parameters"])
        }

    def train(self, parts: Sequence[Part]) -> "list[FoldTraces]":
        """Train all runs on each part."""
        traces, at_once = [], self._at_once(parts)
        for start in range(0, len(parts), at_once):
            block = parts[start : start + at_once]
            traces += self._train([self._fold(part) for part in block])
            self.done += len(block)
        return traces

    def _at_once(self, parts: Sequence[Part]) -> int:
        """Say how many parts to train together: of small networks as many as their copies of the features allow."""
        from pb_losses.members import takes_own_batches
        from pb_models.sweep import folds_at_once

        n_samples, n_inputs = self.problem.data.X.shape
        fitting = int(SMALL // (4 * n_samples * n_inputs))
        if not takes_own_batches(self.task.model) or fitting < 2:
            return 1
        n_train, n_runs = [len(part.rows[0]) for part in parts], len(self.task.runs)
        sizes: dict[str, int] = {"n_inputs": n_inputs, "n_outputs": self.problem.n_outputs}
        return min(fitting, folds_at_once(n_train, n_runs, self.network, self.settings, **sizes))

    def _fold(self, part: Part) -> "Fold":
        from pb_models.sweep import Fold, FoldSamples

        problem = self.problem
        x, shift = problem.inputs(part.rows[0])
        labels = problem.y if problem.data.task == "regression" else np.where(problem.y < 0, -100, problem.y)
        samples = FoldSamples(x, labels, *part.rows, shift)
        return Fold(samples, self._runs(part.place[0]), _seed_of(self.task.seed, *part.place), part.keep)

    def _train(self, folds: "Sequence[Fold]") -> "list[FoldTraces]":
        from pb_models.sweep import train_fold, train_folds

        progress, given = partial(self._report, len(folds)), (self.network, self.settings, self.measures)
        options: dict[str, Any] = {"n_outputs": self.problem.n_outputs, "resumable": self.resumable}
        if len(folds) > 1:
            return train_folds(folds, *given, progress=progress, **options)
        samples, runs, order_seed, keep = folds[0]
        options |= {"order_seed": order_seed, "keep": keep}
        return [train_fold(samples, runs, *given, progress=progress, **options)]

    def _runs(self, fold: int) -> "list[Run]":
        """Make the runs of a fold: run k of every loss has the same initial weights."""
        from pb_models.sweep import Run

        return [
            Run(
                setting["learning_rate"],
                setting["weight_decay"],
                self.objectives[json.dumps(setting["parameters"])],
                _seed_of(self.task.seed, fold, number),
            )
            for number, setting in enumerate(self.task.runs)
        ]

    def _report(self, n_now: int, step: TrainingStep) -> None:
        """Turn news of some parts into news of all."""
        done = self.done * step.n_epochs + n_now * step.epoch
        self.progress(TrainingStep(done, self.n_parts * step.n_epochs, *step[2:]))


def _seed_of(*numbers: int) -> int:
    """Make one seed of several numbers: the task's seed, the fold, the run."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _measures(task: SupervisedTask, problem: Problem) -> "list[Measure]":
    from pb_models.measures import classification_measures, regression_measures

    names = task.settings["metrics"]
    if problem.data.task == "regression":
        return regression_measures(names)
    return classification_measures(problem.n_classes, names)

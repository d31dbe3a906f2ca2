"""What comes of a supervised task: predictions by measure and fold, scores, traces, choices, written to a folder."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pb_eval import write_table

from pb_cli.files import write_text
from pb_cli.merging import file_record
from pb_cli.resources import versions
from pb_cli.supervised.problem import Problem
from pb_cli.supervised.scores import score_rows, selector
from pb_cli.supervised.selection import Choice
from pb_cli.supervised.task import SupervisedTask

if TYPE_CHECKING:
    import pandas as pd
    from pb_models.sweep import FoldTraces

__all__ = ["Outcome", "write_outcome"]


class Outcome(NamedTuple):
    """Chosen predictions of the test rows by measure, fold by fold, and what is kept of the way there."""

    outputs: list[dict[str, NDArray[Any] | None]]
    traces: "list[FoldTraces]"
    choices: list[Choice]


def write_outcome(task: SupervisedTask, problem: Problem, outcome: Outcome, known: dict[str, Any], draft: Path) -> None:
    """Write scores, traces of every epoch and fold, a figure of the chosen ones, and what was chosen.

    `known` of the training goes into the task's record.
    """
    from pb_cli.supervised.curves import draw_curves, trace_table

    scored = [problem.scored(fold) for fold in range(len(problem.folds.folds))]
    write_table(score_rows(task, problem.data, scored, outcome.outputs), draft / "metrics.csv")
    if outcome.traces:
        table = trace_table(task, outcome.traces)
        table.to_parquet(draft / "traces.parquet", index=False)
        draw_curves(table, outcome.choices, task.label, draft / "curves.svg")
        _choice_table(task, outcome).to_csv(draft / "chosen.csv", index=False)
    arrays: dict[str, Any] = _predictions(problem, outcome, scored)
    np.savez_compressed(draft / "predictions.npz", **arrays)
    record: dict[str, Any] = {"task": task.id, "split_hash": task.split_hash, "files": file_record(draft)}
    record |= {**known, "claim": problem.folds.claim, "versions": versions()}
    write_text(draft / "task.json", json.dumps(record, indent=2) + "\n")


def _choice_table(task: SupervisedTask, outcome: Outcome) -> "pd.DataFrame":
    """One row for each fold and measure: the chosen setting and epoch, and how many runs diverged."""
    import pandas as pd

    runs, rows = task.runs, []
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

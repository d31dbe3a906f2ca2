"""Say of predictions that lie below `control` whose cells they look like, and which genes are furthest off.

python experiments/identity.py runs/pbmc >> experiments/pbmc.md

A network can move the right genes and still be worse than the untouched control cells, if the cells it draws are no
longer those of the held-out context. Mean predictions (of all seeds) are compared with the mean measured perturbed cell
of every context by squared Pearson correlation over all genes.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from pb_cli.plan import Task, read_plan
from pb_cli.store import RunFolder
from pb_cli.unit import Unit, prepare
from pb_data import label_array
from pb_eval import read_prediction

N_GENES = 4
COLUMNS = (
    "model",
    "held out",
    "with its truth",
    "control",
    "most alike of the others",
    "furthest off: predicted, true",
)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("run", type=Path, help="run folder with one condition in every unit")
    folder = RunFolder(arguments.parse_args().run)
    done = [task for task in read_plan(folder.path / "plan.jsonl") if folder.is_done(task)]
    rows = [row for tasks in by_unit(done) for row in below_control(tasks, folder)]
    print("\n## What lies below `control`, and whose cells it looks like\n")
    print(f"    python experiments/identity.py {folder.path} >> experiments/{folder.path.name}.md\n")
    print("Squared Pearson correlation of mean cells over all genes; predictions are averaged over seeds first.\n")
    print("\n".join(f"| {' | '.join(row)} |" for row in (COLUMNS, ["---"] * len(COLUMNS), *sorted(rows))))


def by_unit(tasks: list[Task]) -> list[list[Task]]:
    """Group tasks by what is held out."""
    return [[task for task in tasks if task.split_hash == found] for found in {task.split_hash: 0 for task in tasks}]


def below_control(tasks: list[Task], folder: RunFolder) -> list[list[str]]:
    """Write a row for every model whose mean prediction is less like the truth than the mean control cell is."""
    first = tasks[0]
    unit = prepare(first.source, first.split, first.split_parameters, first.split_hash, first.preprocess)
    (condition,) = unit.references
    truth, control = unit.references[condition].truth.mean, mean(unit.control.X)
    others = perturbed_means(unit)
    rows = []
    for label in dict.fromkeys(task.label for task in tasks if task.model != "control"):
        own = [task for task in tasks if task.label == label]
        predicted = np.mean([mean(read_prediction(folder.task(task) / "prediction.h5ad")[0].X) for task in own], axis=0)
        if r2(predicted, truth) < r2(control, truth):
            alike = max(others, key=lambda name: r2(predicted, others[name]))
            scores = [f"{r2(values, truth):.3f}" for values in (predicted, control)]
            words = [f"{alike} {r2(predicted, others[alike]):.3f}", furthest(predicted, truth, unit.training.var_names)]
            rows.append([label.removesuffix(":default"), condition.context, *scores, *words])
    return rows


def perturbed_means(unit: Unit) -> dict[str, np.ndarray]:
    """Return the mean measured perturbed cell of every training context."""
    treated = ~unit.keys.is_control(unit.training.obs)
    contexts = label_array(unit.training.obs, unit.keys.context)
    return {name: mean(unit.training.X[treated & (contexts == name)]) for name in np.unique(contexts[treated])}


def furthest(predicted: np.ndarray, truth: np.ndarray, genes: pd.Index) -> str:
    """Name the genes whose means are furthest off."""
    worst = np.argsort(-np.abs(predicted - truth))[:N_GENES]
    return ", ".join(f"{genes[k]} {predicted[k]:.2f}, {truth[k]:.2f}" for k in worst)


def mean(cells) -> np.ndarray:
    """Return the mean cell of a dense or sparse matrix."""
    return np.asarray(cells.mean(axis=0), dtype=np.float64).ravel()


def r2(one: np.ndarray, other: np.ndarray) -> float:
    """Return the squared Pearson correlation."""
    return float(np.corrcoef(one, other)[0, 1] ** 2)


if __name__ == "__main__":
    main()

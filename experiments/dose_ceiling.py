"""Score the known truth of simulated cells as if it were a prediction: the ceiling of a run on them.

python experiments/dose_ceiling.py runs/dose >> experiments/dose.md

The held-out context's own control cells get the exact response they would have had, with the noise of counts: the best
that any model can do from these cells, and short of perfect only because cells are few.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from pb_cli.plan import read_plan
from pb_cli.references import Condition
from pb_cli.unit import Unit, prepare
from pb_data import PerturbationData, load_source
from pb_data.responding_counts import change_counts, gene_rates
from pb_data.simulate import noiseless_mean
from pb_eval import evaluate

METRICS = ["r2_mean_all", "r2_mean_top100", "mse_mean", "pearson_delta", "edistance"]
SEED = 0


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("run", type=Path, help="run folder on simulated data")
    tasks = read_plan(arguments.parse_args().run / "plan.jsonl")
    units = {task.split_hash: task for task in tasks}.values()
    rows = [row for task in units for row in ceilings(task)]
    table = pd.DataFrame(rows).groupby("dose")[METRICS].mean()
    print("\n## Ceiling: the truth itself, drawn anew, mean over contexts\n")
    print("    python experiments/dose_ceiling.py runs/dose >> experiments/dose.md\n")
    print("| dose | " + " | ".join(METRICS) + " |\n" + "|" + " --- |" * (len(METRICS) + 1))
    for dose, values in (*table.iterrows(), ("mean", table.mean())):
        label = dose if isinstance(dose, str) else f"{dose:g}"
        print(f"| {label} | " + " | ".join(f"{value:.4f}" for value in values) + " |")


def ceilings(task) -> list[dict]:
    """Score the truth of every condition of a held-out unit."""
    unit = prepare(task.source, task.split, task.split_parameters, task.split_hash, task.preprocess)
    data = load_source(task.source)
    return [
        {"dose": condition.dose, **evaluate(redrawn(data, unit, condition), reference, METRICS)}
        for condition, reference in unit.references.items()
    ]


def redrawn(data: PerturbationData, unit: Unit, condition: Condition):
    """Give the input control cells the condition's known response, and preprocess them as the run did."""
    cells = data.adata[unit.inputs(condition).obs_names].copy()
    means = [
        noiseless_mean(data.adata, condition.context, *which)
        for which in ((condition.perturbation, condition.dose), (data.keys.control, data.keys.control_dose))
    ]
    factor = np.divide(*means, out=np.ones_like(means[0]), where=means[1] > 0)
    cells.X = change_counts(cells.X.tocsr(), factor, gene_rates(cells.X.tocsr()), np.random.default_rng(SEED))
    return unit.preprocessor.transform(cells).X


if __name__ == "__main__":
    main()

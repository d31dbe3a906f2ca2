"""Time the sweep of one loss on Concrete, settings trained together, against the same trainings one by one.

    OMP_NUM_THREADS=1 python benchmarks/supervised_sweep.py [LOSS ...] [--folds N]

Together is what `pb bench --task regression --dataset concrete` does: the runs of a fold, and of all folds where the
loss allows, as stacked networks. One by one is the plain loop: a module, torch.optim.SGD, MultiStepLR, the same
batches, validation after every epoch with the same scores. Both keep test predictions of the best epochs. Of the
one-by-one runs every ninth is timed, since all take minutes. Times are CPU seconds of the process. Exits with 1 where a
ratio is below the goal.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import torch
from pb_cli.supervised.grids import parameter_settings
from pb_cli.supervised.objectives import make_objective
from pb_data import load_labelled, make_folds
from pb_losses.members import takes_own_batches
from pb_models.measures import regression_measures
from pb_models.mlp import HIDDEN, MLPSettings, build_mlp
from pb_models.sweep import Fold, FoldSamples, Run, SweepSettings, batches, folds_at_once, train_fold, train_folds

GOAL = 5.0
NETWORK, SETTINGS, MEASURES = MLPSettings(hidden=HIDDEN["small"]), SweepSettings(), regression_measures()


def runs_of(loss: str) -> list[Run]:
    settings = parameter_settings(loss, {}, 3)
    made = {repr(each): make_objective(loss, each, epochs=SETTINGS.epochs) for each in settings}
    grid = [(made[repr(each)], lr, wd) for each in settings for lr in (1e-1, 1e-2, 1e-3) for wd in (1e-3, 1e-4, 1e-5)]
    return [Run(lr, wd, objective, seed) for seed, (objective, lr, wd) in enumerate(grid)]


def alone(samples: FoldSamples, run: Run) -> None:
    """Train one run with torch's own parts."""
    x, y = torch.from_numpy(samples.x), torch.from_numpy(samples.y)
    held = [(x[rows], y[rows]) for rows in (samples.validation, samples.test)]
    network = build_mlp(x.shape[1], y.shape[1], NETWORK, seed=run.seed)
    options = {"lr": run.learning_rate, "weight_decay": run.weight_decay}
    optimiser = torch.optim.SGD(network.parameters(), momentum=0.9, **options)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, SETTINGS.milestones)
    order = torch.Generator().manual_seed(0)
    best, kept = [np.inf] * len(MEASURES), [None] * len(MEASURES)
    for epoch in range(SETTINGS.epochs):
        outputs, seen = [], []
        for rows in batches(samples.train, SETTINGS.batch_size, order):
            optimiser.zero_grad()
            z, p = network(x[rows])
            run.objective(z[None], p[None], y[rows], epoch).sum().backward()
            optimiser.step()
            outputs.append(p.detach())
            seen.append(y[rows])
        schedule.step()
        with torch.no_grad():
            for measure in MEASURES:
                measure.function(torch.cat(outputs)[None], torch.cat(seen))
            p, test = network(held[0][0])[1], network(held[1][0])[1]
            for number, measure in enumerate(MEASURES):
                value = float(measure.function(p[None], held[0][1])) * (-1 if measure.higher else 1)
                if value < best[number]:
                    best[number], kept[number] = value, test.clone()


def together(loss: str, folds: list[FoldSamples], runs: list[Run]) -> None:
    """Train all runs as stacked networks, several folds at once where `pb bench` does."""
    n_train, sizes = [len(samples.train) for samples in folds], {"n_inputs": folds[0].x.shape[1], "n_outputs": 1}
    at_once = folds_at_once(n_train, len(runs), NETWORK, SETTINGS, **sizes) if takes_own_batches(loss) else 1
    for start in range(0, len(folds), at_once):
        block = [Fold(samples, runs, 0) for samples in folds[start : start + at_once]]
        if len(block) > 1:
            train_folds(block, NETWORK, SETTINGS, MEASURES, n_outputs=1)
        else:
            train_fold(block[0].samples, runs, NETWORK, SETTINGS, MEASURES, n_outputs=1, order_seed=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("losses", nargs="*", default=["mae", "huber", "far"])
    parser.add_argument("--folds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = load_labelled("concrete", task="regression")
    folds = make_folds("cells-unshuffled", data)
    x = ((data.X - data.X.mean(0)) / data.X.std(0)).astype(np.float32)
    print(f"torch {torch.__version__}, 1 thread, {arguments.folds} folds x 27 settings x {SETTINGS.epochs} epochs\n")
    print("| loss | together s | one by one s | ratio |\n|---|---|---|---|")
    least = np.inf
    samples = [FoldSamples(x, data.y, *rows, folds.test) for rows in folds.folds[: arguments.folds]]
    alone(samples[0], runs_of("mae")[0])  # what torch does once in a process is not timed
    for loss in arguments.losses:
        runs, apart, n_apart = runs_of(loss), 0.0, 0
        start = time.process_time()
        together(loss, samples, runs)
        stacked = time.process_time() - start
        for number, fold in enumerate(samples):
            for run in runs[number % 9 :: 9]:
                start = time.process_time()
                alone(fold, run)
                apart += time.process_time() - start
                n_apart += 1
        apart *= len(samples) * len(runs) / n_apart
        least = min(least, apart / stacked)
        print(f"| {loss} | {stacked:.1f} | {apart:.1f} | {apart / stacked:.1f} |", flush=True)
    print(f"\nGoal: at least {GOAL}.")
    sys.exit(int(least < GOAL))


if __name__ == "__main__":
    main()

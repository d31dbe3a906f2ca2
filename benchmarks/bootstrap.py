"""Bootstrap over cells: resamples from one pass against computing each anew, and what intervals add to a unit.

The straightforward loop draws the cells of each resample and computes the metric of them. A few of its rounds are timed
and counted as many times as there are draws; their values are held against those of the one pass on the same resamples.
One thread, all in one process and in processor time, so that the ratios mean the same on every machine.

    python benchmarks/bootstrap.py [--cells 3000] [--dimensions 50] [--draws 100] [--genes 2000]
"""

from __future__ import annotations

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from pb_eval import OtherUnit, Reference, evaluate, fit_basis, intervals
from pb_eval.bootstrap import energy_distance_draws, resample_counts
from pb_eval.distances import distance_sum
from pb_eval.metric import DRAWS
from pb_eval.resampling import weighted_means
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Callable

GOAL = 10.0
MOST_ADDED = 0.5
ROUNDS = 3


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def anew(x: np.ndarray, y: np.ndarray, w: np.ndarray, v: np.ndarray) -> float:
    """E-distance of one resample from its own cells, over pairs of cells that were not copied from one."""
    first, second = np.repeat(x, w, axis=0), np.repeat(y, v, axis=0)
    n, m = len(first), len(second)
    pairs = n * n - float((w.astype(float) ** 2).sum()), m * m - float((v.astype(float) ** 2).sum())
    between = distance_sum(first, second) / (n * m)
    return 2 * between - distance_sum(first) / pairs[0] - distance_sum(second) / pairs[1]


def energy(rng: np.random.Generator, n_cells: int, dimensions: int, draws: int) -> bool:
    """Print the ratio for the E-distance; whether it meets the goal."""
    x = rng.normal(size=(n_cells, dimensions))
    y = rng.normal(0.1, 1.0, size=(n_cells, dimensions))
    energy_distance_draws(x[:100], y[:100], 2)
    here, drawn = seconds(lambda: energy_distance_draws(x, y, draws))
    w, v = (resample_counts(n_cells, draws, (0, side)) for side in (0, 1))
    x, y = x - x.mean(axis=0), y - x.mean(axis=0)
    there, loop = seconds(lambda: [anew(x, y, w[i], v[i]) for i in range(ROUNDS)])
    there *= draws / ROUNDS
    apart = float(np.abs(drawn[:ROUNDS] - loop).max() / np.abs(drawn).mean())
    print(f"E-distance, {draws} resamples of {n_cells:,} cells a group in {dimensions} dimensions")
    print(f"  one pass {here:.2f} s, loop {there:.1f} s ({ROUNDS} rounds timed): {there / here:.1f} times faster")
    print(f"  largest difference of values {apart:.1e} of their size (copies of a cell cost the loop digits)")
    return there >= GOAL * here


def means(rng: np.random.Generator, n_cells: int, n_genes: int, draws: int) -> None:
    """Print the ratio for resampled means, dense and CSR."""
    dense = np.log1p(rng.poisson(0.2, (n_cells, n_genes))).astype(np.float32)
    counts = resample_counts(n_cells, draws)
    for name, cells in (("dense", dense), ("CSR", sparse.csr_matrix(dense))):
        here, stack = seconds(lambda cells=cells: weighted_means(cells, counts))
        rows = [np.repeat(np.arange(n_cells), counts[i]) for i in range(ROUNDS)]
        there, loop = seconds(
            lambda cells=cells, rows=rows: [np.asarray(cells[r].mean(axis=0, dtype=np.float64)).ravel() for r in rows]
        )
        there *= draws / ROUNDS
        apart = max(float(np.abs(stack[i] - loop[i]).max()) for i in range(ROUNDS))
        print(f"Means of {draws} resamples of {n_cells:,} cells x {n_genes:,} genes, {name}")
        print(f"  one product {here:.2f} s, loop {there:.1f} s: {there / here:.1f} times faster, apart {apart:.0e}")


def whole_unit(rng: np.random.Generator, n_cells: int, n_genes: int) -> bool:
    """Print what the default intervals add to the evaluation of a unit; whether it is little enough."""
    rates = rng.gamma(0.3, 1.0, n_genes)
    up = rng.lognormal(0.0, 0.5, n_genes)
    groups = [
        sparse.csr_matrix(np.log1p(rng.poisson(rates * change, (n_cells, n_genes))).astype(np.float32))
        for change in (up * rng.lognormal(0.0, 0.2, n_genes), up, 1.0)
    ]
    fitting, basis = seconds(lambda: fit_basis(sparse.vstack(groups, format="csr")))
    others = {f"unit {i}": OtherUnit(*rng.normal(size=(2, n_genes))) for i in range(6)}
    reference = Reference(
        groups[1],
        groups[2],
        [f"g{i}" for i in range(n_genes)],
        basis,
        training_shift=rng.normal(size=n_genes),
        weights=rng.random(n_genes),
        others=others,
    )
    added = []
    for what, before in (("a first model, PCA of as many training cells included", fitting), ("the next model", 0.0)):
        cells = reference.cells(groups[0])
        scoring, scores = seconds(lambda cells=cells: evaluate(cells, reference))
        more, _ = seconds(lambda cells=cells, scores=scores: intervals(cells, reference, scores))
        added.append(more / (before + scoring))
        print(f"  {what}: {before + scoring:.2f} s, intervals {more:.2f} s more, {added[-1]:.2f} of it")
    return added[0] <= MOST_ADDED


def main() -> int:
    """Print all ratios; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=3000)
    parser.add_argument("--dimensions", type=int, default=50)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--genes", type=int, default=2000)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    fast = energy(rng, options.cells, options.dimensions, options.draws)
    means(rng, options.cells, options.genes, options.draws)
    print(
        f"One unit, {options.cells:,} cells a group x {options.genes:,} genes CSR, default metrics, {DRAWS} resamples"
    )
    cheap = whole_unit(rng, options.cells, options.genes)
    return int(not (fast and cheap))


if __name__ == "__main__":
    sys.exit(main())

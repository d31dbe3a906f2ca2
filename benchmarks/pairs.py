"""E-distance and MMD of 10,000 by 10,000 cells of 50 dimensions, against one bare pass over the same pairs.

The bare pass multiplies blocks of cells, adds the squared lengths and sums up, for the pairs between the groups and
within each; both distances also take a root or an exponential of each pair. Alternating runs on one core, medians of
the processor time; memory is what a distance adds to the peak of the process. Linux only.

    python benchmarks/pairs.py [--cells 10000]
"""

from __future__ import annotations

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import argparse
import math
import statistics
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
from metrics_unit import memory, reset_peak
from pb_eval.distances import energy_distance, mmd_rbf

if TYPE_CHECKING:
    from collections.abc import Callable

RATIO, EXTRA = 2.0, 300e6
BANDWIDTH = 10.0


def bare_pass(x: np.ndarray, y: np.ndarray) -> float:
    """Sum the squared distances of all pairs, 512 rows at a time."""
    total = 0.0
    for a, b in ((x, y), (x, x), (y, y)):
        a_lengths, b_lengths = (a * a).sum(axis=1), (b * b).sum(axis=1)
        for start in range(0, len(a), 512):
            squared = a[start : start + 512] @ b.T
            squared *= -2.0
            squared += a_lengths[start : start + 512, None]
            squared += b_lengths
            total += float(squared.sum())
    return total


def loops(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """E-distance and MMD as the formulas say, pair by pair."""

    def mean(pairs: Callable[[float], float], a: np.ndarray, b: np.ndarray) -> float:
        same = a is b
        total = sum(pairs(math.dist(p, q)) for i, p in enumerate(a) for j, q in enumerate(b) if not same or i != j)
        return total / (len(a) * (len(b) - same))

    def kernel(distance: float) -> float:
        return math.exp(-(distance**2) / (2 * BANDWIDTH**2))

    energy = 2 * mean(float, x, y) - mean(float, x, x) - mean(float, y, y)
    return energy, mean(kernel, x, x) + mean(kernel, y, y) - 2 * mean(kernel, x, y)


def main() -> int:
    """Print ratios and memory beside the goals; 1 where one is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=10_000)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    scales = np.geomspace(6.0, 0.6, 50)
    x, y = (rng.normal(shift, scales, (options.cells, 50)) for shift in (0.0, 0.3))

    np.testing.assert_allclose(
        [energy_distance(x[:300], y[:280]), mmd_rbf(x[:300], y[:280], BANDWIDTH)], loops(x[:300], y[:280]), rtol=1e-9
    )
    work = {
        "bare pass": lambda: bare_pass(x, y),
        "E-distance": lambda: energy_distance(x, y),
        "MMD": lambda: mmd_rbf(x, y, BANDWIDTH),
    }
    seconds: dict[str, list[float]] = {name: [] for name in work}
    extra = dict.fromkeys(work, 0)
    for _ in range(3):
        for name, compute in work.items():
            reset_peak()
            before, start = memory("VmRSS"), time.process_time()
            compute()
            seconds[name].append(time.process_time() - start)
            extra[name] = max(extra[name], memory("VmHWM") - before)
    bare = statistics.median(seconds["bare pass"])
    print(f"{options.cells} x {options.cells} cells x 50 dimensions, one core; medians of 3, processor time\n")
    print(f"| what | seconds | over the bare pass (goal {RATIO:g}) | extra MB (goal {EXTRA / 1e6:g}) | met |")
    print("|---|---|---|---|---|")
    missed = False
    for name in work:
        taken = statistics.median(seconds[name])
        met = taken <= RATIO * bare and extra[name] <= EXTRA
        missed |= not met and name != "bare pass"
        said = "" if name == "bare pass" else "yes" if met else "no"
        print(f"| {name} | {taken:.2f} | {taken / bare:.2f} | {extra[name] / 1e6:.0f} | {said} |")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())

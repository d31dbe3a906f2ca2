"""Time and memory of scoring one held-out unit by every default metric, on one core or OMP_NUM_THREADS of them.

3,000 predicted, 3,000 true and 3,000 control cells of 5,000 genes. What a unit costs from nothing is counted: the
reference (ranks, moments, coordinates, resampled means of the truth) and the prediction's share. The basis is handed
in, for it is fitted once per split. Each layout runs in a process of its own, so that peak memory is its own. The
costliest steps are also set against bare computations on the same cells, timed in the same run. Linux only.

    python benchmarks/metrics_unit.py [--cells 3000] [--genes 5000] [--json]
"""

from __future__ import annotations

import os

os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import ctypes
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

LAYOUTS = {
    "sparse": "truth, control and prediction CSR, 10 % filled",
    "dense": "truth and control dense and 10 % filled, prediction dense without zeros",
    "mixed": "truth and control CSR, 10 % filled, prediction dense without zeros",
}
TARGET_SECONDS = 15.0
TARGET_MEMORY = 1.5


def filled(rng: np.random.Generator, n_cells: int, n_genes: int, density: float) -> np.ndarray:
    """Draw log1p-like float32 expression row by row, so that drawing leaves no peak behind."""
    cells = np.zeros((n_cells, n_genes), dtype=np.float32)
    rates = rng.gamma(2.0, 1.0, n_genes).astype(np.float32)
    for row in cells:
        row[:] = np.log1p(rng.exponential(rates)) + 1e-3
        row[rng.random(n_genes, dtype=np.float32) >= density] = 0.0
    return cells


def memory(field: str) -> int:
    """Resident memory of this process in bytes: VmRSS now, VmHWM at its peak since the last reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def reset_peak() -> None:
    """Give freed memory back, so that reusing it is not free, and let the peak start again from what is resident."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def bare(groups: list[Any], axes: np.ndarray) -> dict[str, float]:
    """Time bare computations: a sort of each gene, three pairwise passes, and ten draws of a plain loop."""
    truth, control, prediction = (group if isinstance(group, np.ndarray) else group.toarray() for group in groups)
    start = time.perf_counter()
    for cells in (truth, prediction):
        for first in range(0, cells.shape[1], 64):
            np.sort(np.concatenate([cells[:, first : first + 64], control[:, first : first + 64]]).T, axis=1)
    times = {"sort": time.perf_counter() - start}
    x, y = truth @ axes.T, prediction @ axes.T
    start = time.perf_counter()
    for a, b in ((x, y), (x, x), (y, y)):
        for row in range(0, len(a), 512):
            np.sqrt(np.abs(a[row : row + 512] @ b.T)).sum()
    times["pairs"] = time.perf_counter() - start
    start = time.perf_counter()
    for seed in range(10):
        for cells in (truth, prediction):
            drawn = np.random.RandomState(seed).choice(len(cells), size=int(0.8 * len(cells)), replace=False)
            cells[drawn].mean(axis=0, dtype=np.float64)
    times["ten draws"] = time.perf_counter() - start
    return times


def steps_against_bare(groups: list[Any], axes: np.ndarray) -> list[tuple[str, float, float]]:
    """(comparison, seconds here, seconds bare) of the costliest steps."""
    from pb_eval.differential import rank_sums
    from pb_eval.distributions import energy_distance
    from pb_eval.means import resampled_means

    truth, control, prediction = groups
    times = bare(groups, axes)
    x, y = np.asarray(truth @ axes.T), np.asarray(prediction @ axes.T)
    start = time.perf_counter()
    rank_sums(truth, control), rank_sums(prediction, control)
    ranks = time.perf_counter() - start
    start = time.perf_counter()
    energy_distance(x, y)
    energy = time.perf_counter() - start
    start = time.perf_counter()
    resampled_means(truth), resampled_means(prediction)
    draws = time.perf_counter() - start
    return [
        ("rank sums of truth and prediction / bare sort of the same dense columns", ranks, times["sort"]),
        ("E-distance / bare products and roots of the three pairwise passes", energy, times["pairs"]),
        ("100 resampled means of both / 10 draws of a plain loop", draws, times["ten draws"]),
    ]


def measure(layout: str, n_cells: int, n_genes: int) -> dict[str, Any]:
    """Score one unit and say what it took."""
    from pb_eval import Basis, OtherUnit, Reference, evaluate, get_metric
    from pb_eval.differential import t_test
    from pb_eval.registry import default_metrics

    rng = np.random.default_rng(0)
    names = default_metrics()
    small = [filled(rng, 30, 200, 0.5) for _ in range(4)]
    basis = Basis(np.linalg.qr(rng.normal(size=(200, 5)))[0].T, small[3].mean(axis=0), np.ones(5) / 5)
    evaluate(small[0], Reference(small[1], small[2], [f"g{i}" for i in range(200)], basis), names)  # imports
    vectors = rng.normal(size=(22, n_genes))
    others = {f"unit {i}": OtherUnit(vectors[i], vectors[i + 10]) for i in range(10)}
    extras = {"training_shift": vectors[20], "weights": vectors[21] ** 2, "others": others}

    axes = np.ascontiguousarray(np.linalg.qr(rng.normal(size=(n_genes, 50)))[0].T)
    basis = Basis(axes, np.full(n_genes, 0.1), np.ones(50) / 50)
    densities = (0.1, 0.1, 0.1 if layout == "sparse" else 1.0)
    groups: list[Any] = []
    for density in densities:
        cells = filled(rng, n_cells, n_genes, density)
        keep_sparse = layout == "sparse" or (layout == "mixed" and density < 1)
        groups.append(sparse.csr_matrix(cells) if keep_sparse else cells)
    del cells
    reset_peak()
    before = memory("VmRSS")
    started = time.perf_counter()
    reference = Reference(groups[0], groups[1], [f"g{i}" for i in range(n_genes)], basis, **extras)
    prediction = reference.cells(groups[2])
    checked = time.perf_counter() - started
    seconds = {}
    for name in names:
        start = time.perf_counter()
        get_metric(name).compute(prediction, reference)
        seconds[name] = time.perf_counter() - start
    start = time.perf_counter()
    t_test(prediction.moments, reference.control.moments)
    seconds["(t-test)"] = time.perf_counter() - start
    total = time.perf_counter() - started
    extra = memory("VmHWM") - before
    start = time.perf_counter()
    evaluate(groups[2], reference, names)
    second_model = time.perf_counter() - start
    return {
        "layout": layout,
        "seconds": total,
        "seconds_second_model": second_model,
        "extra_bytes": extra,
        "dense_bytes": 3 * n_cells * n_genes * 4,
        "steps": {"(checks)": checked, **seconds},
        "against_bare": steps_against_bare(groups, axes),
    }


def report(result: dict[str, Any]) -> None:
    """Print one layout's figures."""
    ratio = result["extra_bytes"] / result["dense_bytes"]
    print(f"\n{result['layout']}: {LAYOUTS[result['layout']]}")
    share = result["seconds"] / TARGET_SECONDS
    print(f"  whole unit {result['seconds']:6.2f} s   = {share:.2f} x the target of {TARGET_SECONDS:g} s")
    print(f"  next model {result['seconds_second_model']:6.2f} s   with the same reference")
    size = result["extra_bytes"] / 1e6
    print(
        f"  memory     {size:6.0f} MB  = {ratio:.2f} x the three matrices stored densely (target {TARGET_MEMORY:g} x)"
    )
    for comparison, here, there in result["against_bare"]:
        print(f"  {here:.2f} s / {there:.2f} s = {here / there:5.2f}   {comparison}")
    for name, seconds in sorted(result["steps"].items(), key=lambda step: -step[1]):
        if seconds >= 0.01:
            print(f"    {name:28s}{seconds:6.2f} s")


def main() -> int:
    """Measure every layout; 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=3000)
    parser.add_argument("--genes", type=int, default=5000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--layout", choices=LAYOUTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.layout:
        print(json.dumps(measure(options.layout, options.cells, options.genes)))
        return 0
    results = []
    for layout in LAYOUTS:
        command = [
            sys.executable,
            __file__,
            "--layout",
            layout,
            "--cells",
            str(options.cells),
            "--genes",
            str(options.genes),
        ]
        results.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    if options.json:
        print(json.dumps(results, indent=2))
    else:
        print(f"{options.cells} predicted, true and control cells x {options.genes} genes, one core; basis handed in")
        for result in results:
            report(result)
    missed = any(
        result["seconds"] > TARGET_SECONDS or result["extra_bytes"] > TARGET_MEMORY * result["dense_bytes"]
        for result in results
    )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())

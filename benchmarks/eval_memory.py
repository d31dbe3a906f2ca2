"""Time and peak memory of `pb eval` on a file that would not fit in memory as a dense matrix.

200,000 cells x 10,000 genes, 5 % filled, control, predicted and measured cells of two contexts in random order: 0.8 GB
on disk, 8 GB if dense. The file is written in blocks by a process of its own, and `pb eval` runs in another, whose peak
is reported beside the size of the file's values. The goal is less than 4 GB.

    python benchmarks/eval_memory.py [--cells 200000] [--genes 10000] [--folder .] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

TARGET = 4e9
BIN = 20  # one gene of each 20 is expressed in a cell
ROWS = 2000


def make(path: Path, n_cells: int, n_genes: int) -> None:
    """Write the file, block by block."""
    import anndata
    import h5py
    import pandas as pd
    from anndata.io import write_elem
    from scipy import sparse

    rng = np.random.default_rng(0)
    stored = n_genes // BIN
    role, context = rng.integers(3, size=n_cells), rng.integers(2, size=n_cells)
    obs = pd.DataFrame(
        {
            "role": pd.Categorical.from_codes(role, ["control", "imputed", "stimulated"]),
            "cell_type": pd.Categorical.from_codes(context, ["B", "T"]),
        },
        index=[f"cell{i}" for i in range(n_cells)],
    )
    var = pd.DataFrame(index=[f"gene{i}" for i in range(n_genes)])
    empty = anndata.AnnData(sparse.csr_matrix((n_cells, n_genes), dtype=np.float32), obs=obs, var=var)
    response = np.where(np.arange(n_genes) % 50 == 0, 2.0, 1.0).astype(np.float32)
    with h5py.File(path, "w") as file:
        write_elem(file, "/", empty)
        group = file["X"]
        for name in ("data", "indices", "indptr"):
            del group[name]
        data = group.create_dataset("data", (n_cells * stored,), np.float32)
        indices = group.create_dataset("indices", (n_cells * stored,), np.int32)
        group["indptr"] = np.arange(n_cells + 1, dtype=np.int64) * stored
        for start in range(0, n_cells, ROWS):
            rows = slice(start, min(start + ROWS, n_cells))
            size = rows.stop - rows.start
            columns = BIN * np.arange(stored, dtype=np.int32) + rng.integers(BIN, size=(size, stored), dtype=np.int32)
            values = np.minimum(rng.exponential(0.8, (size, stored)).astype(np.float32) + 0.1, 4.0)
            shifted = (role[rows] > 0)[:, None]
            values = np.where(shifted, values * response[columns] * (1 + 0.1 * (role[rows] == 1))[:, None], values)
            data[start * stored : rows.stop * stored] = values.ravel()
            indices[start * stored : rows.stop * stored] = columns.ravel()


def score(path: Path) -> dict[str, Any]:
    """Run `pb eval` in another process; its seconds and its peak memory."""
    command = [sys.executable, "-m", "pb_cli", "eval", str(path), "--group-key", "role", "--scale", "log1p", "--json"]
    start = time.perf_counter()
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    seconds = time.perf_counter() - start
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    rows = json.loads(done.stdout)
    return {
        "seconds": seconds,
        "processor_seconds": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * 1024,
        "conditions": len({(row["context"], row["perturbation"]) for row in rows}),
        "metrics": len({row["metric"] for row in rows}),
        "words": done.stderr.strip().splitlines(),
    }


def report(result: dict[str, Any], size: str) -> None:
    """Print what was measured."""
    peak = result["peak_bytes"]
    print(f"{size}, {result['conditions']} conditions, {result['metrics']} metrics")
    print(f"  peak {peak / 1e9:.2f} GB = {peak / result['file_bytes']:.2f} x the file, ", end="")
    print(f"{peak / result['dense_bytes']:.2f} x the dense matrix (goal: under {TARGET / 1e9:g} GB)")
    print(f"  {result['seconds']:.0f} s, {result['processor_seconds']:.0f} s of processor")
    print(*(f"  {line}" for line in result["words"]), sep="\n")


def main() -> int:
    """Make the file, score it; 1 where the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=200_000)
    parser.add_argument("--genes", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="where the file is written, and removed from, at the end")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        make(options.make, options.cells, options.genes)
        return 0
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "large.h5ad"
        sizes = ["--cells", str(options.cells), "--genes", str(options.genes)]
        pid = os.posix_spawn(sys.executable, [sys.executable, __file__, *sizes, "--make", str(path)], os.environ)
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
            return 1
        made = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = {"file_bytes": path.stat().st_size, "dense_bytes": 4 * options.cells * options.genes} | score(path)
    result["processor_seconds"] -= made.ru_utime + made.ru_stime
    if made.ru_maxrss * 1024 >= result["peak_bytes"]:
        result["words"].append("The peak is that of writing the file; scoring took less.")
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        report(result, f"{options.cells:,} cells x {options.genes:,} genes")
    return int(result["peak_bytes"] > TARGET)


if __name__ == "__main__":
    sys.exit(main())

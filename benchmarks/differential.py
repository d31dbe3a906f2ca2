"""Wilcoxon and t-tests of two groups of 3,000 cells against 3,000 control cells, 5,000 genes, against scanpy's.

Scores are equal gene by gene, which is asserted. illico, a library for this test, is timed beside them after its first
call, which loads its compiled code. scanpy and illico take the groups out of one matrix, here they lie apart, as a
`Reference` holds them. CSR counts, log1p; one core; alternating runs, medians of the processor time.

    python benchmarks/differential.py [--cells 3000] [--genes 5000]
"""

from __future__ import annotations

import os

os.environ.update(
    dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
)

import argparse
import statistics
import sys
import time
import warnings

import anndata
import numpy as np
import pandas as pd
from classic_unit import cells
from pb_eval.differential import rank_sums, t_test, wilcoxon
from pb_eval.matrix import moments
from scipy import sparse

GOAL = 5.0
GROUPS = ("first", "second")


def here(parts: dict[str, sparse.csr_matrix], method: str) -> np.ndarray:
    """Scores of both groups against control, ``(groups, genes)``."""
    if method == "t-test":
        control = moments(parts["control"])
        return np.array([t_test(moments(parts[name]), control).score for name in GROUPS])
    sums = (rank_sums(parts[name], parts["control"]) for name in GROUPS)
    return np.array([wilcoxon(part, tie_correct=False).score for part in sums])


def scanpys(data: anndata.AnnData, method: str) -> np.ndarray:
    """Scores as scanpy gives them, in the order of the genes."""
    import scanpy

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scanpy.tl.rank_genes_groups(data, "group", groups=list(GROUPS), reference="control", method=method)
    found = data.uns["rank_genes_groups"]
    return np.array([pd.Series(found["scores"][g], found["names"][g]).loc[data.var_names] for g in GROUPS])


def illicos(data: anndata.AnnData) -> None:
    """Run the same tests by illico."""
    import illico

    illico.asymptotic_wilcoxon(
        data, is_log1p=True, group_keys="group", reference="control", use_continuity=False, tie_correct=False
    )


def main() -> int:
    """Print the ratios beside the goal; 1 where it is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=3000)
    parser.add_argument("--genes", type=int, default=5000)
    options = parser.parse_args()
    names = ("control", *GROUPS)
    drawn = [cells(options.cells, options.genes, response, seed) for seed, response in enumerate((0.0, 0.2, 0.4))]
    data = anndata.AnnData(
        sparse.vstack(drawn, format="csr"),
        obs=pd.DataFrame(
            {"group": pd.Categorical(np.repeat(names, options.cells))},
            index=[f"c{i}" for i in range(3 * options.cells)],
        ),
        var=pd.DataFrame(index=[f"g{i}" for i in range(options.genes)]),
    )
    parts = dict(zip(names, drawn, strict=True))
    illicos(data)
    work = {
        "Wilcoxon here": lambda: here(parts, "wilcoxon"),
        "Wilcoxon by scanpy": lambda: scanpys(data, "wilcoxon"),
        "Wilcoxon by illico": lambda: illicos(data),
        "t-test here": lambda: here(parts, "t-test"),
        "t-test by scanpy": lambda: scanpys(data, "t-test"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in work}
    scores = {}
    for _ in range(3):
        for name, compute in work.items():
            start = time.process_time()
            scores[name] = compute()
            seconds[name].append(time.process_time() - start)
    for test in ("Wilcoxon", "t-test"):
        np.testing.assert_allclose(scores[f"{test} here"], scores[f"{test} by scanpy"], rtol=1e-4, atol=1e-4)
    print(f"3 x {options.cells} cells x {options.genes} genes, one core; medians of 3, processor time\n")
    print("| test | seconds | over the Wilcoxon test here | goal | met |\n|---|---|---|---|---|")
    fast = statistics.median(seconds["Wilcoxon here"])
    for name in work:
        taken = statistics.median(seconds[name])
        met = f"{GOAL:g} | {'yes' if taken >= GOAL * fast else 'no'}" if name == "Wilcoxon by scanpy" else " |"
        print(f"| {name} | {taken:.2f} | {taken / fast:.2f} | {met} |")
    return int(statistics.median(seconds["Wilcoxon by scanpy"]) < GOAL * fast)


if __name__ == "__main__":
    sys.exit(main())

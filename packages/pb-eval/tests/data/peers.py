"""Make peers.json: a small case, and what other tools make of it.

The case (counts of 60 control, 50 true and 55 predicted cells of 20 genes, drawn at random, and 10 random coordinates
of each cell) and the values come from a larger fixture, computed by the tools themselves in the versions that the file
names. Expression is log1p of counts per 10,000. Of the panel of several perturbations only the means are kept; of a
second case (200 cells of 50 genes) only the tests, in whose longer lists of genes other definitions come apart.

    python peers.py FOLDER_OF_THE_FIXTURE > peers.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

CASE, LARGER = "s60x20", "s200x50"
DISTANCES = ("stim-pred", "pred-stim", "ctrl-pred", "ctrl-stim", "stim-stim")


def main(folder: Path) -> None:
    """Write the part that the tests need to standard output."""
    arrays = np.load(folder / "peer_inputs.npz", allow_pickle=False)
    everything = json.loads((folder / "peer_values.json").read_text())
    values = everything[CASE]
    part: dict[str, Any] = {"versions": everything["versions"]}
    for group in ("ctrl", "stim", "pred"):
        part[f"counts_{group}"] = arrays[f"{CASE}/counts_{group}"].tolist()
        part[f"emb_{group}"] = arrays[f"{CASE}/emb_{group}"].tolist()
    for side in ("real", "pred"):
        labels, cells = arrays[f"{CASE}/ce_labels_{side}"], arrays[f"{CASE}/ce_{side}"]
        part[f"panel_{side}"] = {str(name): cells[labels == name].mean(axis=0).tolist() for name in np.unique(labels)}
    part |= tests_of(values) | {"larger": tests_of(everything[LARGER])}
    part["cell_eval2"] = [row for row in values["cell_eval2_full"] if row["metric"].startswith("pds")]
    part |= {name: values[name] for name in ("pertpy", "pertpy_compare", "get_pearson2", "r2_of_means", "pot")}
    part["scanpy"] = {name: values["scanpy"][name] for name in ("t-test", "wilcoxon", "wilcoxon_tie")}
    sys.stdout.write(json.dumps(part, indent=0, separators=(",", ":")) + "\n")


def tests_of(values: dict[str, Any]) -> dict[str, Any]:
    """Keep the tests of both sides and what cell-eval makes of them."""
    kept = ("target", "feature", "log2_fold_change", "fdr")
    tables = {side: {name: values["cell_eval"][side][name] for name in kept} for side in ("real_de", "pred_de")}
    return tables | {"cell_eval": values["cell_eval"]["results"]}


if __name__ == "__main__":
    main(Path(sys.argv[1]))

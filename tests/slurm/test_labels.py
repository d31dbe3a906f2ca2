"""The supervised arm as a real array: planned, its data moved, submitted, merged."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from pb_cli.arrays import read_arrays
from pb_cli.store import RunFolder

GRID = ("--task=regression", "--option=labels=strength", "--loss=mae", "--epochs=2", "--lr=0.05", "--folds=3")
GRID = (*GRID, "--weight-decay=1e-4", "--hidden=6,4", "--batch-size=16")


def test_losses_go_through_an_array_and_give_the_table_of_a_local_run(cluster, tmp_path: Path):
    """Four tasks, two in an element; the data file moves after planning, and `pb resume` is told where it lies now."""
    site, data, moved = tmp_path / "site.toml", tmp_path / "my $data.csv", tmp_path / "moved.csv"
    site.write_text(f"pb = '{sys.executable} -m pb_cli'\n")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(60, 3)), columns=["a", "b", "strength"])
    frame.to_csv(data, index=False)

    def pb(*arguments: object, check: bool = True) -> str:
        return cluster(sys.executable, "-m", "pb_cli", *arguments, check=check)

    grid = ("bench", *GRID, f"--data={data}")
    pb(*grid, f"--out={tmp_path / 'local'}", "--quiet")
    folder = RunFolder(tmp_path / "run; 'é'")
    pb(*grid, f"--out={folder.path}", "--plan-only")
    data.rename(moved)
    words = pb("resume", folder.path, f"--site={site}", f"--data={moved}", "--tasks-per-job=2", "--time=5", "--mem=1G")
    assert "4 tasks in 2 array elements" in words
    cluster.wait(cluster.is_idle, seconds=200)
    found = json.loads(pb("status", folder.path, "--json"))
    assert found["counts"]["done"] == 4, (found, output_of(folder))
    pb("collect", folder.path)
    assert (folder.path / "results.csv").read_bytes() == (tmp_path / "local/results.csv").read_bytes()
    moved.rename(data)
    assert "Nothing to submit" in pb(*grid, f"--out={folder.path}", "--array", f"--site={site}")


def output_of(folder: RunFolder) -> list[str]:
    """What the elements have printed."""
    return [path.read_text() for array in read_arrays(folder) for path in folder.path.glob(f"arrays/{array.name}/*/*")]

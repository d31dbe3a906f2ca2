"""The supervised arm through the same doors: planned, run task by task, killed, moved, continued, merged."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pb_cli.merging import problems_of
from pb_cli.plan import read_plan
from pb_cli.store import RunFolder
from pb_cli.supervised import training
from pb_models import sweep
from pb_models.sweep import train_folds

STRANGE = "run 'é' $HOME;\n-x"
GRID = ("--loss", "mae,far", "--epochs", 3, "--lr", "0.05", "--weight-decay", "1e-4", "--folds", 3)
GRID = (*GRID, "--hidden", "6,4", "--batch-size", 16)


@pytest.fixture
def table(pb) -> Path:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(60, 3)), columns=["a", "b", "c"])
    frame["strength"] = 2 * frame["a"] - frame["b"] + 0.1 * rng.normal(size=60)
    path = pb.folder / "my numbers; $x.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture
def bench(pb, table: Path) -> Callable:
    """Bench a tiny regression of five tasks in a folder that no shell would survive, with further flags."""
    known = ("--task", "regression", "--data", table, "--option", "labels=strength")
    return lambda *more: pb("bench", *known, *GRID, *(("--out", STRANGE) if "--out" not in more else ()), *more)


def process(*arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-m", "pb_cli", *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def test_an_array_of_losses_is_shown(bench, pb, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", "absent")
    monkeypatch.delenv("PB_SITE", raising=False)
    result = bench("--array", "--dry-run", "--partition", "cpu", "--tasks-per-job", "3")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("#!/bin/bash\n")
    assert "#SBATCH --partition=cpu\n" in result.stdout
    assert "#SBATCH --array=0-1\n" in result.stdout
    assert "--device cpu" in result.stdout
    assert "element 0: " in result.stderr
    assert not (pb.folder / STRANGE).exists()


def test_a_planned_run_gives_the_table_of_a_bench(bench, pb):
    assert bench("--plan-only").exit_code == 0
    run = pb.folder / STRANGE
    assert not list(run.glob("tasks/*"))
    assert pb("run", run, "--task", "0").exit_code == 0
    counts = json.loads(pb("status", run, "--json").stdout)["counts"]
    assert counts == {"done": 1, "running": 0, "pending": 0, "failed": 0, "missing": 4}
    assert pb("collect", run).exit_code == 1
    assert pb("run", run).exit_code == 0
    assert "far" in pb("status", run).stdout
    assert pb("collect", run).exit_code == 0
    assert bench("--out", "other").exit_code == 0
    assert (run / "results.csv").read_bytes() == (pb.folder / "other/results.csv").read_bytes()
    [costs] = [row for row in pd.read_csv(run / "tasks.csv").to_dict("records") if row["model"] == "far"]
    assert costs["n_parameters"] == (3 + 1) * 6 + (6 + 1) * 4 + (4 + 1) * 1
    assert costs["seconds"] >= costs["fit_seconds"] > 0


def test_folds_trained_together_give_the_scores_of_folds_trained_alone(bench, pb, monkeypatch):
    """The features of no two folds fit into a SMALL of nothing."""
    trained, flags = [], ("--no-baselines", "--selection", "nested")
    monkeypatch.setattr(
        sweep, "train_folds", lambda folds, *a, **k: trained.append(len(folds)) or train_folds(folds, *a, **k)
    )
    assert bench("--out", "together", *flags).exit_code == 0
    assert set(trained) == {3, 9}  # all inner folds, then the outer ones
    trained.clear()
    monkeypatch.setattr(training, "SMALL", 0)
    assert bench("--out", "alone", *flags).exit_code == 0
    assert not trained
    together, alone = (pd.read_csv(pb.folder / name / "results.csv") for name in ("together", "alone"))
    pd.testing.assert_frame_equal(together, alone, rtol=1e-4)


def test_costs_are_shown_beside_the_scores(bench):
    result = bench("--no-baselines")
    assert result.exit_code == 0, result.output
    assert "memory" in result.stdout
    assert "GiB" in result.stdout
    data = json.loads(bench("--no-baselines", "--json").stdout)
    assert {row["model"] for row in data["costs"]} == {"mae", "far"}


def test_a_killed_run_is_continued_to_the_same_table(bench, pb):
    assert bench("--out", "undisturbed").exit_code == 0
    assert bench("--plan-only").exit_code == 0
    folder = RunFolder(pb.folder / STRANGE)
    for number in (0, 2):
        run = process("run", folder.path)
        end = time.monotonic() + 120
        while run.poll() is None and len(folder.listed("tasks")) <= number:
            assert time.monotonic() < end
            time.sleep(0.01)
        os.kill(run.pid, signal.SIGKILL)
        run.communicate(timeout=60)
        assert problems_of(folder, filter(folder.is_done, folder.read())) == {}
    assert pb("run", folder.path).exit_code == 0
    assert pb("collect", folder.path).exit_code == 0
    assert (folder.path / "results.csv").read_bytes() == (pb.folder / "undisturbed/results.csv").read_bytes()
    assert folder.listed("running") == {}


def test_data_that_moved_vanished_or_changed(bench, pb, table: Path):
    assert bench("--plan-only").exit_code == 0
    moved = pb.folder / "moved.csv"
    table.rename(moved)
    gone = pb("run", pb.folder / STRANGE, "--task", "0")
    assert gone.exit_code == 1
    assert "is gone; say where it lies now (--data)" in gone.stderr
    assert pb("run", pb.folder / STRANGE, "--task", "0", "--data", moved).exit_code == 0
    shutil.copy(moved, table)
    with table.open("a") as file:
        file.write("1,2,3,4\n")
    changed = pb("run", pb.folder / STRANGE, "--task", "1")
    assert changed.exit_code == 1
    assert "has changed" in changed.stderr
    assert "has changed" in pb("resume", pb.folder / STRANGE, "--dry-run").stderr


def test_a_half_written_result_is_refused_and_done_again(bench, pb):
    assert bench("--no-baselines").exit_code == 0
    run = pb.folder / STRANGE
    [first, second] = read_plan(run / "plan.jsonl")
    path = run / "tasks" / first.id / "metrics.csv"
    path.write_text(path.read_text()[:-40])
    (run / "tasks" / second.id / "predictions.npz").unlink()
    result = pb("collect", run)
    assert result.exit_code == 1
    assert "metrics.csv is missing or half-written" in result.stderr
    assert "predictions.npz is missing or half-written" in result.stderr


def test_where_every_task_fails_the_failures_are_data(bench, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_arguments: object, **_options: object) -> None:
        msg = "staged"
        raise ValueError(msg)

    monkeypatch.setattr("pb_cli.supervised.run.prepare", refuse)
    result = bench("--no-baselines", "--json")
    assert result.exit_code == 1
    data = json.loads(result.stdout)
    assert (data["boards"], data["costs"]) == ([], [])
    assert [(row["model"], row["message"]) for row in data["failures"]] == [
        (loss, "ValueError: staged") for loss in ("mae", "far")
    ]

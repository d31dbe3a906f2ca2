"""`pb run`: tasks of a planned run, one process or several, killed, doubled and moved."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import pytest
from pb_cli.plan import read_plan

FLAGS = ("--context-key", "kind", "--perturbation-key", "condition", "--control", "ctrl", "--scale", "counts")
GRID = ("--model", "control,mean-shift,linear", "--no-baselines", "--n-genes", "40", "--hold-out", "all")


@pytest.fixture
def plan(pb, data_file: Path) -> Callable:
    """Plan a grid in the folder `run`, with more flags."""

    def make(*more: str) -> Path:
        result = pb("bench", "--data", data_file, *FLAGS, *GRID, "--out", "run", "--plan-only", *more)
        assert result.exit_code == 0, result.output
        return pb.folder / "run"

    return make


def process(*arguments: object, **environment: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "pb_cli", *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | environment)


def ids(run: Path, kind: str) -> list[str]:
    return [path.name for path in (run / kind).glob("[!.]*")]


def test_only_the_named_tasks_are_run(plan, pb):
    run = plan()
    tasks = read_plan(run / "plan.jsonl")
    assert pb("run", run, "--task", "0", "--task", tasks[3].id).exit_code == 0
    assert set(ids(run, "tasks")) == {tasks[0].id, tasks[3].id}
    result = pb("run", run, "--tasks", "3-5")
    assert "3 tasks, 1 of them finished before" in result.stderr
    assert set(ids(run, "tasks")) == {tasks[number].id for number in (0, 3, 4, 5)}
    assert ids(run, "running") == []


@pytest.mark.parametrize("wrong", [("--task", "12"), ("--task", "x"), ("--tasks", "3"), ("--tasks", "2-99")])
def test_a_task_that_is_not_there_is_a_usage_error(plan, pb, wrong):
    result = pb("run", plan(), *wrong)
    assert result.exit_code == 2
    assert "write it like" in result.stderr or "from 0 to 11" in result.stderr


def test_run_and_bench_give_the_same_table(plan, pb, data_file: Path):
    run = plan()
    assert pb("run", run, "--jobs", "2").exit_code == 0
    assert pb("bench", "--data", data_file, *FLAGS, *GRID, "--out", "run").exit_code == 0
    assert pb("bench", "--data", data_file, *FLAGS, *GRID, "--out", "other").exit_code == 0
    assert (run / "results.csv").read_bytes() == (pb.folder / "other/results.csv").read_bytes()


def test_a_failed_task_has_exit_code_one_and_its_reason_in_words(plan, pb):
    run = plan("--model", "scgen", "--set", "scgen.learning_rate=1e38", "--set", "scgen.max_epochs=2")
    number = next(i for i, task in enumerate(read_plan(run / "plan.jsonl")) if task.model == "scgen")
    result = pb("run", run, "--task", number)
    assert result.exit_code == 1
    assert "1 of 1 task failed" in result.stderr
    [failure] = (run / "failed").glob("*/failure.json")
    record = json.loads(failure.read_text())
    assert record["reason"] == "error"
    assert record["message"].startswith("DivergedError")


def test_two_processes_of_one_task_give_one_result(plan):
    run = plan()
    both = [process("run", run, "--task", "2") for _ in range(2)]
    words = [each.communicate(timeout=120)[1] for each in both]
    assert [each.returncode for each in both] == [0, 0], words
    assert len(ids(run, "tasks")) == 1
    assert ids(run, "running") == []
    assert sum("works on it" in text for text in words) <= 1


def test_a_task_that_is_worked_on_is_left_alone(plan, pb):
    run = plan("--model", "scgen", "--set", "scgen.max_epochs=100000", "--set", "scgen.max_steps=10000000")
    number = next(i for i, task in enumerate(read_plan(run / "plan.jsonl")) if task.model == "scgen")
    first = process("run", run, "--task", number)
    wait_for(lambda: ids(run, "running"), first)
    result = pb("run", run, "--task", number)
    assert result.exit_code == 0
    assert f"process {first.pid} on" in result.stderr
    first.send_signal(signal.SIGTERM)
    words = first.communicate(timeout=60)[1]
    assert first.returncode == 1
    assert "Stopped (stopped): 1 task not finished" in words
    [failure] = (run / "failed").glob("*/failure.json")
    assert json.loads(failure.read_text())["reason"] == "stopped"
    assert ids(run, "running") == []


def test_another_version_a_vanished_file_and_a_changed_one_are_refused(plan, pb, data_file: Path):
    moved = pb.folder / "moved.h5ad"
    shutil.copy(data_file, pb.folder / "data.h5ad")
    run = plan("--data", "data.h5ad")
    (pb.folder / "data.h5ad").rename(moved)
    gone = pb("run", run, "--task", "0")
    assert gone.exit_code == 1
    assert "is gone; say where it lies now (--data)" in gone.stderr
    assert pb("run", run, "--task", "0", "--data", moved).exit_code == 0
    cells = ad.read_h5ad(moved)
    cells.X[0, 0] += 1
    cells.write_h5ad(pb.folder / "data.h5ad")
    changed = pb("run", run, "--task", "3")
    assert changed.exit_code == 1
    assert "has changed" in changed.stderr
    record = json.loads((run / "run.json").read_text())
    record["versions"]["pb-cli"] = "0.0.1"
    (run / "run.json").write_text(json.dumps(record))
    other = pb("run", run, "--task", "0")
    assert other.exit_code == 2
    assert "was made with pb 0.0.1" in other.stderr


def test_a_folder_that_may_not_be_written_is_refused(plan, pb, monkeypatch: pytest.MonkeyPatch):
    run = plan()
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("tasks"))
    result = pb("run", run, "--task", "0")
    assert result.exit_code == 1
    assert "run/tasks cannot be written to: results would be lost" in result.stderr


def test_a_folder_without_a_plan_is_refused(pb):
    result = pb("run", pb.folder)
    assert result.exit_code == 2
    assert "holds no run" in result.stderr


def wait_for(condition, other: subprocess.Popen, seconds: float = 120) -> None:
    """Wait until the condition holds; fail if the process ends before."""
    end = time.monotonic() + seconds
    while not condition():
        assert other.poll() is None, other.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)

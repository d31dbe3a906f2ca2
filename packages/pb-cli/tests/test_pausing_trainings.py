"""Real trainings that are stopped by a signal go on in another process, to the results of undisturbed ones."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from pb_cli.store import RunFolder

KEYS = ("--context-key", "kind", "--perturbation-key", "condition", "--control", "ctrl", "--scale", "counts")
LONG = ("--model", "scgen", "--no-baselines", "--n-genes", "40", "--bootstrap", "0", "--hold-out", "beta")
SET = ("--set", "scgen.max_epochs=150", "--set", "scgen.max_steps=100000", "--set", "scgen.n_hidden=64")
GRID = ("--loss", "mae", "--no-baselines", "--epochs", 600, "--lr", "0.05,0.01", "--weight-decay", "1e-4", "--folds", 3)
LABELS = ("--task", "regression", "--option", "labels=strength", *GRID, "--hidden", "32,16", "--batch-size", 16)


class Case(NamedTuple):
    """What is trained, when it is stopped, how, and which files are compared."""

    flags: tuple[object, ...]
    log: str  # is found in a log when it is time
    signal: signal.Signals
    files: tuple[str, ...]
    in_worker: bool
    run_flags: tuple[object, ...] = ("--bootstrap", 0)
    n_tasks: int = 1


MODEL = ("prediction.h5ad", "metrics.csv", "model/weights.safetensors")
TRACED = ("metrics.csv", "predictions.npz", "traces.parquet", "chosen.csv")
TOGETHER = ("--seed", "1,2,3", "--ensemble")
CASES = {
    "alone, in a worker": Case((*KEYS, *LONG, *SET), r"epoch 3/", signal.SIGUSR1, MODEL, True),
    "alone": Case((*KEYS, *LONG, *SET), r"epoch 3/", signal.SIGTERM, MODEL, False),
    "together, in a worker": Case(
        (*KEYS, *LONG, *SET, *TOGETHER), r"epoch 3/", signal.SIGUSR1, MODEL, True, ("--bootstrap", 0, "--ensemble"), 3
    ),
    "sweep": Case(LABELS, r"epoch 1\d\d,", signal.SIGTERM, TRACED, False),
    "nested sweep, in a worker": Case(  # in the second stack, of the outer folds
        (*LABELS, "--selection", "nested", "--inner-folds", 2), r"epoch 7\d\d,", signal.SIGUSR1, TRACED, True
    ),
}


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(60, 3)), columns=["a", "b", "c"])
    frame["strength"] = 2 * frame["a"] - frame["b"] + 0.1 * rng.normal(size=60)
    path = tmp_path_factory.mktemp("table") / "numbers.csv"
    frame.to_csv(path, index=False)
    return path


def finish(process: subprocess.Popen) -> None:
    _, words = process.communicate(timeout=200)
    assert process.returncode == 0, words


def records(folder: RunFolder) -> list[dict[str, object]]:
    return [folder.failure_record(path) for path in folder.listed("failed").values()]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., RunFolder]:
    """A finished run that nobody stopped, made once for each command."""

    @cache
    def made(*bench: object) -> RunFolder:
        out = tmp_path_factory.mktemp("undisturbed") / "run"
        command = [sys.executable, "-m", "pb_cli", *map(str, bench), str(out)]
        subprocess.run(command, check=True, capture_output=True, timeout=200)
        return RunFolder(out)

    return made


@pytest.mark.parametrize("name", CASES)
def test_a_training_that_was_stopped_gives_the_undisturbed_results(
    tmp_path: Path, pb, start, stop: Callable[..., str], undisturbed, data_file: Path, table: Path, name: str
):
    case, run = CASES[name], RunFolder(tmp_path / "run")
    data = table if "--task" in case.flags else data_file
    bench = ("bench", "--data", data, *case.flags, "--out")
    whole = undisturbed(*bench)
    command = ("-m", "pb_cli", *bench, run.path)
    if case.in_worker:
        assert pb(*bench, run.path, "--plan-only").exit_code == 0
        command = ("-m", "pb_cli", "run", run.path, *case.run_flags)
    process = start(*command)
    words = stop(process, case.signal, lambda: any(re.search(case.log, log) for log in logs(run)))
    assert process.returncode == 1, words
    assert f"{case.n_tasks} task{'s' * (case.n_tasks > 1)} not finished" in words
    [after] = {int(record["epochs"]) for record in records(run)}
    assert [record["message"] for record in records(run)] == [
        f"Its training will go on after epoch {after}."
    ] * case.n_tasks
    assert run.listed("running") == {}
    [state] = run.path.glob("paused/*/*")
    assert state.name == "training.safetensors"

    finish(start(*command))
    assert (list(run.path.glob("paused/*")), records(run)) == ([], [])
    assert len(run.read()) == case.n_tasks
    for task in run.read():
        ours, theirs = run.task(task), whole.task(task)
        assert f"goes on after epoch {after}\nepoch " in (ours / "log.txt").read_text()
        for file in case.files:
            assert content(ours / file) == content(theirs / file), file
        assert json.loads((ours / "task.json").read_text())["fit"]["resumed_after"] == after


def content(path: Path) -> bytes:
    """The bytes of a file; of predicted cells those of the matrix, since their costs stand beside it."""
    return np.asarray(ad.read_h5ad(path).X).tobytes() if path.suffix == ".h5ad" else path.read_bytes()


def logs(folder: RunFolder) -> list[str]:
    return [path.read_text() for path in folder.path.glob("running/*/log.txt")]

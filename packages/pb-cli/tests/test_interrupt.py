"""Ctrl-C in a real process: what is done is kept, what was being written is gone, the same command goes on."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

FLAGS = ("--context-key", "kind", "--perturbation-key", "condition", "--control", "ctrl", "--scale", "counts")
MODELS = ("--model", "control,scgen", "--no-baselines", "--set", "scgen.max_epochs=120", "--set", "scgen.patience=120")


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Take Ctrl-C as usual: a suite started in the background ignores it, and so would its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_interrupted_run_goes_on_where_it_stopped(data_file: Path, tmp_path: Path, jobs: str):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "pb_cli", "bench", "--data", str(data_file), *FLAGS, *MODELS]
    command += ["--hold-out", "beta", "--out", str(run), "--jobs", jobs]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: training(run) and done(run), process)
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=60)
    assert process.returncode == 130, words
    assert "1 of 2 tasks are kept; the same command continues" in words
    assert "Traceback" not in words
    [kept] = done(run)
    assert (run / "results.csv").exists()
    assert list((run / "running").glob("[!.]*")) == []

    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "1 of them finished before" in again.stderr
    assert len(done(run)) == 2
    assert kept in done(run)
    assert training(run) == []


def test_an_interrupt_before_anything_runs_has_the_same_exit_code(pb, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pb_cli.commands.data.open_data", interrupted)
    result = pb("data", "info")
    assert result.exit_code == 130
    assert result.stderr.strip() == "Interrupted."


def test_a_killed_run_leaves_no_process_behind(data_file: Path, tmp_path: Path, processes):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "pb_cli", "bench", "--data", str(data_file), *FLAGS, *MODELS]
    command += ["--hold-out", "all", "--out", str(run), "--jobs", "2"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_for(lambda: training(run), process)
    process.kill()
    process.wait()
    end = time.monotonic() + 60
    while left := [other for other in processes() if other.session == process.pid]:
        assert time.monotonic() < end, left
        time.sleep(0.1)


def done(run: Path) -> list[Path]:
    """Folders of finished tasks."""
    return list((run / "tasks").glob("*"))


def training(run: Path) -> list[Path]:
    """Folders of tasks that have begun an epoch."""
    return [path for path in (run / "running").glob("*/log.txt") if "epoch" in path.read_text()]


def wait_for(condition, process: subprocess.Popen, seconds: float = 120) -> None:
    """Wait until the condition holds; fail if the process ends before."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)

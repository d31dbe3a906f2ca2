"""Small real files for the command line: counts with a planted response in four contexts."""

import contextlib
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from pb_cli.plan import Task
from scipy import sparse

CONTEXTS = ("alpha", "beta", "gamma; $HOME [/red]", "délta 'x' [b]")


def make_counts(seed: int = 0, n_cells: int = 30, n_genes: int = 80) -> ad.AnnData:
    """Draw Poisson counts; perturbed cells express the first ten genes more, in every context a little differently."""
    generator = np.random.default_rng(seed)
    base = generator.gamma(1.0, 2.0, size=n_genes) + 0.2
    blocks, obs = [], []
    for number, context in enumerate(CONTEXTS):
        profile = base * generator.gamma(4.0, 0.25, size=n_genes)
        response = np.where(np.arange(n_genes) < 10, 4.0 + number, 1.0)
        for condition, rate in (("ctrl", profile), ("stim", profile * response)):
            blocks.append(generator.poisson(rate, size=(n_cells, n_genes)))
            obs += [(context, condition)] * n_cells
    frame = pd.DataFrame(obs, columns=["kind", "condition"], dtype="category")
    frame.index = [f"cell{i}" for i in range(len(frame))]
    var = pd.DataFrame(index=[f"gene{i}" for i in range(n_genes)])
    return ad.AnnData(sparse.csr_matrix(np.vstack(blocks).astype(np.float32)), obs=frame, var=var)


@pytest.fixture(scope="session")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "my data.h5ad"
    make_counts().write_h5ad(path)
    return path


class Shell(NamedTuple):
    """Runs the command line in this process, in a folder of its own."""

    folder: Path

    def __call__(self, *arguments: object) -> Result:
        from pb_cli import app

        return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="pb")


class Process(NamedTuple):
    """One line of the kernel's table of processes; `seconds` of processor time."""

    pid: int
    state: str
    parent: int
    session: int
    seconds: float


def list_processes() -> list[Process]:
    """Read the table of processes from /proc, zombies left out."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            state, parent, _, session, *rest = path.read_text().rpartition(")")[2].split()
            seconds = (int(rest[7]) + int(rest[8])) / os.sysconf("SC_CLK_TCK")
            found.append(Process(int(path.parent.name), state, int(parent), int(session), seconds))
    return [process for process in found if process.state != "Z"]


@pytest.fixture
def processes() -> Callable[[], list[Process]]:
    return list_processes


@pytest.fixture(scope="session")
def make_run() -> Callable:
    """Plan tasks of the stub."""
    return runpy.run_path(str(Path(__file__).with_name("stub_runs.py")))["make_run"]


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen]]:
    """Start Python with some arguments in a process of its own, which ends with the test."""
    started: list[subprocess.Popen] = []

    def begin(*command: object) -> subprocess.Popen:
        words = [sys.executable, *map(str, command)]
        started.append(subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def stop_when(process: subprocess.Popen, number: signal.Signals, when: Callable[[], object]) -> str:
    """Send a signal as soon as a condition holds, and return what the process said until its end."""
    end = time.monotonic() + 120
    while not when():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(number)
    _, words = process.communicate(timeout=120)
    return words


@pytest.fixture
def stop() -> Callable[[subprocess.Popen, signal.Signals, Callable[[], object]], str]:
    return stop_when


@pytest.fixture
def pb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")  # of processes that a test starts
    for console in ("messages", "output"):
        monkeypatch.setattr(f"pb_cli.console.{console}.width", 200)
    return Shell(tmp_path)


@pytest.fixture
def contexts() -> tuple[str, ...]:
    return CONTEXTS


@pytest.fixture
def task() -> Callable[..., Task]:
    """Return a function that makes a task of a plan, by its seed."""

    def make(seed: int) -> Task:
        return Task(
            source={},
            split="s",
            split_parameters={"held_out": "B cells"},
            split_hash="",
            preprocess={},
            model="control",
            profile="default",
            settings={},
            seed=seed,
        )

    return make

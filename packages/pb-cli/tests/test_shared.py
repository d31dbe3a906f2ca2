"""Dear results are computed once by whoever comes first, and are the same as those computed alone."""

import errno
import fcntl
import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest
from pb_cli import shared as shared_module
from pb_cli.experiment import Experiment
from pb_cli.options import open_data
from pb_cli.plan import Task
from pb_cli.planning import make_plan
from pb_cli.runner import unit_of
from pb_cli.shared import Shared
from pb_cli.unit import _prepare
from pb_models import pairing
from pb_models.pairing import keeping_pairs, pair_controls

FLAGS = ("--context-key", "kind", "--perturbation-key", "condition", "--control", "ctrl", "--scale", "counts")
KEYS = {"context": "kind", "perturbation": "condition", "control": "ctrl", "scale": "counts"}
SMALL = ("--n-genes", "40", "--hold-out", "alpha,beta", "--bootstrap", "0", "--quiet")


def slowly(folder: Path, log: Path) -> None:
    """Ask for a result that takes a while, and note that it was computed."""

    def compute() -> dict[str, np.ndarray]:
        with log.open("a") as file:
            file.write("computed\n")
        time.sleep(1)
        return {"value": np.arange(3.0)}

    assert Shared(folder).arrays({"a": 1}, compute)["value"].tolist() == [0, 1, 2]


def never() -> dict[str, np.ndarray]:
    raise AssertionError


def test_of_several_processes_one_computes(tmp_path: Path):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=slowly, args=(tmp_path / "shared", tmp_path / "log")) for _ in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 6
    assert (tmp_path / "log").read_text() == "computed\n"
    [file] = [path for path in (tmp_path / "shared").rglob("*") if path.is_file()]
    assert file.suffix == ".npz"


def test_what_differs_is_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shared = Shared(tmp_path)
    for number in (1, 2):
        assert shared.arrays({"a": number}, lambda n=number: {"x": np.array([n])})["x"].tolist() == [number]
    assert shared.arrays({"a": 1}, never)["x"].tolist() == [1]
    monkeypatch.setattr(shared_module, "_versions", lambda: {"pb-eval": "another"})
    assert shared.arrays({"a": 1}, lambda: {"x": np.array([7])})["x"].tolist() == [7]
    assert shared.text({"b": 1}, lambda: "délta\n") == shared.text({"b": 1}, lambda: "") == "délta\n"


def test_values_come_back_bit_by_bit(tmp_path: Path):
    values = np.array([np.nan, -0.0, 1 / 3, np.inf, 5e-324])
    for _ in range(2):
        found = Shared(tmp_path).arrays({}, lambda: {"x": values, "names": np.array(["a", "bé"])})
        assert found["x"].tobytes() == values.tobytes()
        assert found["names"].tolist() == ["a", "bé"]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", b"nonsense"])
def test_a_damaged_file_is_computed_anew(tmp_path: Path, damage: bytes):
    Shared(tmp_path).arrays({}, lambda: {"x": np.array([1])})
    [file] = tmp_path.glob("*/*.npz")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if damage == b"PK\x03\x04" else damage)
    assert Shared(tmp_path).arrays({}, lambda: {"x": np.array([2])})["x"].tolist() == [2]
    assert Shared(tmp_path).arrays({}, never)["x"].tolist() == [2]


def test_where_nothing_can_be_written_each_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").touch()
    assert Shared(tmp_path / "file").arrays({}, lambda: {"x": np.array([1])})["x"].tolist() == [1]

    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shared_module, "write_bytes", full)
    assert Shared(tmp_path).arrays({}, lambda: {"x": np.array([1])})["x"].tolist() == [1]
    assert Shared(None).arrays({}, lambda: {"x": np.array([3])})["x"].tolist() == [3]


def test_where_there_are_no_locks_each_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_arguments: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert Shared(tmp_path).arrays({}, lambda: {"x": np.array([1])})["x"].tolist() == [1]


def test_a_process_that_hangs_is_waited_for_a_while_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shared_module, "PATIENCE", 0.3)
    Shared(tmp_path).arrays({}, lambda: {"x": np.array([1])})
    [file] = tmp_path.glob("*/*.npz")
    file.unlink()
    with file.with_suffix(".lock").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert Shared(tmp_path).arrays({}, lambda: {"x": np.array([2])})["x"].tolist() == [2]


def test_a_computation_that_fails_leaves_nothing_behind(tmp_path: Path):
    with pytest.raises(AssertionError):
        Shared(tmp_path).arrays({}, never)
    assert Shared(tmp_path).arrays({}, lambda: {"x": np.array([1])})["x"].tolist() == [1]
    assert not list(tmp_path.rglob("*.lock"))


@pytest.fixture
def task(data_file: Path) -> Task:
    data = open_data(None, str(data_file), KEYS, {})
    asked = Experiment(data=str(data_file), models=("control",), baselines=False, hold_out=("beta",), n_genes=40)
    return make_plan(asked, data).tasks[0]


def test_a_unit_is_the_same_with_and_without(task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    alone = unit_of(task)
    [(condition, reference)] = alone.references.items()
    ceilings = alone.ceilings(condition)
    for attempt in range(2):
        _prepare.cache_clear()
        if attempt:
            for name in ("pb_cli.unit.fit_preprocessor", "pb_cli.unit.fit_basis", "pb_cli.references.split_half"):
                monkeypatch.setattr(name, None)
        unit = unit_of(task, shared=tmp_path / "shared")
        assert unit is not alone
        assert unit.preprocessor.hash == alone.preprocessor.hash
        assert (unit.training.X != alone.training.X).nnz == 0
        for name in ("components", "mean", "explained_variance_ratio"):
            own, other = (getattr(one.basis, name) for one in (unit.references[condition], reference))
            assert own.tobytes() == other.tobytes()
        assert (
            np.array(list(unit.ceilings(condition).values())).tobytes() == np.array(list(ceilings.values())).tobytes()
        )
        assert list(unit.ceilings(condition)) == list(ceilings)


def test_pairs_are_the_same_with_and_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    X = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    control, contexts = np.arange(40) < 25, np.array(["a", "b"] * 20)
    found = []
    for attempt in range(3):
        monkeypatch.setattr(pairing, "_remembered", {})
        if attempt == 2:
            monkeypatch.setattr(pairing, "transport_plan", None)
        if attempt:
            with keeping_pairs(Shared(tmp_path).arrays):
                found.append(pair_controls(X, contexts, control, ~control))
        else:
            found.append(pair_controls(X, contexts, control, ~control))
    for pairs in found[1:]:
        assert all(own.tobytes() == other.tobytes() for own, other in zip(pairs, found[0], strict=True))


def test_a_run_gives_the_same_table_with_and_without(pb, data_file: Path, monkeypatch: pytest.MonkeyPatch):
    grid = ("bench", "--data", data_file, *FLAGS, *SMALL, "--model", "control,linear", "--no-baselines")
    tables = []
    for name in ("shared", "alone"):
        _prepare.cache_clear()
        assert pb(*grid, "--out", name).exit_code == 0
        tables.append((pb.folder / name / "results.csv").read_bytes())
        monkeypatch.setattr(shared_module, "_read", lambda file: None)
        monkeypatch.setattr(shared_module, "_keep", lambda file, arrays: None)
    assert tables[0] == tables[1]
    assert len(list((pb.folder / "shared/shared").rglob("*.npz"))) == 2 * 3
    assert not list((pb.folder / "alone/shared").rglob("*.npz"))

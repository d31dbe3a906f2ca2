"""Tasks that are asked to stop: what trains goes on from there, in the same folder, and ends as if undisturbed."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from pb_cli import slurm, stopping
from pb_cli.display import Display
from pb_cli.execute import Event
from pb_cli.pausing import PAUSE
from pb_cli.plan import Task, read_plan
from pb_cli.resources import versions
from pb_cli.slurm import SlurmError, why_stopped
from pb_cli.store import RunFolder

STUB = Path(__file__).with_name("stub_pb.py")
KEYS = ("--context-key", "kind", "--perturbation-key", "condition", "--control", "ctrl", "--scale", "counts")
LONG = ("--model", "scgen", "--no-baselines", "--n-genes", "40", "--bootstrap", "0", "--hold-out", "beta")
SET = ("--set", "scgen.max_epochs=150", "--set", "scgen.max_steps=100000", "--set", "scgen.n_hidden=64")


def task(seed: int, act: str = "train") -> Task:
    return Task(
        source={"dataset": "none", "path": None, "sha256": ""},
        split="s",
        split_parameters={"held_out": f"unit {seed}"},
        split_hash=f"hash{seed}",
        preprocess={},
        model="control",
        profile="default",
        settings={"act": act},
        seed=seed,
    )


def make_run(path: Path, *acts: str) -> RunFolder:
    folder = RunFolder(path)
    with folder.locked():
        folder.open([task(seed, act) for seed, act in enumerate(acts)], {"versions": versions()})
    return folder


def start(*command: object) -> subprocess.Popen:
    words = [sys.executable, *map(str, command)]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def stop(process: subprocess.Popen, number: signal.Signals, when: Callable[[], object]) -> str:
    """Send a signal as soon as a condition holds, and return what the process said until its end."""
    end = time.monotonic() + 120
    while not when():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(number)
    _, words = process.communicate(timeout=120)
    return words


def finish(process: subprocess.Popen) -> None:
    _, words = process.communicate(timeout=200)
    assert process.returncode == 0, words


def records(folder: RunFolder) -> dict[str, dict[str, object]]:
    return {name: folder.failure_record(path) for name, path in folder.listed("failed").items()}


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_warned_run_pauses_and_goes_on_with_the_same_command(tmp_path: Path, jobs: int):
    """Three tasks of three epochs each: a warning ends the epoch of those that run, and none is begun."""
    folder = make_run(tmp_path / "run", "train", "train", "train")
    for _ in range(2):
        run = start(STUB, "run", folder.path, "--jobs", jobs)
        words = stop(run, signal.SIGUSR1, lambda: len(list(folder.path.glob("running/*/log.txt"))) == jobs)
        assert run.returncode == 1, words
        assert "Stopped (stopped): 3 tasks not finished" in words
    epochs = sorted(record.get("epochs", 0) for record in records(folder).values())
    assert epochs == [0] * (3 - jobs) + [2] * jobs
    said = json.loads(subprocess.check_output([sys.executable, STUB, "status", folder.path, "--json"]))
    assert sum("will go on after epoch 2" in row["message"] for row in said["tasks"]) == jobs
    run = start(STUB, "run", folder.path, "--jobs", jobs)
    stop(run, signal.SIGUSR1, lambda: len(list(folder.path.glob("running/*/log.txt"))) == jobs)
    assert len(folder.listed("tasks")) == jobs
    assert not [path for path in folder.listed("paused") if path in folder.listed("tasks")]
    assert folder.listed("running") == {}


@pytest.fixture(scope="session")
def bench(data_file: Path) -> Callable[[Path], tuple[object, ...]]:
    def command(out: Path) -> tuple[object, ...]:
        return ("-m", "pb_cli", "bench", "--data", data_file, *KEYS, *LONG, *SET, "--out", out)

    return command


@pytest.fixture(scope="session")
def undisturbed(bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished task of a run that nobody stopped."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    finish(start(*bench(out)))
    [found] = out.glob("tasks/*")
    return found


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_training_that_was_stopped_gives_the_undisturbed_prediction(
    tmp_path: Path, bench, undisturbed: Path, number: signal.Signals
):
    """Once in a worker process (`pb run`), once in the process itself (`pb bench`)."""
    run = RunFolder(tmp_path / "run")
    command = bench(run.path)
    if number == signal.SIGUSR1:
        finish(start(*command, "--plan-only"))
        command = ("-m", "pb_cli", "run", run.path, "--bootstrap", 0)
    process = start(*command)
    words = stop(process, number, lambda: any("epoch 3/" in path.read_text() for path in logs(run)))
    assert process.returncode == 1, words
    assert "1 task not finished" in words
    [record] = records(run).values()
    assert 3 <= record["epochs"] < 150
    assert record["message"] == f"Its training will go on after epoch {record['epochs']}."
    assert run.listed("running") == {}
    [state] = run.path.glob("paused/*/training.safetensors")
    assert [path.name for path in state.parent.iterdir()] == [state.name]
    finish(start(*command))
    assert (list(run.path.glob("paused/*")), records(run)) == ([], {})
    [ours] = run.path.glob("tasks/*")
    first, second = (ad.read_h5ad(path / "prediction.h5ad").X for path in (ours, undisturbed))
    assert np.asarray(first).tobytes() == np.asarray(second).tobytes()
    for name in ("metrics.csv", "model/weights.safetensors"):
        assert (ours / name).read_bytes() == (undisturbed / name).read_bytes()
    log = (ours / "log.txt").read_text()
    assert f"goes on after epoch {record['epochs']}\nepoch {record['epochs'] + 1}/" in log
    assert json.loads((ours / "task.json").read_text())["fit"]["resumed_after"] == record["epochs"]


def logs(folder: RunFolder) -> list[Path]:
    return list(folder.path.glob("running/*/log.txt"))


@pytest.fixture
def requeued(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Pretend to be an array element that was warned; what is requeued is listed."""
    found: list[str] = []
    monkeypatch.setattr(stopping, "why_stopped", lambda: "time limit")
    monkeypatch.setattr(stopping, "requeue", lambda: found.append("requeued"))
    monkeypatch.setattr(PAUSE, "warned", True)
    return found


def note(folder: RunFolder, **paused: int) -> str:
    """Record a stop of all tasks, some of which have kept so many epochs."""
    tasks = folder.read()
    display = Display(tasks, quiet=True)
    for name, epochs in paused.items():
        one = tasks[int(name.removeprefix("task"))]
        folder.training_state(one).parent.mkdir(parents=True, exist_ok=True)
        folder.training_state(one).touch()
        for event in (Event("start", one.id), Event("paused", one.id, epochs)):
            display.handle(event)
    return stopping.note_stop(stopping.unfinished(tasks, folder, display), folder, display, in_array=True)


def test_an_element_is_requeued_only_where_it_got_on(tmp_path: Path, requeued):
    folder = make_run(tmp_path / "run", "train", "train")
    assert "the job is back in the queue and goes on there" in note(folder, task0=5)
    assert sorted(record.get("epochs", 0) for record in records(folder).values()) == [0, 5]
    assert "the job is back in the queue" in note(folder, task0=6)
    assert "`pb resume` submits them again" in note(folder, task0=6)
    assert "`pb resume` submits them again" in note(folder, task0=2)
    assert "`pb resume` submits them again" in note(folder)
    assert len(requeued) == 2
    assert sorted(record.get("epochs", 0) for record in records(folder).values()) == [0, 2]


def test_a_refused_requeue_is_said(tmp_path: Path, requeued, monkeypatch: pytest.MonkeyPatch):
    def refuse() -> None:
        raise SlurmError("scontrol says: Requested operation is presently disabled")

    monkeypatch.setattr(stopping, "requeue", refuse)
    words = note(make_run(tmp_path / "run", "train"), task0=5)
    assert "not requeued: scontrol says: Requested operation is presently disabled" in words


def test_what_is_being_ended_is_not_requeued(tmp_path: Path, requeued, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(PAUSE, "warned", False)
    note(make_run(tmp_path / "run", "train"), task0=5)
    assert requeued == []


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("JobState=RUNNING Reason=None EndTime={soon} PreemptEligibleTime=x PreemptTime=None", "time limit"),
        ("JobState=RUNNING EndTime={late} PreemptTime=None", "stopped"),
        ("JobState=RUNNING EndTime=Unknown PreemptTime=None", "stopped"),
        ("JobState=RUNNING EndTime={soon} PreemptTime={soon}", "preempted"),
        ("JobState=PREEMPTED EndTime={soon}", "preempted"),
        ("JobState=TIMEOUT", "time limit"),
        ("JobState=COMPLETING", "stopped"),
        ("", "stopped"),
    ],
)
def test_why_a_job_was_warned_or_ended(monkeypatch: pytest.MonkeyPatch, said: str, reason: str):
    now = datetime.now()
    times = {"soon": now + timedelta(minutes=2), "late": now + timedelta(hours=2)}
    texts = {name: time.isoformat(timespec="seconds") for name, time in times.items()}
    monkeypatch.setattr(slurm, "call", lambda *_, **__: said.format(**texts))
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert why_stopped() == reason


def test_requeueing_addresses_the_element(monkeypatch: pytest.MonkeyPatch):
    called: list[tuple[str, ...]] = []
    monkeypatch.setattr(slurm, "call", lambda *words, **_: called.append(words))
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    slurm.requeue()
    assert called == [("scontrol", "requeue", "7_3")]
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID")
    with pytest.raises(SlurmError, match="belongs to no array"):
        slurm.requeue()


@pytest.mark.parametrize(
    ("limit", "seconds"), [("", 120), ("02:00:00", 120), ("10", 120), ("5", 60), ("1", 12), ("UNLIMITED", 120)]
)
def test_short_jobs_are_warned_later(limit: str, seconds: int):
    assert slurm._warning(limit) == seconds


def test_the_plan_of_a_paused_run_stays(tmp_path: Path):
    """What is kept of a training is no result and no part of the plan."""
    folder = make_run(tmp_path / "run", "train")
    [one] = read_plan(folder.path / "plan.jsonl")
    state = folder.training_state(one)
    state.parent.mkdir(parents=True)
    state.write_text("1")
    assert not folder.is_done(one)
    with folder.writing(one) as draft:
        (draft / "task.json").write_text("{}")
    assert folder.is_done(one)
    assert not state.parent.exists()
    assert list((folder.path / "paused").iterdir()) == []

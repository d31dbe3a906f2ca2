"""Tasks that are asked to stop: what trains goes on from there, in the same folder, and ends as if undisturbed."""

import json
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from pb_cli import slurm, stopping
from pb_cli.display import Display
from pb_cli.execute import Event
from pb_cli.pausing import PAUSE
from pb_cli.plan import read_plan
from pb_cli.slurm import SlurmError, why_stopped
from pb_cli.store import RunFolder

STUB = Path(__file__).with_name("stub_pb.py")


def records(folder: RunFolder) -> dict[str, dict[str, object]]:
    return {name: folder.failure_record(path) for name, path in folder.listed("failed").items()}


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_warned_run_pauses_and_goes_on_with_the_same_command(tmp_path: Path, make_run, start, stop, jobs: int):
    """Three tasks of three epochs each: a warning ends the epoch of those that run, and none is begun."""
    folder = make_run(tmp_path / "run", ["train", "train", "train"])
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
        for event in (Event("start", one.id), Event("paused", one.id, epochs)):
            display.handle(event)
    return stopping.note_stop(stopping.unfinished(tasks, folder, display), folder, display, in_array=True)


def test_an_element_is_requeued_only_where_it_got_on(tmp_path: Path, make_run, requeued):
    folder = make_run(tmp_path / "run", ["train", "train"])
    assert "the job is back in the queue and goes on there" in note(folder, task0=5)
    assert sorted(record.get("epochs", 0) for record in records(folder).values()) == [0, 5]
    assert "the job is back in the queue" in note(folder, task0=6)
    assert "`pb resume` submits them again" in note(folder, task0=6)
    assert "`pb resume` submits them again" in note(folder, task0=2)
    assert "`pb resume` submits them again" in note(folder)
    assert len(requeued) == 2
    assert sorted(record.get("epochs", 0) for record in records(folder).values()) == [0, 2]


def test_a_group_that_got_no_further_is_not_requeued(tmp_path: Path, make_run, requeued):
    """Its state lies with its first task only."""
    folder = make_run(tmp_path / "run", ["train", "train"])
    assert "the job is back in the queue" in note(folder, task0=5, task1=5)
    assert sorted(record["epochs"] for record in records(folder).values()) == [5, 5]
    assert "`pb resume` submits them again" in note(folder, task0=5, task1=5)
    assert len(requeued) == 1


def test_a_refused_requeue_is_said(tmp_path: Path, make_run, requeued, monkeypatch: pytest.MonkeyPatch):
    def refuse() -> None:
        raise SlurmError("scontrol says: Requested operation is presently disabled")

    monkeypatch.setattr(stopping, "requeue", refuse)
    words = note(make_run(tmp_path / "run", ["train"]), task0=5)
    assert "not requeued: scontrol says: Requested operation is presently disabled" in words


def test_what_is_being_ended_is_not_requeued(tmp_path: Path, make_run, requeued, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(PAUSE, "warned", False)
    note(make_run(tmp_path / "run", ["train"]), task0=5)
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


def test_the_plan_of_a_paused_run_stays(tmp_path: Path, make_run):
    """What is kept of a training is no result and no part of the plan."""
    folder = make_run(tmp_path / "run", ["train"])
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

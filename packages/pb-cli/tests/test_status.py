"""How a run stands: files first, then Slurm's queue, then its database; and what `pb resume` makes of it."""

import json
import os
import time
from pathlib import Path

import pytest
from pb_cli import claims, states
from pb_cli.arrays import draft_array, read_arrays, submit_array
from pb_cli.plan import Task
from pb_cli.resources import versions
from pb_cli.site import Site
from pb_cli.slurm import Element, SlurmError
from pb_cli.states import survey
from pb_cli.store import Failure, RunFolder
from pb_cli.whereabouts import whereabouts

COSTS = {"seconds": 60.0, "peak_memory_bytes": 2**30}


def task(seed: int) -> Task:
    return Task(
        source={"dataset": "none", "path": None},
        split="s",
        split_parameters={"held_out": "B; $HOME [/b]"},
        split_hash="",
        preprocess={},
        model="control",
        profile="default",
        settings={},
        seed=seed,
    )


class Slurm:
    """A queue and a database that say what a test wants."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.queue: dict[Element, str] = {}
        self.database: dict[Element, str] = {}
        self.submitted: list[Path] = []
        monkeypatch.setattr(states, "queued", lambda names: self.queue)
        monkeypatch.setattr(states, "accounted", lambda jobs: self.database)
        monkeypatch.setattr("pb_cli.arrays.submit", self.submit)
        monkeypatch.setattr("pb_cli.submission.max_array_size", lambda: 1000)
        monkeypatch.setenv("XDG_CONFIG_HOME", "absent")
        monkeypatch.delenv("PB_SITE", raising=False)

    def submit(self, script: Path, *_: object) -> str:
        self.submitted.append(script)
        return str(len(self.submitted))


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> Slurm:
    return Slurm(monkeypatch)


@pytest.fixture
def folder(pb) -> RunFolder:
    run = RunFolder(pb.folder / "run")
    with run.locked():
        run.open([task(seed) for seed in range(6)], {"versions": versions()})
    return run


def finish(folder: RunFolder, seed: int) -> None:
    with folder.writing(task(seed)) as draft:
        (draft / "task.json").write_text(json.dumps({"task": task(seed).id, "costs": COSTS}))


def claim(folder: RunFolder, seed: int, **changes: object) -> Path:
    path = folder.place("running", task(seed).id).with_name(f"{task(seed).id}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    claims._write_new(path, whereabouts() | changes)
    return path


def submitted(folder: RunFolder, *, tasks_per_job: int = 1, **site: str) -> list[Element]:
    """Submit all tasks; the element of each, by seed."""
    tasks = folder.read()
    elements = [tasks[start : start + tasks_per_job] for start in range(0, len(tasks), tasks_per_job)]
    array = submit_array(folder, draft_array(elements, Site(site), largest=1000, most=None, flags=[]))
    places = dict(array.placed())
    return [places[one.id] for one in tasks]


def standing(folder: RunFolder) -> list[tuple[str, str]]:
    found = survey(folder, folder.read())
    return [found.states[task(seed).id][:2] for seed in range(6)]


def test_without_slurm_the_files_tell(folder: RunFolder, slurm):
    finish(folder, 0)
    folder.write_failure(task(1), Failure("out of memory", "too large"))
    claim(folder, 2)
    claim(folder, 3, pid=2**22 + 1)
    silent = claim(folder, 4, machine="another")
    assert standing(folder)[:5] == [
        ("done", ""),
        ("failed", "out of memory"),
        ("running", ""),
        ("failed", "lost"),
        ("running", ""),
    ]
    old = time.time() - 1000
    os.utime(silent, (old, old))
    assert standing(folder)[4:] == [("failed", "lost"), ("missing", "")]


def test_the_queue_tells_what_waits_runs_and_ended(folder: RunFolder, slurm):
    elements = submitted(folder)
    names = ("PENDING", "RUNNING", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "CONFIGURING")
    slurm.queue = dict(zip(elements, names, strict=True))
    found = [("pending", ""), ("running", ""), ("failed", "time limit"), ("failed", "node failure")]
    assert standing(folder) == [*found, ("failed", "preempted"), ("pending", "")]
    finish(folder, 2)
    assert standing(folder)[2] == ("done", "")


def test_what_the_queue_has_forgotten_is_in_the_database_or_lost(folder: RunFolder, slurm):
    elements = submitted(folder)
    slurm.database = {elements[0]: "OUT_OF_MEMORY", elements[1]: "CANCELLED", elements[2]: "FAILED"}
    found = [("failed", "out of memory"), ("failed", "cancelled"), ("failed", "killed")]
    assert standing(folder) == [*found, *[("failed", "lost")] * 3]


def test_a_vague_reason_is_made_plain_by_slurm_and_a_plain_one_stays(folder: RunFolder, slurm):
    elements = submitted(folder)
    folder.write_failure(task(0), Failure("killed", "signal 9"))
    folder.write_failure(task(1), Failure("error", "ValueError: no"))
    slurm.queue = {elements[0]: "OUT_OF_MEMORY", elements[1]: "TIMEOUT"}
    assert standing(folder)[:2] == [("failed", "out of memory"), ("failed", "error")]


def test_an_earlier_failure_does_not_hide_that_a_task_waits_again(folder: RunFolder, slurm, monkeypatch):
    folder.write_failure(task(0), Failure("error", "ValueError: no"))
    assert standing(folder)[0] == ("failed", "error")
    monkeypatch.setattr(time, "time", lambda now=time.time: now() + 10)
    elements = submitted(folder)
    slurm.queue = {elements[0]: "RUNNING"}
    assert standing(folder)[0] == ("running", "")
    slurm.queue = {elements[0]: "FAILED"}
    folder.write_failure(task(0), Failure("error", "ValueError: no"))
    assert standing(folder)[0] == ("failed", "error")


def test_what_slurm_repeats_is_not_failed(folder: RunFolder, slurm):
    alone = submitted(folder)[0]
    folder.write_failure(task(0), Failure("stopped", "requeued"))
    slurm.queue = {alone: "PENDING"}
    assert standing(folder)[0] == ("pending", "")
    slurm.queue = {alone: "RUNNING"}
    assert standing(folder)[0] == ("running", "")
    [element, *_] = submitted(folder, tasks_per_job=6)
    slurm.queue = {element: "RUNNING"}
    folder.write_failure(task(0), Failure("stopped", "requeued"))
    folder.write_failure(task(1), Failure("error", "ValueError: no"))
    assert standing(folder)[:2] == [("pending", ""), ("failed", "error")]


def test_tasks_that_wait_in_a_running_element_are_pending(folder: RunFolder, slurm):
    [element, *_] = submitted(folder, tasks_per_job=6)
    slurm.queue = {element: "RUNNING"}
    finish(folder, 0)
    claim(folder, 1)
    assert standing(folder) == [("done", ""), ("running", ""), *[("pending", "")] * 4]


def test_when_slurm_is_silent_nothing_is_guessed(folder: RunFolder, slurm, pb, monkeypatch):
    submitted(folder)

    def silence(names: object) -> dict[Element, str]:
        msg = "squeue did not answer within 60 seconds."
        raise SlurmError(msg)

    monkeypatch.setattr(states, "queued", silence)
    assert standing(folder) == [("pending", "")] * 6
    assert "without a trace are shown as pending" in pb("status", "run").stderr
    result = pb("resume", "run")
    assert result.exit_code == 1
    assert "squeue did not answer within 60 seconds. Which of 6 submitted tasks still wait" in result.stderr
    assert len(slurm.submitted) == 1


def test_status_in_words_and_as_data(folder: RunFolder, slurm, pb):
    finish(folder, 0)
    folder.write_failure(task(1), Failure("out of memory", "too large"))
    result = pb("status", "run")
    assert result.exit_code == 0, result.output
    assert "failed: 1 out of memory" in result.stdout
    assert "control, B; $HOME [/b], seed 1" in result.stdout
    assert "About 4 min 00 s left, 1 at a time." in result.stdout
    assert "Slowest: control, B; $HOME [/b], seed 0 1 min 00 s" in result.stdout
    assert "seed 0 1.00 GiB" in result.stdout
    data = json.loads(pb("status", "run", "--json").stdout)
    assert data["counts"] == {"done": 1, "running": 0, "pending": 0, "failed": 1, "missing": 4}
    assert data["seconds_left"] == 240
    assert data["tasks"][1]["reason"] == "out of memory"


def test_watching_ends_when_nothing_runs_or_waits(folder: RunFolder, slurm, pb, monkeypatch):
    elements = submitted(folder)
    slurm.queue = dict.fromkeys(elements, "PENDING")
    looks = []

    def nap(seconds: float) -> None:
        looks.append(seconds)
        slurm.queue = dict.fromkeys(elements, "CANCELLED")

    monkeypatch.setattr("pb_cli.commands.status.time.sleep", nap)
    result = pb("status", "run", "--watch", "--every", "5")
    assert looks == [5]
    assert "6 cancelled" in result.stdout


def test_resume_submits_what_is_failed_missing_or_lost_and_no_task_twice(folder: RunFolder, slurm, pb):
    finish(folder, 0)
    folder.write_failure(task(1), Failure("error", "ValueError: no"))
    claim(folder, 2)
    claim(folder, 3, pid=2**22 + 1)
    result = pb("resume", "run", "--mem", "4G", "--time", "30")
    assert result.exit_code == 0, result.output
    [array] = read_arrays(folder)
    assert [ids for [ids] in array.elements] == [task(seed).id for seed in (1, 3, 4, 5)]
    slurm.queue = {element: "PENDING" for _, element in array.placed()}
    again = pb("resume", "run")
    assert "Nothing to submit: 1 done, 1 running, 4 pending" in again.stderr
    slurm.queue = {element: "OUT_OF_MEMORY" for _, element in array.placed()}
    more = pb("resume", "run", "--only", "out of memory", "--more-memory", "2x", "--more-time", "1.5")
    assert more.exit_code == 0, more.output
    assert read_arrays(folder)[-1].site.sbatch == {"time": "0-00:45:00", "mem": "8192M"}
    assert sum(len(one.elements) for one in read_arrays(folder)) == 8


def test_resume_at_the_same_moment_is_refused(folder: RunFolder, slurm, pb):
    with folder.locked():
        result = pb("resume", "run")
    assert result.exit_code == 2
    assert "or a pb resume. Wait for it" in result.stderr
    assert slurm.submitted == []


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--more-memory", "2x"), "no --mem was given last time"),
        (("--mem", "4G", "--more-memory", "twice"), "write it like --more-memory 2x"),
        (("--only", "time limt"), "No task of this run is 'time limt'"),
        (("--sbatch-arg", "array=1"), "--array is set by pb itself"),
    ],
)
def test_mistakes_of_resume_are_named(folder: RunFolder, slurm, pb, flags, words: str):
    result = pb("resume", "run", *flags)
    assert result.exit_code == 2
    assert words in result.stderr
    assert slurm.submitted == []


def test_a_dry_run_shows_the_script_and_the_first_tasks(folder: RunFolder, slurm, pb):
    result = pb("resume", "run", "--dry-run", "--partition", "gpu", "--tasks-per-job", "4")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("#!/bin/bash\n")
    assert "#SBATCH --partition=gpu\n" in result.stdout
    assert "element 0: control, B; $HOME [/b], seed 0; control" in result.stderr
    assert slurm.submitted == []
    assert read_arrays(folder) == []

"""One process works on a task; a dead one is found out, on this machine at once and elsewhere by its silence."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pb_cli import claims as claims_module
from pb_cli.claims import Claims, read_claims, sweep
from pb_cli.store import RunFolder
from pb_cli.whereabouts import LOST_AFTER, is_alive, whereabouts

TASK = "0123456789ab"


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def record_of(folder: RunFolder, **changes: object) -> Path:
    """Leave the record of another process."""
    path = folder.place("running", TASK).with_name(f"{TASK}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    claims_module._write_new(path, whereabouts() | changes)
    return path


def test_a_task_is_taken_once_and_given_back(folder: RunFolder):
    with Claims(folder) as mine, Claims(folder) as other:
        assert mine.take(TASK) is None
        assert other.take(TASK)["pid"] == os.getpid()
        assert list(read_claims(folder)) == [TASK]
        mine.give_back(TASK)
        assert other.take(TASK) is None
    assert read_claims(folder) == {}


def test_a_dead_process_loses_its_task_and_what_it_was_writing(folder: RunFolder):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    path = record_of(folder, pid=ended.pid)
    draft = path.with_name(f"{TASK}.draft")
    draft.mkdir()
    with Claims(folder) as mine:
        assert mine.take(TASK) is None
        assert not draft.exists()


def test_a_process_number_that_was_used_again_is_another_process():
    assert is_alive(whereabouts(), seen=0)
    assert not is_alive(whereabouts() | {"born": "1"}, seen=time.time())


def test_a_process_elsewhere_is_alive_while_it_gives_signs(folder: RunFolder):
    path = record_of(folder, machine="another")
    with Claims(folder) as mine:
        assert mine.take(TASK) is not None
        old = time.time() - LOST_AFTER - 1
        os.utime(path, (old, old))
        assert mine.take(TASK) is None


def test_a_requeued_job_takes_its_own_task_up_on_another_node(folder: RunFolder, monkeypatch: pytest.MonkeyPatch):
    record_of(folder, machine="another", job="7", index=3)
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    with Claims(folder) as mine:
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
        assert mine.take(TASK) is not None
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
        assert mine.take(TASK) is None


def test_signs_of_life_are_given(folder: RunFolder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(claims_module, "PAUSE", 0.01)
    with Claims(folder) as mine:
        mine.take(TASK)
        path = folder.place("running", TASK).with_name(f"{TASK}.json")
        os.utime(path, (0, 0))
        end = time.monotonic() + 10
        while read_claims(folder)[TASK]["seen"] == 0:
            assert time.monotonic() < end
            time.sleep(0.01)


def test_leftovers_of_finished_tasks_are_swept(folder: RunFolder):
    path = record_of(folder, pid=2**22 + 1)
    path.with_name(f"{TASK}.draft").mkdir()
    sweep(folder, ())
    assert len(folder.listed("running")) == 2
    sweep(folder, [TASK])
    assert folder.listed("running") == {}

"""The run folder: whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pb_cli.files import write_text
from pb_cli.plan import Task
from pb_cli.store import Failure, RunFolder

RECORD = {"versions": {"pb-cli": "0.1.0"}}


@pytest.fixture
def folder(tmp_path: Path, task: Callable[..., Task]) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    with run.locked():
        run.open([task(1), task(2)], RECORD)
    return run


def test_a_task_appears_when_it_is_complete(folder: RunFolder, task: Callable[..., Task]):
    with folder.writing(task(1)) as draft:
        (draft / "metrics.csv").write_text("a")
        assert not folder.is_done(task(1))
    assert folder.is_done(task(1))
    assert [path.name for path in folder.task(task(1)).iterdir()] == ["metrics.csv"]


def test_a_failed_task_leaves_its_log_and_nothing_else(folder: RunFolder, task: Callable[..., Task]):
    def fail() -> None:
        with folder.writing(task(1)) as draft:
            (draft / "log.txt").write_text("so far")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not folder.is_done(task(1))
    assert list(folder.path.glob("*/??/*.*")) == []
    assert (folder.failure(task(1)) / "log.txt").read_text() == "so far"


def test_success_removes_an_earlier_failure(folder: RunFolder, task: Callable[..., Task]):
    folder.write_failure(task(1), Failure("error", "ValueError: no", "Traceback"))
    with folder.writing(task(1)):
        pass
    assert not folder.failure(task(1)).exists()


def test_the_first_of_two_results_stays(folder: RunFolder, task: Callable[..., Task]):
    with folder.writing(task(1)) as slow:
        (slow / "who").write_text("slow")
        with folder.writing(task(1)) as fast:
            (fast / "who").write_text("fast")
    assert (folder.task(task(1)) / "who").read_text() == "fast"
    assert list(folder.listed("tasks")) == [task(1).id]
    assert list((folder.path / "running").iterdir()) == []


@pytest.mark.parametrize("most", [1, 2])
def test_of_many_tasks_those_alike_share_a_folder(
    folder: RunFolder, most: int, monkeypatch: pytest.MonkeyPatch, task: Callable[..., Task]
):
    monkeypatch.setattr("pb_cli.store.FLAT", most)
    again = RunFolder(folder.path)
    places = {}
    for seed in (1, 2):
        with again.writing(task(seed)):
            pass
        inside = task(seed).id[:2] if most == 1 else "."
        places[task(seed).id] = folder.path / "tasks" / inside / task(seed).id
    assert again.listed("tasks") == places
    assert all(again.is_done(task(seed)) for seed in (1, 2))


def test_failures_of_older_runs_have_a_traceback_only(folder: RunFolder, task: Callable[..., Task]):
    old = folder.failure(task(1))
    old.mkdir(parents=True)
    (old / "traceback.txt").write_text("Traceback\n  ...\nValueError: no\n")
    assert folder.failure_record(old) == {"reason": "error", "message": "ValueError: no"}


def test_a_failure_says_why_and_where(folder: RunFolder, task: Callable[..., Task]):
    folder.write_failure(task(1), Failure("time limit", "stopped"))
    record = folder.failure_record(folder.failure(task(1)))
    assert (record["reason"], record["message"], record["pid"]) == ("time limit", "stopped", os.getpid())


def test_the_same_plan_is_taken_up_in_any_order(folder: RunFolder, task: Callable[..., Task]):
    folder.open([task(2), task(1)], RECORD)
    assert {one.seed for one in folder.read()} == {1, 2}


def test_a_plan_that_lost_a_line_is_refused(folder: RunFolder):
    plan = folder.path / "plan.jsonl"
    plan.write_text(plan.read_text().splitlines(keepends=True)[0])
    with pytest.raises(ValueError, match="was changed after planning"):
        folder.read()


def test_another_plan_is_refused(folder: RunFolder, task: Callable[..., Task]):
    with pytest.raises(ValueError, match=r"holds another plan \(2 tasks, of which 1 are among the 1 asked for now\)"):
        folder.open([task(1)], RECORD)


def test_a_folder_with_other_things_is_refused(tmp_path: Path, task: Callable[..., Task]):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ValueError, match="is not empty and holds no run"):
        RunFolder(tmp_path).open([task(1)], RECORD)


def test_text_is_replaced_whole(tmp_path: Path):
    path = tmp_path / "file.txt"
    for text in ("one", "two"):
        write_text(path, text)
        assert path.read_text() == text
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]

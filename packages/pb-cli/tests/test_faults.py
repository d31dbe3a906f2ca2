"""Processes killed at random moments: nothing half-written counts, and the finished table is the undisturbed one."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pb_cli.merging import problems_of
from pb_cli.store import RunFolder

STUB = Path(__file__).with_name("stub_pb.py")
KILLS = 20


def start(*arguments: object) -> subprocess.Popen:
    """Start pb with a stub for the training, in a session of its own."""
    command = [sys.executable, str(STUB), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen) -> int:
    """Wait for a process and give its exit code."""
    process.communicate(timeout=200)
    return process.returncode


def whole(folder: RunFolder) -> bool:
    """Whether everything that counts as done is."""
    return not problems_of(folder, [task for task in folder.read() if folder.is_done(task)])


def test_kills_at_random_moments_leave_nothing_half_written(tmp_path: Path, make_run, processes: Callable):
    undisturbed, folder = (make_run(tmp_path / name, [""] * 40) for name in ("undisturbed", "run"))
    assert ended(start("run", undisturbed.path)) == 0
    generator = random.Random(0)
    for number in range(KILLS):
        before = len(folder.listed("tasks"))
        run = start("run", folder.path, "--jobs", "2", "--tasks", f"0-{2 * number}")
        end = time.monotonic() + 60
        while run.poll() is None and len(folder.listed("tasks")) == before and time.monotonic() < end:
            time.sleep(0.005)
        time.sleep(generator.random() * 0.01)
        victims = [each.pid for each in processes() if each.parent == run.pid] if number % 2 else []
        for pid in victims or [run.pid]:
            kill(pid)
        run.communicate(timeout=60)
        assert whole(folder)
    assert ended(start("run", folder.path)) == 0
    for each in (folder, undisturbed):
        assert ended(start("collect", each.path)) == 0
    assert (folder.path / "results.csv").read_bytes() == (undisturbed.path / "results.csv").read_bytes()
    assert folder.listed("running") == {}


def kill(pid: int) -> None:
    """Kill a process that may have ended meanwhile."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def test_the_others_go_on_when_one_is_killed(tmp_path: Path, make_run, processes: Callable):
    folder = make_run(tmp_path / "run", ["wait"] * 4)
    run = start("run", folder.path, "--jobs", "2")
    while len(folder.listed("running")) < 4:  # two records and two drafts
        assert run.poll() is None
        time.sleep(0.05)
    victim = min(each.pid for each in processes() if each.parent == run.pid and "spawn_main" in command_of(each.pid))
    kill(victim)
    (folder.path / "go").touch()
    _, words = run.communicate(timeout=60)
    assert run.returncode == 1
    assert "killed from outside" in words
    assert len(folder.listed("tasks")) == 3
    [failed] = folder.listed("failed").values()
    assert folder.failure_record(failed)["reason"] == "killed"
    assert (failed / "log.txt").read_text() == "wait\n"
    assert folder.listed("running") == {}


def command_of(pid: int) -> str:
    """Read what a process was started with."""
    return Path(f"/proc/{pid}/cmdline").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_signals_of_slurm(tmp_path: Path, make_run, number: signal.Signals):
    """SIGTERM ends the run with a record of every task it was asked for; after a warning, what runs is finished."""
    folder = make_run(tmp_path / "run", ["wait"] * 2)
    run = start("run", folder.path)
    while len(folder.listed("running")) < 2:
        assert run.poll() is None
        time.sleep(0.05)
    run.send_signal(number)
    if number == signal.SIGUSR1:
        (folder.path / "go").touch()
    _, words = run.communicate(timeout=60)
    assert run.returncode == 1, words
    reasons = [folder.failure_record(path)["reason"] for path in folder.listed("failed").values()]
    assert reasons == ["stopped"] * (2 if number == signal.SIGTERM else 1)
    assert len(folder.listed("tasks")) == 2 - len(reasons)


def test_too_little_memory_is_said_in_words(tmp_path: Path, make_run):
    folder = make_run(tmp_path / "run", ["hold"])
    limit = 400 * 2**20
    code = f"import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit})); "
    code += f"sys.argv = ['pb', 'run', {os.fspath(folder.path)!r}]; "
    code += f"runpy.run_path({os.fspath(STUB)!r}, run_name='__main__')"
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
    [failed] = folder.listed("failed").values()
    assert folder.failure_record(failed)["reason"] == "out of memory"

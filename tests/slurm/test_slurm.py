"""`pb bench --array` and its kin against a real Slurm."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from pb_cli.arrays import read_arrays
from pb_cli.claims import read_claims
from pb_cli.commands.resume import resume as resume_verb
from pb_cli.plan import Task
from pb_cli.store import RunFolder
from scipy import sparse

KEYS = ("--context-key", "kind", "--perturbation-key", "condition", "--control", "ctrl", "--scale", "counts")
SIZES = ("--set", "scgen.max_epochs=150", "--set", "scgen.max_steps=100000", "--set", "scgen.n_hidden=64")
FLAGS = (*KEYS, *SIZES, "--model", "scgen", "--no-baselines", "--n-genes", "40", "--hold-out", "b")
SAID = "a 'quoted' $HOME; \\ # no"
COMMENT = ("--sbatch-arg", f"comment={SAID}")
STRANGE = "run -x; 'é' \"$HOME\" %a\n"


def make_cells() -> AnnData:
    """Draw counts of two conditions in three contexts."""
    generator = np.random.default_rng(0)
    labels = list(product("abc", ("ctrl", "stim"), range(40)))
    obs = pd.DataFrame(labels, columns=["kind", "condition", "cell"], index=[f"cell{i}" for i in range(240)])
    rates = generator.gamma(1.0, 2.0, 60) * (1 + 3 * np.outer(obs["condition"] == "stim", np.arange(60) < 9))
    return AnnData(sparse.csr_matrix(generator.poisson(rates).astype(np.float32)), obs=obs)


def standing(cluster, folder: RunFolder) -> dict[int, tuple[str, str]]:
    """Say how tasks stand, by seed."""
    found = json.loads(cluster.pb("status", folder.path, "--json"))
    seeds = {task.id: task.seed for task in folder.read()}
    return {seeds[row["task"]]: (row["state"], row["reason"]) for row in found["tasks"]}


def test_names_chunks_limits_threads_and_exit_codes(cluster, tmp_path: Path, make_run):
    """Seven elements where a job may have five, in a folder that no shell would survive; one fails."""
    contexts = ["plain", "two words", "a'b\"c", "$HOME; exit 3", "new\nline", "délta 日本", "-x --help"]
    folder = make_run(tmp_path / STRANGE, ["", "", "fail", "", "", "", ""], contexts)
    tasks = folder.read()
    words = cluster.pb(
        "resume", folder.path, "--cpus-per-task=2", "--max-parallel=2", "--time=5", "--mem=200M", *COMMENT
    )
    assert "7 tasks in 7 array elements" in words
    cluster.wait(cluster.is_idle)
    assert standing(cluster, folder) == {seed: ("failed", "error") if seed == 2 else ("done", "") for seed in range(7)}
    records = [folder.task_record(task)["costs"]["threads"] for task in tasks if task.seed != 2]
    assert records == ["2"] * 6
    known = cluster("squeue", "--noheader", "--array", "--states=all", "--format=%T|%k").splitlines()
    states = [line for line in known if line.endswith(SAID)]  # beside those of tests before this one
    assert sorted(states) == sorted([f"FAILED|{SAID}"] + [f"COMPLETED|{SAID}"] * 6)
    words = cluster.pb("collect", folder.path, check=False)
    assert "6 of 7 tasks, 6 rows" in words


def test_each_end_shows_as_what_it_was_and_resume_mends_it(cluster, tmp_path: Path, make_run, root: Path):
    """A minute, the shortest time limit of Slurm: done, error, time limit, scancel, memory, two kills, requeue."""
    acts = ["", "fail", "wait", "wait", "hold", "wait", "wait", "wait"]
    folder = make_run(tmp_path / "run", acts)
    tasks = folder.read()
    cluster.pb("resume", folder.path, "--time=1", "--mem=300M")
    by_seed = {task.seed: task.id for task in tasks}
    cluster.wait(lambda: {by_seed[seed] for seed in (2, 3, 5, 6, 7)} <= read_claims(folder).keys())
    cluster.wait(lambda: standing(cluster, folder)[1] == ("failed", "error"))
    states = standing(cluster, folder)
    assert states[0] == ("done", "")
    assert {states[seed][0] for seed in (2, 3, 5, 6, 7)} == {"running"}
    assert "Nothing to submit" not in cluster.pb("resume", folder.path, "--dry-run", "--only=error")

    first, second = read_arrays(folder)[0].chunks
    claims = read_claims(folder)
    cluster("scancel", f"{first.job}_3")
    os.kill(child_of(claims[by_seed[5]]["pid"]), signal.SIGKILL)
    os.kill(claims[by_seed[6]]["pid"], signal.SIGKILL)
    cluster("scontrol", "requeue", f"{second.job}_2")
    cluster.wait(lambda: standing(cluster, folder)[2] == ("failed", "time limit"), seconds=120)
    states = standing(cluster, folder)
    ends = ["time limit", "cancelled", "out of memory", "killed", "killed"]
    assert [states[seed] for seed in range(2, 7)] == [("failed", end) for end in ends]
    assert states[7][0] in ("pending", "running")

    for flags in shown_flags(root):
        assert "#SBATCH" in cluster.pb("resume", folder.path, *flags, "--dry-run")
    cluster("scontrol", "update", f"JobId={second.job}_2", "StartTime=now", check=False)  # Slurm waits two minutes
    (folder.path / "go").touch()
    both = [resume(cluster, folder, "--more-time=2x", "--more-memory", "1.5x") for _ in range(2)]
    words = [each.communicate(timeout=60)[1] for each in both]
    assert all(each.returncode == 0 or "pb resume" in text for each, text in zip(both, words, strict=True)), words
    again = [task_id for array in read_arrays(folder)[1:] for ids in array.elements for task_id in ids]
    assert sorted(again) == sorted(by_seed[seed] for seed in range(1, 7)), words
    assert read_arrays(folder)[-1].site.sbatch == {"time": "0-00:02:00", "mem": "450M"}
    cluster.wait(cluster.is_idle, seconds=120)
    states = standing(cluster, folder)
    assert states == dict.fromkeys((0, 2, 3, 5, 6, 7), ("done", "")) | {1: ("failed", "error"), 4: states[4]}
    assert states[4] == ("failed", "out of memory")


def shown_flags(root: Path) -> list[list[str]]:
    """List the flags of each `pb resume RUN` that the page on clusters and the verb's help show."""
    texts = [(root / "docs" / "cluster.md").read_text(), resume_verb.help or ""]
    lines = [line for text in texts for line in re.findall(r"^ *pb resume runs/\w+ (.*)$", text, re.MULTILINE)]
    assert len(lines) > 4
    return [shlex.split(line, comments=True) for line in lines]


def child_of(parent: int) -> int:
    """Find the process that works for another."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        fields = path.read_text().rpartition(")")[2].split()
        words = path.with_name("cmdline").read_bytes()
        if int(fields[1]) == parent and b"spawn_main" in words:
            return int(path.parent.name)
    raise AssertionError(parent)


def resume(cluster, folder: RunFolder, *flags: str) -> subprocess.Popen:
    """Start `pb resume`."""
    command = [sys.executable, cluster.stub, "resume", folder.path, *flags]
    return subprocess.Popen(command, env=cluster.environment, stderr=subprocess.PIPE, text=True)


def test_a_warned_task_goes_back_into_the_queue_and_goes_on(cluster, tmp_path: Path, make_run):
    """Slurm's own warning, twelve seconds before the end of a minute; then one by hand; then it finishes."""
    folder = make_run(tmp_path / "run", ["train", "stuck", ""])
    tasks = folder.read()
    cluster.pb("resume", folder.path, "--time=1", "--mem=200M")
    [array] = read_arrays(folder)
    job = array.chunks[0].job
    [script] = (folder.path / "arrays" / array.name).glob("*.sbatch")
    assert "#SBATCH --signal=USR1@12\n" in script.read_text()
    waiting = ("pending", "time limit")
    cluster.wait(lambda: standing(cluster, folder) == {0: waiting, 1: waiting, 2: ("done", "")}, seconds=120)
    assert "Its training will go on after epoch 1." in cluster.pb("status", folder.path)
    assert epochs(folder) == {0: 1, 1: 1}

    warn_again(cluster, folder, job, elements=(0, 1))
    cluster.wait(lambda: standing(cluster, folder)[1][0] == "failed")
    assert standing(cluster, folder)[0][0] == "pending"
    assert epochs(folder) == {0: 2, 1: 1}
    [words] = (path.read_text() for path in folder.path.glob("arrays/*/output-0/1.txt"))
    assert "1 task not finished; `pb resume` submits them again" in words

    warn_again(cluster, folder, job, elements=(0,))
    cluster.wait(lambda: standing(cluster, folder)[0] == ("done", ""))
    assert not folder.training_state(tasks[0]).exists()


def test_a_preempted_task_keeps_its_training_and_goes_on(cluster, tmp_path: Path, make_run):
    """A job of a higher tier wants all memory: Slurm ends the element with SIGTERM and puts it back by itself."""
    folder = make_run(tmp_path / "run", ["train"])
    tasks = folder.read()
    cluster.pb("resume", folder.path, "--mem=2000M")
    cluster.wait(lambda: logs(folder, tasks[0]))
    job = read_arrays(folder)[0].chunks[0].job
    cluster("sbatch", "--partition=urgent", "--mem=3900M", "--output=/dev/null", "--wrap=sleep 1")
    cluster.wait(lambda: standing(cluster, folder)[0][0] == "pending")
    assert standing(cluster, folder)[0] == ("pending", "preempted"), output(folder)
    assert epochs(folder) == {0: 1}
    warn_again(cluster, folder, job, elements=(0,))
    cluster.wait(lambda: standing(cluster, folder)[0][0] == "pending")
    assert epochs(folder) == {0: 2}


def output(folder: RunFolder) -> str:
    """What elements printed."""
    return "\n".join(path.read_text() for path in folder.path.glob("arrays/*/output-*/*.txt"))


def epochs(folder: RunFolder) -> dict[int, int]:
    """How many epochs are kept of tasks that were stopped, by seed."""
    seeds = {task.id: task.seed for task in folder.read()}
    return {seeds[name]: folder.failure_record(path)["epochs"] for name, path in folder.listed("failed").items()}


def warn_again(cluster, folder: RunFolder, job: str, elements: tuple[int, ...]) -> None:
    """Let elements that were requeued begin at once, and warn them when their tasks have begun."""
    tasks = folder.read()
    for element in elements:
        cluster("scontrol", "update", f"JobId={job}_{element}", "StartTime=now")  # Slurm waits two minutes
    for element in elements:
        cluster.wait(lambda task=tasks[element]: logs(folder, task))
        cluster("scancel", "--signal=USR1", f"{job}_{element}")


def logs(folder: RunFolder, task: Task) -> list[str]:
    """What a task that runs has logged."""
    return [path.read_text() for path in folder.path.glob(f"running/{task.id}.*/log.txt")]


def test_requeued_trainings_give_the_undisturbed_predictions(cluster, tmp_path: Path):
    """The real pb: two scgen in one pass are warned in the middle of it, and go on in the next attempt of their job."""
    data = tmp_path / "data.h5ad"
    make_cells().write_h5ad(data)
    (site := tmp_path / "site.toml").write_text(f"pb = '{sys.executable} -m pb_cli'\n")
    folder, whole = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "whole")
    for each in (folder, whole):
        bench = ("bench", "--data", data, *FLAGS, "--seed", "1,2", "--ensemble", "--out", each.path)
        cluster(sys.executable, "-m", "pb_cli", *bench, "--array", "--site", site, "--time=10", "--mem=1G")
    tasks, [array] = folder.read(), read_arrays(folder)
    job = array.chunks[0].job
    cluster.wait(lambda: any("epoch 3/" in log for log in logs(folder, tasks[0])), seconds=200)
    cluster("scancel", "--signal=USR1", f"{job}_0")
    cluster.wait(lambda: cluster("squeue", "--noheader", f"--jobs={job}", "--format=%t").split() == ["PD"])
    assert [state for state, _ in standing(cluster, folder).values()] == ["pending"] * 2
    assert len(set(epochs(folder).values())) == 1
    assert [folder.training_state(task).is_file() for task in tasks] == [True, False]
    cluster("scontrol", "update", f"JobId={job}_0", "StartTime=now")
    cluster.wait(lambda: all(each.is_done(task) for each in (folder, whole) for task in tasks), seconds=300)
    for task in tasks:
        assert "goes on after epoch" in (folder.task(task) / "log.txt").read_text()
        for name in ("model/weights.safetensors", "metrics.csv"):
            assert (folder.task(task) / name).read_bytes() == (whole.task(task) / name).read_bytes(), name
    assert not folder.training_state(tasks[0]).exists()


def test_a_queue_that_does_not_answer_or_has_forgotten(cluster, tmp_path: Path, make_run, monkeypatch):
    """Without Slurm the files tell the rest; submitted tasks without a trace are not submitted again on a guess."""
    folder = make_run(tmp_path / "run", ["", "fail", ""])
    cluster.pb("resume", folder.path)
    cluster.wait(cluster.is_idle)
    for path in folder.path.glob("tasks/*"):
        path.rename(tmp_path / path.name)
        break
    broken = {"PATH": str(tmp_path)}  # a laptop has no squeue
    silent = cluster._replace(environment=cluster.environment | broken)
    states = standing(silent, folder)
    assert sorted(states.values()) == [("done", ""), ("failed", "error"), ("pending", "")]
    assert "is not known; try again" in silent.pb("resume", folder.path, check=False)
    [array] = read_arrays(folder)
    (folder.path / "arrays" / array.name).rename(folder.path / "arrays" / "pb-forgotten")
    assert sorted(standing(cluster, folder).values()) == [("done", ""), ("failed", "error"), ("failed", "lost")]


def test_a_read_only_run_folder_is_refused_and_can_be_looked_at(cluster, tmp_path: Path, make_run):
    disk = tmp_path / "disk"
    disk.mkdir()
    cluster("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk)
    try:
        folder = make_run(disk / "run", ["", ""])
        cluster.pb("run", folder.path, "--task=0")
        cluster("mount", "-o", "remount,ro", disk)
        for verb in ("run", "resume"):
            assert "cannot be written to: results would be lost" in cluster.pb(verb, folder.path, check=False)
        assert standing(cluster, folder) == {0: ("done", ""), 1: ("missing", "")}
    finally:
        cluster("umount", disk)


def test_a_full_disk_fails_the_task_and_not_the_rest(cluster, tmp_path: Path, make_run):
    """The run folder lies on a file system of two megabytes, and one task writes ten."""
    disk = tmp_path / "disk"
    disk.mkdir()
    cluster("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk)
    try:
        folder = make_run(disk / "run", ["", "fill", ""])
        words = cluster.pb("run", folder.path, check=False)
        assert "No space left on device" in words
        assert standing(cluster, folder) == {0: ("done", ""), 1: ("failed", "error"), 2: ("done", "")}
        assert folder.listed("running") == {}
    finally:
        cluster("umount", disk)

"""`pb bench --array` and its kin against a real Slurm."""

import json
import os
from pathlib import Path

import pytest
from pb_cli.plan import Task
from pb_cli.resources import versions
from pb_cli.store import RunFolder

STRANGE = "run -x; 'é' \"$HOME\" %a\n"


def make_run(path: Path, acts: list[str], contexts: list[str] | None = None) -> tuple[RunFolder, list[Task]]:
    """Plan tasks of the stub."""
    tasks = [
        Task(
            source={"dataset": "none", "path": None, "sha256": ""},
            split="s",
            split_parameters={"held_out": contexts[seed] if contexts else f"unit {seed}"},
            split_hash=f"hash{seed}",
            preprocess={},
            model="control",
            profile="default",
            settings={"act": act},
            seed=seed,
        )
        for seed, act in enumerate(acts)
    ]
    folder = RunFolder(path)
    with folder.locked():
        folder.open(tasks, {"versions": versions()})
    return folder, tasks


def standing(cluster, folder: RunFolder) -> dict[int, tuple[str, str]]:
    """Say how tasks stand, by seed."""
    found = json.loads(cluster.pb("status", folder.path, "--json"))
    seeds = {task.id: task.seed for task in folder.read()}
    return {seeds[row["task"]]: (row["state"], row["reason"]) for row in found["tasks"]}


def test_names_chunks_limits_threads_and_exit_codes(cluster, tmp_path: Path):
    """Seven elements where a job may have five, in a folder that no shell would survive; one fails."""
    contexts = ["plain", "two words", "a'b\"c", "$HOME; exit 3", "new\nline", "délta 日本", "-x --help"]
    folder, tasks = make_run(tmp_path / STRANGE, ["", "", "fail", "", "", "", ""], contexts)
    words = cluster.pb("resume", folder.path, "--cpus-per-task=2", "--max-parallel=2", "--time=5", "--mem=200M")
    assert "7 tasks in 7 array elements" in words
    cluster.wait(cluster.is_idle)
    assert standing(cluster, folder) == {seed: ("failed", "error") if seed == 2 else ("done", "") for seed in range(7)}
    records = [folder.task_record(task)["costs"]["threads"] for task in tasks if task.seed != 2]
    assert records == ["2"] * 6
    states = cluster("squeue", "--noheader", "--array", "--states=all", "--format=%j %K %T", check=True)
    assert [line.split()[2] for line in states.splitlines()].count("FAILED") == 1
    words = cluster.pb("collect", folder.path, check=False)
    assert "6 of 7 tasks, 6 rows" in words

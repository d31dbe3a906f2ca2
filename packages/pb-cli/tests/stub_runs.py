"""Run folders whose tasks are for the stub in `stub_pb.py`: what a task does is its setting `act`."""

from collections.abc import Sequence
from pathlib import Path

from pb_cli.plan import Task
from pb_cli.resources import versions
from pb_cli.store import RunFolder


def make_run(path: Path, acts: Sequence[str], contexts: Sequence[str] = ()) -> RunFolder:
    """Plan one task for each act, its seed the place."""
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
    return folder

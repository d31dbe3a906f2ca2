"""Merging the results of many tasks: which are whole and belong here, and reading them all at once."""

import csv
import io
import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pb_data.hashing import file_sha256

from pb_cli.plan import Task

if TYPE_CHECKING:
    import pandas as pd

    from pb_cli.store import RunFolder

__all__ = ["failure_records", "file_record", "problems_of", "read_tables"]

SCORES = "metrics.csv"


def file_record(folder: Path) -> dict[str, dict[str, object]]:
    """Say how large each file of a finished task is, and what its scores hash to."""
    sizes = {path.name: {"bytes": path.stat().st_size} for path in sorted(folder.iterdir()) if path.is_file()}
    hashes = {SCORES: {"sha256": file_sha256(folder / SCORES)}} if SCORES in sizes else {}
    return {name: {**record, **hashes.get(name, {})} for name, record in sizes.items() if name != "log.txt"}


def failure_records(folder: "RunFolder", tasks: Iterable[Task]) -> list[dict[str, Any]]:
    """Say of each task that failed what it was and why, for machines."""
    names = ("held_out", "dose", "model", "profile", "seed")
    return [
        {"task": task.id} | {name: getattr(task, name) for name in names} | folder.failure_record(folder.failure(task))
        for task in tasks
        if not folder.is_done(task) and folder.failure(task).is_dir()
    ]


def problems_of(folder: "RunFolder", tasks: Iterable[Task], *, scores_only: bool = False) -> dict[str, str]:
    """Say what is wrong with results that are not whole or not of their task, a sentence by task id.

    With `scores_only`, predictions and whatever else is no score may have been removed.
    """
    problems = {}
    for task in tasks:
        path = folder.task(task)
        if problem := _problem(task, path, scores_only=scores_only):
            problems[task.id] = f"{path}: {problem} Remove this folder to have the task done again."
    return problems


def _problem(task: Task, path: Path, *, scores_only: bool) -> str:
    """Say what is wrong with the result of a task, or nothing."""
    try:
        record = json.loads((path / "task.json").read_text(encoding="utf-8"))
        found, split = record["task"], record.get("split_hash", task.split_hash)
    except (OSError, ValueError, KeyError, TypeError):
        return "task.json is missing or half-written."
    if found != task.id:
        return f"this is the result of task {found}."
    if split != task.split_hash:
        return f"its split is {split[:12]}, planned was {task.split_hash[:12]}."
    for name, written in record.get("files", {SCORES: {}}).items():
        file = path / name
        if scores_only and name != SCORES and not file.exists():
            continue
        if not file.is_file() or ("bytes" in written and file.stat().st_size != written["bytes"]):
            return f"{name} is missing or half-written."
        if "sha256" in written and file_sha256(file) != written["sha256"]:
            return f"{name} was changed after it was written."
    return ""


def read_tables(paths: Sequence[Path]) -> "pd.DataFrame":
    """Read many small result tables as one: the text of those of today's columns is joined and parsed once."""
    from pb_eval import RESULT_COLUMNS, read_table
    from pb_eval.table import empty_table, merge_tables

    if not paths:
        return empty_table()
    joined, others = io.StringIO(), []
    joined.write(",".join(RESULT_COLUMNS) + "\n")
    for path in paths:
        with path.open(encoding="utf-8", newline="") as file:
            header = next(csv.reader([file.readline()]), [])
            if tuple(header) == tuple(RESULT_COLUMNS):
                joined.write(file.read())
            else:
                others.append(read_table(path))
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "joined.csv"
        whole.write_text(joined.getvalue(), encoding="utf-8", newline="")
        return merge_tables([read_table(whole), *others])

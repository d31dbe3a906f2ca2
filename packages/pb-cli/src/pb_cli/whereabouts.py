"""Where this process runs: host, process, Slurm job; and whether another one still does."""

import os
import platform
import time
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["LOST_AFTER", "is_alive", "slurm_element", "whereabouts"]

LOST_AFTER = 150.0  # seconds without a sign of life, five times the pause between two


def whereabouts() -> dict[str, Any]:
    """Say where this process runs, completely enough to find out later whether it still does."""
    here: dict[str, Any] = {
        "host": platform.node(),
        "pid": os.getpid(),
        "machine": _machine(),
        "born": _born(os.getpid()),
    }
    return here | ({} if (element := slurm_element()) is None else {"job": element[0], "index": element[1]})


def slurm_element() -> tuple[str, int | None] | None:
    """Give the Slurm job this process belongs to and its index in the array; None outside Slurm."""
    job = os.environ.get("SLURM_ARRAY_JOB_ID") or os.environ.get("SLURM_JOB_ID")
    if not job:
        return None
    index = os.environ.get("SLURM_ARRAY_TASK_ID", "")
    return job, int(index) if index.isdigit() else None


def is_alive(record: dict[str, Any], seen: float) -> bool:
    """Whether the process of a record still runs: asked directly on its own machine, elsewhere by its sign of life.

    `seen` is when it last gave one, in seconds since 1970.
    """
    if record.get("machine") and record["machine"] == _machine():
        return bool(record["born"]) and _born(record["pid"]) == record["born"]
    return time.time() - seen < LOST_AFTER


@cache
def _machine() -> str:
    """Name the running kernel and its space of process numbers; nothing where the kernel does not say (not Linux)."""
    boot, space = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    try:
        return f"{boot.read_text().strip()} {space.stat().st_ino}"
    except OSError:
        return ""


def _born(pid: int) -> str:
    """When a process started, in the kernel's ticks; nothing where there is no such process, or it is a zombie."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state == "Z" else rest[18]

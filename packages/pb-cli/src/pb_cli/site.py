"""What a cluster wants to be told: options of sbatch and how pb is started, from flags and a small TOML file.

::

    # $XDG_CONFIG_HOME/pb/site.toml, or the file that PB_SITE names
    environment = "module load python/3.11 && source ~/pb/.venv/bin/activate"
    pb = "pb"                       # or: apptainer exec ~/pb.sif pb

    [sbatch]
    partition = "cpu"
    time = "02:00:00"
    mem = "8G"
"""

import os
import re
import shlex
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pb_cli.names import suggest

__all__ = ["OPTIONS", "Site", "multiply_memory", "multiply_time", "read_site", "seconds_of", "usual_site"]

#: options with a flag of their own
OPTIONS = ("partition", "account", "qos", "time", "mem", "cpus-per-task", "gres", "constraint", "dependency")
_OURS = {"array", "chdir", "job-name", "output", "error", "open-mode", "parsable", "wrap"}
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9-]*")


@dataclass(frozen=True)
class Site:
    """How jobs are submitted: sbatch's options by name, lines that activate the environment, the command `pb`."""

    sbatch: Mapping[str, str] = field(default_factory=dict)
    environment: str = ""
    pb: str = f"{shlex.quote(sys.executable)} -m pb_cli"

    def __post_init__(self) -> None:
        """Refuse options that cannot be written on a line, and those that pb sets itself."""
        for name, value in self.sbatch.items():
            if not _PLAIN.fullmatch(name) or any(sign in value for sign in "\n\r\0"):
                msg = f"{name!r} = {value!r} is no option of sbatch on one line; write it like partition = 'gpu'."
                raise ValueError(msg)
            if name in _OURS:
                msg = f"--{name} is set by pb itself; leave it out."
                raise ValueError(msg)

    def with_options(self, options: Mapping[str, str]) -> "Site":
        """Put options over those that are there."""
        return replace(self, sbatch={**self.sbatch, **options})

    @property
    def wants_gpu(self) -> bool:
        """Whether a GPU is asked for."""
        return any("gpu" in f"{name}={value}" for name, value in self.sbatch.items() if name.startswith("g"))


def read_site(
    path: Path | None, flags: Mapping[str, str | None], arguments: Iterable[str], *, usual: bool = True
) -> Site:
    """Read the site's file, given or at its usual place, and let flags and `--sbatch-arg` override it.

    Raises
    ------
    ValueError
        If the file or an argument is not as it should be.
    """
    found = path or (usual_site() if usual else None)
    values = _parse(found) if found else {}
    options = {str(name): str(value) for name, value in values.get("sbatch", {}).items()}
    options |= {name: value for name, value in flags.items() if value is not None}
    options |= dict(map(_argument, arguments))
    return Site(options, **{name: str(value) for name, value in values.items() if name != "sbatch"})


def usual_site() -> Path | None:
    """Find the file at its usual places; None where there is none."""
    named = os.environ.get("PB_SITE")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    path = Path(named) if named else config / "pb" / "site.toml"
    return path if named or path.is_file() else None


def _parse(path: Path) -> dict[str, Any]:
    """Parse the file and refuse what it cannot say."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        msg = f"{path} is not valid TOML: {error}."
        raise ValueError(msg) from error
    known = {"sbatch": dict, "environment": str, "pb": str}
    for name, value in values.items():
        if name not in known:
            msg = f"{path}: no site has a key {name!r}. {suggest(name, known)}"
            raise ValueError(msg)
        if not isinstance(value, known[name]):
            msg = f"{path}: {name} is {value!r}; write {'a table' if name == 'sbatch' else 'a text'}."
            raise ValueError(msg)  # noqa: TRY004 (what a user wrote in a file)
    return values


def _argument(text: str) -> tuple[str, str]:
    """Read `--name=value`, `name=value` or `--name`."""
    name, _, value = text.removeprefix("--").partition("=")
    return name, value


def multiply_memory(text: str, factor: float) -> str:
    """Multiply an amount of memory as Slurm writes it.

    >>> multiply_memory("8G", 2), multiply_memory("4000", 1.5), multiply_memory("1T", 1.5)
    ('16384M', '6000M', '1572864M')
    """
    found = re.fullmatch(r"(\d+)([KMGT]?)B?", text.strip().upper())
    if found is None:
        msg = f"{text!r} is no amount of memory; write it like 8G."
        raise ValueError(msg)
    megabytes = int(found[1]) * {"K": 1 / 1024, "": 1, "M": 1, "G": 1024, "T": 1024**2}[found[2]]
    return f"{max(1, round(megabytes * factor))}M"


def multiply_time(text: str, factor: float) -> str:
    """Multiply a time limit as Slurm writes it.

    >>> multiply_time("30", 2), multiply_time("12:00:00", 3), multiply_time("1-12", 2)
    ('0-01:00:00', '1-12:00:00', '3-00:00:00')
    """
    minutes, seconds = divmod(round(seconds_of(text) * factor), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours // 24}-{hours % 24:02d}:{minutes:02d}:{seconds:02d}"


def seconds_of(text: str) -> int:
    """Read a time limit as Slurm writes it: minutes, M:S, H:M:S, D-H, D-H:M or D-H:M:S.

    >>> seconds_of("30"), seconds_of("1:30"), seconds_of("1-12")
    (1800, 90, 129600)
    """
    days, dash, clock = text.strip().rpartition("-")
    parts = clock.split(":")
    if not all(part.isdigit() for part in [*parts, days or "0"]) or len(parts) > 3:
        msg = f"{text!r} is no time limit; write it like 02:00:00 or 1-12:00:00."
        raise ValueError(msg)
    numbers = [int(part) for part in parts]
    if dash:
        hours, minutes, seconds = numbers + [0] * (3 - len(numbers))
    else:
        hours, minutes, seconds = {1: [0, *numbers, 0], 2: [0, *numbers], 3: numbers}[len(numbers)]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds

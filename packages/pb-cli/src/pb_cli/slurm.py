"""Slurm, by its own commands: the script of an array, submitting it, and what becomes of its elements."""

import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from pb_cli.site import Site, seconds_of
from pb_cli.store import Reason
from pb_cli.whereabouts import slurm_element

__all__ = [
    "ACTIVE",
    "REASONS",
    "WAITING",
    "Chunk",
    "Element",
    "SlurmError",
    "accounted",
    "call",
    "max_array_size",
    "noted",
    "queued",
    "render",
    "requeue",
    "submit",
    "why_stopped",
]

REASONS: dict[str, Reason] = {
    "BOOT_FAIL": "node failure",
    "CANCELLED": "cancelled",
    "DEADLINE": "time limit",
    "FAILED": "error",
    "NODE_FAIL": "node failure",
    "OUT_OF_MEMORY": "out of memory",
    "PREEMPTED": "preempted",
    "TIMEOUT": "time limit",
}
#: what Slurm's daemon on the node writes into a job's output when it ends it
NOTES: dict[str, Reason] = {
    r"oom[_-]kill|Exceeded \w+ memory limit|exceeded memory limit": "out of memory",
    r"DUE TO TIME LIMIT": "time limit",
    r"DUE TO PREEMPTION": "preempted",
    r"DUE TO NODE FAILURE": "node failure",
    r"\*\*\* JOB .* CANCELLED AT (?!.* DUE TO JOB REQUEUE)": "cancelled",
}
WAITING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT", "CONFIGURING"}
ACTIVE = {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}
WARNING = 120  # seconds before the time limit, or a fifth of it
NEAR = 900  # seconds to the end at which a warning is taken for that of the time limit
LARGEST_CHUNK = 2000  # elements of one job: each leaves a file with its output in one folder


class SlurmError(RuntimeError):
    """A command of Slurm is missing, does not answer, or refuses."""


class Chunk(NamedTuple):
    """Consecutive elements of an array that are one job of Slurm, and the job's number once it has one."""

    offset: int
    n_elements: int
    job: str | None = None

    def job_name(self, array: str) -> str:
        """Name the job."""
        return f"{array}-{self.offset}"

    def output(self, array: str) -> str:
        """Name the files that take what the elements print."""
        return f"arrays/{array}/output-{self.offset}/%a.txt"


class Element(NamedTuple):
    """One element of an array: the name of its job, which is unique, and its place in it."""

    job: str
    position: int


def call(*command: str, seconds: float = 60) -> str:
    """Run a command of Slurm and return what it prints.

    Raises
    ------
    SlurmError
        If it is not there, fails, or does not answer in time.
    """
    program = shutil.which(command[0])
    if program is None:
        msg = f"{command[0]} is not on the path: this machine is no login node of a Slurm cluster."
        raise SlurmError(msg)
    foreign = ("SQUEUE_", "SBATCH_", "SACCT_")  # a user's own formats would not be understood
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    started = subprocess.Popen(  # noqa: S603 (a list of arguments, no shell)
        [program, *command[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        said, complaint = started.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        os.killpg(started.pid, signal.SIGKILL)  # what a wrapper script has started holds the pipes open
        started.communicate()
        msg = f"{command[0]} did not answer within {seconds:g} seconds."
        raise SlurmError(msg) from error
    if started.returncode:
        msg = f"{command[0]} says: {complaint.strip() or f'exit code {started.returncode}'}"
        raise SlurmError(msg)
    return said


def render(site: Site, array: str, chunk: Chunk, *, most: int | None, flags: Sequence[str]) -> str:
    """Write the script of one job, a chunk of an array; at most `most` of its elements run at a time.

    It is submitted from the run folder, so that no name of a folder, a file or a context is in it.
    """
    name = "gpu.sbatch" if site.wants_gpu else "array.sbatch"
    template = files("pb_cli").joinpath("templates", name).read_text(encoding="utf-8")
    limit = f"%{most}" if most else ""
    options = {
        "job-name": chunk.job_name(array),
        "array": f"0-{chunk.n_elements - 1}{limit}",
        "output": chunk.output(array),
        "open-mode": "append",
        "cpus-per-task": "1",
        "requeue": "",
        "signal": f"USR1@{_warning(site.sbatch.get('time', ''))}",
        **site.sbatch,
    }
    lines = "\n".join(f"#SBATCH {_option(*pair)}" for pair in options.items())
    parts = {
        "#SBATCH @options@": lines,
        "@environment@": site.environment.strip(),
        "@pb@": site.pb,
        "@name@": array,
        "@offset@": str(chunk.offset),
        "@flags@": shlex.join(flags),
    }
    text = re.sub("|".join(map(re.escape, parts)), lambda found: parts[found[0]], template)
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines() if line.strip())


def _warning(limit: str) -> int:
    """Say how many seconds before its time limit a job is warned."""
    try:
        seconds = seconds_of(limit)
    except ValueError:  # UNLIMITED, or the partition's own
        seconds = 0
    return min(WARNING, max(1, seconds // 5)) if seconds else WARNING


def _option(name: str, value: str) -> str:
    """Write an option as sbatch reads it from a script; one without a value is a switch.

    Unlike a shell, sbatch takes a backslash as one between quotes too.
    """
    escaped = value.replace("\\", "\\\\")
    return f"--{name}={shlex.quote(escaped)}" if value else f"--{name}"


def submit(script: Path, folder: Path, output: str, dependency: str = "") -> str:
    """Submit a script with a folder as its working directory, and return the number of the job.

    `output` is the pattern of the files that take what the elements print, inside the folder.

    Raises
    ------
    SlurmError
        With what sbatch says.
    """
    home = str(folder.absolute())
    more = [f"--dependency={dependency}"] if dependency else []
    if "%" in home:  # Slurm reads % in the working directory as part of the pattern of the output's name
        more.append(f"--output={home.replace('%', '%%')}/{output}")
    answer = call("sbatch", "--parsable", f"--chdir={home}", *more, str(script.absolute()))
    return answer.strip().partition(";")[0]


def max_array_size(seconds: float = 60) -> int:
    """How many elements a job may have: the cluster's MaxArraySize caps the index, which starts at 0 here."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", call("scontrol", "show", "config", seconds=seconds), re.MULTILINE)
    return min(int(found[1]), LARGEST_CHUNK) if found else 1000


def queued(names: Iterable[str]) -> dict[Element, str]:
    """Ask for the states of the elements of jobs of these names: those in the queue, and those that ended lately.

    Raises
    ------
    SlurmError
        If Slurm does not answer.
    """
    wanted = ",".join(names)
    if not wanted:
        return {}
    text = call("squeue", "--noheader", "--array", "--states=all", f"--name={wanted}", "--format=%j|%K|%T")
    return _states(line.split("|") for line in text.splitlines())


def accounted(jobs: Mapping[str, str]) -> dict[Element, str]:
    """Ask the accounting database for the states of elements, given job names by number; {} where there is none."""
    if not jobs:
        return {}
    form = "--format=JobID,State"
    try:
        text = call("sacct", "--noheader", "--parsable2", "--allocations", form, f"--jobs={','.join(jobs)}")
    except SlurmError:
        return {}
    rows = (re.split(r"[_|]", line, maxsplit=2) for line in text.splitlines() if "_" in line)
    return _states((jobs.get(row[0], ""), *row[1:]) for row in rows)


def _states(rows: Iterable[Sequence[str]]) -> dict[Element, str]:
    """Read rows of job, index and state (its first word); what is no single element is left out."""
    found = {}
    for job, index, state in rows:
        if index.isdigit() and state.strip():
            found[Element(job, int(index))] = state.split()[0].rstrip("+")
    return found


def noted(output: Path) -> Reason | None:
    """Read in a job's output why Slurm ended it; the reason stays there when the queue has forgotten the job.

    None where there is no output or no such note; of several, the first of `NOTES` counts.
    """
    try:
        with output.open("rb") as file:
            file.seek(max(0, output.stat().st_size - 8192))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return None
    notes = "\n".join(line for line in lines if re.match(r"slurmstepd\S*: error: ", line))
    return next((reason for pattern, reason in NOTES.items() if re.search(pattern, notes)), None)


def why_stopped() -> Reason:
    """Ask Slurm why it is ending the job of this process, or has warned it; `stopped` where it does not say."""
    element = slurm_element()
    if element is None:
        return "stopped"
    job, index = element
    try:
        text = call("scontrol", "--oneliner", "show", "job", job if index is None else f"{job}_{index}", seconds=10)
    except SlurmError:
        return "stopped"
    said = dict(re.findall(r"\b(JobState|PreemptTime|EndTime)=(\S+)", text))
    if said.get("JobState") != "RUNNING":
        return REASONS.get(said.get("JobState", ""), "stopped")
    if said.get("PreemptTime", "None") != "None":
        return "preempted"
    return "time limit" if _is_near(said.get("EndTime", "")) else "stopped"


def _is_near(end: str) -> bool:
    """Whether the end of a job, in local time as Slurm writes it, is so near that a warning means the time limit."""
    with suppress(ValueError):
        return (datetime.fromisoformat(end) - datetime.now()).total_seconds() < NEAR
    return False


def requeue() -> None:
    """Put the array element of this process back into the queue; Slurm ends this process when it pleases.

    Raises
    ------
    SlurmError
        If there is no such element, or Slurm refuses.
    """
    element = slurm_element()
    if element is None or element[1] is None:
        msg = "This process belongs to no array of Slurm."
        raise SlurmError(msg)
    call("scontrol", "requeue", f"{element[0]}_{element[1]}")

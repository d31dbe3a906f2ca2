"""Slurm, by its own commands: what a job's state is."""

import os
import shutil
import subprocess
from collections.abc import Sequence

from pb_cli.store import Reason
from pb_cli.whereabouts import slurm_element

__all__ = ["REASONS", "SlurmError", "call", "why_stopped"]

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


class SlurmError(RuntimeError):
    """A command of Slurm is missing, does not answer, or refuses."""


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
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SQUEUE_", "SBATCH_"))}
    try:
        done = subprocess.run(  # noqa: S603 (a list of arguments, no shell)
            [program, *command[1:]], capture_output=True, text=True, check=False, timeout=seconds, env=environment
        )
    except subprocess.TimeoutExpired as error:
        msg = f"{command[0]} did not answer within {seconds:g} seconds."
        raise SlurmError(msg) from error
    if done.returncode:
        msg = f"{command[0]} says: {done.stderr.strip() or f'exit code {done.returncode}'}"
        raise SlurmError(msg)
    return done.stdout


def why_stopped() -> Reason:
    """Ask Slurm why it is ending the job of this process; `stopped` where it does not say."""
    element = slurm_element()
    if element is None:
        return "stopped"
    job, index = element
    try:
        text = call("scontrol", "--oneliner", "show", "job", job if index is None else f"{job}_{index}", seconds=10)
    except SlurmError:
        return "stopped"
    return REASONS.get(_field(text.split(), "JobState"), "stopped")


def _field(words: Sequence[str], name: str) -> str:
    """Find `name=value` among words."""
    return next((word.partition("=")[2] for word in words if word.startswith(f"{name}=")), "")

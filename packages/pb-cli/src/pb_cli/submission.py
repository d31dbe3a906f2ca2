"""From tasks to jobs of Slurm: the flags of `pb bench --array` and `pb resume`, and what they do."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from pb_eval.metric import DRAWS

from pb_cli.arrays import Array, draft_array, submit_array
from pb_cli.console import messages
from pb_cli.execute import Options, group_seeds
from pb_cli.names import DataProblem
from pb_cli.plan import Task
from pb_cli.schedule import Forecast, pack
from pb_cli.site import OPTIONS, Site, read_site
from pb_cli.slurm import SlurmError, max_array_size
from pb_cli.states import Survey, survey
from pb_cli.store import RunFolder

__all__ = ["asked_site", "command_flags", "make_array", "show_array", "slurm_options", "submit_tasks", "surveyed"]

_SHOWN = 5


def slurm_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags that are handed to sbatch."""
    flags = [click.option(f"--{name}", help="Of sbatch.") for name in OPTIONS]
    flags += [
        click.option("--sbatch-arg", "sbatch_args", multiple=True, metavar="NAME=VALUE", help="Another of sbatch's."),
        click.option("--site", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Defaults, as TOML."),
        click.option("--max-parallel", type=click.IntRange(min=1), help="Array elements that run at a time."),
        click.option("--tasks-per-job", type=click.IntRange(min=1), help="Tasks of one element.  [default: 1]"),
    ]
    for flag in reversed(flags):
        command = flag(command)
    return command


def asked_site(flags: dict[str, Any]) -> Site:
    """Read the site's defaults and put the flags over them."""
    own = {name: flags[name.replace("-", "_")] for name in OPTIONS}
    return read_site(flags["site"], own, flags["sbatch_args"])


def command_flags(options: Options) -> list[str]:
    """Write how to run as flags of `pb run`."""
    named = {"--ensemble": options.ensemble, "--no-save-models": not options.save_model}
    flags = [flag for flag, wanted in named.items() if wanted]
    flags += ["--device", options.device] if options.device != "auto" else []
    return flags + (["--bootstrap", str(options.bootstrap)] if options.bootstrap != DRAWS else [])


def surveyed(folder: RunFolder, tasks: Sequence[Task]) -> Survey:
    """Find out how tasks stand, and refuse to guess.

    Raises
    ------
    DataProblem
        If tasks were submitted before and Slurm does not say what became of them.
    """
    found = survey(folder, tasks)
    if found.silence and found.counts["pending"]:
        msg = f"{found.silence} Which of {found.counts['pending']} submitted tasks still wait is not known; try again."
        raise DataProblem(msg)
    return found


def make_array(
    tasks: Sequence[Task],
    site: Site,
    flags: dict[str, Any],
    options: Sequence[str],
    forecast: Forecast | None = None,
) -> Array:
    """Pack tasks into the elements of an array, with `--ensemble` keeping seeds together that are trained together."""
    groups = group_seeds(tasks) if "--ensemble" in options else [[task] for task in tasks]
    elements = pack(groups, flags["tasks_per_job"] or 1, forecast)
    try:
        largest = max_array_size()
    except SlurmError as error:
        if not flags["dry_run"]:
            raise DataProblem(str(error)) from error
        largest = 1000
    return draft_array(elements, site, largest=largest, most=flags["max_parallel"], flags=options)


def submit_tasks(folder: RunFolder, array: Array, data: Path | None = None) -> Array:
    """Submit an array and say which jobs it became; `data` is where the data file lies now."""
    try:
        submitted = submit_array(folder, array, data)
    except SlurmError as error:
        raise DataProblem(str(error)) from error
    jobs = ", ".join(str(chunk.job) for chunk in submitted.chunks)
    n_tasks = sum(map(len, array.elements))
    messages.print(f"{n_tasks} tasks in {len(array.elements)} array elements: job {jobs}.", soft_wrap=True)
    messages.print(f"How they stand: pb status {folder.path}", soft_wrap=True)
    return submitted


def show_array(array: Array, tasks: Sequence[Task]) -> None:
    """Print the script of the first job and the tasks of the first elements."""
    from pb_cli.display import describe

    by_id = {task.id: task for task in tasks}
    click.echo(next(iter(array.scripts().values())), nl=False)
    if len(array.chunks) > 1:
        messages.print(f"{len(array.chunks)} such jobs, with offsets up to {array.chunks[-1].offset}.")
    for number, ids in enumerate(array.elements[:_SHOWN]):
        words = "; ".join(describe(by_id[task_id]) for task_id in ids)
        messages.print(f"element {number}: {words}", soft_wrap=True)
    if (more := len(array.elements) - _SHOWN) > 0:
        messages.print(f"and {more} more elements")

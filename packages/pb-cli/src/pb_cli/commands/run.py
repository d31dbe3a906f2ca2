"""`pb run`: some tasks of a planned run, here and now; what an element of a Slurm array does."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from pb_cli.arrays import array_data, element_ids
from pb_cli.commands.bench import check_device
from pb_cli.console import count, messages
from pb_cli.display import Display
from pb_cli.execute import Options, execute
from pb_cli.names import DataProblem, usage_errors
from pb_cli.options import bootstrap_option
from pb_cli.pausing import StoppedError, stop_signals
from pb_cli.plan import Task
from pb_cli.reopen import chosen, refuse_changed_data, reopen, version_remarks
from pb_cli.stopping import note_stop, unfinished
from pb_cli.store import RunFolder

__all__ = ["run"]


@click.command(short_help="Run tasks of a planned run: one, some, or all that are missing.")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--task", "names", multiple=True, metavar="I", help="A task: its number in the plan from 0, or its id.")
@click.option("--tasks", "spans", multiple=True, metavar="A-B", help="Tasks by number, both ends included.")
@click.option("--array", metavar="NAME", help="The tasks of this element of a Slurm array of the run.")
@click.option("--offset", default=0, type=click.IntRange(min=0), help="Of the array's first element.")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(min=1), help="Processes.")
@click.option("--ensemble", is_flag=True, help="Train the seeds of a model in one pass, where it can.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, ... or auto.")
@bootstrap_option
@click.option("--no-save-models", is_flag=True, help="Do not keep the fitted models.")
@click.option("--data", type=click.Path(path_type=Path), help="Where the data file lies now, if not where it was.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
def run(
    run: Path,
    names: tuple[str, ...],
    spans: tuple[str, ...],
    array: str | None,
    offset: int,
    jobs: int,
    ensemble: bool,
    device: str,
    bootstrap: int,
    no_save_models: bool,
    data: Path | None,
    quiet: bool,
) -> None:
    """Run tasks of the run folder RUN: those that are named, else all that are missing.

    The folder may have been planned on another machine. What is done is not done again, and what another process
    works on is left to it. Exit code 1 if a task fails.

    \b
    Examples:
      pb bench --model scgen --seed 1,2,3 --plan-only --out runs/pbmc
      pb run runs/pbmc --task 0
      pb run runs/pbmc --jobs 2
    """
    with usage_errors():
        own = None if array is None else element_ids(RunFolder(run), array, offset)
        folder, tasks = reopen(run, own)
        asked = chosen(tasks, names, spans) if names or spans else tasks
        data = data or (None if array is None else array_data(folder, array))
        missing = [task for task in asked if not folder.is_done(task)]
        refuse_changed_data(missing, data, checksum=False)
        if device != "auto":
            check_device(device)
    for remark in version_remarks(folder.record):
        messages.print(remark, style="yellow", soft_wrap=True)
    messages.print(f"{count(len(asked), 'task')}, {len(asked) - len(missing)} of them finished before", soft_wrap=True)
    options = Options(jobs, device, not no_save_models, ensemble, bootstrap, data, apart=True)
    finished = filter(folder.is_done, tasks)
    if problem := run_apart(missing, folder, options, finished, quiet=quiet, in_array=array is not None):
        messages.print(problem, style="red", soft_wrap=True)
        raise SystemExit(1)


def run_apart(
    missing: Sequence[Task],
    folder: RunFolder,
    options: Options,
    finished: Iterable[Task],
    *,
    quiet: bool,
    in_array: bool,
) -> str:
    """Run tasks in worker processes; say in one sentence what went wrong, if anything."""
    display = Display(missing, quiet=quiet)
    try:
        with stop_signals():
            with display:
                execute(missing, folder, options, display.handle, finished)
            if left := unfinished(missing, folder, display):
                return note_stop(left, folder, display, in_array=in_array)
    except StoppedError:
        return note_stop(unfinished(missing, folder, display), folder, display)
    except KeyboardInterrupt:
        messages.print("Interrupted: what is finished is kept; the same command continues.")
        raise SystemExit(130) from None
    except OSError as error:  # those of a task are recorded; here the folder takes not even the record
        msg = f"{folder.path}: {error.strerror or error}. What is finished is kept; mend that, repeat the command."
        raise DataProblem(msg) from error
    if not display.failures:
        return ""
    return f"{len(display.failures)} of {count(len(missing), 'task')} failed; `pb status {folder.path}` says why."

"""`pb resume`: submit again what is failed, missing or lost."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from pb_cli.arrays import read_arrays
from pb_cli.console import messages
from pb_cli.names import suggest, usage_errors
from pb_cli.reopen import refuse_changed_data, reopen
from pb_cli.site import OPTIONS, Site, multiply_memory, multiply_time, read_site
from pb_cli.store import RunFolder
from pb_cli.submission import make_array, show_array, slurm_options, submit_tasks, surveyed

__all__ = ["resume"]


@click.command(short_help="Submit again what is failed, missing or lost.")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--more-memory", metavar="2x", help="Ask for so many times the memory of last time.")
@click.option("--more-time", metavar="2x", help="Ask for so many times the time of last time.")
@click.option("--only", multiple=True, metavar="REASON", help="Only tasks that failed for this reason, or `missing`.")
@click.option("--data", type=click.Path(path_type=Path), help="Where the data file lies now, if not where it was.")
@slurm_options
@click.option("--dry-run", is_flag=True, help="Print the script and the first tasks, and stop.")
def resume(run: Path, **flags: Any) -> None:
    """Submit to Slurm what is failed, missing or lost in the run folder RUN, never what runs, waits or is done.

    Options are those of the last time; flags override them. Without Slurm, `pb run RUN` does what is missing here.

    \b
    Examples:
      pb resume runs/pbmc
      pb resume runs/pbmc --only "out of memory" --more-memory 2x
      pb resume runs/pbmc --only "time limit" --time 12:00:00
    """
    with ExitStack() as stack:
        with usage_errors():
            folder, tasks = reopen(run)
            stack.enter_context(folder.locked())
            found = surveyed(folder, tasks)
            chosen = found.those("failed", "missing")
            if flags["only"]:
                words = {task.id: found.states[task.id].reason or "missing" for task in chosen}
                refuse_unknown(flags["only"], set(words.values()))
                chosen = [task for task in chosen if words[task.id] in flags["only"]]
            refuse_changed_data(chosen, flags["data"])
            site, options, most = last_time(folder, flags)
        if not chosen:
            messages.print(
                "Nothing to submit: " + ", ".join(f"{n} {name}" for name, n in found.counts.items() if n),
                soft_wrap=True,
            )
            return
        array = make_array(
            chosen, site, flags | {"max_parallel": flags["max_parallel"] or most}, options, found.forecast
        )
        if flags["dry_run"]:
            show_array(array, chosen)
        else:
            submit_tasks(folder, array, flags["data"])


def refuse_unknown(asked: tuple[str, ...], there: set[str]) -> None:
    """Raise where no task failed for a reason that was named."""
    for reason in asked:
        if reason not in there and there:
            msg = f"No task of this run is {reason!r}. {suggest(reason, there)}"
            raise ValueError(msg)


def last_time(folder: RunFolder, flags: dict[str, Any]) -> tuple[Site, list[str], int | None]:
    """Take the site, the flags of `pb run` and the limit of the last array, with what was typed now put over them."""
    arrays = read_arrays(folder)
    typed = {name: flags[name.replace("-", "_")] for name in OPTIONS}
    now = read_site(flags["site"], typed, flags["sbatch_args"])
    if not arrays:
        return multiplied(now, flags), [], None
    last = arrays[-1]
    before = {name: value for name, value in last.site.sbatch.items() if name != "dependency"}
    if not flags["site"]:  # what the usual file says now is no news; what was typed is
        now = read_site(None, typed, flags["sbatch_args"], usual=False)
    site = Site({**before, **now.sbatch}, now.environment or last.site.environment, last.site.pb)
    return multiplied(site, flags), last.flags, last.most


def multiplied(site: Site, flags: dict[str, Any]) -> Site:
    """Ask for more memory and time than last time."""
    kinds = {"mem": ("--more-memory", multiply_memory), "time": ("--more-time", multiply_time)}
    for option, (flag, multiply) in kinds.items():
        text = flags[flag.removeprefix("--").replace("-", "_")]
        if text is None:
            continue
        if option not in site.sbatch:
            msg = f"{flag} {text}: no --{option} was given last time; give --{option} now instead."
            raise ValueError(msg)
        site = site.with_options({option: multiply(site.sbatch[option], factor(text, flag))})
    return site


def factor(text: str, flag: str) -> float:
    """Read `2x`."""
    try:
        return float(text.removesuffix("x"))
    except ValueError:
        msg = f"{flag} {text!r} was not understood; write it like {flag} 2x."
        raise ValueError(msg) from None

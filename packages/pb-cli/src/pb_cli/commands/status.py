"""`pb status`: how a run stands."""

import time
from collections import Counter
from pathlib import Path

import click

from pb_cli.console import messages, output, print_json, print_table
from pb_cli.costs import task_seconds
from pb_cli.display import clock, describe
from pb_cli.names import usage_errors
from pb_cli.states import STATES, Survey, survey
from pb_cli.store import RunFolder

__all__ = ["status"]

_SHOWN = 20
_LARGEST = 3


@click.command(short_help="How a run stands: what is done, runs, waits or failed, and why.")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--all", "show_all", is_flag=True, help=f"Show all failed tasks, not the first {_SHOWN}.")
@click.option("--watch", is_flag=True, help="Show it again until nothing runs or waits.")
@click.option("--every", default=30.0, show_default=True, type=click.FloatRange(min=0.1), help="Seconds between.")
@click.option("--json", "as_json", is_flag=True, help="Print every task as data.")
def status(run: Path, show_all: bool, watch: bool, every: float, as_json: bool) -> None:
    """Say how the run folder RUN stands.

    What its files say comes first, then Slurm's queue, then Slurm's accounting where there is any. A failed task has
    its reason: error, out of memory, killed, time limit, preempted, node failure, cancelled, stopped or lost.

    \b
    Examples:
      pb status runs/pbmc
      pb status runs/pbmc --watch --every 10
      pb status runs/pbmc --json
    """
    folder = RunFolder(run)
    with usage_errors():
        tasks = folder.read()
    while True:
        found = survey(folder, tasks)
        if watch and not as_json:
            click.clear()
        print_json(as_data(found)) if as_json else show(found, most=None if show_all else _SHOWN)
        if not watch or not (found.counts["running"] or found.counts["pending"]):
            return
        time.sleep(every)


def as_data(found: Survey) -> dict[str, object]:
    """Lay everything out for machines."""
    tasks = [
        {"task": task.id, "held_out": task.held_out, "model": task.label}
        | found.states[task.id]._asdict()
        | found.costs.get(task.id, {})
        for task in found.tasks
    ]
    return {"counts": found.counts, "seconds_left": found.seconds_left, "slurm": found.silence, "tasks": tasks}


def show(found: Survey, *, most: int | None) -> None:
    """Print counts by model, failures with their reasons, time left, and what was slowest and largest."""
    counted: Counter[tuple[str, str]] = Counter((task.label, found.states[task.id].state) for task in found.tasks)
    labels = dict.fromkeys(task.label for task in found.tasks)
    rows = [[label.removesuffix(":default"), *(_blank(counted[label, state]) for state in STATES)] for label in labels]
    if len(rows) > 1:
        rows.append(["all", *(_blank(found.counts[state]) for state in STATES)])
    print_table(str(found.folder.path), ["model", *STATES], rows)
    _show_paused(found, most)
    _show_failures(found, most)
    if found.silence:
        messages.print(
            f"{found.silence} Submitted tasks without a trace are shown as pending.", style="yellow", soft_wrap=True
        )
    if found.seconds_left is not None:
        at_a_time = max(1, found.counts["running"])
        output.print(f"About {clock(found.seconds_left)} left, {at_a_time} at a time.")
    _show_largest(found)


def _blank(number: int) -> str:
    return f"{number:,}" if number else ""


def _show_paused(found: Survey, most: int | None) -> None:
    """Print tasks that wait to go on with their training."""
    paused = [task for task in found.those("pending") if found.states[task.id].reason]
    if paused:
        rows = [(task.id, describe(task), *found.states[task.id][1:]) for task in paused[:most]]
        print_table(f"to go on: {len(paused):,}", ("task", "", "reason", ""), rows)


def _show_failures(found: Survey, most: int | None) -> None:
    """Print failed tasks with their reasons."""
    failed = found.those("failed")
    if not failed:
        return
    reasons = Counter(found.states[task.id].reason for task in failed)
    title = "failed: " + ", ".join(f"{number:,} {reason}" for reason, number in reasons.most_common())
    rows = [(task.id, describe(task), *found.states[task.id][1:]) for task in failed[:most]]
    print_table(title, ("task", "", "reason", ""), rows)
    if most is not None and len(failed) > most:
        output.print(f"and {len(failed) - most:,} more (--all)")
    output.print(f"Tracebacks and logs: {found.folder.path / 'failed'}. To submit again: pb resume.", soft_wrap=True)


def _show_largest(found: Survey) -> None:
    """Print what took longest and what took most memory."""
    costs = found.costs
    known = [task for task in found.tasks if task.id in costs]
    if not known:
        return
    slowest = sorted(known, key=lambda task: -task_seconds(costs[task.id]))[:_LARGEST]
    largest = sorted(known, key=lambda task: -costs[task.id].get("peak_memory_bytes", 0))[:_LARGEST]
    times = "; ".join(f"{describe(task)} {clock(task_seconds(costs[task.id]))}" for task in slowest)
    sizes = "; ".join(
        f"{describe(task)} {costs[task.id].get('peak_memory_bytes', 0) / 2**30:.2f} GiB" for task in largest
    )
    output.print(f"Slowest: {times}", soft_wrap=True)
    output.print(f"Largest: {sizes}", soft_wrap=True)

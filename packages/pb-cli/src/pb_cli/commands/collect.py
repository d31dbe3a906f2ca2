"""`pb collect`: all results of a run in one table."""

from pathlib import Path

import click

from pb_cli.claims import sweep
from pb_cli.console import count, messages, print_json
from pb_cli.display import describe
from pb_cli.merging import problems_of
from pb_cli.names import usage_errors
from pb_cli.store import RunFolder

__all__ = ["collect"]

_SHOWN = 10


@click.command(short_help="Merge the results of a run into one table, and say what is missing.")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print what was merged, refused and is missing as data.")
def collect(run: Path, *, as_json: bool) -> None:
    """Merge what is done in the run folder RUN into results.csv, results.parquet and tasks.csv.

    A result that is half-written, or of another task or split, is refused. Exit code 1 if any is, or if tasks are
    missing; what is there is merged all the same.

    \b
    Examples:
      pb collect runs/pbmc
      pb collect runs/pbmc --json
    """
    folder = RunFolder(run)
    with usage_errors():
        tasks = folder.read()
        done = [task for task in tasks if folder.is_done(task)]
        refused = problems_of(folder, done)
        results = folder.collect(tasks, leave_out=refused)
        sweep(folder, [task.id for task in done])
    for problem in refused.values():
        messages.print(f"Refused: {problem}", style="red", soft_wrap=True)
    there = {task.id for task in done}
    missing = [task for task in tasks if task.id not in there]
    if as_json:
        counted = {"tasks": len(tasks), "merged": len(done) - len(refused), "rows": len(results)}
        print_json(counted | {"refused": refused, "missing": [task.id for task in missing]})
    for task in missing[:_SHOWN]:
        messages.print(f"Missing: {describe(task)} ({task.id})", soft_wrap=True)
    if len(missing) > _SHOWN:
        messages.print(f"and {len(missing) - _SHOWN:,} more; pb status {run} says why")
    merged = len(done) - len(refused)
    words = f"{merged:,} of {count(len(tasks), 'task')}, {len(results):,} rows: {run / 'results.csv'} (and .parquet)."
    messages.print(words, soft_wrap=True)
    if merged < len(tasks):
        raise SystemExit(1)

"""`pb eval calibrate`: what each metric can tell on a data set."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from pb_cli.commands.bench import overrides
from pb_cli.completing import complete
from pb_cli.console import messages, output, print_json, show_table, shown
from pb_cli.display import clock
from pb_cli.experiment import Experiment
from pb_cli.names import DataProblem, split_names, usage_errors
from pb_cli.options import condition_options, data_options, names_option, open_data, split_options

if TYPE_CHECKING:
    import pandas as pd
    from pb_eval import DynamicRange

    from pb_cli.plan import Plan

__all__ = ["calibrate_metrics"]

LEGEND = (
    "best baseline: the negative control, the best of those fitted; duplicate: half of the measured cells against the "
    "other half, disjoint controls; range: their difference over that of a perfect score and the baseline; wins: units "
    "in which the duplicate is better; draws: random halves in which it is. Medians over units."
)


@click.command("calibrate", short_help="What each metric can tell on a data set.")
@click.argument("name", metavar="[DATASET]", required=False, shell_complete=complete("datasets"))
@click.option(
    "--dataset",
    shell_complete=complete("datasets"),
    help="The same as DATASET: one of `pb ls datasets`.  [default: pbmc]",
)
@click.option("--data", type=click.Path(path_type=Path), help="Your own .h5ad, or the file of DATASET.")
@data_options
@condition_options
@names_option("model", "Baselines that are the negative control.  [default: quick ones]")
@names_option("metric", "Metrics of `pb ls metrics`.  [default: the default ones]")
@click.option("--hold-out", multiple=True, help="Units of the split (names or indices), or `all`.  [default: all]")
@split_options
@click.option("--draws", default=4, show_default=True, type=click.IntRange(min=1), help="Random halves of each unit.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Seed of the halves.")
@click.option("--out", type=click.Path(path_type=Path), help="Write a row per unit and metric, .csv or .parquet.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as data.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
def calibrate_metrics(name: str | None, **flags: Any) -> None:
    """Say what each metric can tell on a data set: where simple baselines and a replicate lie on its scale.

    Every held-out unit's measured cells are parted into random halves that share no cell. One half is
    the truth; the other, a technical duplicate, has to score better than baselines that were fitted on
    the training cells. A metric by which it does not cannot rank models on these data.

    \b
    Examples:
      pb eval calibrate pbmc --preset quick
      pb eval calibrate --data my.pb.h5ad --hold-out "B cells" --out units.csv
    """
    check_out(flags["out"])
    with usage_errors():
        asked, plan = plan_of(name, flags)
        metrics = list(split_names(flags["metrics"])) or None
        check_metrics(metrics)
    started = time.monotonic()
    found, small = run(plan, metrics, flags)
    if flags["out"] is not None:
        write(found.units, flags["out"])
    if flags["as_json"]:
        said = {"claim": plan.claim, "preset": asked.preset, "draws": flags["draws"], "seed": flags["seed"]}
        tables = {"metrics": found.metrics.to_dict(orient="records"), "units": found.units.to_dict(orient="records")}
        print_json(said | {"too_small": small} | tables)
    else:
        show(found)
    for words in remarks(found, small):
        messages.print(words, style="yellow", soft_wrap=True)
    messages.print(f"Took {clock(time.monotonic() - started)}.")


def plan_of(name: str | None, flags: dict[str, Any]) -> "tuple[Experiment, Plan]":
    """Plan the baselines of every held-out unit, as `pb bench` would."""
    from pb_cli.floors import quick_baselines
    from pb_cli.planning import make_plan

    if name is not None and flags["dataset"] not in (None, name):
        msg = f"Two data sets are named, {name} and {flags['dataset']}: give one."
        raise ValueError(msg)
    typed = flags | {"dataset": name or flags["dataset"], "no_baselines": True, "settings": (), "seeds": ()}
    values = overrides(typed)
    models = values.setdefault("models", tuple(quick_baselines(flags["split"] or Experiment.split)))
    check_baselines(models)
    asked = Experiment(**values)
    return asked, make_plan(asked, open_data(asked.dataset, asked.data, asked.keys, asked.dataset_options))


def check_baselines(models: tuple[str, ...]) -> None:
    """Refuse negative controls that are no baselines."""
    from pb_models.registry import model_entries

    for name in models:
        entry = model_entries().get(name.partition(":")[0])
        if entry is not None and not entry.is_baseline:
            msg = f"{name} is no baseline: a negative control is a simple model, see `pb ls models`."
            raise ValueError(msg)


def check_metrics(metrics: list[str] | None) -> None:
    """Refuse metrics that do not exist before anything is computed."""
    from pb_eval import get_metric

    for name in metrics or []:
        get_metric(name)


def check_out(out: Path | None) -> None:
    """Refuse another kind of table before anything is computed."""
    if out is not None and out.suffix not in {".csv", ".parquet"}:
        msg = f"--out {out}: tables are .csv or .parquet files."
        raise click.UsageError(msg)


def run(plan: "Plan", metrics: list[str] | None, flags: dict[str, Any]) -> "tuple[DynamicRange, list[str]]":
    """Calibrate on every unit, showing which one it is and how long the rest takes."""
    from pb_cli.calibrating import calibrate, held_out_units

    units = held_out_units(plan.tasks)
    messages.print(f"Split {plan.tasks[0].split}: {plan.claim}", soft_wrap=True)
    try:
        with following(len(units), quiet=flags["quiet"]) as progress:
            return calibrate(units, metrics=metrics, draws=flags["draws"], seed=flags["seed"], progress=progress)
    except (ValueError, OSError) as error:
        raise DataProblem(str(error)) from error


@contextmanager
def following(n_units: int, *, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Show the unit at hand: a bar with the time left on a terminal, a line a unit elsewhere."""
    live = messages.is_terminal and not quiet
    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=24), MofNCompleteColumn())
    bar = Progress(*columns, TimeRemainingColumn(), console=messages, transient=True, disable=not live)
    row = bar.add_task("", total=n_units)
    started, done = time.monotonic(), -1

    def progress(unit: str) -> None:
        nonlocal done
        done += 1
        bar.update(row, description=unit, completed=done)
        if not live and not quiet:
            left = (time.monotonic() - started) / done * (n_units - done) if done else None
            words = "" if left is None else f"; about {clock(left)} left"
            messages.print(f"{done + 1}/{n_units} {unit}{words}", soft_wrap=True)

    with shown(bar):
        yield progress


def write(units: "pd.DataFrame", out: Path) -> None:
    """Write the rows of all units, whole or not at all."""
    draft = out.with_name(f".{out.name}")
    try:
        if out.suffix == ".csv":
            units.to_csv(draft, index=False, lineterminator="\n")
        else:
            units.to_parquet(draft, engine="pyarrow", index=False)
        draft.replace(out)
    except OSError as error:
        msg = f"{out}: {error.strerror or error}."
        raise DataProblem(msg) from error
    finally:
        draft.unlink(missing_ok=True)
    messages.print(f"{len(units)} rows written to {out}", soft_wrap=True)


def show(found: "DynamicRange") -> None:
    """Print a row for each metric; those that cannot tell baseline and duplicate apart in red."""
    n_units = int(found.metrics["n_units"].max())
    table = Table(title=f"What each metric can tell, over {n_units} unit{'s' * (n_units != 1)}", title_justify="left")
    table.add_column("metric", overflow="fold", no_wrap=False)
    for column in ("best baseline", "duplicate", "range", "wins", "draws"):
        table.add_column(column, justify="right")
    for row in found.metrics.to_dict(orient="records"):
        numbers = [f"{row[name]:.4g}" for name in ("negative", "positive")] + [percent(row["fraction"])]
        cells = [row["metric"], *numbers, wins_of(row), percent(row["draws_won"])]
        table.add_row(*(Text(cell, style="" if row["separates"] else "red") for cell in cells))
    show_table(table)
    output.print(Text(LEGEND, style="dim"))


def percent(share: float) -> str:
    """Write a share; nothing where it is not known."""
    return f"{100 * share:.0f} %" if share == share else "-"


def wins_of(row: dict[Any, Any]) -> str:
    """Write in how many of its units the duplicate wins."""
    return f"{row['wins'] * row['n_units']:g} of {row['n_units']}" if row["n_units"] else "undefined"


def remarks(found: "DynamicRange", small: list[str]) -> Iterator[str]:
    """Name the metrics that cannot rank models on these data, and the units left out."""
    for row in found.metrics[~found.metrics["separates"]].to_dict(orient="records"):
        if row["n_units"]:
            wins = f"the duplicate beats the best baseline in {wins_of(row)} units"
            yield f"{row['metric']} cannot tell a replicate from a baseline here: {wins}. Do not rank models by it."
        else:
            yield f"{row['metric']} is undefined in every unit."
    if small:
        yield f"Too few cells to be parted into halves, left out: {'; '.join(small)}."

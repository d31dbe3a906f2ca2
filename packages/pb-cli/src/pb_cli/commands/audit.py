"""`pb eval audit`: known cheats and sanity cases, run through the metrics."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pb_cli.completing import complete
from pb_cli.console import messages, print_json, show_table, shown
from pb_cli.names import DataProblem, split_names, usage_errors
from pb_cli.options import data_options, keys_from_flags, names_option, open_data, parse_options

if TYPE_CHECKING:
    import pandas as pd
    from pb_eval import Reference

    from pb_cli.references import Condition

__all__ = ["audit"]

_FEW = 3
_STYLES = {"sound": "dim", "unclear": "dim", "no value": "dim"}


@click.command(short_help="Run known cheats through the metrics.")
@click.option("--dataset", shell_complete=complete("datasets"), help="A data set of `pb ls datasets`.  [default: pbmc]")
@click.option("--data", type=click.Path(path_type=Path), help="Your own .h5ad, or the file of --dataset.")
@data_options
@click.option(
    "--split",
    default="leave-context-out",
    show_default=True,
    shell_complete=complete("splits"),
    help="A split of `pb ls splits`.",
)
@click.option("--hold-out", help="The unit whose cells are used, by name or index.  [default: the first]")
@click.option("--perturbation", help="Its perturbation.  [default: the first]")
@names_option("metric", "Names, as in `pb ls metrics`.  [default: all]")
@click.option("--n-genes", default=1000, show_default=True, type=click.IntRange(min=1), help="Most variable genes.")
@click.option("--cells", default=64, show_default=True, type=click.IntRange(min=8), help="Cells of a group, at most.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Of the draws of cells.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the rows to a .csv file.")
@click.option("--json", "as_json", is_flag=True, help="Print the rows as data.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
def audit(**flags: Any) -> None:
    """Run predictions that deserve no credit, and layouts that change nothing, through the metrics.

    The cells of one held-out unit are halved: one half is scored against, the other makes an honest
    prediction and the cheats. Exit code 1 if a metric, of another package too, rewards a cheat or
    depends on a layout without saying so in its registry entry.

    \b
    Examples:
      pb eval audit
      pb eval audit --metric recall_significant,edistance
      pb eval audit --hold-out "NK cells" --out audit.csv
      pb eval audit --data my.h5ad --context-key cell_type \\
                    --perturbation-key condition --control ctrl --scale counts
    """
    if (out := flags["out"]) is not None and out.suffix != ".csv":
        msg = f"--out {out}: the rows of an audit are a .csv file."
        raise click.UsageError(msg)
    with usage_errors():
        names = chosen_metrics(flags["metrics"])
        condition, unit = find_unit(flags)
    rows = run(unit, names, flags)
    if out is not None:
        write(rows, out)
    if flags["as_json"]:
        print_json(rows.to_dict(orient="records"))
    else:
        show(rows, condition)
    finish(rows)


def chosen_metrics(names: tuple[str, ...]) -> list[str]:
    """Resolve names typed, or take all metrics that are installed."""
    from pb_eval import get_metric, metric_names

    return [get_metric(name).name for name in split_names(names)] or metric_names()


def find_unit(flags: dict[str, Any]) -> "tuple[Condition, Reference]":
    """Load the data and hold one unit out as a benchmark would; take one of its conditions."""
    from pb_data import make_split, split_units

    from pb_cli.experiment import Experiment
    from pb_cli.planning import expand_units, preprocess_settings
    from pb_cli.unit import prepare

    path, keys, options = flags["data"], keys_from_flags(flags), parse_options(flags["options"])
    data = open_data(flags["dataset"], str(path) if path else None, keys, options)
    held_out = [flags["hold_out"]] if flags["hold_out"] else split_units(flags["split"], data)[:1]
    units = expand_units(held_out, flags["split"], data)
    if len(units) != 1:
        msg = f"--hold-out {flags['hold_out']} names {len(units)} units, expected one."
        raise ValueError(msg)
    split = make_split(flags["split"], data, held_out=units[0])
    preprocess = preprocess_settings(Experiment(n_genes=flags["n_genes"]), data)
    unit = prepare(data.source, split.name, {"held_out": units[0]}, split.hash, preprocess)
    return pick(unit.references, flags["perturbation"])


def pick(references: "dict[Condition, Reference]", perturbation: str | None) -> "tuple[Condition, Reference]":
    """Take the first condition, or the first of a perturbation."""
    for condition, reference in references.items():
        if perturbation in (None, condition.perturbation):
            return condition, reference
    known = ", ".join(sorted({condition.perturbation for condition in references}))
    msg = f"--perturbation {perturbation!r} is not measured in the held-out unit; there is: {known}."
    raise ValueError(msg)


def run(unit: "Reference", names: list[str], flags: dict[str, Any]) -> "pd.DataFrame":
    """Audit the metrics, with a progress bar on a terminal."""
    from pb_eval.audit import audit as run_audit
    from rich.progress import Progress

    progress = Progress(console=messages, transient=True, disable=flags["quiet"] or not messages.is_terminal)
    bar = progress.add_task("predictions scored")

    def step(done: int, total: int) -> None:
        progress.update(bar, completed=done, total=total)

    try:
        with shown(progress):
            return run_audit(unit, names, flags["seed"], n_cells=flags["cells"], progress=step)
    except ValueError as error:
        raise DataProblem(str(error)) from error


def write(rows: "pd.DataFrame", path: Path) -> None:
    """Write the rows to a file."""
    try:
        rows.to_csv(path, index=False)
    except OSError as error:
        raise DataProblem(str(error)) from error
    messages.print(f"{len(rows)} rows written to {path}", soft_wrap=True)


def show(rows: "pd.DataFrame", condition: "Condition") -> None:
    """Print the values of a few metrics, or the faults of many."""
    where = f"{condition.perturbation} in {condition.context}"
    show_table(_values(rows, where) if rows["metric"].nunique() <= _FEW else _faults(rows, where))


def _values(rows: "pd.DataFrame", where: str) -> Any:
    """Lay out cases with their values."""
    from pb_eval.audit import VERDICTS
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"Audit on {where}"), title_justify="left", title_style="bold", header_style="bold")
    for column in ("metric", "case", "what it is", "value", "rival", "expected", "verdict"):
        table.add_column(column, overflow="fold", justify="right" if column in ("value", "rival") else "left")
    for row in rows.sort_values("metric", kind="stable").to_dict(orient="records"):
        style = _STYLES.get(row["verdict"], "yellow" if row["declared"] else "red")
        verdict = Text(f"{row['verdict']}: {VERDICTS[row['verdict']]}", style=style)
        numbers = (f"{row['value']:.4g}", f"{row['rival_value']:.4g}")
        table.add_row(row["metric"], row["case"], Text(row["words"]), *numbers, row["expected"], verdict)
    return table


def _faults(rows: "pd.DataFrame", where: str) -> Any:
    """Lay out metrics with the cases of each verdict; what the registry does not declare is red."""
    from rich.table import Table
    from rich.text import Text

    titles = {"rewards": "rewards", "blind": "is blind to", "moved": "moved by", "unclear": "cannot tell here"}
    shown = {verdict: title for verdict, title in titles.items() if (rows["verdict"] == verdict).any()}
    n_sound = int((rows.groupby("metric")["verdict"].apply(lambda verdicts: (verdicts == "sound").all())).sum())
    title = f"Audit on {where}: {n_sound} of {rows['metric'].nunique()} metrics are sound in every case"
    table = Table(title=Text(title), title_justify="left", title_style="bold", header_style="bold")
    table.add_column("metric", no_wrap=True)
    for column in shown.values():
        table.add_column(column, overflow="fold")
    for metric, own in rows.groupby("metric", sort=True):
        table.add_row(str(metric), *(_listed(own[own["verdict"] == verdict]) for verdict in shown))
    return table


def _listed(rows: "pd.DataFrame") -> Any:
    """List cases, red where the registry does not declare them."""
    from pb_eval.audit import undeclared
    from rich.text import Text

    new = set(undeclared(rows)["case"])
    return Text(", ").join(
        Text(case.replace("_", " "), style="bold red" if case in new else "") for case in rows["case"]
    )


def finish(rows: "pd.DataFrame") -> None:
    """Name the faults that no registry entry declares, and fail if there are any."""
    from pb_eval.audit import undeclared

    found = undeclared(rows)
    for row in found.itertuples():
        messages.print(
            f"{row.metric}: {row.verdict} {row.case}, which its entry does not declare", style="red", soft_wrap=True
        )
    if len(found):
        raise SystemExit(1)

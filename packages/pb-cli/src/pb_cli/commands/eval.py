"""`pb eval`: score saved predictions again, from the files alone."""

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

import click
from pb_eval.metric import DRAWS
from rich.table import Table
from rich.text import Text

from pb_cli.commands.calibrate import calibrate_metrics
from pb_cli.commands.compare import compare
from pb_cli.console import messages, output, print_json
from pb_cli.names import DataProblem, DefaultGroup

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["evaluate"]

LIMITS = (
    "Floor: the best of the quick baselines, fitted now on the training cells of the same split. "
    "Ceiling: what a repeat of the measurement scores, from halves of the measured cells. "
    "Scaled: 0 is the floor, 1 the ceiling, - where the ceiling is no better than the floor."
)


@click.group("eval", cls=DefaultGroup, short_help="Score saved predictions.")
def evaluate() -> None:
    """Score saved predictions: `pb eval FILE...` is short for `pb eval score FILE...`.

    \b
    Examples:
      pb eval runs/pbmc-quick/tasks/0123456789ab/prediction.h5ad
      pb eval prediction.h5ad --json
      pb eval *.h5ad --out scores.csv
      pb eval calibrate pbmc --preset quick
      pb eval compare runs/pbmc-quick
    """


@evaluate.command(short_help="Score prediction files; what `pb eval FILE` does.")
@click.argument("predictions", metavar="PREDICTION.h5ad...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="Where the data file lies now, if it was moved.")
@click.option(
    "--bootstrap",
    default=DRAWS,
    show_default=True,
    type=click.IntRange(min=0),
    help="Resamples of the cells for the interval of each score; 0: none.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Write the rows to a .csv or .parquet file.")
@click.option("--json", "as_json", is_flag=True, help="Print the rows as data.")
def score(predictions: tuple[Path, ...], data: Path | None, bootstrap: int, out: Path | None, *, as_json: bool) -> None:
    """Score saved predictions against the measured cells.

    A prediction file says which data, split and preprocessing it belongs to; truth and control cells are made
    from these again, and must hash to the same split.
    """
    from pb_eval import write_table
    from pb_eval.table import merge_tables

    from pb_cli.rescore import rescore

    if out is not None and out.suffix not in {".csv", ".parquet"}:
        msg = f"--out {out}: result tables are .csv or .parquet files."
        raise click.UsageError(msg)
    tables = []
    for path in predictions:
        try:
            tables.append(rescore(path, data, bootstrap))
        except (ValueError, OSError) as error:
            raise DataProblem(str(error)) from error
    rows = merge_tables(tables)
    if out is not None:
        try:
            write_table(rows, out)
        except (ValueError, OSError) as error:
            raise DataProblem(str(error)) from error
        messages.print(f"{len(rows)} rows written to {out}", soft_wrap=True)
    if as_json:
        print_json(rows.to_dict(orient="records"))
    else:
        for table in tables:
            show(table)
        messages.print(LIMITS, soft_wrap=True)


def show(rows: "pd.DataFrame") -> None:
    """Print the scores of one prediction file, one column per condition."""
    from pb_cli.board import label

    first = rows.iloc[0]
    what = label(first["model"], first["profile"])
    where = (
        ", ".join(rows["context"].unique())
        if rows["context"].nunique() < 4
        else f"{rows['context'].nunique()} contexts"
    )
    title = f"{what}, {where}, seed {first['seed']}, {first['dataset']}"
    table = Table(title=Text(title), title_justify="left")
    table.add_column("metric")
    named = rows.assign(condition=conditions(rows))
    named["shown"] = list(map(shown, named["value"], named["low"], named["high"]))
    if len(named["condition"].unique()) == 1:
        show_limits(named, table)
        return
    wide = named.pivot(index="metric", columns="condition", values="shown")  # noqa: PD010 - refuses two values of one cell
    wide = wide.reindex(index=named["metric"].unique(), columns=named["condition"].unique())
    for condition in wide.columns:
        table.add_column(Text(str(condition)), justify="right")
    for metric, values in wide.iterrows():
        table.add_row(str(metric), *map(Text, values))
    for name, words in (("n_predicted", "predicted cells"), ("n_true", "measured cells")):
        counts = named.groupby("condition", sort=False)[name].first()
        table.add_row(words, *(f"{counts[condition]:,}" for condition in wide.columns))
    output.print(table)
    messages.print("Floor, ceiling and scaled score of each: --json, or --out FILE.")


def show_limits(rows: "pd.DataFrame", table: Table) -> None:
    """Print the scores of one condition between their floor and their ceiling."""
    for column in (str(rows["condition"].iloc[0]), "floor", "ceiling", "scaled"):
        table.add_column(Text(column), justify="right")
    for row in rows.to_dict(orient="records"):
        place = "-" if isnan(row["scaled"]) else f"{row['scaled']:.3f}"
        table.add_row(row["metric"], Text(row["shown"]), f"{row['floor']:.6f}", f"{row['ceiling']:.6f}", place)
    for name, words in (("n_predicted", "predicted cells"), ("n_true", "measured cells")):
        table.add_row(words, f"{rows[name].iloc[0]:,}", "", "", "")
    output.print(table)


def shown(value: float, low: float, high: float) -> str:
    """Write a value, with its interval where it has one."""
    return f"{value:.6f}" if low != low else f"{value:.6f} [{low:.4g}, {high:.4g}]"


def conditions(rows: "pd.DataFrame") -> "pd.Series[str]":
    """Name each row's condition: the perturbation, its dose if it has one, and the context where there are several."""
    doses = rows["dose"].map(lambda dose: "" if dose != dose else f" {dose:g}")
    contexts = ", " + rows["context"] if len(rows["context"].unique()) > 1 else ""
    return rows["perturbation"].astype(str) + doses + contexts


evaluate.add_command(calibrate_metrics)
evaluate.add_command(compare)  # after score: the first verb goes without saying

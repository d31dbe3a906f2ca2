"""`pb eval`: score saved predictions again, from the files alone."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pb_cli.console import messages, output, print_json
from pb_cli.names import DataProblem, DefaultGroup

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["evaluate"]


@click.group("eval", cls=DefaultGroup, short_help="Score saved predictions.")
def evaluate() -> None:
    """Score saved predictions: `pb eval FILE...` is short for `pb eval score FILE...`.

    \b
    Examples:
      pb eval runs/pbmc-quick/tasks/01/0123456789ab/prediction.h5ad
      pb eval prediction.h5ad --json
      pb eval *.h5ad --out scores.csv
    """


@evaluate.command(short_help="Score prediction files; what `pb eval FILE` does.")
@click.argument("predictions", metavar="PREDICTION.h5ad...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="Where the data file lies now, if it was moved.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the rows to a .csv or .parquet file.")
@click.option("--json", "as_json", is_flag=True, help="Print the rows as data.")
def score(predictions: tuple[Path, ...], data: Path | None, out: Path | None, *, as_json: bool) -> None:
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
            tables.append(rescore(path, data))
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


def show(rows: "pd.DataFrame") -> None:
    """Print the scores of one prediction file, one column per condition."""
    from rich.table import Table
    from rich.text import Text

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
    wide = named.pivot(index="metric", columns="condition", values="value")  # noqa: PD010 - refuses two values of one cell
    wide = wide.reindex(index=named["metric"].unique(), columns=named["condition"].unique())
    for condition in wide.columns:
        table.add_column(Text(str(condition)), justify="right")
    for metric, values in wide.iterrows():
        table.add_row(str(metric), *(f"{value:.6f}" for value in values))
    for name, words in (("n_predicted", "predicted cells"), ("n_true", "measured cells")):
        counts = named.groupby("condition", sort=False)[name].first()
        table.add_row(words, *(f"{counts[condition]:,}" for condition in wide.columns))
    output.print(table)


def conditions(rows: "pd.DataFrame") -> "pd.Series[str]":
    """Name each row's condition: the perturbation, its dose if it has one, and the context where there are several."""
    doses = rows["dose"].map(lambda dose: "" if dose != dose else f" {dose:g}")
    contexts = ", " + rows["context"] if len(rows["context"].unique()) > 1 else ""
    return rows["perturbation"].astype(str) + doses + contexts

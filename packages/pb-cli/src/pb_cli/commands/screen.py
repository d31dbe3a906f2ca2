"""`pb data prepare-screen`, `pb data simulate-screen`: perturbed cells with the outcomes of their genes in a screen."""

from pathlib import Path
from typing import Any

import click

from pb_cli.console import messages
from pb_cli.names import DataProblem, split_names, usage_errors
from pb_cli.options import out_options, out_path

__all__ = ["prepare_screen", "simulate_screen"]

FIELDS = {
    "genes": "n_genes",
    "cells": "cells_per_gene",
    "controls": "n_control",
    "measured": "n_measured",
    "signature": "signature",
    "signal": "signal",
    "seed": "seed",
}  # flag -> field of ScreenSettings


@click.command("prepare-screen", short_help="Join cells, their targets and a screen's p-values for prediction.")
@click.argument("cells", type=click.Path(path_type=Path))
@click.argument("screen", type=click.Path(path_type=Path))
@click.option("--target-key", required=True, help="Obs column with each cell's perturbed gene.")
@click.option("--scale", type=click.Choice(["counts", "log1p"]), required=True, help="What X holds.")
@click.option("--gene-column", default="gene", show_default=True, help="Column of SCREEN with the gene.")
@click.option("--neg-column", default="neg.p.value", show_default=True, help="Column with the p-value for depletion.")
@click.option("--pos-column", default="pos.p.value", show_default=True, help="Column with the p-value for enrichment.")
@click.option("--co-culture", metavar="COLUMN=VALUE", help="Cells whose obs COLUMN is VALUE get the co-culture flag.")
@click.option("--held-out", multiple=True, metavar="GENE,...", help="Targets all of whose cells are for testing.")
@click.option("--test-fraction", type=float, default=0.1, show_default=True, help="Part of the others for testing.")
@click.option("--seed", type=int, default=0, show_default=True, help="Decides which others.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Begin of both names; never overwritten.")
def prepare_screen(cells: Path, screen: Path, out: Path, **flags: Any) -> None:
    """Write OUT_tpm.npz and OUT_labels_and_extras.npz from CELLS (.h5ad) and SCREEN (.csv, .tsv).

    The layout is that of the Akana 2024 data: expression with a co-culture flag as feature 0, and
    for each cell the two p-values of its target gene, -1 where the screen has none. The same input
    and seed give the same bytes.

    \b
    Examples:
      pb data prepare-screen a375.h5ad crispra.csv --target-key gene \\
                             --scale counts --held-out KLF4,TRPS1 --out a375
    """
    with usage_errors():
        from pb_data import prepare_screen as join
        from pb_data import write_screen
        from pb_data.datasets.files import existing, read_cells

        columns = (flags["gene_column"], flags["neg_column"], flags["pos_column"])
        joined = join(
            read_cells(existing(cells)),
            read_table(existing(screen)),
            target_key=flags["target_key"],
            scale=flags["scale"],
            columns=columns,
            co_culture=parse_flag(flags["co_culture"]),
            held_out=split_names(flags["held_out"]),
            test_fraction=flags["test_fraction"],
            seed=flags["seed"],
        )
        files = write_screen(out, joined)
    report(files, joined)


@click.command("simulate-screen", short_help="Simulate a screen's cells with a known truth.")
@out_options
@click.option("--genes", type=int, help="Perturbed genes.  [default: 40]")
@click.option("--cells", type=int, help="Cells of each.  [default: 30]")
@click.option("--controls", type=int, help="Control cells, without an outcome.  [default: 60]")
@click.option("--measured", type=int, help="Genes measured.  [default: 300]")
@click.option("--signature", type=float, help="Strength of each gene's own signature.  [default: 1]")
@click.option("--signal", type=float, help="What expression says of the outcome; 0: nothing.  [default: 0]")
@click.option("--seed", type=int, help="Decides everything drawn.  [default: 0]")
def simulate_screen(**flags: Any) -> None:
    """Write OUT_tpm.npz and OUT_labels_and_extras.npz, simulated.

    All cells of a gene share a signature and the gene's p-values. Without --signal the two are
    independent: a model can only recognise genes it has seen, so that folds over cells score high
    and folds over genes as chance does.

    \b
    Examples:
      pb data simulate-screen sham
    """
    with usage_errors():
        from pb_data import ScreenSettings, write_screen
        from pb_data import simulate_screen as draw

        given = {field: flags[name] for name, field in FIELDS.items() if flags[name] is not None}
        drawn = draw(ScreenSettings(**given))
        files = write_screen(out_path(flags), drawn)
    report(files, drawn)


def read_table(file: Path) -> Any:
    """Read the table of a screen: with commas, or with tabs where its name ends in .tsv or .txt, as MAGeCK's does."""
    import pandas as pd

    try:
        return pd.read_csv(file, sep="\t" if file.suffix in {".tsv", ".txt"} else ",")
    except ValueError as error:
        msg = f"{file} cannot be read as a table; write it again as .csv or .tsv, one row a gene"
        raise DataProblem(msg) from error


def parse_flag(text: str | None) -> tuple[str, str] | None:
    """Read COLUMN=VALUE."""
    if text is None:
        return None
    column, equals, value = text.partition("=")
    if not (column and equals and value):
        msg = f"--co-culture is {text!r}; write it as COLUMN=VALUE, such as condition=co-culture"
        raise click.UsageError(msg)
    return column, value


def report(files: list[Path], screen: Any) -> None:
    """Say what was written, and how many cells have no label."""
    unlabelled = int((screen.p_values == -1).all(axis=1).sum())
    genes = len(set(screen.genes.tolist()))
    messages.print(
        f"{files[0]}, {files[1].name}: {len(screen.genes):,} cells of {genes} targets, {len(screen.names):,} genes; "
        f"{int(screen.test.sum()):,} cells are for testing, {unlabelled:,} have no p-value.",
        soft_wrap=True,
    )

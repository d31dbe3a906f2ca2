"""`pb data`: look at a data set, check one's own file, prepare it, simulate one."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from pb_cli.commands.ls import labelled_from, where_from
from pb_cli.commands.screen import prepare_screen, simulate_screen
from pb_cli.commands.simulate import simulate
from pb_cli.completing import complete
from pb_cli.console import messages, output, print_fact, print_json, print_table
from pb_cli.names import DataProblem, SuggestingGroup, usage_errors
from pb_cli.options import data_options, keys_from_flags, open_data, parse_options

if TYPE_CHECKING:
    import pandas as pd
    from pb_data import DatasetCard, Keys, PerturbationData

__all__ = ["data"]


@click.group(cls=SuggestingGroup, short_help="Look at, check, prepare or simulate data.")
def data() -> None:
    """Look at a data set, check your own .h5ad, prepare it for `pb bench`, or simulate one.

    \b
    Examples:
      pb data info pbmc
      pb data validate my.pb.h5ad
      pb data simulate simulated.h5ad
    """


for command in (simulate, prepare_screen, simulate_screen):
    data.add_command(command)


@data.command(short_help="Where a data set comes from and how many cells it has.")
@click.argument("name", required=False, shell_complete=complete("datasets", "labelled"))
@click.option("--data", "path", type=click.Path(path_type=Path), help="Your own .h5ad, or the file of data set NAME.")
@data_options
@click.option("--json", "as_json", is_flag=True, help="Print data instead of tables.")
def info(name: str | None, path: Path | None, *, as_json: bool, **flags: Any) -> None:
    """Say what a data set is, and count its cells by context and perturbation.

    Of a labelled data set (`pb ls labelled`), say what can be predicted in it.

    Nothing is downloaded: of a data set that is not embedded, cells are counted where --data names its file.

    \b
    Examples:
      pb data info pbmc
      pb data info --data my.h5ad --context-key cell_type \\
                   --perturbation-key condition --control ctrl --scale counts
    """
    from pb_data import card, labelled_names

    with usage_errors():
        if name in labelled_names():
            show(describe_labelled(name), as_json=as_json)
            return
        if name is not None and path is None and not card(name).embedded:
            show(describe_unread(card(name)), as_json=as_json)
            return
        loaded = open_data(name, str(path) if path else None, keys_from_flags(flags), parse_options(flags["options"]))
    show(describe(loaded), count_cells(loaded), as_json=as_json)


@data.command(short_help="Check your own .h5ad and say what to mend.")
@click.argument("path", type=click.Path(path_type=Path))
@data_options
@click.option("--json", "as_json", is_flag=True, help="Print the problems as data.")
def validate(path: Path, *, as_json: bool, **flags: Any) -> None:
    """Report every problem of a file at once; exit code 1 if there is any.

    \b
    Examples:
      pb data validate my.h5ad --context-key cell_type \\
                       --perturbation-key condition --control ctrl --scale counts
    """
    from pb_data.schema import SchemaError, notes

    try:
        with usage_errors():
            loaded = open_data(None, str(path), keys_from_flags(flags), {})
    except DataProblem as error:
        if not isinstance(error.__cause__, SchemaError):
            raise
        problems = error.__cause__.problems
    else:
        problems = []
        size = f"{loaded.adata.n_obs:,} cells x {loaded.adata.n_vars:,} genes"
        messages.print(f"{path}: {size}, no problem found.", soft_wrap=True)
        for note in notes(loaded.adata, loaded.keys):
            messages.print(f"note: {note}", soft_wrap=True)
    if as_json:
        print_json([problem._asdict() for problem in problems])
    else:
        for problem in problems:
            output.print(Text(problem.code, style="red"), problem.message, soft_wrap=True)
    if problems:
        raise SystemExit(1)


@data.command(short_help="Filter cells and write the meaning of the columns into a file.")
@click.argument("path", type=click.Path(path_type=Path))
@data_options
@click.option("--min-counts", type=click.IntRange(min=0), default=0, help="Drop cells with fewer counts.")
@click.option("--min-genes", type=click.IntRange(min=0), default=0, help="Drop cells with fewer genes.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The new .h5ad; never overwritten.")
def prepare(path: Path, min_counts: int, min_genes: int, out: Path, **flags: Any) -> None:
    """Write a checked copy that `pb bench --data` takes without further flags.

    Only per-cell filters are applied: what is fitted (normalisation, gene selection) is fitted
    on each split's training cells when a benchmark runs.

    \b
    Examples:
      pb data prepare my.h5ad --context-key cell_type \\
                      --perturbation-key condition --control ctrl --scale counts \\
                      --min-genes 200 --out my.pb.h5ad
    """
    from pb_data import filter_cells, write_h5ad

    if out.exists():
        msg = f"{out} is there already; give --out another name."
        raise click.UsageError(msg)
    with usage_errors():
        loaded = open_data(None, str(path), keys_from_flags(flags), {})
        kept = filter_cells(loaded.adata, min_counts=min_counts, min_genes=min_genes)
        write_h5ad(out, kept, loaded.keys)
    messages.print(f"{out}: {kept.n_obs:,} of {loaded.adata.n_obs:,} cells kept.", soft_wrap=True)


def count_cells(loaded: "PerturbationData") -> "pd.DataFrame":
    """Count cells: contexts by perturbations, controls first."""
    import pandas as pd

    keys, obs = loaded.keys, loaded.adata.obs
    labels = obs[keys.perturbation].astype(str).mask(keys.is_control(obs), keys.control)
    counts = pd.crosstab(obs[keys.context].astype(str), labels)
    return counts[sorted(counts.columns, key=lambda label: (label != keys.control, label))]


def show(facts: dict[str, str], counts: "pd.DataFrame | None" = None, *, as_json: bool) -> None:
    """Print what is known of data and their numbers of cells, the longer side downwards."""
    if as_json:
        cells = {} if counts is None else {str(k): v for k, v in counts.to_dict(orient="index").items()}
        print_json(facts | ({"cells": cells} if cells else {}))
        return
    for field, value in facts.items():
        print_fact(Text(f"{field} ", style="bold"), Text(value, style="not bold"))
    if counts is not None:
        table = counts.T if counts.shape[1] > max(counts.shape[0], 8) else counts
        rows = [(str(label), *(f"{n:,}" for n in row)) for label, *row in table.itertuples()]
        print_table("cells", (str(table.index.name), *map(str, table.columns)), rows)


def describe_unread(known: "DatasetCard") -> dict[str, str]:
    """Collect what the card says of a data set whose file was not given."""
    facts = {"file": where_from(known), "origin": known.origin, "columns": columns_of(known.keys)}
    return known_facts(known) | facts


def describe_labelled(name: str) -> dict[str, str]:
    """Collect what the card says of a labelled data set."""
    from pb_data import labelled_card

    known = labelled_card(name)
    facts = {"name": known.name, "what": known.title, "tasks": ", ".join(known.tasks), "file": labelled_from(known)}
    facts |= {"size": f"{known.n_samples:,} samples x {known.n_features:,} features", "groups": known.groups or "none"}
    return facts | {"origin": known.origin, "citation": known.citation, "licence": known.licence, "note": known.note}


def describe(loaded: "PerturbationData") -> dict[str, str]:
    """Collect what the registry knows of a data set, or what a file declares."""
    from pb_data import card

    registered = loaded.source["dataset"]
    facts = {"file": str(loaded.source["path"])} if registered == "file" else known_facts(card(registered))
    size = f"{loaded.adata.n_obs:,} cells x {loaded.adata.n_vars:,} genes, X holds {loaded.keys.scale}"
    facts |= {"size": size, "columns": columns_of(loaded.keys)}
    if loaded.keys.dose is not None:
        facts["doses"] = ", ".join(
            f"{dose:g}" for dose in sorted(set(loaded.adata.obs[loaded.keys.dose].astype(float)))
        )
    return facts


def known_facts(known: "DatasetCard") -> dict[str, str]:
    """Name a registered data set and its terms."""
    facts = {"name": known.name, "what": known.title, "citation": known.citation, "licence": known.licence}
    return facts | ({"note": known.note} if known.note else {})


def columns_of(keys: "Keys") -> str:
    """Say which obs column has which meaning."""
    return ", ".join(f"{name} = {value}" for name, value in keys.to_dict().items() if value is not None)

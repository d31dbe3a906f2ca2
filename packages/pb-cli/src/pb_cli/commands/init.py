"""`pb init`: an experiment file for a data set, written after looking at it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from pb_cli.completing import complete
from pb_cli.console import messages
from pb_cli.names import usage_errors
from pb_cli.options import data_options, keys_from_flags, open_data, parse_options

if TYPE_CHECKING:
    from pb_data import PerturbationData

__all__ = ["init"]

TABLES = (".csv", ".parquet")


def complete_data(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete names of data sets, else files."""
    found = complete("datasets", "labelled")(context, parameter, incomplete)
    return found or [CompletionItem(incomplete, type="file")]


@click.command(short_help="Write a commented experiment file for a data set.")
@click.argument("name", metavar="DATA", shell_complete=complete_data)
@click.option("--data", "file", type=click.Path(path_type=Path), help="The file of data set DATA, if it needs one.")
@data_options
@click.option(
    "--task", type=click.Choice(["regression", "classification"]), help="Predict labels instead of perturbed cells."
)
@click.option("--out", default="experiment.toml", show_default=True, type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite the file, if it is there.")
def init(name: str, out: Path, *, force: bool, **flags: Any) -> None:
    """Look at DATA and write an experiment file that `pb bench` runs as it is.

    DATA is a name of `pb ls datasets` or `pb ls labelled`, or your own .h5ad (with --task also .csv or .parquet). The
    columns of your own file are found by their names where no flag names them, and the file says what was taken: look
    through it before you run it.

    \b
    Examples:
      pb init pbmc
      pb init my.h5ad --out my.toml
      pb init my.h5ad --context-key louvain --control DMSO --force
      pb init concrete
      pb init table.csv --task regression --option labels=strength
    """
    if out.exists() and not force:
        msg = f"{out} is there already; give --out another name, or --force to overwrite it."
        raise click.UsageError(msg)
    with usage_errors():
        refuse_unknown(name)
        supervised = is_labelled(name, flags)
        n_tasks = write_labels(name, out, flags) if supervised else write_cells(name, out, flags)
    messages.print(f"{out}: {n_tasks:,} tasks. Look through it, then run pb bench {out}", soft_wrap=True)


def refuse_unknown(name: str) -> None:
    """Refuse what is neither a file nor a registered name."""
    from pb_data import dataset_names, labelled_names

    from pb_cli.names import suggest

    known = [*dataset_names(), *labelled_names()]
    if name not in known and not Path(name).exists():
        msg = f"{name!r} is neither a file nor a data set. {suggest(name, known)}"
        raise ValueError(msg)


def is_labelled(name: str, flags: dict[str, Any]) -> bool:
    """Whether labels are to be predicted: asked for, or nothing else is possible."""
    from pb_data import dataset_names, labelled_names

    if flags["task"] and name in dataset_names() and name not in labelled_names():
        msg = f"{name} has perturbed cells, no labels: leave --task out, or choose from: {', '.join(labelled_names())}."
        raise ValueError(msg)
    if Path(name).suffix in TABLES and not flags["task"]:
        msg = f"{name} is a table, whose labels can be predicted: give --task regression or --task classification."
        raise ValueError(msg)
    return flags["task"] is not None or (name in labelled_names() and name not in dataset_names())


def relative(path: Path, out: Path) -> str:
    """Write where data lie as seen from the experiment file, as it is read there."""
    return os.path.relpath(path.absolute(), out.absolute().parent)


def write_cells(name: str, out: Path, flags: dict[str, Any]) -> int:
    """Look at perturbed cells, write the file and return how many tasks it plans."""
    from pb_data import dataset_names

    from pb_cli.drafting import cells_draft
    from pb_cli.experiment import read_experiment
    from pb_cli.planning import make_plan

    where: dict[str, Any] = {"dataset-options": parse_options(flags["options"])}
    if name in dataset_names():
        where["dataset"], file = name, flags["file"]
        data = open_data(name, None if file is None else str(file), {}, where["dataset-options"])
    else:
        file = Path(name)
        data, where["keys"] = own_cells(file, keys_from_flags(flags))
    if file is not None:
        where["data"] = relative(file, out)
    with drafted(out, cells_draft(data, where, f"pb init {name}")) as draft:
        return len(make_plan(read_experiment(draft, {}), data).tasks)


def own_cells(path: Path, given: dict[str, Any]) -> "tuple[PerturbationData, dict[str, Any]]":
    """Load a user's own file by the keys that are given, written into it, or found."""
    from pb_data import Keys, load_h5ad
    from pb_data.datasets.files import existing, read_cells
    from pb_data.datasets.own import SLOT, written_keys

    from pb_cli.looking import find_keys

    cells = read_cells(existing(path))
    found = written_keys(cells, path).to_dict() | given if SLOT in cells.uns else find_keys(cells, given)
    keys = Keys.from_dict({name: value for name, value in found.items() if value is not None})
    return load_h5ad(path, keys), {name: value for name, value in keys.to_dict().items() if value is not None}


def write_labels(name: str, out: Path, flags: dict[str, Any]) -> int:
    """Look at labelled samples, write the file and return how many tasks it plans."""
    from pb_data import labelled_card, labelled_names

    from pb_cli.drafting import labels_draft
    from pb_cli.supervised.experiment import SupervisedExperiment, read_supervised
    from pb_cli.supervised.planning import make_supervised_plan, open_labelled

    options = parse_options(flags["options"])
    if name in labelled_names():
        where: dict[str, Any] = {"task": flags["task"] or labelled_card(name).tasks[0], "dataset": name}
        file = flags["file"]
    else:
        where, file = {"task": flags["task"]}, Path(name)
        options = own_labels(file) | options
    asked = SupervisedExperiment(**where, data=str(file) if file else None, dataset_options=options)
    data = open_labelled(asked)
    placed = {"dataset-options": options} | ({"data": relative(file, out)} if file else {})
    with drafted(out, labels_draft(data, where | placed, f"pb init {name}")) as draft:
        return len(make_supervised_plan(read_supervised(draft, {}), data).tasks)


def own_labels(path: Path) -> dict[str, Any]:
    """Find the column to predict in a user's own file."""
    from pb_data.datasets.files import existing, read_cells
    from pb_data.labelled.own import read_table_file

    from pb_cli.looking import find_labels

    file = existing(path)
    columns = read_table_file(file).columns if file.suffix in TABLES else read_cells(file).obs.columns
    return {"labels": find_labels([str(column) for column in columns])} if len(columns) else {}


@contextmanager
def drafted(out: Path, text: str) -> Iterator[Path]:
    """Put a file in its place if the block, which reads the draft, finds nothing wrong with it."""
    from pb_cli.files import write_text

    draft = out.with_name(f".{out.name}.draft")
    try:
        write_text(draft, text)
        yield draft
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)

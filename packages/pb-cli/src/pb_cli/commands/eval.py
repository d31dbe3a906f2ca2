"""`pb eval`: score saved predictions, from the files alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from pb_cli.commands.audit import audit
from pb_cli.commands.calibrate import calibrate_metrics
from pb_cli.commands.compare import compare
from pb_cli.console import messages, print_json
from pb_cli.gallery import Gallery
from pb_cli.names import DataProblem, DefaultGroup, split_names, usage_errors
from pb_cli.options import bootstrap_option, names_option

if TYPE_CHECKING:
    import pandas as pd

    from pb_cli.foreign import Request

__all__ = ["evaluate"]

FOREIGN = {
    "controls",
    "predicted_label",
    "measured_label",
    "context_key",
    "perturbation_key",
    "dose_key",
    "control_dose",
    "separator",
    "scale",
    "allow_missing_genes",
    "max_cells",
}  # flags that say how to read a file of another tool
LIMITS = (
    "Floor: {}. Ceiling: what a repeat of the measurement scores, from halves of the measured cells. "
    "Scaled: 0 is the floor, 1 the ceiling, - where the ceiling is no better than the floor."
)


@click.group("eval", cls=DefaultGroup, short_help="Score saved predictions.")
def evaluate() -> None:
    """Score saved predictions: `pb eval FILE...` is short for `pb eval score FILE...`.

    \b
    Examples:
      pb eval runs/pbmc-quick/tasks/*/prediction.h5ad
      pb eval prediction.h5ad --json
      pb eval *.h5ad --out scores.csv
      pb eval imputed.h5ad --group-key condition --scale log1p
      pb eval scgen.h5ad cpa.h5ad --truth measured.h5ad --control ctrl \\
              --scale log1p --figures figures
      pb eval calibrate pbmc --preset quick
      pb eval compare runs/pbmc-quick
    """


@evaluate.command(short_help="Score prediction files; what `pb eval FILE` does.")
@click.argument("predictions", metavar="PREDICTION.h5ad...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--truth", type=click.Path(path_type=Path), help="File of the measured cells, control cells among them.")
@click.option("--control", "controls", multiple=True, help="Label of control cells, or a file of measured ones.")
@click.option("--group-key", help="obs column that tells control, predicted and measured cells of one file apart.")
@click.option("--predicted-label", help="Label of predicted cells in that column.")
@click.option("--measured-label", help="Label of measured perturbed cells in that column.")
@click.option("--context-key", help="obs column of the contexts (cell type, species, patient).")
@click.option("--perturbation-key", help="obs column of the perturbations.")
@click.option("--dose-key", help="obs column of the doses, if there are any.")
@click.option("--control-dose", type=float, default=0.0, help="Dose of control cells.  [default: 0]")
@click.option("--separator", help="Text between the parts of a combined perturbation's label, such as +.")
@click.option("--scale", type=click.Choice(["counts", "log1p"]), help="What X holds; it is never guessed.")
@click.option("--allow-missing-genes", is_flag=True, help="Score the genes that all files have, if they differ.")
@click.option("--max-cells", type=click.IntRange(2), default=10_000, show_default=True, help="Most cells of a group.")
@click.option("--model-name", help="Name of the model; that of the file where it does not say.")
@names_option(
    "metric", "Metrics of `pb ls metrics`, or `classic`, the reference benchmark's.  [default: the default ones]"
)
@bootstrap_option
@click.option("--no-limits", is_flag=True, help="Leave out floor and ceiling.")
@click.option("--data", type=click.Path(path_type=Path), help="Where the data file of pb bench lies now, if moved.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the rows to a .csv or .parquet file.")
@click.option("--figures", type=click.Path(path_type=Path), help="Draw figures into this folder.")
@click.option("--umap", is_flag=True, help="Draw a UMAP too; needs umap-learn, and time.")
@click.option("--json", "as_json", is_flag=True, help="Print the rows as data.")
def score(predictions: tuple[Path, ...], *, out: Path | None, as_json: bool, **flags: Any) -> None:
    """Score predictions of any tool against measured cells.

    A file of pb bench says itself which data it belongs to. Others hold control, predicted and measured cells
    in one file, or the measured ones are in --truth; a folder stands for the files in it.

    \b
    Examples:
      pb eval score prediction.h5ad
      pb eval score imputed.h5ad --group-key condition --scale log1p
      pb eval score scgen.h5ad cpa.h5ad --truth measured.h5ad --control ctrl \\
                    --scale log1p --figures figures
      pb eval score prediction.h5ad --metric classic,wasserstein2
    """
    from pb_cli.threads import threads_for_pieces

    check_out(out)
    if flags["umap"] and flags["figures"] is None:
        msg = "--umap draws one figure more; give --figures DIR, where they go."
        raise click.UsageError(msg)
    with threads_for_pieces(), data_problems():
        from pb_eval import write_table
        from pb_eval.table import merge_tables

        from pb_cli.scores import show_scores

        with Gallery(flags["figures"], umap=flags["umap"]) as gallery:
            scored = list(score_all(predictions, flags, gallery))
            rows = merge_tables([table for _, table in scored]).drop_duplicates(ignore_index=True)
            if out is not None:
                write_table(rows, out)
                messages.print(f"{len(rows)} rows written to {out}", soft_wrap=True)
    if as_json:
        print_json(rows.to_dict(orient="records"))
    else:
        for _, table in scored:
            show_scores(table)
    if flags["bootstrap"]:
        messages.print(interval_words(rows, flags["bootstrap"]), soft_wrap=True)
    if not flags["no_limits"]:
        for words in dict.fromkeys(floor_words(own, table) for own, table in scored):
            messages.print(LIMITS.format(words), soft_wrap=True)


def interval_words(rows: "pd.DataFrame", draws: int) -> str:
    """Say what the intervals hold, and which scores have none."""
    bare = rows.loc[rows["value"].notna() & rows["low"].isna(), "metric"].unique()
    words = f"Intervals: 95 %, over {draws} resamples of predicted and measured cells."
    if not len(bare):
        return words
    return f"{words} None where a value is a mean over resamples already or cannot be resampled: {', '.join(bare)}."


def floor_words(own: bool, rows: "pd.DataFrame") -> str:
    """Say where the floor of a file's scores comes from."""
    if not own:
        return "measured control cells in the prediction's place"
    from pb_cli.floors import quick_baselines

    baselines = ", ".join(quick_baselines(str(rows["split"].iloc[0])))
    return f"the best of {baselines}, fitted now on the training cells of the same split"


def score_all(
    predictions: tuple[Path, ...], flags: dict[str, Any], gallery: Gallery
) -> "Iterator[tuple[bool, pd.DataFrame]]":
    """Score one file after the other; tell of each whether it was scored from its own recipe."""
    from pb_cli.foreign import is_own, model_names, prediction_files, score_file

    request, name = request_from(flags), flags["model_name"]
    paths = prediction_files(predictions, [request.truth, request.control])
    if name is not None and len(paths) > 1:
        msg = f"--model-name {name} is one name for {len(paths)} files: leave it out, they are named after the files."
        raise click.UsageError(msg)
    for path, model in zip(paths, [name] if name else model_names(paths), strict=True):
        if is_own(path, request):
            say_unused(path)
            from pb_cli.rescore import rescore  # with the models, whose libraries take seconds to import

            yield True, rescore(path, flags["data"], request.scoring, gallery.draw)
            continue
        rows, notes = score_file(path, model, request, gallery.draw)
        for note in dict.fromkeys(notes):
            messages.print(f"{path.name}: {note}" if len(paths) > 1 else note, style="dim", soft_wrap=True)
        yield False, rows


def say_unused(path: Path) -> None:
    """Name the flags typed that a file of pb bench does not heed, for it says itself what it is compared with."""
    context = click.get_current_context()
    typed = [
        option.opts[0]
        for option in context.command.params
        if option.name in FOREIGN and context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
    ]
    if typed:
        words = f"{path} says itself what it is compared with: {', '.join(typed)} not used; --truth names other cells."
        messages.print(words, style="yellow", soft_wrap=True)


def request_from(flags: dict[str, Any]) -> "Request":
    """Read the flags that say what files hold."""
    from pb_eval.columns import Columns

    from pb_cli.foreign import Request
    from pb_cli.scoring import Scoring

    files = [value for value in flags["controls"] if value.endswith(".h5ad") or Path(value).is_file()]
    names = [value for value in flags["controls"] if value not in files]
    if len(files) > 1 or len(names) > 1:
        msg = f"--control is given {len(flags['controls'])} times: give one label, one file, or one of each."
        raise click.UsageError(msg)
    columns = Columns(
        group=flags["group_key"],
        context=flags["context_key"],
        perturbation=flags["perturbation_key"],
        dose=flags["dose_key"],
        control=names[0] if names else None,
        predicted=flags["predicted_label"],
        measured=flags["measured_label"],
        control_dose=flags["control_dose"],
    )
    return Request(
        truth=flags["truth"],
        control=Path(files[0]) if files else None,
        columns=columns,
        scale=flags["scale"],
        allow_missing_genes=flags["allow_missing_genes"],
        max_cells=flags["max_cells"],
        separator=flags["separator"],
        scoring=Scoring(flags["bootstrap"], limits=not flags["no_limits"], metrics=named_metrics(flags["metrics"])),
    )


def named_metrics(names: tuple[str, ...]) -> tuple[str, ...] | None:
    """Resolve the names of metrics and of the reference benchmark's set; None where nothing is named."""
    from pb_eval import get_metric
    from pb_eval.classic import CLASSIC

    asked = [one for name in split_names(names) for one in (CLASSIC if name == "classic" else [name])]
    with usage_errors():
        return tuple(dict.fromkeys(get_metric(name).name for name in asked)) or None


def check_out(out: Path | None) -> None:
    """Refuse a table that could not be written, before anything is scored."""
    if out is not None and out.suffix not in {".csv", ".parquet"}:
        msg = f"--out {out}: result tables are .csv or .parquet files."
        raise click.UsageError(msg)
    if out is not None and not out.parent.is_dir():
        msg = f"--out {out}: the folder {out.parent} does not exist; make it first."
        raise click.UsageError(msg)


@contextmanager
def data_problems() -> Iterator[None]:
    """Turn what is wrong with a file into one sentence and exit code 1."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise DataProblem(str(error)) from error


for verb in (audit, calibrate_metrics, compare):  # after score: the first verb goes without saying
    evaluate.add_command(verb)

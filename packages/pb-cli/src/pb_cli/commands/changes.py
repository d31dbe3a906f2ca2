"""`pb compare`: what changed from one run to another."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pb_cli.console import messages, output, print_json, print_table, show_table
from pb_cli.names import split_names, suggest, usage_errors

if TYPE_CHECKING:
    from pb_eval.changes import Changes
    from rich.table import Table

    from pb_cli.changes import Difference
    from pb_cli.report.material import Material

__all__ = ["compare_runs"]


@click.command("compare", short_help="What changed from one run to another, with paired tests.")
@click.argument("run_a", type=click.Path(path_type=Path))
@click.argument("run_b", type=click.Path(path_type=Path))
@click.option("--metric", "metrics", multiple=True, help="Names, or `all`.  [default: those of the leaderboard]")
@click.option("--level", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.05, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print everything as data.")
def compare_runs(run_a: Path, run_b: Path, metrics: tuple[str, ...], level: float, as_json: bool) -> None:
    """Say what changed from the run folder RUN_A to RUN_B: what was asked, versions, data, tasks, and scores.

    Each model's scores are paired by what one split holds out, and tested exactly (Wilcoxon, Holm's correction over the
    models of a metric); those of a supervised run by folds (paired t-test). Positive gains mean that RUN_B is better.
    To compare the models of one run: pb eval compare.

    \b
    Examples:
      pb compare runs/before runs/after
      pb compare runs/pbmc runs/pbmc-clipped --metric r2_mean_all,mse_mean
      pb compare runs/before runs/after --metric all --json
    """
    from pb_cli.changes import differences_of, score_changes
    from pb_cli.report.material import read_material

    with usage_errors():
        before, after = read_material(run_a), read_material(run_b)
        if before.is_supervised != after.is_supervised:
            msg = f"{run_a} and {run_b} are of different arms: one predicts cells, one labels. Nothing to compare."
            raise ValueError(msg)
        asked = chosen_metrics(split_names(metrics), before, after)
        found = differences_of(before, after)
        scores = score_changes(before, after, asked, level=level)
    if as_json:
        splits = {split: each.to_dict() for split, each in scores.items()}
        print_json({"differences": [each._asdict() for each in found], "splits": splits})
        return
    show_differences(found, run_a, run_b)
    if not scores:
        messages.print("The runs share no split: no scores to compare.")
    for split, each in scores.items():
        show_changes(split, each)


def chosen_metrics(names: tuple[str, ...], before: "Material", after: "Material") -> list[str] | None:
    """Name the metrics to compare by; None for all."""
    from pb_cli.board import SHOWN

    known = {*before.results["metric"], *after.results["metric"]}
    for name in names:
        if name not in known | {"all"}:
            msg = f"The results hold no metric {name!r}. {suggest(name, known)}"
            raise ValueError(msg)
    if "all" in names or not known & {*SHOWN}:
        return None if "all" in names or not names else list(names)
    return list(names) or [name for name in SHOWN if name in known]


def show_differences(found: "list[Difference]", run_a: Path, run_b: Path) -> None:
    """Print what differs beside the scores."""
    if not found:
        output.print("The same plan, data and versions.")
        return
    print_table("What differs", ("", str(run_a), str(run_b)), found)


def show_changes(split: str, changes: "Changes") -> None:
    """Print the scores of models that both runs have, and what could not be compared."""
    if len(changes.table):
        show_table(_laid_out(split, changes))
    else:
        output.print(f"{split}: no model has a score of the same metric on the same unit in both runs.")
    for metric, why in changes.skipped.items():
        messages.print(f"{metric} is not compared: {why}.", soft_wrap=True)
    for n, run in ((changes.only_before, "first"), (changes.only_after, "second")):
        if n:
            messages.print(f"{n:,} mean scores of a model on a unit are in the {run} run only.", soft_wrap=True)
    if n := len(changes.table):
        words = f"{int(changes.table['differ'].sum())} of {n} differ significantly at {changes.level:g}."
        output.print(words, soft_wrap=True)


def _laid_out(split: str, changes: "Changes") -> "Table":
    """Lay out a row for each metric and model."""
    from rich.table import Table

    from pb_cli.board import gain_text, label, number

    table = Table(title=f"{split}, {changes.test}", title_justify="left", title_style="bold", header_style="bold")
    for column in ("metric", "model", "units", "before", "after", "gain", "wins", "ties", "losses", "p", "p (Holm)"):
        table.add_column(column, justify="left" if column in {"metric", "model"} else "right")
    for row in changes.table.to_dict(orient="records"):
        same = row["gain"] == 0 and row["ties"] == row["n_units"]
        gain = "equal" if same else gain_text(row["gain"], row["low"], row["high"])
        counts = [str(row[name]) for name in ("wins", "ties", "losses")]
        texts = [row["metric"], label(row["model"], row["profile"]), str(row["n_units"])]
        values: list[Any] = [*texts, *(_shown(row[name], number) for name in ("before", "after")), gain, *counts]
        tested = [_shown(row[name], "{:.2g}".format) for name in ("pvalue", "adjusted")]
        table.add_row(*values, *tested, style="bold" * row["differ"])
    return table


def _shown(value: float, write: Any) -> str:
    return "-" if value != value else str(write(value))

"""`pb eval compare`: which models of a run differ, by paired tests over what was held out."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pb_cli.console import messages, output, print_json, show_table
from pb_cli.names import DataProblem, split_names, suggest
from pb_cli.options import names_option

if TYPE_CHECKING:
    import pandas as pd
    from pb_eval import Comparison
    from rich.table import Table

__all__ = ["compare"]

_PAIRS = 28  # of eight models: more fill screens


@click.command("compare", short_help="Test which models of a run differ.")
@click.argument("results", metavar="RUN|RESULTS", type=click.Path(path_type=Path))
@names_option("metric", "Names, or `all`.  [default: the one that ranks the models]")
@names_option("model", "Compare these only: fewer pairs need fewer split units.")
@click.option("--test", type=click.Choice(["wilcoxon", "sign-flip"]), default="wilcoxon", show_default=True)
@click.option("--level", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.05, show_default=True)
@click.option("--figure", type=click.Path(path_type=Path), help="Draw mean ranks and ties to a .svg, .png or .pdf.")
@click.option("--pairs", "all_pairs", is_flag=True, help="List all pairs, however many.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as data.")
def compare(results: Path, metrics: tuple[str, ...], models: tuple[str, ...], **flags: Any) -> None:
    """Test which models differ over split units, and rank them with their ties.

    RUN is a run folder of pb bench, RESULTS its results.csv or results.parquet. Scores are averaged over seeds
    and over the conditions that one split holds out; all pairs of models are tested on these, exactly, with
    Holm's correction for the number of pairs. Models that share a letter do not differ.

    \b
    Examples:
      pb eval compare runs/pbmc-quick
      pb eval compare runs/pbmc-quick --metric pearson_delta --model scgen,linear
      pb eval compare results.csv --metric all --json
      pb eval compare results.csv --figure ranks.svg
    """
    from pb_eval import compare as compare_models

    from pb_cli.board import known_baselines

    table = _chosen(_read(results), split_names(models))
    names = _metrics(table, split_names(metrics))
    try:
        found = compare_models(table, known_baselines(table), names, test=flags["test"], level=flags["level"])
        if flags["figure"] is not None:
            _draw(found, flags["figure"])
    except (ValueError, OSError) as error:
        raise DataProblem(str(error)) from error
    if flags["as_json"]:
        print_json(found.to_dict())
    else:
        _show(found, all_pairs=flags["all_pairs"])


def _read(path: Path) -> "pd.DataFrame":
    """Read the results of a run folder or a table."""
    from pb_eval import read_table

    file = path / "results.csv" if path.is_dir() else path
    if not file.exists():
        msg = f"There is no {file}: give a run folder of pb bench, or a table of results."
        raise DataProblem(msg)
    try:
        table = read_table(file)
    except (ValueError, OSError) as error:
        raise DataProblem(str(error)) from error
    if (table["space"] == "labels").any():
        msg = (
            f"{file} holds scores of labels, whose folds share rows: pb bench and pb report test their losses against "
            "the best one; pb compare holds two runs against each other."
        )
        raise DataProblem(msg)
    if table.empty:
        msg = f"{file} holds no rows: nothing to compare."
        raise DataProblem(msg)
    return table


def _chosen(table: "pd.DataFrame", models: tuple[str, ...]) -> "pd.DataFrame":
    """Keep the rows of some models, named with or without profile."""
    full = table["model"] + ":" + table["profile"]
    known = {*table["model"], *full}
    for name in models:
        if name not in known:
            msg = f"The results hold no model {name!r}. {suggest(name, known)}"
            raise DataProblem(msg)
    return table[table["model"].isin(models) | full.isin(models)] if models else table


def _metrics(table: "pd.DataFrame", names: tuple[str, ...]) -> list[str] | None:
    """Name the metrics to compare by, in order; None for all."""
    from pb_cli.board import SHOWN

    if "all" in names:
        return None
    present = list(dict.fromkeys(table["metric"]))
    return list(names) or [next((name for name in SHOWN if name in present), present[0])]


def _draw(found: "Comparison", path: Path) -> None:
    """Write the critical-difference figure of each metric; several get the metric's name before the suffix."""
    from pb_eval.critical_difference import critical_difference, describe, write_figure

    for metric in found.verdicts:
        target = path if len(found.verdicts) == 1 else path.with_name(f"{path.stem}-{metric}{path.suffix}")
        title = f"Critical differences by {metric}"
        write_figure(critical_difference(found, metric), target, title, describe(found, metric))
        messages.print(f"Figure written to {target}", soft_wrap=True)


def _show(found: "Comparison", *, all_pairs: bool) -> None:
    """Print ranking, verdict and pairs of each metric."""
    for metric, verdict in found.verdicts.items():
        show_table(_ranking(found, metric))
        pairs = found.pairs[found.pairs["metric"] == metric]
        if len(pairs) and (all_pairs or (len(found.verdicts) == 1 and len(pairs) <= _PAIRS)):
            show_table(_pairs(pairs, found.test))
        elif len(found.verdicts) == 1 and len(pairs):
            messages.print(f"{len(pairs)} pairs with --pairs, and with --json.")
        output.print(verdict.words, soft_wrap=True)


def _ranking(found: "Comparison", metric: str) -> "Table":
    """Lay out the models, best first, with ranks that ties share."""
    from rich.table import Table
    from rich.text import Text

    from pb_cli.board import gain_text, label, number

    verdict = found.verdicts[metric]
    friedman = "" if verdict.friedman != verdict.friedman else f"; all alike: p {verdict.friedman:.2g} (Friedman)"
    title = Text(f"{metric} over {verdict.n_units} split unit{'s' * (verdict.n_units != 1)}{friedman}")
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for column in ("rank", "ties", "model", "mean rank", "mean", "± units", "± seeds", "gain over best baseline"):
        table.add_column(column, justify="left" if column in {"ties", "model"} else "right")
    for row in found.models[found.models["metric"] == metric].to_dict(orient="records"):
        cells = ["" if row["rank"] != row["rank"] else f"{row['rank']:.0f}", row["groups"]]
        cells += [label(row["model"], row["profile"])]
        cells += ["" if row[name] != row[name] else number(row[name]) for name in _NUMBERS]
        style = "dim" if row["is_baseline"] else ""
        table.add_row(*(Text(cell, style=style) for cell in cells), gain_text(*(row[name] for name in _GAIN)))
    return table


_NUMBERS = ("mean_rank", "mean", "spread_units", "spread_seeds")
_GAIN = ("gain", "gain_low", "gain_high")


def _pairs(pairs: "pd.DataFrame", test: str) -> "Table":
    """Lay out the tests of pairs, the surest first."""
    from rich.table import Table

    from pb_cli.board import label, number

    table = Table(title=f"Pairs ({test})", title_justify="left", title_style="bold", header_style="bold")
    for column in ("better", "than", "by", "wins", "ties", "losses", "p", "p (Holm)"):
        table.add_column(column, justify="left" if column in {"better", "than"} else "right")
    for row in pairs.sort_values(["adjusted", "pvalue"], kind="stable").to_dict(orient="records"):
        names = [label(row[f"model_{side}"], row[f"profile_{side}"]) for side in (1, 2)]
        won = [row["wins"], row["ties"], row["losses"]]
        if row["difference"] < 0:
            names, won = names[::-1], won[::-1]
        tested = f"{row['pvalue']:.2g}", f"{row['adjusted']:.2g}"
        table.add_row(*names, number(abs(row["difference"])), *map(str, won), *tested, style="bold" * row["differ"])
    return table

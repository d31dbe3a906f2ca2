"""`pb bench --task ...`: losses and baselines that predict labels, cross-validated."""

import dataclasses
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pb_cli.carrying import Steps, carry_out, show_draft
from pb_cli.completing import complete, complete_words
from pb_cli.console import count, messages, print_data, print_json, print_table
from pb_cli.display import clock
from pb_cli.execute import Options
from pb_cli.names import split_names, usage_errors
from pb_cli.options import parse_options, parse_settings
from pb_cli.store import RunFolder
from pb_cli.supervised.experiment import TASKS, SupervisedExperiment, read_supervised
from pb_cli.supervised.planning import SupervisedPlan, make_supervised_plan, open_labelled

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["bench_supervised", "supervised_options"]

REPEATED = {
    "losses": str,
    "learning_rates": float,
    "weight_decays": float,
    "fold_kinds": str,
    "label_noise": str,
    "choose_by": str,
    "hidden": str,
    "seeds": int,
}
"""Options that take several values, and of which kind."""

FOREIGN = ("models", "hold_out", "preset", "n_genes", "fit_on", "split", "split_seed", "target_controls", "controls")
"""Options of the other arm, refused rather than passed over."""


def supervised_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the supervised arm."""
    flags = [
        click.option(
            "--task", shell_complete=complete_words(*TASKS), help="Predict labels: regression or classification."
        ),
        click.option(
            "--loss",
            "losses",
            multiple=True,
            shell_complete=complete("losses"),
            help="With --task: names of `pb ls losses`, all or none.",
        ),
        click.option("--lr", "learning_rates", multiple=True, help="Learning rates.  [default: 0.1,0.01,0.001]"),
        click.option("--weight-decay", "weight_decays", multiple=True, help="[default: 1e-3,1e-4,1e-5]"),
        click.option("--folds", type=int, help="Number of folds.  [default: 5]"),
        click.option(
            "--fold-kind",
            "fold_kinds",
            multiple=True,
            shell_complete=complete("folds"),
            help="cells, genes, stratified, cells-unshuffled.",
        ),
        click.option("--fold-seed", type=int, help="Seed of the folds.  [default: 0]"),
        click.option(
            "--label-noise", multiple=True, metavar="KIND:RATE", help="none, uniform:0.3, class-dependent:0.3."
        ),
        click.option("--hidden", multiple=True, help="Hidden layers: 128,64 or small, wide, reference."),
        click.option("--epochs", type=int, help="[default: 100]"),
        click.option("--batch-size", type=int, help="[default: 256]"),
        click.option("--optimiser", type=click.Choice(["sgd", "adam"]), help="[default: sgd]"),
        click.option("--standardise", help="training-rows, all-rows (a leak) or none.  [default: training-rows]"),
        click.option("--choose-by", multiple=True, help="Metrics that choose settings; the first ranks."),
        click.option("--selection", help="per-fold, one-setting (the same in all folds) or nested."),
        click.option("--inner-folds", type=int, help="Folds of nested selection.  [default: 3]"),
        click.option("--equal-budget", type=int, help="Least settings of a loss's own parameters.  [default: 3]"),
        click.option("--joint", is_flag=True, help="Make one target of several: all combinations of their classes."),
    ]
    for flag in reversed(flags):
        command = flag(command)
    return command


def bench_supervised(path: Path | None, flags: dict[str, Any]) -> None:
    """Plan, run what is missing, show the leaderboards."""
    started = time.monotonic()
    options = Options(flags["jobs"], "cpu")
    with usage_errors():
        asked = read_supervised(path, overrides(flags))
        data = open_labelled(asked)
        plan = make_supervised_plan(asked, data)
    if flags["dry_run"]:
        show_draft(plan, flags, options, show_plan)
        return
    folder = RunFolder(flags["out"] or Path("runs") / f"{data.name}-{asked.task}")
    steps = Steps(
        partial(announce, plan, folder),
        lambda: finish(asked, plan, folder, as_json=flags["as_json"], seconds=time.monotonic() - started),
    )
    carry_out(plan, folder, record(asked, plan), flags, options, steps)


def overrides(flags: dict[str, Any]) -> dict[str, Any]:
    """Collect the flags that were typed, named like the fields of `SupervisedExperiment`."""
    for name in FOREIGN:
        if flags.get(name):
            msg = f"--{name.removesuffix('s').replace('_', '-')} is not for --task; see pb bench --help."
            raise ValueError(msg)
    fields = {field.name for field in dataclasses.fields(SupervisedExperiment)}
    plain = {name: value for name, value in flags.items() if name in fields - set(REPEATED) and value is not None}
    if not plain.get("joint"):
        plain.pop("joint", None)
    values: dict[str, Any] = {}
    for name, kind in REPEATED.items():
        if flags[name]:
            values[name] = tuple(_value(name, text, kind) for text in split_names(flags[name]))
    if flags["data"] is not None:
        plain["data"] = str(flags["data"])
    if flags["no_baselines"]:
        values["baselines"] = False
    if "choose_by" in values:
        values["metrics"] = values.pop("choose_by")
    if "hidden" in values:
        values["hidden"] = tuple(int(part) if part.isdigit() else part for part in values["hidden"])
    groups = {"grids": parse_settings(flags["settings"]), "dataset_options": parse_options(flags["options"])}
    return plain | values | {name: group for name, group in groups.items() if group}


def _value(name: str, text: str, kind: type) -> Any:
    """Read one of several values."""
    try:
        return kind(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        msg = f"{name.replace('_', ' ')}: {text!r} is not {what}."
        raise ValueError(msg) from None


def record(asked: SupervisedExperiment, plan: SupervisedPlan) -> dict[str, Any]:
    """Say in the run folder what was asked, with which versions, and what the folds support."""
    from pb_cli.resources import versions

    said = {"experiment": dataclasses.asdict(asked), "claims": plan.claims, "remarks": plan.remarks}
    return said | {"versions": versions()}


def announce(plan: SupervisedPlan, folder: RunFolder) -> None:
    """Say what runs, what is there already, and what the result will support."""
    done = sum(map(folder.is_done, plan.tasks))
    there = f", {done} of them finished before" if done else ""
    messages.print(f"{count(len(plan.tasks), 'task')}{there}; run folder: {folder.path}", soft_wrap=True)
    for line in (*(f"Folds {kind}: {claim}." for kind, claim in plan.claims.items()), *plan.remarks):
        messages.print(line, soft_wrap=True)


def finish(
    asked: SupervisedExperiment, plan: SupervisedPlan, folder: RunFolder, *, as_json: bool, seconds: float
) -> None:
    """Merge the results, show the leaderboards, write them as Markdown, say what diverged and where everything lies."""
    show_results(folder.collect(plan.tasks), asked, plan, folder, as_json=as_json)
    messages.print(f"Results: {folder.path / 'results.csv'}; {clock(seconds)}.", soft_wrap=True)


def show_results(
    results: "pd.DataFrame", asked: SupervisedExperiment, plan: SupervisedPlan, folder: RunFolder, *, as_json: bool
) -> None:
    """Show the leaderboards, write them as Markdown, and say what diverged."""
    import pandas as pd

    from pb_cli.costs import cost_records, read_costs
    from pb_cli.merging import failure_records
    from pb_cli.supervised.board import board_dict, markdown, show_boards
    from pb_cli.supervised.comparison import compare, gaps
    from pb_cli.supervised.grids import baseline_names

    costs, diverged = read_costs(folder.path / "tasks.csv"), diverged_words(plan, folder)
    head: dict[str, Any] = {
        "run": os.fspath(folder.path),
        "claims": plan.claims,
        "remarks": plan.remarks,
        "diverged": diverged,
    }
    head |= {"costs": cost_records(costs), "failures": failure_records(folder, plan.tasks)}
    if results.empty:
        if as_json:
            print_json(head | board_dict([]))
        return
    boards = compare(results, baseline_names(asked.task))
    (folder.path / "boards.md").write_text(markdown(boards), encoding="utf-8")
    if rows := gaps(boards):
        pd.DataFrame(rows).to_csv(folder.path / "gaps.csv", index=False)
    if as_json:
        print_json(head | board_dict(boards))
        return
    show_boards(boards, plan.claims, costs)
    for line in diverged:
        messages.print(line, soft_wrap=True)


def diverged_words(plan: SupervisedPlan, folder: RunFolder) -> list[str]:
    """Say how many trainings of each loss diverged; they are never chosen after that."""
    lines = []
    for task in filter(folder.is_done, plan.tasks):
        costs = folder.task_record(task)["costs"]
        if costs["n_diverged"]:
            n_runs = costs["trained_together"] * task.split_parameters["n_folds"]
            lines.append(f"{task.label}, {task.label_of_split}: {costs['n_diverged']} of {n_runs} trainings diverged.")
    return lines


def show_plan(plan: SupervisedPlan, *, as_json: bool) -> None:
    """Print the tasks that would run."""
    from pb_cli.plan import to_lines

    if as_json:
        print_data(to_lines(plan.tasks))
        return
    rows = [
        (task.id, task.label_of_split, task.model, str(len(task.settings.get("parameters", []))), str(task.seed))
        for task in plan.tasks
    ]
    print_table(f"{len(plan.tasks)} tasks", ("id", "folds", "model", "parameters", "seed"), rows)

"""`pb bench`: plan a grid, run what is missing, show the leaderboard."""

import dataclasses
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import click

from pb_cli.carrying import Steps, carry_out, show_draft
from pb_cli.commands.bench_supervised import bench_supervised, supervised_options
from pb_cli.completing import complete
from pb_cli.console import count, messages, print_data, print_json
from pb_cli.display import clock
from pb_cli.execute import Options
from pb_cli.experiment import Experiment, read_experiment
from pb_cli.names import split_names, usage_errors
from pb_cli.options import (
    bootstrap_option,
    condition_options,
    data_options,
    keys_from_flags,
    names_option,
    open_data,
    parse_options,
    parse_settings,
    split_options,
)
from pb_cli.plan import Plan
from pb_cli.planning import make_plan
from pb_cli.store import RunFolder
from pb_cli.submission import (
    slurm_options,
)
from pb_cli.supervised.experiment import is_supervised

__all__ = ["bench"]


@click.command(short_help="Run a benchmark: models x held-out contexts x seeds.")
@click.argument("experiment", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--dataset",
    shell_complete=complete("datasets", "labelled"),
    help="A data set of `pb ls datasets`.  [default: pbmc]",
)
@click.option("--data", type=click.Path(path_type=Path), help="Your own .h5ad, or the file of --dataset.")
@data_options
@condition_options
@names_option("model", "Names, name:profile, `all` or `baselines`.  [default: baselines]")
@click.option("--no-baselines", is_flag=True, help="Do not add the baselines that were not named.")
@click.option("--hold-out", multiple=True, help="Units of the split (names or indices), or `all`.  [default: all]")
@click.option("--seed", "seeds", multiple=True, help="Seeds of the models.  [default: 1]")
@click.option("--set", "settings", multiple=True, metavar="MODEL.SETTING=VALUE", help="Change a model's setting.")
@split_options
@supervised_options
@click.option("--out", type=click.Path(path_type=Path), help="Run folder.  [default: runs/DATASET-PRESET]")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(min=1), help="Processes.")
@click.option("--ensemble", is_flag=True, help="Train the seeds of a model in one pass, where it can.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, ... or auto.")
@bootstrap_option
@click.option("--no-save-models", is_flag=True, help="Do not keep the fitted models.")
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@click.option("--array", is_flag=True, help="Submit what is missing to Slurm as array jobs, and return.")
@slurm_options
@click.option("--plan-only", is_flag=True, help="Write the run folder for `pb run`, and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print the leaderboard as data.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
def bench(experiment: Path | None, **flags: Any) -> None:
    """Hold contexts out, predict their perturbed cells with every model, and rank the models.

    EXPERIMENT is a TOML file with keys such as dataset, data, models, hold-out, seeds, preset, split and
    tables such as [settings.scgen] and [keys]; flags override it. The run folder keeps everything; the
    same command again does only what is missing.

    \b
    Examples:
      pb bench --preset quick --model scgen
      pb bench --model scgen,scgen:reference --hold-out "B cells" --seed 1,2
      pb bench experiments/pbmc-scgen.toml --out runs/pbmc
      pb bench --data my.h5ad --context-key cell_type \\
               --perturbation-key condition --control ctrl --scale counts
      pb bench --task regression --dataset concrete --loss far,mae
    """
    with usage_errors():
        supervised = is_supervised(experiment, flags["task"])
    if supervised:
        bench_supervised(experiment, flags)
        return
    started = time.monotonic()
    with usage_errors():
        refuse_supervised(flags)
        asked = read_experiment(experiment, overrides(flags))
        data = open_data(asked.dataset, asked.data, asked.keys, asked.dataset_options)
        plan = make_plan(asked, data)
    options = Options(
        flags["jobs"], flags["device"], not flags["no_save_models"], flags["ensemble"], flags["bootstrap"]
    )
    if flags["dry_run"]:
        show_draft(plan, flags, options, show_plan)
        return
    folder = RunFolder(flags["out"] or Path("runs") / f"{data.name}-{asked.preset}")
    with usage_errors():
        if not flags["array"]:
            check_device(flags["device"])
    steps = Steps(
        partial(announce, plan, folder),
        lambda: finish(plan, folder, as_json=flags["as_json"], seconds=time.monotonic() - started),
    )
    carry_out(plan, folder, run_record(asked, plan), flags, options, steps)


def refuse_supervised(flags: dict[str, Any]) -> None:
    """Refuse options that only --task understands, rather than pass over them."""
    if any(flags[name] for name in ("losses", "learning_rates", "weight_decays", "fold_kinds", "label_noise")):
        msg = "--loss, --lr, --weight-decay, --fold-kind and --label-noise need --task regression or classification."
        raise ValueError(msg)


def overrides(flags: dict[str, Any]) -> dict[str, Any]:
    """Collect the flags that were typed, named like the fields of `Experiment`."""
    same = ("dataset", "preset", "n_genes", "fit_on", "split", "split_seed", "target_controls", "controls")
    values: dict[str, Any] = {name: flags[name] for name in same if flags[name] is not None}
    if flags["models"]:
        values["models"] = split_names(flags["models"])
    if flags["hold_out"]:
        values["hold_out"] = flags["hold_out"]
    if flags["perturbations"]:
        values["perturbations"] = flags["perturbations"]
    if flags["doses"]:
        values["doses"] = tuple(number(text) for text in split_names(flags["doses"]))
    if flags["seeds"]:
        values["seeds"] = tuple(whole_number(text) for text in split_names(flags["seeds"]))
    if flags["data"] is not None:
        values["data"] = str(flags["data"])
    if flags["no_baselines"]:
        values["baselines"] = False
    keys = keys_from_flags(flags)
    settings = parse_settings(flags["settings"])
    options = parse_options(flags["options"])
    groups = {"keys": keys, "settings": settings, "dataset_options": options}
    return values | {name: group for name, group in groups.items() if group}


def whole_number(text: str) -> int:
    """Read a seed."""
    if not text.isdigit():
        msg = f"--seed {text!r} is not a whole number; write it like --seed 1,2,3."
        raise ValueError(msg)
    return int(text)


def number(text: str) -> float:
    """Read a dose."""
    try:
        return float(text)
    except ValueError:
        msg = f"--dose {text!r} is not a number; write it like --dose 1,10."
        raise ValueError(msg) from None


def run_record(asked: Experiment, plan: Plan) -> dict[str, Any]:
    """Say in the run folder what was asked, with which versions, and what the splits support."""
    from pb_cli.resources import versions

    asked_for = dataclasses.asdict(asked)
    return {"experiment": asked_for, "claim": plan.claim, "remarks": plan.remarks, "versions": versions()}


def check_device(name: str) -> None:
    """Refuse a device that is not there before anything runs."""
    from pb_models.training import resolve_device

    resolve_device(name)


def announce(plan: Plan, folder: RunFolder) -> None:
    """Say what runs, what is there already, and what the result will support."""
    done = sum(map(folder.is_done, plan.tasks))
    there = f", {done} of them finished before" if done else ""
    messages.print(f"{count(len(plan.tasks), 'task')}{there}; run folder: {folder.path}", soft_wrap=True)
    messages.print(f"Split {plan.tasks[0].split}: {plan.claim}", soft_wrap=True)
    for remark in plan.remarks:
        messages.print(remark, soft_wrap=True)


def finish(plan: Plan, folder: RunFolder, *, as_json: bool, seconds: float) -> None:
    """Merge the results, print the leaderboard, say where everything lies."""
    from pb_cli.board import board_of, comparison_of, show_board
    from pb_cli.costs import cost_records, read_costs
    from pb_cli.merging import failure_records

    results = folder.collect(plan.tasks)
    costs = read_costs(folder.path / "tasks.csv")
    run: dict[str, Any] = {"run": os.fspath(folder.path), "claim": plan.claim, "remarks": plan.remarks}
    run |= {"costs": cost_records(costs), "failures": failure_records(folder, plan.tasks)}
    if results.empty:
        if as_json:
            print_json(run | {"metrics": [], "rows": [], "dropped": [], "comparison": None})
        return
    board, comparison = board_of(results), comparison_of(results)
    if as_json:
        print_json(run | board.to_dict() | {"comparison": comparison.to_dict()})
    else:
        show_board(board, comparison, costs)
    messages.print(f"Results: {folder.path / 'results.csv'} (and .parquet); {clock(seconds)}.", soft_wrap=True)


def show_plan(plan: Plan, *, as_json: bool) -> None:
    """Print the tasks that would run."""
    from pb_cli.console import print_table
    from pb_cli.plan import to_lines

    if as_json:
        print_data(to_lines(plan.tasks))
        return
    columns = ("id", "held out", "dose", "model", "profile", "seed")
    rows = [
        (t.id, t.held_out, "" if t.dose is None else f"{t.dose:g}", t.model, t.profile, str(t.seed)) for t in plan.tasks
    ]
    print_table(f"{len(plan.tasks)} tasks", columns, rows)

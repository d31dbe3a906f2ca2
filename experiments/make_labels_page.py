"""Write a supervised run as the Markdown page that is committed beside its experiment file.

python experiments/make_labels_page.py runs/concrete experiments/concrete.toml > experiments/concrete.md
"""

import argparse
import json
from pathlib import Path

import pandas as pd
from make_page import markdown
from pb_cli.plan import read_plan
from pb_cli.store import RunFolder
from pb_cli.supervised.board import markdown as boards_page
from pb_cli.supervised.comparison import compare
from pb_cli.supervised.scores import label_baselines
from pb_eval import read_table
from pb_eval.table import merge_tables


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("run", type=Path, help="run folder")
    arguments.add_argument("experiment", type=Path, help="the TOML file that was run")
    given = arguments.parse_args()
    folder = RunFolder(given.run)
    tasks = read_plan(given.run / "plan.jsonl")
    done = [task for task in tasks if folder.is_done(task)]
    results = merge_tables(read_table(folder.task(task) / "metrics.csv") for task in done)
    boards = compare(results, label_baselines())
    print(heading(given.experiment, folder, len(tasks), len(done)))
    print(boards_page(boards))
    print(f"## Paired t-tests against the best loss, by {boards[0].table['metric'].iloc[0]}\n\n{tests(boards)}")
    print(f"## What was chosen, and what it cost\n\n{chosen(folder, done)}", end="")


def heading(experiment: Path, folder: RunFolder, n_tasks: int, n_done: int) -> str:
    """Say what was run, with what, and how much of it is here."""
    name = experiment.stem
    versions = ", ".join(f"{package} {version}" for package, version in folder.record["versions"].items())
    missing = f" of {n_tasks}" if n_done < n_tasks else ""
    return f"""# {name}

    pb bench {experiment} --out runs/{name}
    python experiments/make_labels_page.py runs/{name} {experiment} > {experiment.with_suffix(".md")}

{n_done}{missing} losses and baselines done. Scores are of the test rows, mean (standard deviation) over folds; settings
and epoch are chosen for each metric and fold by the validation rows. ‡: no better than the best baseline. Seconds are
of the wall clock, on a machine that was busy with other work.

Versions: {versions}.
"""


def tests(boards: list) -> str:
    """List the corrected p-values of all losses."""
    rows = []
    for board in boards:
        first = board.table[board.table["metric"] == board.table["metric"].iloc[0]].dropna(subset="p_corrected")
        rows += [[board.split, row.model, f"{row.p:.3f}", f"{row.p_corrected:.3f}"] for row in first.itertuples()]
    return markdown(["folds", "loss", "p", "p (Holm)"], rows)


def chosen(folder: RunFolder, tasks: list) -> str:
    """List the settings chosen in each fold for the first metric, diverged trainings and seconds."""
    rows = []
    for task in tasks:
        costs = folder.task_record(task)["costs"]
        path = folder.task(task) / "chosen.csv"
        picks = pd.read_csv(path) if path.exists() else pd.DataFrame()
        words = (
            [settings(pick) for pick in picks[picks["metric"] == picks["metric"].iloc[0]].itertuples()]
            if len(picks)
            else []
        )
        counted = [f"{words.count(word)}x {word}" for word in dict.fromkeys(words)]
        diverged = f"{costs['n_diverged']} of {picks.groupby('fold')['n_runs'].first().sum()}" if len(picks) else ""
        rows.append([task.model, "; ".join(counted), diverged, f"{costs['fit_seconds']:.0f}"])
    return markdown(["model", "chosen in the folds", "diverged", "seconds"], rows)


def settings(pick: tuple) -> str:
    """Write one fold's choice."""
    own = [f"{name.replace('_', ' ')} {value:g}" for name, value in json.loads(pick.parameters).items()]
    return ", ".join([*own, f"lr {pick.learning_rate:g}", f"decay {pick.weight_decay:g}"])


if __name__ == "__main__":
    main()

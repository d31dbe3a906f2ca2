"""Write a run folder's results as the Markdown page that is committed beside its experiment file.

python experiments/tabulate.py runs/pbmc-scgen experiments/pbmc-scgen.toml > experiments/pbmc-scgen.md
"""

import argparse
import json
from pathlib import Path

import pandas as pd
from pb_eval import Leaderboard, leaderboard, read_table
from pb_models import get_model

METRICS = ("r2_mean_all", "r2_mean_top20", "r2_mean_top100", "mse_mean", "pearson_delta", "overlap_top100", "edistance")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("run", type=Path)
    arguments.add_argument("experiment", type=Path)
    given = arguments.parse_args()
    results = read_table(given.run / "results.parquet")
    costs = pd.read_csv(given.run / "tasks.csv")
    record = json.loads((given.run / "run.json").read_text(encoding="utf-8"))
    baselines = [name for name in results["model"].unique() if get_model(name).is_baseline]
    print(heading(given.experiment, record, costs))
    print(scores(leaderboard(results, baselines, metrics=METRICS)))
    print(by_context(results))
    print(cost_table(costs))


def heading(experiment: Path, record: dict, costs: pd.DataFrame) -> str:
    """Say what was run, with what, and how much of it is here."""
    done = (costs["status"] == "done").sum()
    packages = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    hours = (costs["fit_seconds"].sum() + costs["predict_seconds"].sum()) / 3600
    return f"""# {experiment.stem}

`pb bench {experiment} --out runs/{experiment.stem}`, then
`python experiments/tabulate.py runs/{experiment.stem} {experiment} > {experiment.with_suffix(".md")}`

{done} of {len(costs)} tasks; seeds {", ".join(map(str, sorted(costs["seed"].unique())))}; \
{hours:.2f} hours of fitting and predicting on {", ".join(sorted(costs["device"].dropna().unique()))}.

Claim: {record["claim"]}

Versions: {packages}.
"""


def scores(board: Leaderboard) -> str:
    """Mean over held-out contexts, with the spread over seeds."""
    return f"## Mean over held-out contexts (± standard deviation over seeds)\n\n{markdown(board)}\n"


def markdown(board: Leaderboard) -> str:
    raise SystemExit(board)


def by_context(results: pd.DataFrame) -> str:
    """Mean over seeds of the squared Pearson correlation of mean expression, per held-out context."""
    chosen = results[results["metric"] == "r2_mean_all"].assign(name=label)
    table = chosen.pivot_table(index="name", columns="context", values="value", sort=False)
    return f"## r2_mean_all by held-out context (mean over seeds)\n\n{table.to_markdown(floatfmt='.3f')}\n"


def label(frame: pd.DataFrame) -> pd.Series:
    """Name a model with its profile, where it has more than one."""
    return frame["model"] + frame["profile"].map(lambda profile: "" if profile == "default" else f" ({profile})")


def cost_table(costs: pd.DataFrame) -> str:
    """Mean cost of one task per model."""
    columns = {"fit_seconds": "fit, s", "predict_seconds": "predict, s", "n_parameters": "parameters"}
    done = costs[costs["status"] == "done"].assign(name=label)
    table = done.groupby("name", sort=False)[list(columns)].mean().rename(columns=columns)
    table.insert(2, "peak memory, MB", done.groupby("name", sort=False)["peak_memory_bytes"].mean() / 1e6)
    return f"## Mean cost of one task\n\n{table.to_markdown(floatfmt=',.1f')}\n"


if __name__ == "__main__":
    main()

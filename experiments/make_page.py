"""Write a run folder's results as the Markdown page that is committed beside its experiment file.

python experiments/make_page.py runs/pbmc-scgen experiments/pbmc-scgen.toml > experiments/pbmc-scgen.md
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from pb_cli.board import board_of, label
from pb_cli.display import clock
from pb_eval import Leaderboard, read_table

METRICS = ("r2_mean_all", "r2_mean_top20", "r2_mean_top100", "mse_mean", "pearson_delta", "overlap_top100", "edistance")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("run", type=Path, help="run folder")
    arguments.add_argument("experiment", type=Path, help="the TOML file that was run")
    given = arguments.parse_args()
    results = read_table(given.run / "results.parquet")
    costs = pd.read_csv(given.run / "tasks.csv")
    record = json.loads((given.run / "run.json").read_text(encoding="utf-8"))
    board = board_of(results)
    sections = [heading(given.experiment, record, costs), scores(board)]
    if not board.table["is_baseline"].all():
        sections.append(gains(board))
    sections += [by_unit(results, "r2_mean_all"), by_unit(results, "r2_mean_top100"), cost_table(costs)]
    print("\n".join(sections), end="")


def heading(experiment: Path, record: dict, costs: pd.DataFrame) -> str:
    """Say what was run, with what, and how much of it is here."""
    done = (costs["status"] == "done").sum()
    packages = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    seconds = costs["fit_seconds"].sum() + costs["predict_seconds"].sum()
    seeds = ", ".join(map(str, sorted(costs["seed"].unique())))
    return f"""# {experiment.stem}

    pb bench {experiment} --out runs/{experiment.stem}
    python experiments/make_page.py runs/{experiment.stem} {experiment} > {experiment.with_suffix(".md")}

{done} of {len(costs)} tasks done; seeds {seeds} (deterministic baselines once); {clock(seconds)} of fitting and \
predicting on {", ".join(sorted(costs["device"].dropna().unique()))}.

What the split supports: {record["claim"]}

Versions: {packages}.
"""


def scores(board: Leaderboard) -> str:
    """Mean over held-out units, with the spread over seeds; the best baseline in italics."""
    wide = {column: board.wide(column) for column in ("mean", "spread")}
    rows = [
        [label(*row), *(cell(wide["mean"].loc[row, m], wide["spread"].loc[row, m], board, row, m) for m in METRICS)]
        for row in wide["mean"].index
    ]
    words = "Mean over held-out units ± standard deviation over seeds; best baseline in italics"
    return f"## {words}\n\n{markdown(['model', *METRICS], rows)}"


def cell(mean: float, spread: float, board: Leaderboard, row: tuple[str, str], metric: str) -> str:
    """Write one score."""
    text = number(mean) + ("" if pd.isna(spread) else f" ± {number(spread)}")
    return f"*{text}*" if board.best_baseline[metric] == row else text


def gains(board: Leaderboard) -> str:
    """How much better than the best baseline each model is."""
    wide = board.wide("gain")
    baselines = set(board.table.loc[board.table["is_baseline"], "model"])
    models = [row for row in wide.index if row[0] not in baselines]
    rows = [[label(*row), *(signed(wide.loc[row, metric]) for metric in METRICS)] for row in models]
    return f"## Gain over the best baseline (positive: better)\n\n{markdown(['model', *METRICS], rows)}"


def by_unit(results: pd.DataFrame, metric: str) -> str:
    """Mean over seeds of one metric, per held-out unit, named by what differs between units."""
    chosen = results[results["metric"] == metric]
    varying = [name for name in ("context", "perturbation", "dose") if len(chosen[name].unique()) > 1]
    chosen = chosen.assign(unit=chosen[varying or ["context"]].astype(str).agg(", ".join, axis=1))
    table = chosen.pivot_table(index=["model", "profile"], columns="unit", values="value", sort=False)
    rows = [[label(*row), *map(number, values)] for row, values in zip(table.index, table.to_numpy(), strict=True)]
    return f"## {metric} by held-out unit (mean over seeds)\n\n{markdown(['model', *table.columns], rows)}"


def cost_table(costs: pd.DataFrame) -> str:
    """Mean cost of one task per model."""
    done = costs[costs["status"] == "done"].groupby(["model", "profile"], sort=False)
    columns = ["fit_seconds", "predict_seconds", "peak_memory_bytes", "n_parameters"]
    rows = [
        [label(*row), f"{fit:.1f}", f"{predict:.2f}", f"{memory / 1e6:,.0f}", f"{parameters:,.0f}"]
        for row, (fit, predict, memory, parameters) in done[columns].mean().iterrows()
    ]
    header = ["model", "fit, s", "predict, s", "peak memory, MB", "parameters"]
    return f"## Mean cost of one task\n\n{markdown(header, rows)}"


def markdown(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Lay out a Markdown table."""
    lines = [list(header), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def number(value: float) -> str:
    """Three decimals, or two digits of a small number."""
    return f"{value:.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2g}"


def signed(value: float) -> str:
    """Write a number with its sign."""
    return ("+" if value >= 0 else "-") + number(abs(value))


if __name__ == "__main__":
    main()

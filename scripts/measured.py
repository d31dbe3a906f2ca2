"""Write the measured results into the model cards, from the committed tables; a test says when they differ."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from pb_models import MODELS

ROOT = Path(__file__).resolve().parents[1]
CARDS = ROOT / "docs" / "models"
METRIC = "r2_mean_all"
MANY = 10  # held-out units that a card has room for, and the names beside them
SECTION = re.compile(r"(?<=\n)\*\*Measured results\.\*\*.*\Z", re.DOTALL)


class Shown(NamedTuple):
    """One committed table, what it measures, and the names of models whose cards show their rows of it."""

    experiment: str
    words: str
    models: tuple[str, ...]


CONTEXTS = ("control", "mean-shift", "similarity-shift", "linear", "pca-arithmetic", "ot-map")
GENES = ("control", "perturbed-mean", "additive", "ridge-perturbation")
MULTITASK = tuple(name for name in MODELS if name.startswith(("mtae", "mtvae")))
SHORT = "seven cell types held out in turn, 1,000 genes, mean over seeds 1 to 3"
TRAINED = f"{SHORT}, a training that is shorter than the model's own"
DOSES = "simulated doses, four cell types held out in turn, each at every dose"
AT_LENGTH = "one cell type and seed, at full length"
CELLS_ALONE = "all 7,000 genes, both profiles"
TABLES = {
    "baselines": (
        Shown("pbmc", SHORT, CONTEXTS),
        Shown("norman", "pairs of genes held out, each gene seen alone", GENES),
        Shown("norman-unseen", "genes never seen perturbed", GENES),
    ),
    "scgen": (Shown("pbmc", SHORT, ("scgen",)), Shown("pbmc-scgen", CELLS_ALONE, ("scgen",))),
    "scvidr": (Shown("pbmc", SHORT, ("scvidr",)), Shown("dose", DOSES, ("scvidr", "scvidr-multi"))),
    "scpregan": (Shown("pbmc", TRAINED, ("scpregan",)), Shown("pbmc-length", AT_LENGTH, ("scpregan",))),
    "scbutterfly": (Shown("pbmc", TRAINED, ("scbutterfly",)), Shown("pbmc-length", AT_LENGTH, ("scbutterfly",))),
    "multitask": (
        Shown("pbmc", TRAINED, MULTITASK),
        Shown("pbmc-length", AT_LENGTH, MULTITASK),
        Shown("dose", DOSES, ("mtae", "mtvae")),
    ),
}


def main() -> None:
    for name, text in cards().items():
        (CARDS / f"{name}.md").write_text(text)


def cards() -> dict[str, str]:
    """Put the section into every card: name of the card -> its text."""
    made = {}
    for name, tables in TABLES.items():
        written, found = SECTION.subn(lambda _, tables=tables: section(tables), (CARDS / f"{name}.md").read_text())
        if not found:
            msg = f"docs/models/{name}.md has no last part that begins with '**Measured results.**'."
            raise ValueError(msg)
        made[name] = written
    return made


def section(tables: Iterable[Shown]) -> str:
    """Write the last part of a card."""
    opening = (
        f"**Measured results.** `{METRIC}` of each held-out unit, or where these are many the mean of all; beside it "
        "`control`, the floor, and the best baseline of each column. Below `control`: in bold. Written by `python "
        "scripts/measured.py` from the tables of the experiments."
    )
    return "\n\n".join([opening, *(part for shown in tables for part in extract(shown))]) + "\n"


def extract(shown: Shown) -> list[str]:
    """Take the rows of the models out of an experiment's table, and mark those below the floor."""
    head, rows = read((ROOT / "experiments" / f"{shown.experiment}.md").read_text())
    baselines = [row for name, row in rows.items() if name in MODELS and MODELS[name].is_baseline]
    lines = {"control": rows["control"]}
    lines |= {name: marked(row, rows["control"]) for name, row in rows.items() if plain(name) in shown.models}
    if not set(shown.models) <= set(lines):  # of baselines all are shown
        lines["best baseline"] = [max(column, key=float) for column in zip(*baselines, strict=True)]
    table = [["model", *head], ["---"] + ["---:"] * len(head), *([name, *row] for name, row in lines.items())]
    link = f"[{shown.experiment}](../../experiments/{shown.experiment}.md)"
    return [f"{link}: {shown.words}.", "\n".join(f"| {' | '.join(line)} |" for line in table)]


def marked(row: Iterable[str], floor: Iterable[str]) -> list[str]:
    """Print what lies below the floor in bold."""
    return [f"**{value}**" if float(value) < float(low) else value for value, low in zip(row, floor, strict=True)]


def read(report: str) -> tuple[list[str], dict[str, list[str]]]:
    """Read the metric by held-out unit from a report, or where there are many the means: columns, and name -> cells."""
    head, rows = table_after(report, rf"^(?:## )?{METRIC} by held-out unit.*\n\n")
    if len(head) <= MANY:
        return head[1:], {row[0]: row[1:] for row in rows}
    units = len(head) - 1
    head, rows = table_after(report, r"^### Leaderboard\n\n.*\n\n")
    column = next(k for k, cell in enumerate(head) if cell.startswith(METRIC))
    return [f"mean of {units}"], {row[1]: [row[column].partition(" ")[0]] for row in rows}


def table_after(report: str, heading: str) -> tuple[list[str], list[list[str]]]:
    """Read the table that follows a heading: its columns and its rows, without italics and bold."""
    match = re.search(rf"{heading}((?:\|.*\n)+)", report, re.MULTILINE)
    if match is None:
        msg = f"A report has no table after {heading!r}."
        raise ValueError(msg)
    lines = match[1].replace("*", "").replace("\\", "").splitlines()
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return head, rows


def plain(name: str) -> str:
    """Take the profile off a row's name."""
    return name.partition(" ")[0]


if __name__ == "__main__":
    main()

"""Every command that a page or a help text only shows is run as printed, beside small files of the names it speaks of.

Pages that show the output too: test_walkthroughs.py; `pb resume`: slurm/test_slurm.py. What would take
minutes is made small by flags added behind it.
"""

import re
import shutil
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from markdown_pages import ROOT, pages
from pb_cli import app
from pb_cli.manners import walk

BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MADE = re.compile(r"make (\w+)")
ELSEWHERE = ("make ", "pb resume ")
FILE = re.compile(r"^```toml (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# What is added to a command that says this, all that fit, in this order.
SMALLER = {
    r"pb bench(?!.*--task)": "--preset quick --bootstrap 0",
    r"pb bench (?!.*(--task|--data |--split))": '--n-genes 100 --seed 1 --hold-out "B cells"',
    r"pb bench .*leave-(combination|perturbation)-out": "--n-genes 100 --hold-out 0",
    r"pb bench .*scgen": "--set scgen.max_epochs=1",
    r"pb bench --task": "--folds 3 --epochs 1 --lr 0.01 --weight-decay 0 --hidden 8 --equal-budget 1 --batch-size 1024",
    r"pb bench --task(?!.*--loss)": "--loss far,mae",
    r"pb bench --task classification": "--no-baselines",
    r"pb eval calibrate": '--preset quick --hold-out "B cells"',
}
# Files and folders that are another, small one's copy.
COPIES = {
    "my.pb.h5ad": "my.h5ad",
    "a375.h5ad": "my.h5ad",
    "theirs.h5ad": "predicted.h5ad",
    "scgen.h5ad": "predicted.h5ad",
    "cpa.h5ad": "predicted.h5ad",
    "predictions": "predicted",
    "*.h5ad": "prediction.h5ad",
    "runs/pbmc": "runs/mine",
    "runs/pbmc-quick": "runs/mine",
    "runs/before": "runs/mine",
    "runs/after": "runs/again",
    "runs/pbmc-clipped": "runs/again",
}


def shown():
    """Pairs of a page or verb and one of its commands, without the comment behind it."""
    blocks = [(name, block) for name, text in pages().items() for block in BLOCK.findall(text)]
    blocks += [(name, (command.help or "").partition("Examples:")[2]) for name, command in walk(app)]
    for where, block in blocks:
        for line in block.replace("\\\n", " ").splitlines():
            if command := " ".join(re.sub(r"(^|\s)# .*", "", line).split()):
                yield where, command


EVERY = {command: where for where, command in shown() if not command.startswith(ELSEWHERE)}


@pytest.fixture(scope="session")
def files(tmp_path_factory, reader):
    """A folder with a small file or run for every name that commands speak of."""
    folder = tmp_path_factory.mktemp("files")
    make_runs(folder, reader)
    cells = label(folder / "my.h5ad")
    write_tables(folder, cells.obs["gene"].unique())
    write_predictions(folder, cells)
    shutil.copytree(ROOT / "experiments", folder / "experiments")
    return folder


def make_runs(folder, reader):
    """Simulate cells, make two runs of the same plan but its seed, one of doses, and the wheel that is installed."""
    simulated = "--doses 1,10 --perturbations 1 --combinations 0 --cells 30 --controls 60 --genes 600"
    models = "--model control,linear,scgen --no-baselines --set scgen.max_epochs=1"
    small = f"--preset quick --n-genes 100 {models} --hold-out 'B cells,NK cells' --bootstrap 0"
    for command in (
        f"pb data simulate my.h5ad {simulated}",
        f"pb bench {small} --out runs/mine",
        f"pb bench {small} --seed 2 --out runs/again",
        "pb bench --preset quick --data my.h5ad --model control --split leave-dose-out --bootstrap 0 --out runs/dose",
        f"pip wheel --quiet --no-deps --no-build-isolation --wheel-dir wheels {ROOT / 'packages' / 'pb-cli'}",
    ):
        assert (done := reader(command, folder)).returncode == 0, done.stdout
    shutil.copy(next((folder / "runs" / "mine").glob("tasks/*/prediction.h5ad")), folder / "prediction.h5ad")
    shutil.copy(folder / "runs" / "mine" / "results.csv", folder / "results.csv")


def label(path):
    """Give a file of cells the columns that commands name, and return it."""
    rng, cells = np.random.default_rng(0), ad.read_h5ad(path)
    is_control = cells.obs["perturbation"] == "control"
    cells.obs["condition"] = np.where(is_control, "ctrl", "IFN")
    cells.obs["treatment"] = np.where(is_control, "DMSO", "drug")
    cells.obs["louvain"] = cells.obs["cell_type"]
    cells.obs["gene"] = rng.choice(["KLF4", "TRPS1", "JAK1", "STAT1", "IRF1", "CD274"], cells.n_obs)
    cells.obs["score"] = rng.random(cells.n_obs)
    cells.write_h5ad(path)
    return cells


def write_tables(folder, genes):
    """Write the p-values of a screen for some genes, and rows with a label."""
    rng = np.random.default_rng(0)
    screen = {"gene": genes, "neg.p.value": rng.random(len(genes)), "pos.p.value": rng.random(len(genes))}
    rows = rng.normal(size=(60, 3))
    pd.DataFrame(screen).to_csv(folder / "crispra.csv", index=False)
    pd.DataFrame(rows, columns=["sand", "water", "strength"]).to_csv(folder / "table.csv", index=False)


def write_predictions(folder, cells):
    """Write measured cells, and the perturbed ones as predictions: alone, in a folder, in one file with all cells."""
    cells = ad.AnnData(cells.X.log1p(), cells.obs[["cell_type", "condition"]], cells.var[[]])
    predicted = cells[cells.obs["condition"] == "IFN"].copy()
    (folder / "predicted").mkdir()
    cells.write_h5ad(folder / "measured.h5ad")
    for name in ("predicted.h5ad", "predicted/theirs.h5ad"):
        predicted.write_h5ad(folder / name)
    predicted.obs["condition"] = "imputed"
    ad.concat([cells, predicted], index_unique="-").write_h5ad(folder / "imputed.h5ad")


def provide(command, files, work):
    """Copy what a command reads to where it is run."""
    for word in set(re.sub(r"--out \S+", "", command).split()):
        name = re.sub(r"(runs/[\w-]+)?.*", r"\1", word) or word.strip("/")
        source, target = files / COPIES.get(name, name), work / name.replace("*", "any")
        if source.is_dir() and source != files:
            shutil.copytree(source, target)
        elif source.is_file():
            target.parent.mkdir(exist_ok=True)
            shutil.copy(source, target)


@pytest.mark.parametrize("command", EVERY)
def test_command(command, files, reader, tmp_path, monkeypatch):
    where = EVERY[command]
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(files / "wheels"))
    (tmp_path / ".home" / ".config" / "fish" / "completions").mkdir(parents=True)
    written = dict(FILE.findall((ROOT / where).read_text())) if where.endswith(".md") else {}
    for name, text in written.items():
        (tmp_path / name).write_text(text)
    provide(" ".join([command, *written.values()]).replace('"', " "), files, tmp_path)
    if (folder := Path(where).parent).name == "plugin-example":
        shutil.copytree(ROOT / folder, tmp_path, dirs_exist_ok=True)
        assert command == "pip install ." or reader("pip install .", tmp_path).returncode == 0
    added = [flags for pattern, flags in SMALLER.items() if re.match(pattern, command)]
    done = reader(" ".join([command, *added]), tmp_path)
    assert done.returncode == 0, done.stdout


def test_commands_are_found_on_pages_and_in_helps():
    assert len(EVERY) > 80
    assert {"README.md", "docs/supervised.md", "pb bench", "pb data simulate"} <= set(EVERY.values())


def test_what_is_made_is_made_by_ci():
    made = {MADE.match(command)[1] for _, command in shown() if MADE.match(command)}
    assert made == {"demo", "test"}
    assert made <= set(MADE.findall((ROOT / ".ci" / "run").read_text()))


def test_a_command_that_pb_does_not_know_is_seen(reader, tmp_path):
    assert reader("pb bench --modle scgen", tmp_path).returncode == 2

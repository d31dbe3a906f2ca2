"""`pb data prepare-screen` and `simulate-screen`: files that load as labelled data."""

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from pb_data import load_labelled
from scipy import sparse


@pytest.fixture
def inputs(pb) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    obs = pd.DataFrame(
        {"target": [*"AAAABBBBCCCC"], "grown": ["alone", "together"] * 6}, index=[f"c{n}" for n in range(12)]
    )
    counts = sparse.csr_matrix(rng.poisson(4.0, size=(12, 5)).astype(np.float32))
    cells = ad.AnnData(counts, obs=obs, var=pd.DataFrame(index=[f"g{n}" for n in range(5)]))
    cells.write_h5ad(pb.folder / "cells.h5ad")
    screen = pd.DataFrame({"id": ["A", "B"], "neg": [0.01, 0.6], "pos": [0.99, 0.3]})
    screen.to_csv(pb.folder / "screen.csv", index=False)
    return pb.folder / "cells.h5ad", pb.folder / "screen.csv"


COLUMNS = ("--target-key", "target", "--gene-column", "id", "--neg-column", "neg", "--pos-column", "pos")


def test_prepared_files_load(pb, inputs: tuple[Path, Path]):
    flags = ("--scale", "counts", "--co-culture", "grown=together", "--held-out", "B", "--out", "mine")
    result = pb("data", "prepare-screen", *inputs, *COLUMNS, *flags)
    assert result.exit_code == 0
    assert "12 cells of 3 targets, 5 genes; 5 cells are for testing, 4 have no p-value" in result.stderr
    data = load_labelled("akana", task="regression", path=pb.folder)
    assert data.X.shape == (12, 6)
    assert data.test[4:8].all()
    assert np.isnan(data.y[8:]).all()
    again = pb("data", "prepare-screen", *inputs, *COLUMNS, *flags)
    assert again.exit_code == 1
    assert "is there already" in again.stderr


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (("--scale", "counts", "--co-culture", "grown"), 2, "write it as COLUMN=VALUE"),
        (("--scale", "counts", "--co-culture", "grown=apart"), 2, "no cell has 'apart'"),
        (("--scale", "counts", "--held-out", "D"), 2, "no cell has the held-out target 'D'"),
        (("--scale", "counts", "--pos-column", "p"), 2, "the screen has no column 'p'"),
        (("--scale", "log1p"), 1, "log1p"),
        ((), 2, "--scale"),
    ],
)
def test_wrong_flags_are_said(pb, inputs: tuple[Path, Path], flags: tuple[str, ...], code: int, message: str):
    result = pb("data", "prepare-screen", *inputs, *COLUMNS, "--out", "mine", *flags)
    assert result.exit_code == code
    assert message in " ".join(result.stderr.split())
    assert not list(pb.folder.glob("mine*"))


def test_an_empty_table_is_said(pb, inputs: tuple[Path, Path]):
    inputs[1].write_text("")
    result = pb("data", "prepare-screen", *inputs, *COLUMNS, "--scale", "counts", "--out", "mine")
    assert result.exit_code == 1
    assert "cannot be read as a table" in result.stderr


def test_a_table_with_tabs_gives_the_same_files(pb, inputs: tuple[Path, Path]):
    tabs = inputs[1].with_name("gene_summary.txt")
    pd.read_csv(inputs[1]).to_csv(tabs, sep="\t", index=False)
    for screen, out in ((inputs[1], "commas"), (tabs, "tabs")):
        result = pb("data", "prepare-screen", inputs[0], screen, *COLUMNS, "--scale", "counts", "--out", out)
        assert result.exit_code == 0
    for kind in ("tpm", "labels_and_extras"):
        commas, tabbed = (pb.folder / f"{out}_{kind}.npz" for out in ("commas", "tabs"))
        assert commas.read_bytes() == tabbed.read_bytes()


def test_simulated_files_load(pb):
    result = pb("data", "simulate-screen", "sim", "--genes", "6", "--cells", "5", "--measured", "30", "--seed", "1")
    assert result.exit_code == 0
    data = load_labelled("akana", task="classification", path=pb.folder)
    assert data.X.shape == (90, 31)
    assert len(set(data.groups)) == 7
    wrong = pb("data", "simulate-screen", "other", "--genes", "1")
    assert wrong.exit_code == 2
    assert "n_genes is 1; give a number from 2" in wrong.stderr


def test_labelled_sets_tell_what_they_are(pb):
    told = json.loads(pb("data", "info", "papalexi", "--json").stdout)
    assert told["tasks"] == "classification, regression"
    assert told["size"] == "20,729 samples x 299 features"
    assert "GSE153056" in told["origin"]
    listed = json.loads(pb("ls", "labelled", "--json").stdout)["labelled"]
    assert {each["name"]: each["where from"] for each in listed}["akana"].endswith("--data FOLDER")

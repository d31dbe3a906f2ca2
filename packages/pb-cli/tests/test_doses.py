"""Data with several doses: one training for each dose or one for all, and runs of some perturbations and doses."""

import json
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from pb_cli.experiment import Experiment
from pb_cli.planning import make_plan
from pb_cli.unit import prepare
from pb_data import Keys, load_h5ad, write_h5ad
from pb_eval import read_table

KEYS = Keys(context="kind", perturbation="condition", control="ctrl", scale="counts", dose="dose", control_dose=0.0)
SMALL = [f"{name}.{setting}" for name in ("scgen", "scvidr-multi") for setting in ("max_epochs=2", "n_hidden=16")]
FLAGS = ("--model", "control,scgen,scvidr-multi", "--no-baselines", "--hold-out", "beta", "--n-genes", "40")


@pytest.fixture(scope="session")
def dosed_file(data_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Counts at the doses 1 and 10, and another perturbation at dose 1 only."""
    cells = ad.read_h5ad(data_file)
    rng = np.random.default_rng(0)
    treated = (cells.obs["condition"] == "stim").to_numpy()
    cells.obs["dose"] = np.where(treated, rng.choice([1.0, 10.0], size=cells.n_obs), 0.0)
    other = treated & (cells.obs["dose"] == 1) & (rng.random(cells.n_obs) < 0.5)
    cells.obs["condition"] = cells.obs["condition"].astype(str).where(~other, "drug").astype("category")
    path = tmp_path_factory.mktemp("dosed") / "dosed.h5ad"
    write_h5ad(path, cells, KEYS)
    return path


@pytest.fixture
def bench(pb, dosed_file: Path) -> Callable:
    settings = [part for value in SMALL for part in ("--set", value)]
    return lambda *more: pb("bench", "--data", dosed_file, *FLAGS, *settings, "--out", "run", *more)


def test_a_model_of_one_dose_is_trained_once_a_dose(bench, pb):
    result = bench()
    assert result.exit_code == 0, result.output
    tasks = [json.loads(line) for line in (pb.folder / "run/plan.jsonl").read_text().splitlines()]
    assert {(task["model"], task.get("dose")) for task in tasks} == {
        ("control", None),
        ("scvidr-multi", None),
        ("scgen", 1.0),
        ("scgen", 10.0),
    }
    results = read_table(pb.folder / "run/results.csv")
    units = {
        model: set(rows[["perturbation", "dose"]].itertuples(index=False, name=None))
        for model, rows in results.groupby("model")
    }
    assert units["scgen"] == units["scvidr-multi"] == units["control"] == {("stim", 1.0), ("stim", 10.0), ("drug", 1.0)}


def test_a_prediction_of_one_dose_is_scored_again_alike(bench, pb):
    bench("--dose", "10")
    files = sorted((pb.folder / "run/tasks").glob("*/prediction.h5ad"))
    [file] = [file for file in files if read_table(file.parent / "metrics.csv")["model"].eq("scgen").all()]
    again = pb("eval", file, "--json")
    assert again.exit_code == 0, again.output
    written = read_table(file.parent / "metrics.csv")
    assert {(row["perturbation"], row["metric"]): row["value"] for row in json.loads(again.stdout)} == {
        (row.perturbation, row.metric): row.value for row in written.itertuples()
    }


def test_a_unit_at_a_dose_trains_on_nothing_else(dosed_file: Path):
    asked = Experiment(models=("scgen",), hold_out=("beta",), baselines=False)
    [task, _] = make_plan(asked, load_h5ad(dosed_file)).tasks
    whole = prepare(task.source, task.split, task.split_parameters, task.split_hash, task.preprocess)
    unit = whole.at_dose(task.dose)
    assert set(unit.training.obs["dose"]) == {0.0, task.dose}
    assert unit.validation.size == unit.training.n_obs
    controls = whole.training.obs["dose"] == 0
    assert (unit.training.obs["dose"] == 0).sum() == controls.sum()
    assert {condition.dose for condition in unit.references} == {task.dose}


def test_some_perturbations_and_doses_are_kept(dosed_file: Path):
    asked = Experiment(models=("scgen",), perturbations=("drug",), hold_out=("beta",), baselines=False)
    [task] = make_plan(asked, load_h5ad(dosed_file)).tasks
    assert (task.dose, task.source["conditions"]) == (1.0, {"perturbations": ["drug"], "doses": []})


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--dose", "3"), r"has no dose 3 (doses: 1, 10)"),
        (("--dose", "much"), "--dose 'much' is not a number"),
        (("--perturbation", "drag"), "did you mean 'drug'"),
    ],
)
def test_what_is_not_there_is_a_usage_error(bench, flags: tuple[str, ...], words: str):
    result = bench(*flags)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())


def test_a_dose_is_held_out_of_every_context(pb, dosed_file: Path, contexts: tuple[str, ...]):
    result = pb(
        *("bench", "--data", dosed_file, "--split", "leave-dose-out", "--hold-out", "1", "--perturbation", "stim"),
        *("--model", "control,mean-shift", "--no-baselines", "--n-genes", "40", "--out", "run"),
    )
    assert result.exit_code == 0, result.output
    results = read_table(pb.folder / "run/results.csv")
    units = set(results[["context", "perturbation", "dose"]].itertuples(index=False, name=None))
    assert units == {(context, "stim", 1.0) for context in contexts}
    again = pb("eval", *sorted((pb.folder / "run/tasks").glob("*/prediction.h5ad")), "--json")
    shown = pb("eval", next((pb.folder / "run/tasks").glob("*/prediction.h5ad"))).stdout
    assert f"{len(contexts)} contexts, seed 1" in shown  # too many for a column each: what sums them up
    assert "beats floor" in shown
    columns = ["context", "model", "metric", "value"]
    scored = {tuple(row[name] for name in columns) for row in json.loads(again.stdout)}
    assert {row for row in scored if row[2] == "mse_mean"} == {
        row for row in results[columns].itertuples(index=False, name=None) if row[2] == "mse_mean"
    }


def test_a_combination_is_predicted_from_its_parts(pb, data_file: Path):
    cells = ad.read_h5ad(data_file)
    rng = np.random.default_rng(0)
    treated = (cells.obs["condition"] == "stim").to_numpy()
    labels = np.where(treated, rng.choice(["A", "B", "C", "A+B", "B+C"], size=cells.n_obs), "ctrl")
    cells.obs["condition"] = labels
    keys = Keys(context="kind", perturbation="condition", control="ctrl", scale="counts", separator="+")
    write_h5ad(pb.folder / "combined.h5ad", cells, keys)
    result = pb(
        "bench", "--data", "combined.h5ad", "--split", "leave-combination-out", "--n-genes", "40", "--out", "run"
    )
    assert result.exit_code == 0, result.output
    results = read_table(pb.folder / "run/results.csv")
    assert set(results["perturbation"]) == {"A+B", "B+C"}
    assert {"control", "perturbed-mean", "additive", "ridge-perturbation"} == set(results["model"])

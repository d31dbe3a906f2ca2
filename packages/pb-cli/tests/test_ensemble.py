"""Seeds of a model trained in one pass."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pb_models
import pytest
from pb_eval import read_table

FLAGS = ("--context-key", "kind", "--perturbation-key", "condition", "--control", "ctrl", "--scale", "counts")
SMALL = ("--n-genes", "40", "--set", "scgen.max_epochs=2", "--set", "scgen.n_hidden=16", "--set", "scgen.n_latent=4")


@pytest.fixture
def bench(pb, data_file: Path) -> Callable:
    grid = ("--model", "control,scgen", "--no-baselines", "--hold-out", "beta", "--seed", "1,2,3")
    return lambda out, *more: pb("bench", "--data", data_file, *FLAGS, *grid, *SMALL, "--out", out, *more)


def costs_of(run: Path) -> pd.DataFrame:
    return pd.read_csv(run / "tasks.csv").set_index("task")


def test_seeds_trained_together_give_the_scores_of_seeds_trained_alone(bench, pb):
    for out, flags in (("alone", ()), ("together", ("--ensemble",))):
        assert bench(out, *flags).exit_code == 0
    alone, together = (read_table(pb.folder / out / "results.csv") for out in ("alone", "together"))
    keys = ["model", "seed", "metric"]
    values = alone.merge(together, on=keys, suffixes=("", "_together"))
    assert len(values) == len(alone) == len(together)
    smooth = values[values["metric"].isin(["mse_mean", "pearson_delta", "edistance"])]
    np.testing.assert_allclose(smooth["value"], smooth["value_together"], rtol=1e-3, atol=1e-5)
    assert set(costs_of(pb.folder / "together").query("model == 'scgen'")["trained_together"]) == {3}
    assert set(costs_of(pb.folder / "alone")["trained_together"]) == {1}
    assert (pb.folder / "alone/plan.jsonl").read_text() == (pb.folder / "together/plan.jsonl").read_text()


def test_what_fails_together_is_trained_one_by_one(bench, pb, monkeypatch: pytest.MonkeyPatch):
    def diverge(*_: object, **__: object) -> None:
        raise RuntimeError("model 1 (seed 2): training diverged")

    monkeypatch.setattr(pb_models, "fit_together", diverge)
    result = bench("run", "--ensemble")
    assert result.exit_code == 0, result.output
    costs = costs_of(pb.folder / "run")
    assert set(costs["status"]) == {"done"}
    assert set(costs["trained_together"]) == {1}
    assert not list((pb.folder / "run/failed").glob("*"))
    said = " ".join(result.stderr.split())
    assert "cannot be trained together (RuntimeError: model 1 (seed 2): training diverged); one by one now" in said


def test_seeds_that_are_there_already_are_not_trained_again(bench, pb):
    bench("run")
    gone = [
        task for task, row in costs_of(pb.folder / "run").iterrows() if row["model"] == "scgen" and row["seed"] != 2
    ]
    for task in gone:
        (pb.folder / f"run/tasks/{task}").rename(pb.folder / task)
    bench("run", "--ensemble")
    records = [json.loads((pb.folder / f"run/tasks/{task}/task.json").read_text()) for task in gone]
    assert [record["costs"]["trained_together"] for record in records] == [2, 2]

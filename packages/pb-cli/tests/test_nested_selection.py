"""Nested selection: what is scored has chosen nothing."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pb_cli.plan import read_plan
from pb_data import load_labelled_file, make_folds

FLAGS = ("--epochs", 4, "--lr", "0.05,0.01", "--weight-decay", "1e-4", "--folds", 3, "--hidden", "6,4")
MORE = ("--batch-size", 16, "--option", "labels=strength", "--selection", "nested", "--inner-folds", 2)


def write_table(path: Path, *, spoil: np.ndarray | None = None) -> Path:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(90, 3)), columns=["a", "b", "c"])
    frame["strength"] = 2 * frame["a"] - frame["b"] + 0.1 * rng.normal(size=90)
    if spoil is not None:
        frame.loc[spoil, "strength"] *= -50
    frame.to_csv(path, index=False)
    return path


@pytest.fixture
def nested(pb):
    """Bench a table with nested selection; give predictions by model."""

    def run(path: Path, out: str, *more: object):
        known = ("--task", "regression", "--data", path, *FLAGS, *MORE, "--loss", "mae", "--out", out)
        result = pb("bench", *known, *more)
        assert result.exit_code == 0, result.output
        kept = {}
        for task in read_plan(pb.folder / out / "plan.jsonl"):
            with np.load(pb.folder / out / "tasks" / task.id / "predictions.npz") as arrays:
                kept[task.model] = dict(arrays)
        return result, kept

    return run


def test_every_row_that_trains_is_scored_once(pb, nested):
    path = write_table(pb.folder / "table.csv")
    result, kept = nested(path, "run")
    assert "Selection nested: 2 inner folds" in result.output
    folds = make_folds("cells", load_labelled_file(str(path), task="regression", labels="strength"), n_folds=3)
    for arrays in kept.values():
        rows = [arrays[f"fold{fold}_rows"] for fold in (1, 2, 3)]
        assert sorted(np.concatenate(rows).tolist()) == sorted(set(range(90)) - set(folds.test.tolist()))
    scores = pd.read_csv(pb.folder / "run" / "results.csv").query("model == 'mae' and metric == 'mae'")
    for fold, value in zip((1, 2, 3), scores.sort_values("context")["value"], strict=True):
        own = kept["mae"]
        assert value == pytest.approx(np.abs(own[f"fold{fold}_mae"] - own[f"fold{fold}_truth"]).mean(), rel=1e-6)


def test_labels_of_a_folds_own_rows_change_nothing_of_it(pb, nested):
    """With other labels on the rows of fold 1, its own predictions stay the same; those of fold 2 do not."""
    path = write_table(pb.folder / "table.csv")
    folds = make_folds("cells", load_labelled_file(str(path), task="regression", labels="strength"), n_folds=3)
    _, before = nested(path, "before")
    spoilt = write_table(pb.folder / "spoilt.csv", spoil=folds.folds[0][1])
    _, after = nested(spoilt, "after")
    for model, arrays in before.items():
        for name in filter(lambda name: name.startswith("fold1") and name != "fold1_truth", arrays):
            np.testing.assert_array_equal(arrays[name], after[model][name])
        changed = [
            name for name in arrays if name.startswith("fold2_") and name.rpartition("_")[2] not in ("rows", "truth")
        ]
        assert all(not np.array_equal(arrays[name], after[model][name]) for name in changed)


def test_the_file_and_the_flags_agree(pb, nested):
    path = write_table(pb.folder / "table.csv")
    (pb.folder / "my.toml").write_text(
        f'task = "regression"\ndata = "{path}"\nlosses = "mae"\nepochs = 4\nlearning-rates = [0.05, 0.01]\n'
        "weight-decays = 1e-4\nfolds = 3\nhidden = [6, 4]\nbatch-size = 16\n"
        'selection = "nested"\ninner-folds = 2\n[dataset-options]\nlabels = "strength"\n'
    )
    nested(path, "run")
    plan = (pb.folder / "run" / "plan.jsonl").read_text()
    assert pb("bench", "my.toml", "--dry-run", "--json").stdout == plan
    assert all(json.loads(line)["settings"]["inner_folds"] == 2 for line in plan.splitlines())


def test_too_little_to_divide_again_is_said_before_anything_runs(pb):
    path = write_table(pb.folder / "table.csv")
    known = ("--task", "regression", "--data", path, *FLAGS, *MORE)
    for flags, said in (
        (("--inner-folds", 1), "at least 2"),
        (("--inner-folds", 60), "Fold 1 cannot be divided again"),
    ):
        result = pb("bench", *known, *flags, "--out", "run")
        assert result.exit_code == 2
        assert said in result.output

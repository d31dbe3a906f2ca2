"""What the supervised arm says it does, on a small file of the Akana layout: targets, classes, folds, optimisers."""

import json

import numpy as np
import pandas as pd
import pytest
from pb_cli.plan import read_plan
from pb_data import ScreenSettings, simulate_screen
from pb_data.labelled.screen import write_screen
from pb_eval import read_table

QUICK = ("--epochs", 3, "--lr", "0.01", "--weight-decay", "1e-4", "--folds", 3, "--hidden", "8,4", "--batch-size", 64)


@pytest.fixture
def akana(pb):
    """Bench a simulated screen of 24 genes, with further flags."""
    screen = simulate_screen(ScreenSettings(n_genes=24, cells_per_gene=12, n_control=6, n_measured=60))
    write_screen(pb.folder / "small", screen)

    def run(task: str, *more: object, out: str = "run"):
        known = ("--task", task, "--dataset", "akana", "--data", pb.folder, *QUICK, "--equal-budget", 1)
        result = pb("bench", *known, *more, "--out", out)
        assert result.exit_code == 0, result.output
        return result

    return run


def kept(folder, model: str) -> dict[str, np.ndarray]:
    (task,) = [task for task in read_plan(folder / "plan.jsonl") if task.model == model]
    with np.load(folder / "tasks" / task.id / "predictions.npz") as arrays:
        return dict(arrays)


def test_two_p_values_are_scored_as_numbers_and_as_three_classes_each(pb, akana):
    akana("regression", "--loss", "mae,far")
    scores = read_table(pb.folder / "run" / "results.csv")
    assert set(scores["perturbation"]) == {"neg.p.value", "pos.p.value"}
    for model in ("mae", "far", "ridge", "mean"):
        own = scores[scores["model"] == model]
        assert {"mae", "pearson", "accuracy", "balanced_accuracy", "auroc"} <= set(own["metric"])
    arrays = kept(pb.folder / "run", "mae")
    assert arrays["fold1_mae"].shape[1] == 2
    number, truth = arrays["fold1_mae"][:, 0], arrays["truth"][:, 0]
    known = ~np.isnan(truth)
    classes = [(x > np.float32(0.05)).astype(int) + (x >= np.float32(0.95)) for x in (number, truth)]
    expected = (classes[0] == classes[1])[known].mean()
    row = scores.query("model == 'mae' and metric == 'accuracy' and context == 'fold 1'").set_index("perturbation")
    assert row.loc["neg.p.value", "value"] == pytest.approx(expected)


def test_two_targets_of_three_classes_or_one_of_nine(pb, akana):
    akana("classification", "--loss", "ce", "--no-baselines")
    akana("classification", "--loss", "ce", "--no-baselines", "--joint", out="joint")
    assert kept(pb.folder / "run", "ce")["fold1_accuracy"].shape[1] == 6
    joint = kept(pb.folder / "joint", "ce")
    assert joint["fold1_accuracy"].shape[1] == 9
    np.testing.assert_allclose(joint["fold1_accuracy"].sum(axis=1), 1, rtol=1e-5)


def test_adam_is_an_option_and_another_training(pb, akana):
    akana("regression", "--loss", "mae", "--no-baselines")
    akana("regression", "--loss", "mae", "--no-baselines", "--optimiser", "adam", out="adam")
    (task,) = read_plan(pb.folder / "adam" / "plan.jsonl")
    assert task.settings["training"]["optimiser"] == "adam"
    a, b = kept(pb.folder / "run", "mae"), kept(pb.folder / "adam", "mae")
    assert not np.allclose(a["fold1_mae"], b["fold1_mae"])


def test_the_gap_between_kinds_of_folds_is_shown_and_kept(pb, akana):
    result = akana("regression", "--loss", "mae", "--fold-kind", "cells,genes")
    assert "cells of seen genes against unseen genes" in result.output
    assert "Folds genes support: unseen genes" in " ".join(result.output.split())
    results = read_table(pb.folder / "run" / "results.csv").query("metric == 'mae' and model == 'ridge'")
    means = results.groupby(["split", "context"])["value"].mean().groupby("split").mean()
    table = pd.read_csv(pb.folder / "run" / "gaps.csv").query("metric == 'mae' and model == 'ridge'").iloc[0]
    assert table["seen_genes"] == pytest.approx(means["cells"])
    assert table["unseen_genes"] == pytest.approx(means["genes"])
    assert "## Cells of seen genes against unseen genes" in (pb.folder / "run" / "boards.md").read_text()


def test_the_references_way_has_names_that_say_so(akana):
    flags = ("--fold-kind", "cells-unshuffled", "--standardise", "all-rows", "--loss", "mae", "--no-baselines")
    said = " ".join(akana("regression", *flags).output.split())
    assert "standardised on all rows, validation and test included, as in the reference" in said
    assert "Folds cells-unshuffled: new samples" in said


def test_all_is_every_loss_of_the_task_with_the_same_budget(akana):
    for task, absent in (("regression", "ce"), ("classification", "mae")):
        lines = akana(task, "--loss", "all", "--equal-budget", 3, "--dry-run", "--json").stdout.splitlines()
        tasks = {each["model"]: each["settings"] for each in map(json.loads, lines)}
        assert absent not in tasks
        assert {len(settings["parameters"]) for settings in tasks.values() if "parameters" in settings} == {3}


def test_losses_on_features_train_in_two_stages_or_are_added(akana, pb):
    akana("regression", "--loss", "rnc,conr,ranksim", "--no-baselines")
    scores = read_table(pb.folder / "run" / "results.csv")
    assert scores.query("metric == 'mae'")["value"].notna().all()
    assert set(scores["model"]) == {"rnc", "conr", "ranksim"}

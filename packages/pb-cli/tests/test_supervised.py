"""The supervised arm from the command line, on small files of known content."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pb_cli.console import output
from pb_cli.plan import Task, read_plan, to_lines
from pb_cli.supervised.board import words
from pb_cli.supervised.comparison import compare, gaps
from pb_cli.supervised.grids import expand_losses, parameter_settings
from pb_cli.supervised.scores import threshold_scores
from pb_cli.supervised.selection import select
from pb_cli.supervised.task import SupervisedTask
from pb_data import ScreenSettings, classes_of, simulate_screen
from pb_data.labelled.screen import write_screen
from pb_eval import read_table

SHORT = ("--epochs", 4, "--weight-decay", "1e-4", "--folds", 3, "--hidden", "6,4", "--batch-size", 16)
QUICK = (*SHORT, "--lr", "0.05")


def table(n: int = 90) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(n, 3)), columns=["a", "b", "c"])
    frame["strength"] = 2 * frame["a"] - frame["b"] + 0.1 * rng.normal(size=n)
    frame["kind"] = np.where(frame["a"] > 0, "up", "down")
    frame["side"] = np.array(["left", "middle", "right"])[np.digitize(frame["b"], [-0.5, 0.5])]
    return frame


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labelled")
    frame = table()
    numbers = frame[["a", "b", "c", "strength"]].copy()
    numbers.loc[:8, "strength"] = np.nan
    numbers.to_csv(folder / "numbers.csv", index=False)
    frame[["a", "b", "c", "kind", "side"]].to_csv(folder / "classes.csv", index=False)
    return folder


@pytest.fixture
def regression(pb, files: Path):
    """Bench a tiny regression, with further flags."""
    known = ("--task", "regression", "--data", files / "numbers.csv", "--option", "labels=strength")
    return lambda *more: pb("bench", *known, *QUICK, "--out", "run", *more)


def test_a_regression_from_the_command_line(pb, regression):
    result = regression("--loss", "mae,far,rnc,conr", "--json")
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert {row["model"] for row in shown["boards"][0]["rows"]} == {
        "mae", "far", "rnc", "conr", "mean", "ridge", "boosting",
    }  # fmt: skip
    assert "equal budget" in " ".join(shown["remarks"]).lower()
    best = {row["model"]: row["mean"] for row in shown["boards"][0]["rows"] if row["metric"] == "mae"}
    assert best["ridge"] < 0.2 < best["mean"]
    assert "beats_baselines" in shown["boards"][0]["rows"][0]
    errors = read_table(pb.folder / "run" / "results.csv").query("metric == 'mae'").set_index(["context", "model"])
    for fold in ("fold 1", "fold 2", "fold 3"):
        floor = min(errors.loc[(fold, name), "value"] for name in ("mean", "ridge", "boosting"))
        assert (errors.loc[fold, "floor"] == floor).all()
    tasks = {task.model: task for task in read_plan(pb.folder / "run" / "plan.jsonl")}
    assert all(isinstance(task, SupervisedTask) for task in tasks.values())
    folder = pb.folder / "run" / "tasks" / tasks["far"].id
    assert {file.name for file in folder.iterdir()} == {
        "chosen.csv", "curves.svg", "log.txt", "metrics.csv", "predictions.npz", "task.json", "traces.parquet",
    }  # fmt: skip
    curves = (folder / "curves.svg").read_text()
    assert len(curves) < 200_000
    assert all(f"<!-- {measure} -->" in curves for measure in ("mae", "rmse", "pearson", "spearman"))


def test_what_is_kept_agrees(pb, regression):
    """Scores are those of the kept predictions; chosen epochs are the best of the kept traces."""
    assert regression("--loss", "mae", "--no-baselines").exit_code == 0
    (task,) = read_plan(pb.folder / "run" / "plan.jsonl")
    folder = pb.folder / "run" / "tasks" / task.id
    chosen, traces = pd.read_csv(folder / "chosen.csv"), pd.read_parquet(folder / "traces.parquet")
    scores = read_table(folder / "metrics.csv").set_index(["metric", "context"])["value"]
    with np.load(folder / "predictions.npz") as kept:
        for row in chosen.itertuples():
            own = traces[traces["fold"] == row.fold]
            column = own[f"validation_{row.metric}"]
            assert row.validation == pytest.approx(column.min() if row.metric in ("mae", "rmse") else column.max())
            at = own[(own["run"] == row.run) & (own["epoch"] == row.epoch)]
            assert at[f"validation_{row.metric}"].item() == pytest.approx(row.validation)
        for fold in (1, 2, 3):
            error = np.abs(kept[f"fold{fold}_mae"] - kept["truth"]).mean()
            assert scores["mae", f"fold {fold}"] == pytest.approx(error, rel=1e-6)
        assert not np.isnan(kept["truth"]).any()


def test_a_finished_run_is_not_run_again(pb, regression):
    assert regression("--loss", "none").exit_code == 0
    again = regression("--loss", "none")
    assert again.exit_code == 0
    assert "3 of them finished before" in again.output


def test_a_diverging_loss_is_reported_and_does_not_end_the_run(pb, files: Path):
    known = ("--task", "regression", "--data", files / "numbers.csv", "--option", "labels=strength")
    result = pb("bench", *known, *SHORT, "--lr", "1e30", "--loss", "mse", "--no-baselines", "--out", "run")
    assert result.exit_code == 0, result.output
    assert "mse, cells: 9 of 9 trainings diverged" in result.output
    assert "undefined" in result.output
    assert "No loss has a mae in all folds" in result.output
    assert "Best loss" not in result.output


def test_classes_with_noise_and_joined_targets(pb, files: Path):
    known = ("--task", "classification", "--data", files / "classes.csv", "--option", 'labels=["kind", "side"]')
    flags = (*known, *QUICK, "--loss", "ce,ldr", "--label-noise", "none,uniform:0.4", "--json")
    apart = json.loads(pb("bench", *flags, "--out", "apart").stdout)
    assert [board["split"] for board in apart["boards"]] == ["stratified", "stratified, uniform noise 0.4"]
    means = [
        next(r["mean"] for r in board["rows"] if r["model"] == "logistic" and r["metric"] == "accuracy")
        for board in apart["boards"]
    ]
    assert means[1] < means[0]
    results = read_table(pb.folder / "apart" / "results.csv")
    assert set(results["perturbation"]) == {"kind", "side"}
    joint = pb("bench", *flags, "--joint", "--out", "joint")
    assert joint.exit_code == 0, joint.output
    assert set(read_table(pb.folder / "joint" / "results.csv")["perturbation"]) == {"kind & side"}


def test_an_experiment_file_is_the_same_as_flags(pb, files: Path, regression):
    (pb.folder / "my.toml").write_text(
        f'task = "regression"\ndata = "{files / "numbers.csv"}"\nlosses = "far"\nbaselines = false\nepochs = 4\n'
        "learning-rates = 0.05\nweight-decays = 1e-4\nfolds = 3\nhidden = [6, 4]\nbatch-size = 16\n"
        '[dataset-options]\nlabels = "strength"\n[grids.far]\nalpha = [1, 2]\n'
    )
    from_file = pb("bench", "my.toml", "--dry-run", "--json").stdout
    typed = regression("--loss", "far", "--no-baselines", "--set", "far.alpha=[1, 2]", "--dry-run", "--json").stdout
    assert from_file == typed
    assert len(json.loads(typed)["settings"]["parameters"]) == 3


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--loss", "hubr"), "Did you mean huber"),
        (("--loss", "ce"), "Loss ce is not for regression"),
        (("--fold-kind", "gene"), "genes"),
        (("--label-noise", "uniform:0.3"), "needs --task classification"),
        (("--choose-by", "mea"), "Did you mean mae"),
        (("--standardise", "training"), "training-rows"),
        (("--hidden", "smal"), "small"),
        (("--model", "scgen"), "--model is not for --task"),
        (("--set", "huber.delta=1"), "huber"),
        (("--folds", "100"), "fewer"),
        (("--lr", "fast"), "not a number"),
        (("--option", "group=a"), "no option 'group'. Did you mean groups"),
    ],
)
def test_misspelt_words_are_answered(regression, flags, said):
    result = regression("--loss", "mae", *flags)
    assert result.exit_code == 2, result.output
    assert said in " ".join(result.output.split())


def test_supervised_words_need_a_task(pb):
    result = pb("bench", "--loss", "mae")
    assert result.exit_code == 2
    assert "--task" in result.output


def test_tasks_of_both_arms_are_read_back(tmp_path: Path):
    fields = {"source": {}, "split": "s", "split_parameters": {"n_folds": 3, "noise": None}, "split_hash": "h"}
    fields |= {"preprocess": {}, "model": "mae", "profile": "default", "settings": {}, "seed": 1}
    plain, supervised = Task(**fields), SupervisedTask(**fields)
    assert plain.id != supervised.id
    (tmp_path / "plan.jsonl").write_text(to_lines([plain, supervised]))
    assert read_plan(tmp_path / "plan.jsonl") == [plain, supervised]
    assert "kind" not in plain.to_dict()


def test_selection_equals_a_slow_twin():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 4, 5, 2))
    values[0, 1, 2:] = np.nan
    for one_setting in (False, True):
        for choice in select(values, ["mae", "pearson"], [False, True], one_setting=one_setting):
            place = ["mae", "pearson"].index(choice.measure)
            sign = 1 if place else -1
            runs = range(4)
            if one_setting:
                means = [np.mean([np.nanmax(sign * values[f, r, :, place]) for f in range(3)]) for r in range(4)]
                runs = [int(np.argmax(means))]
            best = (-np.inf, -1, -1)
            for r in runs:
                for e in range(5):
                    value = sign * values[choice.fold, r, e, place]
                    if not np.isnan(value) and value > best[0]:
                        best = (value, r, e + 1)
            assert (choice.run, choice.epoch) == best[1:]


def test_cut_points_make_the_classes_of_the_data():
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64):
        p = np.concatenate([rng.random(200), [0.05, 0.95, -0.2, 1.3]]).astype(dtype)
        np.testing.assert_array_equal(threshold_scores(p, (0.05, 0.95)).argmax(1), classes_of(p, (0.05, 0.95)))


def test_every_loss_has_the_same_number_of_settings():
    for task in ("regression", "classification"):
        for loss in expand_losses(("all",), task):
            assert len(parameter_settings(loss, {}, 3)) == 3
    assert parameter_settings("far", {"per_target": True}, 1)[0] == {"alpha": 0.1, "per_target": True}


def test_genes_seen_in_training_leak_their_labels(pb):
    """Expression that only says whose cell it is: labels are known on cells of seen genes, and only there."""
    screen = simulate_screen(ScreenSettings(n_genes=24, cells_per_gene=12, n_control=6, n_measured=60, signature=1.5))
    write_screen(pb.folder / "small", screen)
    flags = ("--task", "classification", "--dataset", "akana", "--data", pb.folder, "--fold-kind", "cells,genes")
    quick = (
        "--loss",
        "ce",
        "--epochs",
        12,
        "--lr",
        "0.05",
        "--weight-decay",
        "1e-4",
        "--folds",
        3,
        "--hidden",
        "32,16",
    )
    result = pb("bench", *flags, *quick, "--batch-size", 32, "--equal-budget", 1, "--json", "--out", "run")
    assert result.exit_code == 0, result.output
    rows = {(row["model"], row["metric"]): row for row in json.loads(result.stdout)["gaps"]}
    row = rows["ce", "balanced_accuracy"]
    assert row["seen_genes"] > 0.55
    assert row["unseen_genes"] < 0.45
    assert abs(rows["ce", "auroc"]["unseen_genes"] - 0.5) < 0.12


def test_a_loss_without_a_score_is_not_called_alike():
    rows = [(f"fold {fold}", model, value + fold / 10) for fold in range(1, 4) for model, value in VALUES.items()]
    results = pd.DataFrame(rows, columns=["context", "model", "value"]).assign(
        dataset="d", split="cells", perturbation="t", seed=1, metric="mae"
    )
    (board,) = compare(results, ["mean"])
    best, weak, none = words(board)
    assert best == "Best loss by mae: mae."
    assert weak == "No better than the best baseline by mae: mae."
    assert none.startswith("Without a mae to compare")
    assert none.endswith(": mse.")


VALUES = {"mae": 3.0, "mse": np.nan, "mean": 2.0}


def test_the_leak_of_standardising_all_rows_is_said_of_baselines_too(regression):
    result = regression("--loss", "none", "--standardise", "all-rows")
    assert "Features were standardised on all rows, validation and test included" in result.stderr


def test_a_narrow_terminal_shows_every_score(regression, monkeypatch: pytest.MonkeyPatch):
    wide = regression("--loss", "mae").stdout
    monkeypatch.setattr(output, "_width", 40)
    narrow = regression("--loss", "mae").stdout
    assert "…" not in narrow
    assert max(map(len, narrow.splitlines())) <= 40
    shown = re.findall(r"[0-9]\.[0-9]{3} ±[0-9]\.[0-9]{3}", narrow)
    assert len(shown) == 8
    assert set(shown) <= set(re.findall(r"[0-9]\.[0-9]{3} ±[0-9]\.[0-9]{3}", wide))


def test_boards_compare_equals_by_hand():
    rows = [
        ("fold 1", "a", 1.0), ("fold 2", "a", 2.0), ("fold 3", "a", 3.0),
        ("fold 1", "b", 1.5), ("fold 2", "b", 2.1), ("fold 3", "b", 3.9),
        ("fold 1", "mean", 2.0), ("fold 2", "mean", 2.0), ("fold 3", "mean", 2.1),
    ]  # fmt: skip
    results = pd.DataFrame(rows, columns=["context", "model", "value"]).assign(
        dataset="d", split="cells", perturbation="t", seed=1, metric="mae"
    )
    (board,) = compare(results, ["mean"])
    found = board.table.set_index("model")
    assert found.index.tolist() == ["a", "mean", "b"]
    assert found.loc["a", ["mean", "best", "beats_baselines"]].tolist() == [2.0, True, True]
    assert found.loc["b", "beats_baselines"] is False
    assert found.loc["a", "sd"] == pytest.approx(np.std([1, 2, 3]))
    assert gaps([board]) == []

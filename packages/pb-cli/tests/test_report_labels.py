"""`pb report` on a small supervised run with both kinds of folds."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from pb_cli import app
from pb_cli.board import number
from pb_cli.report.labels import _settings, boards_of
from pb_cli.report.material import read_material
from pb_cli.supervised.comparison import gaps

SHORT = ("--epochs", 3, "--weight-decay", "1e-4", "--folds", 3, "--hidden", "6,4", "--batch-size", 16, "--lr", "0.05")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(120, 3)), columns=["a", "b", "c"])
    frame["strength"] = 2 * frame["a"] - frame["b"] + 0.1 * rng.normal(size=120)
    frame["gene"] = [f"gene{i % 20}" for i in range(120)]
    frame.to_csv(folder / "numbers.csv", index=False)
    options = ("--option", "labels=strength", "--option", "groups=gene", "--fold-kind", "cells,genes")
    arguments = ["bench", "--task", "regression", "--data", folder / "numbers.csv", *options, *SHORT]
    arguments += ["--loss", "mae,far", "--out", folder / "run"]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return folder / "run"


@pytest.fixture(scope="module")
def html(finished: Path) -> str:
    result = CliRunner().invoke(app, ["report", str(finished)])
    assert result.exit_code == 0, result.output
    return (finished / "report.html").read_text(encoding="utf-8")


def test_losses_are_compared_by_kind_of_folds(html: str, finished: Path):
    boards = boards_of(read_material(finished))
    assert {board.split for board in boards} == {"cells", "genes"}
    for board in boards:
        assert f"Losses compared: folds {board.split}" in html
        for row in board.table.itertuples():
            assert number(row.mean) in html
        for metric in board.table["metric"].unique():
            assert f'aria-label="Strip plot of {metric} ' in html
    assert "Best loss by mae: " in html
    assert "No better than the best baseline by mae: " in html


def test_seen_genes_are_held_against_unseen_ones(html: str, finished: Path):
    rows = [row for row in gaps(boards_of(read_material(finished))) if row["metric"] == "mae"]
    assert len(rows) == 5
    found = re.search(r'aria-label="mae ↓ on cells of seen genes, and on unseen genes: ([^"]+)\."', html)
    assert found is not None
    told = {f"{row['model']} {number(row['seen_genes'])} and {number(row['unseen_genes'])}" for row in rows}
    assert set(found[1].split("; ")) == told


def test_another_metric_ranks_and_an_unknown_one_is_refused(finished: Path, tmp_path: Path):
    arguments = ["report", str(finished), "--format", "md", "--out", str(tmp_path / "other.md"), "--metric"]
    assert CliRunner().invoke(app, [*arguments, "spearman"]).exit_code == 0
    text = (tmp_path / "other.md").read_text(encoding="utf-8")
    assert text.count("| loss | spearman ↑ | mae ↓ |") == 2
    assert "Best loss by spearman: " in text
    assert "Best loss by mae: " not in text
    refused = CliRunner().invoke(app, [*arguments, "speerman"])
    assert refused.exit_code == 2
    assert "Did you mean spearman" in refused.output


def test_kinds_of_noise_on_the_same_folds_are_told_apart(tmp_path: Path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(60, 2)), columns=["a", "b"])
    frame["kind"] = np.where(frame["a"] > 0, "up", "down")
    frame.to_csv(tmp_path / "kinds.csv", index=False)
    known = ["--task", "classification", "--data", tmp_path / "kinds.csv", "--option", "labels=kind"]
    noise = ["--label-noise", "none,uniform:0.3", "--loss", "ce", "--no-baselines"]
    bench = ["bench", *known, *noise, *SHORT, "--out", tmp_path / "run"]
    for arguments in (bench, ["report", tmp_path / "run", "--format", "md"]):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
    text = (tmp_path / "run/report.md").read_text(encoding="utf-8")
    assert "Data kinds, folds stratified; stratified, uniform noise 0.3." in text
    assert "and the data, not the noise of labels" in text
    rows = re.findall(r"^\| stratified \| (3 folds, [^|]+) \| ([0-9a-f]{64}) \|$", text, re.MULTILINE)
    assert [held_out for held_out, _ in rows] == ["3 folds, stratified", "3 folds, stratified, uniform noise 0.3"]
    assert len({digest for _, digest in rows}) == 1


def test_costs_and_both_kinds_of_folds_are_told(html: str):
    assert "Data numbers, folds cells; genes." in html
    for head in ("fit, s", "memory, MiB", "parameters"):
        assert html.count(f">{head}<") >= 2


def test_each_target_has_its_own_rows(tmp_path: Path):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(rng.normal(size=(60, 3)), columns=["a", "b", "c"])
    frame["one"], frame["two"] = frame["a"] + 0.1 * rng.normal(size=60), rng.normal(size=60)
    frame.to_csv(tmp_path / "pair.csv", index=False)
    known = ["--task", "regression", "--data", str(tmp_path / "pair.csv"), "--option", 'labels=["one", "two"]']
    bench = ["bench", *known, "--loss", "none", "--folds", "3", "--out", str(tmp_path / "run")]
    assert CliRunner().invoke(app, bench).exit_code == 0
    report = ["report", str(tmp_path / "run"), "--format", "md"]
    assert CliRunner().invoke(app, [*report, "--out", str(tmp_path / "pair.md")]).exit_code == 0
    text = (tmp_path / "pair.md").read_text(encoding="utf-8")
    scores = pd.read_csv(tmp_path / "run" / "results.csv").query("metric == 'mae'")
    assert "Each target by itself" in text
    for (model, target), values in scores.groupby(["model", "perturbation"])["value"]:
        assert re.search(rf"\| \*?{model}\*? \| \*?{target}\*? \| {number(values.mean())} ", text)
    refused = CliRunner().invoke(app, ["eval", "compare", str(tmp_path / "run")])
    assert refused.exit_code == 1
    assert "holds scores of labels" in refused.output


def test_a_fold_without_a_choice_says_so():
    pick = {"run": -1, "parameters": "{}", "learning_rate": np.nan, "weight_decay": np.nan}
    assert _settings(SimpleNamespace(**pick)) == "none, as all trainings diverged"
    assert _settings(SimpleNamespace(**pick | {"run": 0, "learning_rate": 0.1, "weight_decay": 1e-4})) == (
        "lr 0.1, decay 0.0001"
    )


def test_what_was_chosen_and_what_folds_support_is_told(html: str, finished: Path):
    material = read_material(finished)
    assert html.count("lr 0.05, decay 0.0001") >= 4
    for kind, claim in material.claims.items():
        assert f"<dt>{kind}</dt><dd>{claim}" in html
    assert "mean absolute error of a target" in html

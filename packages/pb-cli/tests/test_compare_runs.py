"""`pb compare`, as a user types it, on two small runs."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from pb_cli import app

FLAGS = ("--context-key", "kind", "--perturbation-key", "condition", "--control", "ctrl", "--scale", "counts")
SMALL = ("--no-baselines", "--bootstrap", "0", "--no-save-models")


def bench(out: Path, data_file: Path, *more):
    arguments = ["bench", "--data", data_file, *FLAGS, *SMALL, "--out", out, *more]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="module")
def runs(data_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    bench(folder / "before", data_file, "--model", "control,mean-shift", "--n-genes", "40")
    clipped = ("--set", "mean-shift.clip=true", "--hold-out", "alpha", "--hold-out", "beta")
    bench(folder / "after", data_file, "--model", "mean-shift,linear", "--n-genes", "40", *clipped)
    return folder / "before", folder / "after"


def test_it_says_what_differs_and_what_it_did_to_the_scores(pb, runs):
    shown = pb("compare", *runs)
    assert shown.exit_code == 0, shown.output
    text = " ".join(shown.stdout.split())
    assert "asked models │ control, mean-shift │ mean-shift, linear" in text
    assert "setting of mean-shift: clip │ False │ True" in text
    assert "model linear │ │ planned" in text
    assert "tasks planned │ 8 │ 4" in text
    assert "leave-context-out, wilcoxon" in text
    assert "0 of 8 differ significantly at 0.05." in text
    assert "mean scores of a model on a unit are in the first run only." in " ".join(shown.stderr.split())


def test_json_holds_everything(pb, runs):
    found = json.loads(pb("compare", *runs, "--metric", "all", "--json").stdout)
    rows = found["splits"]["leave-context-out"]["rows"]
    assert {row["model"] for row in rows} == {"mean-shift"}
    assert {row["n_units"] for row in rows} == {2}
    assert len(rows) > 20
    assert {"what": "model control", "before": "planned", "after": ""} in found["differences"]


def test_a_run_is_equal_to_itself(pb, runs):
    shown = pb("compare", runs[0], runs[0], "--metric", "mse_mean")
    assert "The same plan, data and versions." in shown.stdout
    assert shown.stdout.count("equal") == 2


def test_what_is_wrong_is_one_sentence(pb, runs, tmp_path):
    for arguments, words in (
        ((runs[0], tmp_path), "holds no run: there is no plan.jsonl"),
        ((*runs, "--metric", "mse_men"), "The results hold no metric 'mse_men'. Did you mean mse_mean"),
    ):
        shown = pb("compare", *arguments)
        assert shown.exit_code == 2
        assert words in " ".join(shown.stderr.split())

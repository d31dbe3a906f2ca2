"""`pb eval audit`, on a small file."""

import json
from dataclasses import replace

import pandas as pd
import pytest
from pb_eval import METRICS
from pb_eval.audit import CASES

FLAGS = ("--context-key", "kind", "--perturbation-key", "condition", "--control", "ctrl", "--scale", "counts")


@pytest.fixture
def audit(pb, data_file):
    """Audit metrics on the small file, with further flags."""
    return lambda *more: pb("eval", "audit", "--data", data_file, *FLAGS, *more)


def test_a_few_metrics_are_shown_with_their_values(audit):
    done = audit("--metric", "mse_mean,r2_mean_all")
    assert done.exit_code == 0, done.output
    assert "Audit on stim in alpha" in done.stdout
    for case in CASES:
        assert done.stdout.count(f" {case.name} ") == 2
    assert "blind: scores exactly as the honest prediction does" in done.stdout


def test_many_metrics_are_shown_with_their_faults(audit):
    done = audit("--metric", "mse_mean,mae_mean,rmse_mean,r2_mean_all", "--hold-out", "beta")
    assert done.exit_code == 0, done.output
    assert "Audit on stim in beta" in done.stdout
    line = next(line for line in done.stdout.splitlines() if "r2_mean_all" in line)
    assert "rescaled" in line


def test_rows_as_data(pb, audit):
    done = audit("--metric", "mse_mean", "--json", "--out", "audit.csv")
    rows = json.loads(done.stdout)
    assert [row["case"] for row in rows] == [case.name for case in CASES]
    written = pd.read_csv(pb.folder / "audit.csv")
    assert written["verdict"].tolist() == [row["verdict"] for row in rows]
    assert f"{len(CASES)} rows written to audit.csv" in done.stderr


def test_what_the_registry_does_not_declare_fails(audit, monkeypatch):
    monkeypatch.setitem(METRICS, "r2_mean_all", replace(METRICS["r2_mean_all"], faults={}))
    done = audit("--metric", "mse_mean,r2_mean_all")
    assert done.exit_code == 1
    assert "r2_mean_all: blind rescaled, which its entry does not declare" in done.stderr
    assert "mse_mean:" not in done.stderr


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (("--metric", "mse_maen"), 2, "did you mean mse_mean"),
        (("--hold-out", "all"), 2, "--hold-out all names 4 units, expected one."),
        (("--hold-out", "omega"), 2, "omega"),
        (("--perturbation", "heat"), 2, "--perturbation 'heat' is not measured in the held-out unit; there is: stim."),
        (("--out", "audit.xlsx"), 2, "the rows of an audit are a .csv file"),
        (("--metric", "mse_mean", "--out", "nowhere/audit.csv"), 1, "nowhere"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(flags, code, words, audit):
    done = audit(*flags)
    assert done.exit_code == code
    assert words in done.stderr


def test_the_scores_of_a_benchmark_come_with_the_faults_of_its_metrics(pb, data_file):
    flags = ("--model", "control", "--no-baselines", "--hold-out", "beta", "--n-genes", 40, "--out", "run", "--quiet")
    done = pb("bench", "--data", data_file, *FLAGS, *flags)
    assert done.exit_code == 0, done.output
    assert "faults found by pb eval audit: r2_mean_all blind to" in " ".join(done.stdout.split())


def test_metrics_are_listed_with_their_faults(pb):
    listed = {
        metric["name"]: metric["faults"] for metric in json.loads(pb("ls", "metrics", "--json").stdout)["metrics"]
    }
    assert listed == {name: metric.caveat for name, metric in METRICS.items()}
    assert listed["mse_mean"] == ""
    assert "rescaled" in listed["r2_mean_all"]

"""`pb eval compare`, as a user types it, on tables of results."""

import json

import numpy as np
import pandas as pd
import pytest
from pb_eval import read_table, write_table
from pb_eval.table import RESULT_DTYPES

MODELS = {"control": 0.2, "mean-shift": 0.5, "scgen": 0.8}


def table(n_units=7, models=MODELS, metrics=("r2_mean_all", "pearson_delta")):
    rng = np.random.default_rng(0)
    rows = [
        {
            "context": f"context {unit}",
            "model": model,
            "seed": seed,
            "metric": metric,
            "value": value + rng.normal() / 50,
        }
        for unit in range(n_units)
        for model, value in models.items()
        for seed in (1, 2)
        for metric in metrics
    ]
    fixed = {"dataset": "pbmc", "split": "leave-context-out", "perturbation": "stimulated", "dose": np.nan}
    fixed |= {"metric_version": 1, "n_predicted": 9, "n_true": 9, "profile": "default", "gene_set": "all"}
    results = pd.DataFrame(rows, columns=["context", "model", "seed", "metric", "value"]).assign(
        **fixed, space="log1p", **dict.fromkeys(("low", "high", "floor", "ceiling", "scaled"), np.nan)
    )
    return results.assign(split_hash=results["context"])[list(RESULT_DTYPES)]


@pytest.fixture
def results(pb):
    write_table(table(), pb.folder / "results.csv")
    return pb.folder / "results.csv"


def test_it_ranks_tests_and_says_what_it_found(pb, results):
    shown = pb("eval", "compare", results)
    assert shown.exit_code == 0, shown.output
    assert "r2_mean_all over 7 split units" in shown.stdout
    assert "pearson_delta" not in shown.stdout
    assert "3 of 3 pairs differ significantly." in shown.stdout
    lines = [line.split("│")[1:4] for line in shown.stdout.splitlines() if line.startswith("│ ")]
    ranks = [line for line in lines if line[0].strip().isdigit()]
    assert [[cell.strip() for cell in rank] for rank in ranks] == [
        ["1", "a", "scgen"],
        ["2", "b", "mean-shift"],
        ["3", "c", "control"],
    ]


def test_a_run_folder_will_do(pb, results):
    assert pb("eval", "compare", pb.folder).stdout == pb("eval", "compare", results).stdout


def test_json_holds_everything(pb, results):
    found = json.loads(pb("eval", "compare", results, "--metric", "all", "--json").stdout)
    assert [metric["metric"] for metric in found["metrics"]] == ["r2_mean_all", "pearson_delta"]
    assert len(found["models"]) == len(found["pairs"]) == 6
    assert [row["is_baseline"] for row in found["models"][:3]] == [False, True, True]
    assert found["models"][0]["gain_low"] < found["models"][0]["gain"] < found["models"][0]["gain_high"]


def test_fewer_models_need_fewer_units(pb):
    strengths = {name: 0.1 * place for place, name in enumerate((*MODELS, "linear", "ot-map"))}
    write_table(table(models=strengths), pb.folder / "many.csv")
    many = pb("eval", "compare", "many.csv").stdout
    assert "No difference can be significant at 0.05: the smallest two-sided p-value of 7 split units is 0.016" in many
    few = pb("eval", "compare", "many.csv", "--model", "scgen,mean-shift")
    assert "1 of 1 pair differs significantly." in few.stdout


def test_other_tests_levels_and_tables(pb, results):
    write_table(read_table(results), pb.folder / "results.parquet")
    found = json.loads(
        pb("eval", "compare", "results.parquet", "--test", "sign-flip", "--level", "0.01", "--json").stdout
    )
    assert (found["test"], found["level"]) == ("sign-flip", 0.01)
    assert not any(pair["differ"] for pair in found["pairs"])


def test_results_of_models_that_nobody_knows(pb):
    write_table(table(models={"theirs": 0.4, "control": 0.2}), pb.folder / "theirs.csv")
    shown = pb("eval", "compare", "theirs.csv")
    assert shown.exit_code == 0
    assert "theirs" in shown.stdout


def test_figures_are_written_one_a_metric(pb, results):
    assert pb("eval", "compare", results, "--figure", "ranks.svg").exit_code == 0
    assert "<svg" in (pb.folder / "ranks.svg").read_text()
    assert pb("eval", "compare", results, "--metric", "all", "--figure", "ranks.png").exit_code == 0
    assert {path.name for path in pb.folder.glob("*.png")} == {"ranks-r2_mean_all.png", "ranks-pearson_delta.png"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere.csv",), "There is no nowhere.csv"),
        ((".", "--model", "scgan"), "no model 'scgan'. Did you mean scgen?"),
        ((".", "--metric", "pearson"), "the results hold no metric 'pearson': did you mean pearson_delta?"),
        ((".", "--figure", "ranks.gif"), "figures are .svg, .png, .pdf files"),
        (("note.txt",), "result tables are .csv or .parquet files"),
        (("empty.csv",), "holds no rows"),
    ],
)
def test_what_is_wrong_is_one_sentence(pb, results, arguments, words):
    (pb.folder / "note.txt").write_text("text")
    (pb.folder / "empty.csv").write_text(",".join(RESULT_DTYPES) + "\n")
    shown = pb("eval", "compare", *arguments)
    assert shown.exit_code == 1
    assert words in " ".join(shown.stderr.split())
    assert not list(pb.folder.glob("*.gif"))


def test_the_leaderboard_shows_ranks_and_intervals_of_gains(capsys):
    from pb_cli.board import board_of, comparison_of, show_board

    results = table()
    comparison = comparison_of(results)
    show_board(board_of(results), comparison)
    shown = capsys.readouterr()
    assert sum("scgen" in line and "1 a" in line for line in shown.out.splitlines()) == 1
    scgen = comparison.models.query("metric == 'r2_mean_all' and model == 'scgen'").iloc[0]
    assert f"+{scgen['gain_low']:.3f} to +{scgen['gain_high']:.3f}" in shown.out
    assert "models that share a letter do not differ" in " ".join(shown.out.split())
    assert "r2_mean_all: 3 of 3 pairs differ significantly." in shown.err
    show_board(board_of(results))
    assert "1 a" not in capsys.readouterr().out


def test_a_file_is_still_scored_without_a_verb(pb):
    (pb.folder / "compare.h5ad").write_text("text")
    assert "compare.h5ad" in pb("eval", "compare.h5ad").stderr

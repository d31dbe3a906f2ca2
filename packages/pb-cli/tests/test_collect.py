"""Merging: what is whole and belongs here, and nothing else."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from pb_cli.merging import read_tables
from pb_cli.store import RunFolder
from pb_eval import read_table
from pb_eval.table import merge_tables

FLAGS = ("--context-key", "kind", "--perturbation-key", "condition", "--control", "ctrl", "--scale", "counts")


@pytest.fixture(scope="module")
def finished(data_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from click.testing import CliRunner
    from pb_cli import app

    run = tmp_path_factory.mktemp("runs") / "finished"
    grid = ("--model", "control", "--no-baselines", "--n-genes", "40", "--hold-out", "all")
    result = CliRunner().invoke(app, ["bench", "--data", str(data_file), *FLAGS, *grid, "--out", str(run)])
    assert result.exit_code == 0, result.output
    return run


@pytest.fixture
def run(pb, finished: Path) -> Path:
    shutil.copytree(finished, pb.folder / "run")
    return pb.folder / "run"


def first_task(run: Path) -> Path:
    return min((run / "tasks").glob("*"))


def test_a_whole_run_is_merged_and_many_tables_read_as_one(run: Path, pb, finished: Path):
    (run / "results.csv").unlink()
    result = pb("collect", "run")
    assert result.exit_code == 0, result.output
    assert "4 of 4 tasks" in result.stderr
    assert (run / "results.csv").read_bytes() == (finished / "results.csv").read_bytes()
    paths = sorted(run.glob("tasks/*/metrics.csv"))
    one_by_one = merge_tables(map(read_table, paths))
    pd.testing.assert_frame_equal(merge_tables([read_tables(paths)]), one_by_one)


def test_what_is_missing_is_named(run: Path, pb):
    task = first_task(run)
    shutil.rmtree(task)
    result = pb("collect", "run")
    assert result.exit_code == 1
    assert f"({task.name})" in result.stderr
    assert "3 of 4 tasks" in result.stderr
    assert len(read_table(run / "results.csv")["context"].unique()) == 3


def cut(task: Path) -> None:
    text = (task / "metrics.csv").read_text()
    (task / "metrics.csv").write_text(text[: len(text) // 2])


def alter(task: Path) -> None:
    text = (task / "metrics.csv").read_text()
    (task / "metrics.csv").write_text(text[:-20] + text[-20:].swapcase())


def lose(task: Path) -> None:
    (task / "prediction.h5ad").unlink()


def halve(task: Path) -> None:
    (task / "task.json").write_text("{")


def swap(task: Path) -> None:
    other = max(task.parent.glob("*"))
    shutil.rmtree(task)
    shutil.copytree(other, task)


def resplit(task: Path) -> None:
    record = json.loads((task / "task.json").read_text())
    (task / "task.json").write_text(json.dumps(record | {"split_hash": "0" * 64}))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut, "metrics.csv is missing or half-written"),
        (alter, "metrics.csv was changed after it was written"),
        (lose, "prediction.h5ad is missing or half-written"),
        (halve, "task.json is missing or half-written"),
        (swap, "this is the result of task"),
        (resplit, "its split is 000000000000, planned was"),
    ],
)
def test_a_result_that_is_not_whole_or_not_ours_is_refused(run: Path, pb, damage, words: str):
    task = first_task(run)
    damage(task)
    result = pb("collect", "run")
    assert result.exit_code == 1, result.output
    assert words in result.stderr
    assert "3 of 4 tasks" in result.stderr
    assert len(read_table(run / "results.csv")["context"].unique()) == 3


def test_results_without_a_record_of_their_files_count_as_before(run: Path, pb):
    for path in run.glob("tasks/*/task.json"):
        record = json.loads(path.read_text())
        path.write_text(json.dumps({"task": record["task"], "costs": record["costs"]}))
    assert pb("collect", "run").exit_code == 0


def test_a_changed_plan_is_refused(run: Path, pb):
    with (run / "plan.jsonl").open("a") as file:
        file.write("\n")
    result = pb("collect", "run")
    assert result.exit_code == 2
    assert "was changed after planning" in result.stderr


def test_an_empty_run_gives_an_empty_table(pb, run: Path):
    shutil.rmtree(run / "tasks")
    assert RunFolder(run).collect(RunFolder(run).read()).empty

"""The verbs, as a user types them, on a small real file."""

import errno
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from pb_cli import app
from pb_cli.store import RunFolder
from pb_eval import read_prediction, read_table, write_prediction

FLAGS = ("--context-key", "kind", "--perturbation-key", "condition", "--control", "ctrl", "--scale", "counts")
MODELS = ("--model", "control,mean-shift,scgen", "--no-baselines", "--set", "scgen.max_epochs=2", "--n-genes", "40")


@pytest.fixture
def bench(pb, data_file: Path):
    """Run a small benchmark, with further flags."""
    return lambda *more: pb("bench", "--data", data_file, *FLAGS, *MODELS, "--out", "run", *more)


@pytest.fixture(scope="module")
def finished(data_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    arguments = ["bench", "--data", data_file, *FLAGS, *MODELS, "--out", folder, "--hold-out", "beta"]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def run(pb, finished: Path) -> Path:
    """A finished run in the test's own folder."""
    shutil.copytree(finished, pb.folder / "run")
    return pb.folder / "run"


def test_a_run_leaves_everything_it_promises(run: Path):
    tasks = sorted((run / "tasks").glob("*"))
    assert len(tasks) == 3
    for task in tasks:
        assert {p.name for p in task.iterdir()} == {
            "log.txt",
            "manifest.json",
            "metrics.csv",
            "model",
            "prediction.h5ad",
            "task.json",
        }
        costs = json.loads((task / "task.json").read_text())["costs"]
        assert costs["seconds"] >= costs["fit_seconds"] >= 0
        assert costs["cpu_seconds"] > 0
        assert costs["peak_memory_bytes"] > 1e7
    results = read_table(run / "results.csv")
    assert set(results["model"]) == {"control", "mean-shift", "scgen"}
    pd.testing.assert_frame_equal(results, read_table(run / "results.parquet"))
    assert set(pd.read_csv(run / "tasks.csv")["status"]) == {"done"}


def test_the_leaderboard_marks_the_best_baseline_and_shows_gains(run: Path, bench):
    result = bench("--hold-out", "beta")
    assert "Mean over 1 held-out unit" in result.stdout
    assert "Gain over each metric's best baseline" in result.stdout
    assert "*" in result.stdout.split("mean-shift")[1].splitlines()[0]


def test_the_same_command_again_does_only_what_is_missing(run: Path, bench):
    kept = {path.name: path.stat().st_mtime_ns for path in (run / "tasks").glob("*")}
    gone = min(kept)
    shutil.rmtree(run / "tasks" / gone)
    result = bench("--hold-out", "beta")
    assert "2 of them finished before" in result.stderr
    now = {path.name: path.stat().st_mtime_ns for path in (run / "tasks").glob("*")}
    assert now.keys() == kept.keys()
    assert [name for name in kept if now[name] != kept[name]] == [gone]


def test_another_plan_in_the_same_folder_is_refused(run: Path, bench):
    result = bench("--hold-out", "alpha")
    assert result.exit_code == 2
    assert "holds another plan" in result.stderr


def test_two_runs_in_one_folder_are_refused(run: Path, bench):
    with RunFolder(run).locked():
        result = bench("--hold-out", "beta")
    assert result.exit_code == 2
    assert "Another pb bench works in run" in result.stderr


def test_another_version_does_not_continue_a_run(run: Path, bench):
    record = json.loads((run / "run.json").read_text())
    record["versions"]["pb-cli"] = "0.0.1"
    (run / "run.json").write_text(json.dumps(record))
    result = bench("--hold-out", "beta")
    assert result.exit_code == 2
    assert "was made with pb 0.0.1" in result.stderr


def test_a_lost_worker_is_one_sentence_and_the_rest_is_kept(pb, data_file: Path, processes):
    """The worker of the only scgen task is killed from outside, as the kernel does when memory runs out."""
    slow = ("--set", "scgen.max_epochs=100000", "--set", "scgen.max_steps=10000000")
    command = [sys.executable, "-m", "pb_cli", "bench", "--data", data_file, *FLAGS, "--model", "control,scgen"]
    command += ["--no-baselines", *slow, "--hold-out", "beta", "--out", "run", "--jobs", "2"]
    with subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True) as process:
        try:
            while not list(pb.folder.glob("run/tasks/*")) or not (worker := busy_child(process.pid, processes)):
                assert process.poll() is None
            os.kill(worker, signal.SIGKILL)
            _, words = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 1, words
    assert "The task was killed from outside, most often for lack of memory" in words
    assert "Traceback" not in words
    assert set(read_table(pb.folder / "run" / "results.csv")["model"]) == {"control"}


def busy_child(parent: int, processes) -> int | None:
    """Find the child of a run that computes just now; a worker whose task is done waits."""
    before = {process.pid: process.seconds for process in processes() if process.parent == parent}
    time.sleep(1)
    spent = {process.pid: process.seconds - before.get(process.pid, math.inf) for process in processes()}
    busiest = max(before, key=lambda pid: spent.get(pid, 0), default=0)
    return busiest if spent.get(busiest, 0) >= 0.1 else None


def test_several_processes_give_the_same_scores(run: Path, pb, bench):
    other = bench("--hold-out", "beta", "--jobs", "2", "--out", "two")
    assert other.exit_code == 0, other.output
    assert (pb.folder / "two" / "results.csv").read_bytes() == (run / "results.csv").read_bytes()


def test_a_file_named_like_a_data_set_stays_a_users_file(pb, data_file: Path):
    shutil.copy(data_file, pb.folder / "nault.h5ad")
    result = pb("bench", "--data", "nault.h5ad", *FLAGS, "--model", "control", "--dry-run", "--json")
    [preprocess, *_] = [json.loads(line)["preprocess"] for line in result.stdout.splitlines()]
    assert preprocess["min_cells_per_gene"] == 10
    assert "TCDD" not in pb("data", "info", "--data", "nault.h5ad", *FLAGS).stdout


def test_a_leaky_preprocessing_says_so(bench):
    result = bench("--hold-out", "beta", "--model", "control", "--fit-on", "all-cells")
    assert "But it leaks" in result.stderr


def test_keys_beside_a_registered_data_set_are_refused(pb):
    result = pb("bench", "--dataset", "pbmc", "--context-key", "donor", "--dry-run")
    assert result.exit_code == 2
    assert "drop the keys" in result.stderr


def test_a_device_that_is_not_there_is_refused_before_anything_runs(pb, bench):
    assert bench("--hold-out", "beta", "--device", "gpu").exit_code == 2
    assert not (pb.folder / "run" / "plan.jsonl").exists()


def test_a_folder_that_takes_nothing_any_more_is_one_sentence(pb, bench, monkeypatch: pytest.MonkeyPatch):
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(RunFolder, "write_failure", full)
    result = bench("--hold-out", "beta", "--device", "cpu", "--set", "scgen.learning_rate=1e30")
    assert result.exit_code == 1
    assert "Error: run: No space left on device. What is finished is kept" in result.stderr
    assert isinstance(result.exception, SystemExit)


def test_json_is_data_and_messages_go_elsewhere(bench):
    result = bench("--hold-out", "0", "--json", "--quiet")
    board = json.loads(result.stdout)
    assert {row["model"] for row in board["rows"]} == {"control", "mean-shift", "scgen"}
    assert "unseen context" in board["claim"]


def test_every_context_is_held_out_in_turn(pb, bench, contexts: tuple[str, ...]):
    result = bench("--model", "control", "--dry-run", "--json", "--hold-out", "all")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert {line["split_parameters"]["held_out"] for line in lines} == set(contexts)
    assert not (pb.folder / "run").exists()


def test_a_context_with_strange_characters_is_held_out(bench, contexts: tuple[str, ...]):
    result = bench("--hold-out", contexts[2], "--hold-out", contexts[3], "--out", "run [/b] 'x'")
    assert result.exit_code == 0, result.output
    assert f"control, {contexts[2]}, seed 1" in result.stderr
    assert "run folder: run [/b] 'x'" in result.stderr


def test_a_failed_task_is_counted_and_its_traceback_kept(pb, bench):
    result = bench("--hold-out", "beta", "--set", "scgen.learning_rate=1e38")
    assert result.exit_code == 1
    assert "1 of 3 tasks failed; tracebacks: run/failed" in result.stderr
    [failure] = (pb.folder / "run" / "failed").glob("*")
    assert "DivergedError" in (failure / "traceback.txt").read_text()
    assert (failure / "log.txt").exists()
    statuses = pd.read_csv(pb.folder / "run" / "tasks.csv")["status"]
    assert sorted(statuses) == ["done", "done", "failed"]


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (("--model", "scgne"), "scgen"),
        (("--dataset", "pmbc"), "pbmc"),
        (("--hold-out", "bta"), "beta"),
        (("--preset", "quik"), "quick"),
        (("--model", "scgen", "--set", "scgen.max_epoch=1"), "max_epochs"),
        (("--seed", "one"), "--seed 1,2,3"),
        (("--mdel", "scgen"), "--model"),
    ],
)
def test_a_misspelt_name_is_a_usage_error_with_the_nearest(pb, data_file, arguments, near: str):
    data = () if "--dataset" in arguments else ("--data", data_file, *FLAGS)
    result = pb("bench", *data, *arguments)
    assert result.exit_code == 2
    assert near in result.stderr
    assert "Traceback" not in result.output


def test_an_experiment_file_gives_the_same_plan_as_flags(pb, bench, data_file: Path):
    (pb.folder / "e.toml").write_text(
        f"""data = {str(data_file)!r}
models = ["control", "mean-shift", "scgen"]
baselines = false
hold-out = "beta"
n-genes = 40
keys = {{ context = "kind", perturbation = "condition", control = "ctrl", scale = "counts" }}
settings.scgen.max_epochs = 2
"""
    )
    from_file = pb("bench", "e.toml", "--dry-run", "--json")
    assert from_file.stdout == bench("--hold-out", "beta", "--dry-run", "--json").stdout


def test_eval_prints_the_numbers_of_the_run(run: Path, pb):
    results = read_table(run / "results.csv")
    for path in (run / "tasks").glob("*/prediction.h5ad"):
        result = pb("eval", path, "--json")
        assert result.exit_code == 0, result.output
        rows = pd.DataFrame(json.loads(result.stdout))
        mine = results[(results["model"] == rows["model"][0])].set_index("metric")["value"]
        values = rows.set_index("metric")["value"]
        np.testing.assert_array_equal(values[mine.index].to_numpy(), mine.to_numpy())


def test_eval_takes_genes_in_another_order_and_refuses_what_it_cannot_compare(run: Path, pb):
    path = next((run / "tasks").glob("*/prediction.h5ad"))
    expected = pb("eval", path, "--json").stdout
    prediction, info = read_prediction(path)
    write_prediction("turned.h5ad", prediction[:, ::-1].copy(), info)
    assert pb("eval", "turned.h5ad", "--json").stdout == expected
    empty = prediction.copy()
    empty.X = np.zeros_like(empty.X)
    for few, words in (
        (empty, "all genes are zero in every predicted cell of"),
        (prediction[:1].copy(), "has 1 predicted cell and cannot be scored"),
    ):
        write_prediction("few.h5ad", few, info)
        result = pb("eval", "few.h5ad", "--out", "few.csv")
        assert result.exit_code == 1
        assert words in result.stderr
        assert not Path("few.csv").exists()
    bare = {"source": {}, "split_parameters": {}, "preprocess": {}}
    for changes, words in (({"scale": "counts"}, "holds counts"), (bare, "does not say what its truth is")):
        counts = prediction.copy()
        counts.X = np.rint(np.abs(counts.X) * 40)
        write_prediction("other.h5ad", counts if "scale" in changes else prediction, replace(info, **changes))
        result = pb("eval", "other.h5ad")
        assert result.exit_code == 1
        assert words in result.stderr


def test_eval_in_another_process_and_folder(run: Path, tmp_path_factory: pytest.TempPathFactory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    path = next((run / "tasks").glob("*/prediction.h5ad"))
    copy = elsewhere / "mine.h5ad"
    copy.write_bytes(path.read_bytes())
    code, words = another_process("eval", "mine.h5ad", "--out", "rows.csv", folder=elsewhere)
    assert code == 0, words
    expected = read_table(path.parent / "metrics.csv")
    found = read_table(elsewhere / "rows.csv")
    later = ["floor", "scaled"]  # a task does not know the baselines
    assert found["floor"].notna().any()
    pd.testing.assert_frame_equal(found.drop(columns=later), expected.drop(columns=later))


def test_eval_of_changed_data_is_refused(pb, data_file: Path):
    mine = pb.folder / "mine.h5ad"
    mine.write_bytes(data_file.read_bytes())
    result = pb("bench", "--data", mine, *FLAGS, "--model", "control", "--no-baselines", "--hold-out", "beta")
    assert result.exit_code == 0, result.output
    adata = ad.read_h5ad(mine)
    adata.X[0, 0] += 1
    adata.write_h5ad(mine)
    [prediction] = pb.folder.glob("runs/mine-full/tasks/*/prediction.h5ad")
    code, words = another_process("eval", prediction)
    assert code == 1
    assert "has changed" in words
    assert another_process("eval", prediction, "--data", data_file)[0] == 0


def another_process(*arguments: object, folder: Path | None = None) -> tuple[int, str]:
    """Run `pb` in a process of its own; give its exit code and what it said."""
    command = [sys.executable, "-m", "pb_cli", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def test_eval_refuses_another_kind_of_table_before_it_scores(run: Path, pb):
    result = pb("eval", *(run / "tasks").glob("*/prediction.h5ad"), "--out", "scores.txt")
    assert result.exit_code == 2
    assert ".csv or .parquet" in result.stderr


def test_eval_of_something_else_is_one_sentence(pb):
    (pb.folder / "letter.h5ad").write_text("Dear reader")
    for name in ("letter.h5ad", "absent.h5ad"):
        result = pb("eval", name)
        assert result.exit_code == 1
        assert len(result.stderr.strip().splitlines()) == 1


def test_a_damaged_file_is_a_data_problem_and_no_usage_error(pb):
    (pb.folder / "letter.h5ad").write_text("Dear reader")
    result = pb("data", "validate", "letter.h5ad", *FLAGS)
    assert result.exit_code == 1
    assert "cannot be read as .h5ad" in result.stderr
    assert "Usage" not in result.stderr


def test_validate_says_all_at_once(pb, data_file: Path):
    good = pb("data", "validate", data_file, *FLAGS)
    assert good.exit_code == 0
    assert "no problem found" in good.stderr
    adata = ad.read_h5ad(data_file)
    adata.X = adata.X * 1.5
    adata.var_names = ["same"] * 2 + list(adata.var_names[2:])
    adata.write_h5ad(pb.folder / "bad.h5ad")
    bad = pb("data", "validate", "bad.h5ad", *FLAGS, "--json")
    assert bad.exit_code == 1
    assert len(json.loads(bad.stdout)) >= 2


def test_validate_notes_what_is_no_problem(pb, data_file: Path):
    adata = ad.read_h5ad(data_file)
    adata[adata.obs["kind"] == "beta"].copy().write_h5ad(pb.folder / "one.h5ad")
    result = pb("data", "validate", "one.h5ad", *FLAGS)
    assert result.exit_code == 0
    assert "note: 'beta' is the only context" in result.stderr


def test_info_downloads_nothing(pb):
    result = pb("data", "info", "sciplex3", "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["file"] == "downloaded once"
    assert "cells" not in facts


def test_info_lists_many_perturbations_downwards(pb, data_file: Path):
    adata = ad.read_h5ad(data_file)
    drugs = np.array([f"drug{i}" for i in range(12)])[np.arange(adata.n_obs) % 12]
    adata.obs["condition"] = np.where(adata.obs["condition"] == "ctrl", "ctrl", drugs)
    adata.obs["dose"] = np.where(adata.obs["condition"] == "ctrl", 0.0, 0.5)
    adata.write_h5ad(pb.folder / "drugs.h5ad")
    result = pb("data", "info", "--data", "drugs.h5ad", *FLAGS, "--dose-key", "dose")
    assert "doses 0, 0.5" in result.stdout
    assert len([line for line in result.stdout.splitlines() if "│ drug" in line]) == 12


def test_a_prepared_file_needs_no_flags(pb, data_file: Path):
    prepared = pb("data", "prepare", data_file, *FLAGS, "--out", "my.h5ad")
    assert prepared.exit_code == 0, prepared.output
    assert pb("data", "prepare", data_file, *FLAGS, "--out", "my.h5ad").exit_code == 2
    result = pb("data", "info", "--data", "my.h5ad")
    assert "ctrl" in result.stdout
    assert pb("bench", "--data", "my.h5ad", "--model", "control", "--dry-run").exit_code == 0


def test_simulated_data_need_no_flags_and_are_never_overwritten(pb):
    small = ("--contexts", 2, "--cells", 5, "--controls", 10, "--genes", 60, "--responding", 5)
    made = pb("data", "simulate", "sim.h5ad", "--doses", "0.5,2", "--combinations", 1, *small)
    assert made.exit_code == 0, made.output
    assert "sim.h5ad: 100 cells x 60 genes, 18 conditions in 2 contexts." in made.stderr
    info = json.loads(pb("data", "info", "--data", "sim.h5ad", "--json").stdout)
    assert "X holds counts" in info["size"]
    assert set(info["cells"]) == {"CD14+ Monocytes", "CD4 T cells"}
    assert info["cells"]["CD4 T cells"]["drug1"] == 10
    assert pb("data", "validate", "sim.h5ad").exit_code == 0
    assert pb("bench", "--data", "sim.h5ad", "--model", "control", "--dry-run").exit_code == 0
    before = (pb.folder / "sim.h5ad").read_bytes()
    again = pb("data", "simulate", "sim.h5ad", *small)
    assert again.exit_code == 2
    assert "sim.h5ad is there already; give another name." in " ".join(again.stderr.split())
    assert (pb.folder / "sim.h5ad").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--doses", "1,two"), 2, "--doses has 'two', which is no number"),
        (("--doses", "0,1"), 2, "give different finite numbers above 0"),
        (("--cells", "400"), 2, "take 6100 real control cells of each context"),
        (("--combinations", "4"), 2, "n_combinations is 4, but there can be no more than 3"),
        (("--contexts", "9"), 2, "9 contexts and 2000 genes are asked for"),
    ],
)
def test_a_simulation_that_cannot_be_is_one_sentence(pb, arguments, code: int, words: str):
    result = pb("data", "simulate", "sim.h5ad", *arguments)
    assert result.exit_code == code
    assert words in " ".join(result.stderr.replace("\u2502", " ").split())
    assert not (pb.folder / "sim.h5ad").exists()


def test_columns_must_be_named(pb, data_file: Path):
    result = pb("bench", "--data", data_file, "--context-key", "kind")
    assert result.exit_code == 2
    assert "--perturbation-key, --control, --scale missing" in result.stderr
    (pb.folder / "letter.h5ad").write_text("Dear reader")
    assert "cannot be read as .h5ad" in pb("bench", "--data", "letter.h5ad", "--context-key", "kind").stderr


def test_a_wrong_name_in_the_table_of_keys_is_a_usage_error(pb, data_file: Path):
    keys = 'context = "kind", perturbation = "condition", control = "ctrl", scale = "counts", dos = "dose"'
    (pb.folder / "e.toml").write_text(f"data = {str(data_file)!r}\nkeys = {{ {keys} }}\n")
    result = pb("bench", "e.toml", "--dry-run")
    assert result.exit_code == 2
    assert "did you mean 'dose'" in result.stderr


def test_help_of_every_verb_has_an_example(pb):
    for verb in (
        ("bench",),
        ("eval",),
        ("ls",),
        ("data", "info"),
        ("data", "validate"),
        ("data", "prepare"),
        ("data", "simulate"),
    ):
        text = pb(*verb, "--help").stdout
        assert "Example" in text
        assert "pb " + " ".join(verb) in text


def test_a_misspelt_verb_is_answered_with_the_nearest(pb):
    result = pb("bnch")
    assert result.exit_code == 2
    assert "Did you mean bench?" in result.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["bench", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]):
    code = "import sys; from pb_cli import app; app(sys.argv[1:], standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    heavy = {"torch", "anndata", "numpy", "pandas", "scanpy", "sklearn"} & set(done.stdout.split())
    assert not heavy

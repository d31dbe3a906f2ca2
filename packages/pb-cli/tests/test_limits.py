"""Floor, ceiling and scaled score in runs and of saved predictions, and `pb eval calibrate`, on small real files."""

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from pb_cli.calibrating import control_cells
from pb_cli.experiment import Experiment
from pb_cli.floors import fit_quick, quick_baselines
from pb_cli.options import open_data
from pb_cli.planning import make_plan
from pb_cli.runner import predict, unit_of
from pb_data import Keys, write_h5ad
from pb_eval import evaluate, get_metric, read_table, scaled, split_half

FLAGS = ("--context-key", "kind", "--perturbation-key", "condition", "--control", "ctrl", "--scale", "counts")
KEYS = {"context": "kind", "perturbation": "condition", "control": "ctrl", "scale": "counts"}
QUICK = ["control", "mean-shift", "similarity-shift"]


@pytest.fixture
def bench(pb, data_file: Path):
    """Run quick baselines and the slower `linear` on one context."""
    models = ("--model", "control,mean-shift,linear", "--no-baselines", "--n-genes", "40", "--hold-out", "beta")
    return lambda *more: pb("bench", "--data", data_file, *FLAGS, *models, "--out", "run", "--quiet", *more)


@pytest.fixture
def unit(data_file: Path):
    data = open_data(None, str(data_file), KEYS, {})
    asked = Experiment(data=str(data_file), models=("control",), baselines=False, hold_out=("beta",), n_genes=40)
    [task] = make_plan(asked, data).tasks
    return unit_of(task)


def best(metric: str, values: list[float]) -> float:
    """The best of some scores, by the metric's direction."""
    declared = get_metric(metric)
    merits = {"higher": lambda v: v, "lower": lambda v: -v, "target": lambda v: -abs(v - declared.perfect)}
    return max(values, key=merits[declared.direction])


def test_a_run_knows_the_floor_and_the_ceiling_of_each_unit(bench, pb, unit):
    result = bench()
    assert result.exit_code == 0, result.output
    results = read_table(pb.folder / "run/results.csv")
    [reference] = unit.references.values()
    ceilings = split_half(reference)
    for metric, rows in results.groupby("metric"):
        values = [value for value in rows["value"] if value == value]
        assert set(rows["floor"].dropna()) == ({best(metric, values)} if values else set())
        np.testing.assert_array_equal(rows["ceiling"], ceilings[metric].value)
        goal = get_metric(metric).direction, get_metric(metric).perfect
        expected = scaled(rows["value"], rows["floor"], rows["ceiling"], *goal)
        np.testing.assert_array_equal(rows["scaled"], expected)
    floors = results[results["value"] == results["floor"]]
    assert set(floors["scaled"].dropna()) == {0.0}
    assert (results["scaled"] < 0).any()


def test_the_leaderboard_shows_the_ceiling_and_tells_scaled_scores(bench):
    shown = bench().stdout
    row = next(line for line in shown.splitlines() if "ceiling (replicate)" in line)
    board = json.loads(bench("--json").stdout)
    headline = next(entry for entry in board["metrics"] if entry["metric"] == "r2_mean_all")
    assert f"{headline['ceiling']:.3f}" in row
    best_row = max((row for row in board["rows"] if row["metric"] == "r2_mean_all"), key=lambda row: row["merit"])
    assert best_row["scaled"] == 0


def test_runs_without_baselines_have_no_floor(bench, pb):
    result = bench("--model", "scgen", "--set", "scgen.max_epochs=1", "--out", "alone")
    assert result.exit_code == 0, result.output
    task = next(path for path in (pb.folder / "alone/tasks").iterdir() if "scgen" in (path / "log.txt").read_text())
    rows = read_table(task / "metrics.csv")
    assert rows["floor"].isna().all()
    assert rows["ceiling"].notna().any()


def test_eval_fits_quick_baselines_for_the_floor(bench, pb, unit):
    bench()
    file = next(
        path.parent / "prediction.h5ad"
        for path in (pb.folder / "run/tasks").glob("*/metrics.csv")
        if read_table(path)["model"].eq("linear").all()
    )
    result = pb("eval", file, "--json")
    assert result.exit_code == 0, result.output
    assert quick_baselines("leave-context-out") == QUICK
    [(condition, reference)] = unit.references.items()
    scores = [evaluate(predict(fit_quick(name, unit), unit).predictions[condition].X, reference) for name in QUICK]
    run = read_table(file.parent / "metrics.csv").set_index("metric")
    for row in json.loads(result.stdout):
        metric, values = row["metric"], [score[row["metric"]] for score in scores]
        assert row["floor"] == pytest.approx(best(metric, values), rel=1e-9, abs=1e-12)
        assert row["ceiling"] == run["ceiling"][metric]
        goal = get_metric(metric).direction, get_metric(metric).perfect
        place = scaled(row["value"], row["floor"], row["ceiling"], *goal)
        assert (row["scaled"] is None and np.isnan(place)) or row["scaled"] == pytest.approx(float(place), abs=1e-12)
    asked = json.loads(pb("eval", file, "--json", "--metric", "euclidean,mse_mean", "--bootstrap", "0").stdout)
    assert [row["metric"] for row in asked] == ["euclidean", "mse_mean"]
    assert asked[1]["floor"] == pytest.approx(best("mse_mean", [score["mse_mean"] for score in scores]))
    assert asked[1]["ceiling"] == run["ceiling"]["mse_mean"]
    assert asked[0]["ceiling"] == split_half(reference, ["euclidean"])["euclidean"].value


def test_eval_says_what_floor_and_ceiling_are(bench, pb):
    bench()
    result = pb("eval", next((pb.folder / "run/tasks").glob("*/prediction.h5ad")))
    assert all(column in result.stdout for column in ("floor", "ceiling", "scaled"))
    assert "Floor: the best of control, mean-shift, similarity-shift, fitted now" in result.stderr
    assert "what a repeat of the measurement scores" in result.stderr
    assert "not used" not in result.stderr


def test_eval_says_which_flags_a_file_of_its_own_does_not_heed(bench, pb):
    bench()
    file = next((pb.folder / "run/tasks").glob("*/prediction.h5ad"))
    more = ("--control", "ctl.h5ad", "--max-cells", "9", "--no-limits", "--bootstrap", "0", "--metric", "mse_mean")
    result = pb("eval", file, *more)
    assert result.exit_code == 0, result.output
    assert "says itself what it is compared with: --control, --max-cells not used; --truth names" in result.stderr


def test_a_baseline_without_an_answer_gives_no_floor(bench, pb, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_arguments: object, **_options: object) -> None:
        msg = "it has not seen that"
        raise ValueError(msg)

    bench("--hold-out", "gamma; $HOME [/red]")  # a unit whose floor this process has not computed yet
    files = (pb.folder / "run/tasks").glob("*/metrics.csv")
    file = next(path.parent / "prediction.h5ad" for path in files if "beta" not in set(read_table(path)["context"]))
    monkeypatch.setattr("pb_models.baselines.MeanShift.predict", refuse)
    result = pb("eval", file, "--json")
    assert result.exit_code == 0, result.output
    assert "mean-shift gives no floor: it has not seen that" in result.stderr
    assert all(row["floor"] is not None for row in json.loads(result.stdout) if row["metric"] == "mse_mean")


@pytest.fixture
def calibrate(pb, data_file: Path):
    return lambda *more: pb("eval", "calibrate", "--data", data_file, *FLAGS, "--n-genes", "40", "--draws", "2", *more)


def test_calibrate_says_what_each_metric_can_tell(calibrate, contexts: tuple[str, ...]):
    result = calibrate("--json", "--quiet")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert {row["context"] for row in found["units"]} == set(contexts)
    assert len(found["units"]) == len(found["metrics"]) * len(contexts)
    by_metric = {row["metric"]: row for row in found["metrics"]}
    assert by_metric["edistance"]["wins"] == 1
    assert by_metric["edistance"]["separates"]
    assert 0 < by_metric["mse_mean"]["fraction"] < 1
    assert {row["negative_name"] for row in found["units"]} <= {*QUICK, ""}
    blind = [row["metric"] for row in found["metrics"] if not row["separates"]]
    assert all(any(line.startswith(f"{name} ") for line in result.stderr.splitlines()) for name in blind)
    assert json.loads(calibrate("--json", "--quiet").stdout) == found


def test_a_metric_that_cannot_separate_is_warned_about(pb, data_file: Path):
    """Where the perturbation does nothing, no metric tells a replicate from no change."""
    cells = ad.read_h5ad(data_file)
    controls = cells[cells.obs["condition"] == "ctrl"].copy()
    half = np.arange(controls.n_obs) % 2 == 0
    controls.obs["condition"] = pd.Categorical(np.where(half, "stim", "ctrl"))
    controls.write_h5ad(pb.folder / "nothing.h5ad")
    only = ("--metric", "mse_mean,pearson_delta,edistance", "--model", "control", "--n-genes", "40")
    result = pb("eval", "calibrate", "--data", "nothing.h5ad", *FLAGS, *only)
    assert result.exit_code == 0, result.output
    for name in ("mse_mean", "edistance"):
        assert f"{name} cannot tell a replicate from a baseline here" in result.stderr
    assert "about" in result.stderr
    assert "4/4" in result.stderr


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_calibrate_writes_a_row_per_unit_and_metric(calibrate, pb, suffix):
    only = ("--metric", "mse_mean,mae_mean", "--hold-out", "alpha,beta", "--model", "control,mean-shift")
    result = calibrate(*only, "--out", f"found{suffix}")
    assert result.exit_code == 0, result.output
    path = pb.folder / f"found{suffix}"
    rows = pd.read_csv(path) if suffix == ".csv" else pd.read_parquet(path)
    assert set(zip(rows["context"], rows["metric"], strict=True)) == {
        (context, metric) for context in ("alpha", "beta") for metric in ("mse_mean", "mae_mean")
    }
    assert "wins" in result.stdout
    assert "2 of 2" in result.stdout


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--metric", "mse_maen"), "did you mean 'mse_mean'"),
        (("--model", "scgen"), "scgen is no baseline"),
        (("--model", "contrl"), "Did you mean control"),
        (("--out", "found.txt"), ".csv or .parquet"),
        (("pbmc", "--dataset", "norman"), "Two data sets are named, pbmc and norman"),
        (("--hold-out", "omega"), "omega"),
    ],
)
def test_what_calibrate_does_not_understand_is_a_usage_error(calibrate, flags: tuple[str, ...], words: str):
    result = calibrate(*flags)
    assert result.exit_code == 2
    assert words.replace("'", "") in " ".join(result.stderr.split()).replace("'", "")


def test_units_too_small_are_named(pb, data_file: Path):
    cells = ad.read_h5ad(data_file)
    drop = (cells.obs["kind"] == "beta") & (cells.obs["condition"] == "stim")
    cells[~drop | (drop.cumsum() <= 3)].copy().write_h5ad(pb.folder / "small.h5ad")
    flags = ("--data", "small.h5ad", *FLAGS, "--n-genes", "40", "--metric", "mse_mean", "--model", "control", "--quiet")
    result = pb("eval", "calibrate", *flags, "--hold-out", "alpha,beta")
    assert result.exit_code == 0, result.output
    assert "left out: beta, stim" in result.stderr
    alone = pb("eval", "calibrate", *flags, "--hold-out", "beta")
    assert alone.exit_code == 1
    assert "none can be parted into halves" in alone.stderr


def test_doses_and_combinations_are_calibrated(pb, data_file: Path):
    cells = ad.read_h5ad(data_file)
    rng = np.random.default_rng(0)
    treated = (cells.obs["condition"] == "stim").to_numpy()
    cells.obs["dose"] = np.where(treated, rng.choice([1.0, 10.0], size=cells.n_obs), 0.0)
    write_h5ad(pb.folder / "dosed.h5ad", cells, Keys(**KEYS, dose="dose", control_dose=0.0))
    few = ("--n-genes", "40", "--metric", "mse_mean", "--draws", "1", "--json", "--quiet")
    found = json.loads(pb("eval", "calibrate", "--data", "dosed.h5ad", "--split", "leave-dose-out", *few).stdout)
    assert {row["dose"] for row in found["units"]} == {1.0, 10.0}
    assert {row["negative_name"] for row in found["units"]} <= set(QUICK)


def test_models_take_labelled_control_cells_for_those_of_the_unit(unit):
    [(condition, reference)] = unit.references.items()
    made = control_cells(reference.control.matrix, unit, condition)
    own = unit.inputs(condition)
    for name in QUICK:
        model = fit_quick(name, unit)
        first, second = (model.predict(cells, perturbation=condition.perturbation).X for cells in (made, own))
        np.testing.assert_array_equal(first, second)

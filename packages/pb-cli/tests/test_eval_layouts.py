"""`pb eval` on files as other tools write them: real files, a few of them in another process."""

import json
import re
import subprocess
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from pb_cli import app
from pb_eval import PredictionInfo, Reference, evaluate, fit_basis, read_table, split_half
from pb_eval.classic import CLASSIC

GENES = [f"gene{i}" for i in range(40)]
GOLDEN = Path(__file__).parent / "data" / "eval_messages.txt"


def cells(seed: int, label: str, strength: float = 1.0, n: int = 25, context: str = "B", noise: int = 0) -> ad.AnnData:
    """Draw log1p expression; perturbed cells express the first eight genes more."""
    rng = np.random.default_rng(100 * seed + noise)
    base = np.random.default_rng(seed).gamma(2.0, 1.0, len(GENES))
    factor = np.where(np.arange(len(GENES)) < 8, 1 + 3 * strength, 1.0)
    X = np.log1p(rng.poisson(base * factor, (n, len(GENES)))).astype(np.float32)
    obs = pd.DataFrame({"condition": label, "cell_type": context}, index=[f"{label}{i}" for i in range(n)])
    return ad.AnnData(X, obs=obs, var=pd.DataFrame(index=GENES))


def joined(*parts: ad.AnnData) -> ad.AnnData:
    return ad.concat(parts, index_unique="-")


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    joined(*(cells(s, label, k, context=c, noise=n)
             for s, c in enumerate("BT") for n, (label, k) in enumerate((("ctrl", 0.0), ("IFN", 1.0))))
           ).write_h5ad(tmp_path / "measured.h5ad")  # fmt: skip
    return tmp_path / "measured.h5ad"


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    folder = tmp_path / "predictions"
    folder.mkdir()
    for name, strength in (("cpa", 0.6), ("gears", 1.2)):
        parts = [cells(s, "IFN", strength, context=c, noise=9) for s, c in enumerate("BT")]
        joined(*parts).write_h5ad(folder / f"{name}.h5ad")
    return folder


@pytest.fixture
def one(tmp_path: Path) -> Path:
    parts = [
        cells(0, label, k, noise=n)
        for n, (label, k) in enumerate((("control", 0), ("imputed", 0.7), ("stimulated", 1)))
    ]
    joined(*parts).write_h5ad(tmp_path / "one.h5ad")
    return tmp_path / "one.h5ad"


def another_process(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error::FutureWarning", "-m", "pb_cli", "eval", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_one_file_in_another_process(one: Path):
    done = another_process(one, "--scale", "log1p", "--json")
    assert done.returncode == 0, done.stderr
    rows = pd.DataFrame(json.loads(done.stdout))
    assert set(rows["model"]) == {"one"}
    assert set(rows["perturbation"]) == {"stimulated"}
    adata = ad.read_h5ad(one)
    control, predicted, truth = (
        adata[adata.obs["condition"] == label].X for label in ("control", "imputed", "stimulated")
    )
    reference = Reference(truth, control, GENES, fit_basis(control), targets=["stimulated"])
    for column, matrix in (("value", predicted), ("floor", control)):
        found = rows.set_index("metric")[column].astype(float).to_dict()
        assert found == pytest.approx(evaluate(matrix, reference), rel=1e-6, abs=1e-9, nan_ok=True)
    assert set(rows.loc[rows["metric"] == "edistance", "space"]) == {"pca of control"}
    assert "In 'condition', 'imputed' is predicted, 'stimulated' measured, 'control' control." in done.stderr


def test_a_file_of_another_tool_is_scored_without_the_models(one: Path):
    command = [sys.executable, "-X", "importtime", "-m", "pb_cli", "eval", str(one), "--scale", "log1p", "--no-limits"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "pb_eval.scoring" in imported
    assert not {"torch", "ot", "pb_models", "matplotlib"} & imported


def test_two_files_in_another_process(measured: Path, predictions: Path, tmp_path: Path):
    out = tmp_path / "rows.parquet"
    done = another_process(predictions, "--truth", measured, "--scale", "log1p", "--out", out)
    assert done.returncode == 0, done.stderr
    rows = read_table(out)
    assert set(rows["model"]) == {"cpa", "gears"}
    assert set(rows["context"]) == {"B", "T"}
    assert set(rows["dataset"]) == {"measured"}
    scores = rows.set_index(["model", "context", "metric"])
    assert scores.index.is_unique
    mse = scores.loc[("cpa", "B", "mse_mean")]
    assert mse["ceiling"] < mse["floor"]
    assert mse["scaled"] == pytest.approx((mse["floor"] - mse["value"]) / (mse["floor"] - mse["ceiling"]))
    assert mse["low"] < mse["value"] < mse["high"]
    assert "cpa, B, T, seed 0, measured" in done.stdout
    assert "Floor: measured control cells in the prediction's place" in done.stderr
    bare = "r2_mean_all_resampled, r2_mean_top100_resampled, r2_mean_top20_resampled."
    assert "Intervals: 95 %, over 100 resamples of predicted and measured cells." in done.stderr
    assert f"None where a value is a mean over resamples already or cannot be resampled: {bare}" in done.stderr


def test_figures_in_another_process(measured: Path, predictions: Path, tmp_path: Path):
    figures = tmp_path / "figures"
    figures.mkdir()
    (figures / "notes.txt").write_text("mine")
    arguments = [predictions / "cpa.h5ad", "--truth", measured, "--scale", "log1p", "--figures", figures, "--no-limits"]
    done = another_process(*arguments)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (figures / "cpa").iterdir()} == {"IFN_in_B", "IFN_in_T"}
    assert (figures / "cpa" / "IFN_in_B" / "means.png").stat().st_size > 10_000
    assert (figures / "notes.txt").read_text() == "mine"
    assert not list(tmp_path.glob(".*"))
    assert "floor" not in (done.stdout + done.stderr).lower()


def test_figures_appear_with_the_table_or_not_at_all(one: Path, pb, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pb_eval.write_table", full)
    flags = ("--scale", "log1p", "--no-limits", "--bootstrap", "0", "--metric", "mse_mean")
    done = pb("eval", one, *flags, "--figures", "figures", "--out", "rows.csv")
    assert done.exit_code == 1
    assert "No space left" in done.stderr
    assert {path.name for path in pb.folder.iterdir()} <= {one.name}


def test_a_umap_needs_a_folder(one: Path, pb):
    done = pb("eval", one, "--scale", "log1p", "--umap")
    assert done.exit_code == 2
    assert "--figures DIR" in done.stderr


def test_our_own_file_against_measured_cells_of_another_file(measured: Path, predictions: Path, pb):
    adata = ad.read_h5ad(predictions / "cpa.h5ad")
    info = PredictionInfo(
        dataset="kang", split="leave-context-out", context="", model="cpa2", profile="fast", seed=7, scale="log1p",
        context_key="cell_type", perturbation_key="condition",
    )  # fmt: skip
    adata.uns["pb"] = info.to_uns()
    adata.write_h5ad("own.h5ad")
    alone = pb("eval", "own.h5ad")
    assert alone.exit_code == 1
    assert "does not say what its truth is" in alone.stderr
    assert "--truth FILE" in alone.stderr
    beside = pb("eval", "own.h5ad", "--truth", measured, "--scale", "log1p", "--json", "--no-limits")
    assert beside.exit_code == 0, beside.output
    rows = pd.DataFrame(json.loads(beside.stdout))
    assert rows[["dataset", "model", "profile", "seed"]].drop_duplicates().to_numpy().tolist() == [
        ["kang", "cpa2", "fast", 7]
    ]


def test_a_model_is_named_as_said(one: Path, predictions: Path, measured: Path, pb):
    named = pb("eval", one, "--scale", "log1p", "--json", "--no-limits", "--model-name", "my model")
    assert {row["model"] for row in json.loads(named.stdout)} == {"my model"}
    several = pb("eval", predictions, "--truth", measured, "--scale", "log1p", "--model-name", "x")
    assert several.exit_code == 2
    assert "one name for 2 files" in several.stderr


@pytest.mark.parametrize("change", [np.log1p, lambda X: X / np.log(2), lambda X: np.log1p(100 * np.expm1(X))])
def test_predictions_on_another_scale_than_the_measured_cells_are_doubted(measured: Path, pb, change):
    truth = ad.read_h5ad(measured)
    truth.X = np.log1p(1e4 * np.expm1(truth.X) / np.expm1(truth.X).sum(axis=1, keepdims=True))
    truth.write_h5ad("truth.h5ad")
    made = truth[truth.obs["condition"] == "IFN"].copy()
    made.write_h5ad("made.h5ad")
    flags = ("--truth", "truth.h5ad", "--scale", "log1p", "--no-limits", "--bootstrap", "0", "--metric", "mse_mean")
    assert "Before log1p" not in pb("eval", "made.h5ad", *flags).stderr
    made.X = change(made.X)
    made.write_h5ad("made.h5ad")
    told = [line for line in pb("eval", "made.h5ad", *flags).stderr.splitlines() if line.startswith("Before log1p")]
    share = np.expm1(made[made.obs["cell_type"] == "B"].X).sum(axis=1).mean() / 1e4
    assert len(told) == 1
    assert f"cells of 'IFN' in 'B' hold {share:.3g} times the expression" in told[0]
    assert "(2 of 2 conditions are so far apart)" in told[0]


def test_metrics_are_chosen_by_name(one: Path, pb):
    names = ["classic,wasserstein1", "--metric", "wmse_mean,classic_mmd"]
    result = pb("eval", one, "--scale", "log1p", "--bootstrap", "0", "--json", "--metric", *names)
    assert result.exit_code == 0, result.output
    rows = pd.DataFrame(json.loads(result.stdout)).set_index("metric")
    chosen = [*CLASSIC, "wasserstein1", "wmse_mean"]
    assert sorted(rows.index) == sorted(chosen)
    adata = ad.read_h5ad(one)
    control, predicted, truth = (
        adata[adata.obs["condition"] == label].X for label in ("control", "imputed", "stimulated")
    )
    reference = Reference(truth, control, GENES, fit_basis(control))
    assert rows["value"].to_dict() == pytest.approx(evaluate(predicted, reference, chosen), rel=1e-6, nan_ok=True)
    ceilings = {name: ceiling.value for name, ceiling in split_half(reference, chosen).items()}
    assert rows["ceiling"].to_dict() == pytest.approx(ceilings, rel=1e-6, nan_ok=True)
    floors = evaluate(control, reference, chosen)
    finite = [name for name, value in floors.items() if np.isfinite(value)]
    assert {"r2_mean_all_resampled", "classic_mean_pairwise", "wasserstein1"} < set(finite)
    assert rows["floor"][finite].to_dict() == pytest.approx({name: floors[name] for name in finite}, rel=1e-6)
    assert "Left out, needing training cells: wmse_mean." in result.stderr
    assert "needing other measured conditions" not in result.stderr
    misspelt = pb("eval", one, "--scale", "log1p", "--metric", "edistnace")
    assert misspelt.exit_code == 2
    assert "did you mean edistance" in misspelt.stderr


def test_a_folder_leaves_the_measured_file_out(measured: Path, predictions: Path, pb):
    moved = measured.rename(predictions / "measured.h5ad")
    result = pb("eval", predictions, "--truth", moved, "--scale", "log1p", "--json", "--no-limits")
    assert {row["model"] for row in json.loads(result.stdout)} == {"cpa", "gears"}
    below = pb("eval", predictions.parent, "--truth", moved, "--scale", "log1p", "--json", "--no-limits")
    assert below.stdout == result.stdout


def damaged(folder: Path, measured: Path, predictions: Path) -> dict[str, list[object]]:
    """Write a bad file of each kind; the arguments that score it, by name."""
    good = predictions / "cpa.h5ad"
    beside = ["--truth", measured, "--scale", "log1p"]
    (folder / "letter.h5ad").write_text("Dear reader")
    (folder / "short.h5ad").write_bytes(good.read_bytes()[:-3000])
    cases: dict[str, list[object]] = {
        "a text file": ["letter.h5ad", *beside],
        "a truncated file": ["short.h5ad", *beside],
        "no scale": [good, "--truth", measured],
        "wrong scale": [good, "--truth", measured, "--scale", "counts"],
        "a wrong column": [good, *beside, "--perturbation-key", "conditions"],
        "a wrong label": [good, *beside, "--control", "control"],
        "no truth": [good, "--scale", "log1p"],
        "an empty folder": ["nothing", *beside],
    }
    (folder / "nothing").mkdir()
    changes = {
        "other genes": lambda a: a[:, :30].copy(),
        "NaN": lambda a: with_values(a, np.nan),
        "only zeros": lambda a: with_values(a, 0.0),
        "one cell": lambda a: a[:1].copy(),
        "no measured condition": lambda a: with_label(a, "TNF"),
        "repeated genes": lambda a: with_genes(a),
    }
    for name, change in changes.items():
        path = folder / f"{name.replace(' ', '-')}.h5ad"
        change(ad.read_h5ad(good)).write_h5ad(path)
        cases[name] = [path.name, *beside]
    return cases


def with_values(adata: ad.AnnData, value: float) -> ad.AnnData:
    adata.X[:, 3:] = value
    adata.X[:, :3] *= value
    return adata


def with_label(adata: ad.AnnData, label: str) -> ad.AnnData:
    adata.obs["condition"] = label
    return adata


def with_genes(adata: ad.AnnData) -> ad.AnnData:
    adata.var_names = ["same", "same", *adata.var_names[2:]]
    return adata


def test_bad_input_is_one_sentence_and_nothing_is_written(measured: Path, predictions: Path, pb):
    lines = []
    for name, arguments in damaged(pb.folder, measured, predictions).items():
        before = set(pb.folder.rglob("*"))
        result = pb("eval", *arguments, "--out", "rows.csv", "--figures", "figures")
        assert result.exit_code == 1, (name, result.output)
        assert result.stdout == ""
        [line] = result.stderr.strip().splitlines()
        assert set(pb.folder.rglob("*")) == before
        words = re.sub(r"\(Unable.*\)", "(...)", line.replace(f"{pb.folder}/", ""))  # what HDF5 says differs
        lines.append(f"{name}: {words}")
    assert "\n".join(lines) + "\n" == GOLDEN.read_text()


def test_missing_genes_are_allowed_and_counted(measured: Path, predictions: Path, pb):
    ad.read_h5ad(predictions / "cpa.h5ad")[:, :30].copy().write_h5ad("less.h5ad")
    result = pb("eval", "less.h5ad", "--truth", measured, "--scale", "log1p", "--allow-missing-genes")
    assert result.exit_code == 0, result.output
    assert (
        "Only the 30 genes that all files have are scored; lost: 0 of 30 in less.h5ad and 10 of 40 in" in result.stderr
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "rows.txt"], ".csv or .parquet"),
        (["--out", "no/rows.csv"], "the folder no does not exist"),
        (["--control", "a", "--control", "b"], "give one label, one file, or one of each"),
        (["--scale", "log2"], "is not one of"),
        (["--max-cells", "1"], "is not in the range"),
    ],
)
def test_flags_that_cannot_be_are_a_usage_error(one: Path, pb, arguments: list[str], words: str):
    result = pb("eval", one, *arguments)
    assert result.exit_code == 2
    assert words in result.stderr


def test_many_conditions_are_summed_up(pb):
    labels = [f"drug{i}" for i in range(5)]
    truth = joined(cells(0, "ctrl", 0.0), *(cells(0, label, i / 2, noise=i + 1) for i, label in enumerate(labels)))
    truth.write_h5ad("truth.h5ad")
    joined(*(cells(0, label, i / 3, noise=i + 50) for i, label in enumerate(labels))).write_h5ad("all.h5ad")
    result = pb("eval", "all.h5ad", "--truth", "truth.h5ad", "--scale", "log1p", "--max-cells", "20")
    assert result.exit_code == 0, result.output
    assert "beats floor" in result.stdout
    assert "discrimination_l2" in result.stdout
    assert "11 of 11 groups have more than 20 cells (up to 25)" in result.stderr


def test_help_names_the_layouts():
    words = CliRunner().invoke(app, ["eval", "score", "--help"]).stdout
    for flag in ("--truth", "--control", "--group-key", "--scale", "--allow-missing-genes", "--figures", "--max-cells"):
        assert flag in words


def test_the_default_of_most_cells_is_the_librarys():
    from pb_cli.commands.eval import score
    from pb_eval.matches import MAX_CELLS

    [option] = [each for each in score.params if each.name == "max_cells"]
    assert option.default == MAX_CELLS

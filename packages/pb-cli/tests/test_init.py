"""`pb init`: the file it writes says what was found, and runs as it is."""

import tomllib
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest


def read(folder: Path, name: str = "experiment.toml") -> dict:
    return tomllib.loads((folder / name).read_text(encoding="utf-8"))


@pytest.fixture
def own(data_file: Path, tmp_path: Path):
    """A copy of the small file in a folder beside, with some columns renamed or added."""

    def make(columns: dict[str, str], **more: object) -> Path:
        cells = ad.read_h5ad(data_file)
        cells.obs = cells.obs.rename(columns=columns).assign(**more)
        (tmp_path / "data").mkdir(exist_ok=True)
        path = tmp_path / "data" / "my cells.h5ad"
        cells.write_h5ad(path)
        return path

    return make


def test_the_file_of_own_cells_runs_as_it_is(pb, own, contexts):
    path = own({"kind": "Cell Type"})
    cells = ad.read_h5ad(path)
    cells[cells.obs["Cell Type"] != contexts[0]].write_h5ad(path)
    result = pb("init", path, "--out", "mine.toml")
    assert result.exit_code == 0, result.output
    asked = read(pb.folder, "mine.toml")
    assert asked["keys"] == {
        "context": "Cell Type",
        "perturbation": "condition",
        "control": "ctrl",
        "scale": "counts",
        "control_dose": 0.0,
    }
    assert asked["data"] == "data/my cells.h5ad"
    assert (asked["split"], asked["hold-out"], asked["preset"]) == ("leave-context-out", "all", "quick")
    text = (pb.folder / "mine.toml").read_text(encoding="utf-8")
    assert all(f"#   {name}: 30 control, 30 perturbed" in text for name in contexts[1:])
    n_tasks = int(result.stderr.split(": ")[1].split(" tasks")[0])
    run = pb("bench", "mine.toml", "--out", "run", "--bootstrap", "0")
    assert run.exit_code == 0, run.output
    assert f"{n_tasks} tasks" in run.stderr
    assert "scgen" in set(pd.read_csv(pb.folder / "run" / "results.csv")["model"])


def test_a_flag_comes_before_what_is_found(pb, own):
    path = own({"kind": "cell_type"}, other=["left", "right"] * 120, batch=["one", "two"] * 120)
    assert pb("init", path, "--context-key", "other").exit_code == 0
    keys = read(pb.folder)["keys"]
    assert (keys["context"], keys["batch"]) == ("other", "batch")


def test_doses_are_found_and_listed(pb, own):
    path = own({"kind": "cell_type"}, dose=0.0)
    cells = ad.read_h5ad(path)
    perturbed = (cells.obs["condition"] == "stim").to_numpy()
    cells.obs.loc[perturbed, "dose"] = np.resize([0.5, 10.0], perturbed.sum())
    cells.write_h5ad(path)
    assert pb("init", path).exit_code == 0
    assert read(pb.folder)["keys"]["dose"] == "dose"
    text = (pb.folder / "experiment.toml").read_text(encoding="utf-8")
    assert "# Doses (dose), control is 0:\n#   0.5\n#   10\n" in text
    assert tomllib.loads(text.replace("# doses =", "doses ="))["doses"] == [0.5, 10.0]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"kind": "mystery"}, "--context-key"),
        ({"kind": "cell_type", "condition": "what"}, "--perturbation-key"),
    ],
)
def test_what_is_not_found_is_asked_for(pb, own, columns, said):
    result = pb("init", own(columns))
    assert result.exit_code == 2
    assert f"Give {said}" in result.stderr
    assert "values)" in result.stderr
    assert not (pb.folder / "experiment.toml").exists()


def test_a_column_that_is_not_there_gets_a_suggestion(pb, own):
    result = pb("init", own({"kind": "cell_type"}), "--context-key", "cell_tipe")
    assert result.exit_code == 2
    assert "Did you mean cell_type" in result.stderr


def test_a_control_label_that_is_not_usual_is_asked_for(pb, own):
    result = pb("init", own({"kind": "cell_type", "condition": "what"}), "--perturbation-key", "what")
    assert result.exit_code == 0, result.output
    path = own({"kind": "cell_type"}, condition=np.resize(["before", "after"], 240))
    result = pb("init", path, "--perturbation-key", "condition", "--force")
    assert result.exit_code == 2
    assert "Give --control, the label of control cells" in result.stderr
    assert "after, before" in result.stderr


def test_a_scale_in_doubt_is_asked_for(pb, own):
    path = own({"kind": "cell_type"})
    cells = ad.read_h5ad(path)
    cells.X = (cells.X > 3).astype(np.float32)  # whole numbers up to 1 can be either
    cells.write_h5ad(path)
    result = pb("init", path)
    assert result.exit_code == 2
    assert "Give --scale" in result.stderr
    assert pb("init", path, "--scale", "log1p").exit_code == 0


def test_data_that_are_not_as_they_should_be_are_refused(pb, own):
    path = own({"kind": "cell_type"})
    cells = ad.read_h5ad(path)
    cells.X.data[0] = np.nan
    cells.write_h5ad(path)
    result = pb("init", path, "--scale", "counts")
    assert result.exit_code == 1
    assert "NaN" in result.stderr
    assert list(pb.folder.glob(".*")) == []


def test_a_file_is_overwritten_only_by_force(pb):
    (pb.folder / "experiment.toml").write_text("mine")
    result = pb("init", "concrete")
    assert result.exit_code == 2
    assert "--force" in result.stderr
    assert (pb.folder / "experiment.toml").read_text() == "mine"
    assert pb("init", "concrete", "--force").exit_code == 0
    assert read(pb.folder)["dataset"] == "concrete"


@pytest.mark.parametrize(
    ("name", "split", "models"),
    [
        ("mcfaline", "leave-context-out", ["baselines", "scgen"]),
        ("norman", "leave-combination-out", ["baselines"]),
    ],
)
def test_registered_sets_get_a_question_they_can_answer(pb, name, split, models):
    result = pb("init", name)
    assert result.exit_code == 0, result.output
    asked = read(pb.folder)
    assert asked["dataset"] == name
    assert (asked["split"], asked["models"]) == (split, models)


@pytest.mark.parametrize(
    ("name", "task", "kind"), [("concrete", "regression", "genes"), ("letter", "classification", "stratified")]
)
def test_labelled_sets_need_no_task(pb, name, task, kind):
    result = pb("init", name)
    assert result.exit_code == 0, result.output
    asked = read(pb.folder)
    assert (asked["task"], asked["fold-kinds"]) == (task, kind)


def test_the_file_of_an_own_table_runs_as_it_is(pb):
    generator = np.random.default_rng(0)
    X = generator.normal(size=(60, 3))
    table = pd.DataFrame(X, columns=["a", "b", "c"]).assign(Target=X @ [1.0, 2.0, 0.0], d=generator.normal(size=60))
    (pb.folder / "data").mkdir()
    table.to_csv(pb.folder / "data" / "table.csv", index=False)
    refused = pb("init", "data/table.csv")
    assert refused.exit_code == 2
    assert "--task" in refused.stderr
    result = pb("init", "data/table.csv", "--task", "regression")
    assert result.exit_code == 0, result.output
    asked = read(pb.folder)
    assert asked["dataset-options"] == {"labels": "Target"}
    assert asked["data"] == "data/table.csv"
    run = pb("bench", "experiment.toml", "--out", "run", "--folds", "2")
    assert run.exit_code == 0, run.output
    assert {"far", "mae", "huber"} <= set(pd.read_csv(pb.folder / "run" / "results.csv")["model"])


def test_perturbed_cells_have_no_labels(pb):
    result = pb("init", "pbmc", "--task", "regression")
    assert result.exit_code == 2
    assert "leave --task out" in result.stderr


def test_a_name_that_is_nothing_gets_a_suggestion(pb):
    result = pb("init", "pmbc")
    assert result.exit_code == 2
    assert "Did you mean pbmc" in result.stderr

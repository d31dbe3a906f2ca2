"""One's own labelled samples, from .h5ad, .csv and .parquet."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from pb_data import DataFileError, classes_of, load_labelled_file, load_labelled_source
from scipy import sparse


@pytest.fixture
def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "height": [1.0, 2.0, 3.0, 4.0],
            "width": [4, 3, 2, 1],
            "gene": ["a", "a", "b", "b"],
            "value": [0.5, np.nan, 1.5, 2.5],
            "kind": ["x", "y", None, "x"],
            "held": [False, False, True, False],
        }
    )


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    obs = pd.DataFrame(
        {"gene": ["a", "b", "a", "c"], "level": [1, 2, 2, 1], "p": [0.1, 0.2, np.nan, 0.4]},
        index=[f"cell{n}" for n in range(4)],
    )
    obs["state"] = pd.Categorical(["on", "off", None, "on"], categories=["on", "off", "never"])
    adata = AnnData(sparse.csr_matrix(np.eye(4, 3)), obs=obs, var=pd.DataFrame(index=["u", "v", "w"]))
    adata.obsm["outcomes"] = np.arange(8.0).reshape(4, 2)
    adata.obsm["sparse"] = sparse.csr_matrix(adata.obsm["outcomes"])
    adata.write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_is_features_labels_groups_and_test_rows(table: pd.DataFrame, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"mine{suffix}"
    table.to_csv(file, index=False) if suffix == ".csv" else table.to_parquet(file)
    table = table.drop(columns="kind")
    path = tmp_path / f"values{suffix}"
    table.to_csv(path, index=False) if suffix == ".csv" else table.to_parquet(path)
    data = load_labelled_file(path, task="regression", labels="value", groups="gene", test="held", unscaled=["width"])
    assert data.features == ("height", "width")
    np.testing.assert_array_equal(data.X, [[1, 4], [2, 3], [3, 2], [4, 1]])
    np.testing.assert_array_equal(data.y, np.array([[0.5], [np.nan], [1.5], [2.5]], dtype=np.float32))
    assert data.groups.tolist() == ["a", "a", "b", "b"]
    assert data.test.tolist() == [False, False, True, False]
    assert data.unscaled.tolist() == [False, True]
    assert data.name == "values"
    again = load_labelled_source(data.source)
    np.testing.assert_array_equal(again.y, data.y)
    assert again.source == data.source


def test_classes_are_named_sorted_and_may_be_missing(table: pd.DataFrame, tmp_path: Path) -> None:
    file = tmp_path / "concrete.csv"
    table.drop(columns=["gene", "value", "held"]).to_csv(file, index=False)
    data = load_labelled_file(file, task="classification", labels=["kind", "width"])
    assert data.classes == (("x", "y"), ("1", "2", "3", "4"))
    assert data.y.tolist() == [[0, 3], [1, 2], [-1, 1], [0, 0]]
    assert data.features == ("height",)
    assert data.name == "concrete.csv"  # not the registered set


def test_cells_have_labels_in_obs_or_obsm(cells: Path) -> None:
    data = load_labelled_file(cells, task="classification", labels=("state", "level"), groups="gene")
    assert sparse.issparse(data.X)
    assert data.X.dtype == np.float32
    assert data.classes == (("off", "on"), ("1", "2"))
    assert data.y.tolist() == [[1, 0], [0, 1], [-1, 1], [1, 0]]
    assert data.features == ("u", "v", "w")
    outcomes = load_labelled_file(cells, task="regression", labels="outcomes")
    assert outcomes.targets == ("outcomes 1", "outcomes 2")
    assert outcomes.y.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert outcomes.groups is None
    same = load_labelled_file(cells, task="regression", labels="sparse")
    np.testing.assert_array_equal(same.y, outcomes.y)
    assert same.targets == ("sparse 1", "sparse 2")


def test_values_can_be_cut_into_classes(cells: Path) -> None:
    data = load_labelled_file(cells, task="classification", labels="p", thresholds=(0.15, 0.3))
    assert data.classes == (("<= 0.15", "0.15 to 0.3", ">= 0.3"),)
    assert data.y[:, 0].tolist() == [0, 1, -1, 2]
    np.testing.assert_array_equal(load_labelled_source(data.source).y, data.y)
    values = load_labelled_file(cells, task="regression", labels="p", thresholds=(0.15, 0.3))
    np.testing.assert_array_equal(classes_of(values.y, values.thresholds), data.y)
    with pytest.raises(ValueError, match="'state' does not hold finite numbers"):
        load_labelled_file(cells, task="classification", labels="state", thresholds=(0.15,))


def test_a_changed_file_is_not_the_recipes(cells: Path) -> None:
    source = load_labelled_file(cells, task="regression", labels="p").source
    with cells.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(DataFileError, match="has changed"):
        load_labelled_source(source)
    cells.unlink()
    with pytest.raises(FileNotFoundError, match=r"no file .*cells\.h5ad"):
        load_labelled_source(source)


@pytest.mark.parametrize(
    ("changes", "task", "labels", "message"),
    [
        ({}, "regression", "valu", "no column 'valu'; did you mean 'value'"),
        ({}, "regression", "value", "the columns 'gene', 'kind' are no numbers.*\\(labels, groups or test\\)"),
        ({"kind": 1, "gene": 1}, "ranking", "value", "task is 'ranking'"),
        ({"kind": 1, "gene": 1, "value": 3.0}, "regression", "value", "target 'value' is constant, 3"),
        ({"kind": "x", "gene": 1, "value": 1}, "classification", "kind", "target 'kind' has a single class, 'x'"),
        ({"kind": 1, "gene": 1, "value": np.nan}, "regression", "value", "target 'value' has no label at all"),
        ({"kind": 1, "value": 1}, "regression", "gene", "'gene' does not hold finite numbers"),
        ({"kind": 1, "gene": 1, "value": [1, 2, np.inf, 3]}, "regression", "value", "does not hold finite numbers"),
        (
            {"kind": 1, "gene": 1, "height": np.nan},
            "regression",
            "value",
            "4 values of features are missing",
        ),
    ],
)
def test_what_is_wrong_with_a_table_is_said(
    table: pd.DataFrame, tmp_path: Path, changes: dict[str, object], task: str, labels: str, message: str
) -> None:
    file = tmp_path / "mine.csv"
    table.assign(**changes).to_csv(file, index=False)
    with pytest.raises(ValueError, match=message):
        load_labelled_file(file, task=task, labels=labels)


def test_columns_with_a_role_are_checked(table: pd.DataFrame, tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    table.drop(columns="held").to_csv(file, index=False)
    with pytest.raises(DataFileError, match="1 samples have no group in 'kind'"):
        load_labelled_file(file, task="regression", labels=["value", "width"], groups="kind", test="gene")
    table.drop(columns=["held", "kind"]).to_csv(file, index=False)
    with pytest.raises(DataFileError, match="'gene' marks test rows and has to hold true or false"):
        load_labelled_file(file, task="regression", labels="value", groups="width", test="gene")
    table.drop(columns=["gene", "kind"]).to_csv(file, index=False)
    with pytest.raises(ValueError, match="no feature 'widht' to leave unscaled; did you mean 'width'"):
        load_labelled_file(file, task="regression", labels="value", unscaled=["widht"])


@pytest.mark.parametrize("name", ["mine.parquet", "mine.h5ad", "mine.csv", "mine.txt"])
def test_another_kind_of_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataFileError, match=r"cannot be read as|is none of"):
        load_labelled_file(tmp_path / name, task="regression", labels="value")


def test_cut_points_belong_to_the_outermost_classes() -> None:
    values = np.array([0, 0.05, np.nextafter(np.float32(0.05), np.float32(1)), 0.5, 0.95, 1, np.nan], dtype=np.float32)
    slow = [-1 if np.isnan(v) else 0 if v <= np.float32(0.05) else 2 if v >= np.float32(0.95) else 1 for v in values]
    assert classes_of(values, (0.05, 0.95)).tolist() == slow == [0, 0, 1, 1, 2, 2, -1]
    assert classes_of(values[:, None], (0.5,)).tolist() == [[0], [0], [0], [1], [1], [1], [-1]]
    with pytest.raises(ValueError, match="from low to high"):
        classes_of(values, (0.9, 0.1))

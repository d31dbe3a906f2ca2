"""Figures are pictures of their tables, and the tables are what the metrics say."""

import json
import sys
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread
from pb_eval import Reference, evaluate, figure_data, figures, fit_basis, gene_errors
from pb_eval.figures import draw_condition
from scipy import sparse

PICTURES = {"means.png", "shifts.png", "top_genes_dots.png", "top_genes_violins.png", "pca.png"}
TABLES = {"genes.csv", "gene_errors.csv", "top_genes.csv", "pca.csv", "scores.json"}


@pytest.fixture
def reference(unit):
    return Reference(sparse.csr_matrix(unit.truth), unit.control, unit.genes)


def test_a_condition_is_drawn_with_its_numbers(unit, reference, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    prediction = reference.cells(unit.prediction)
    draw_condition(prediction, reference, tmp_path, title="a $model: x_1")
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt"} | PICTURES | TABLES
    for name in PICTURES:
        picture = imread(tmp_path / name)
        assert min(picture.shape[:2]) > 600
        assert np.unique(picture.reshape(-1, picture.shape[2]), axis=0).shape[0] > 10
    said = json.loads((tmp_path / "scores.json").read_text())
    assert said == pytest.approx(evaluate(prediction, reference, figure_data.SCORES))
    genes = pd.read_csv(tmp_path / "genes.csv").set_index("gene").loc[unit.genes]
    np.testing.assert_allclose(genes["true_mean"], unit.truth.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(genes["predicted_shift"], unit.prediction.mean(0) - unit.control.mean(0), atol=1e-6)
    np.testing.assert_allclose(genes["error"], unit.prediction.mean(0) - unit.truth.mean(0), atol=1e-6)
    assert np.corrcoef(genes["true_mean"], genes["predicted_mean"])[0, 1] ** 2 == pytest.approx(said["r2_mean_all"])
    assert (genes["top"] == 20).sum() == min(20, len(unit.genes))
    errors = pd.read_csv(tmp_path / "gene_errors.csv")
    assert errors["gene"].tolist() == gene_errors(prediction, reference)["gene"].tolist()


def test_top_genes_are_described_group_by_group(unit, reference):
    prediction = reference.cells(unit.prediction)
    table = figure_data.top_gene_table(prediction, reference, 3)
    first = unit.genes[reference.top_genes(3)[0]]
    column = unit.genes.index(first)
    for group, cells in (("control", unit.control), ("truth", unit.truth), ("prediction", unit.prediction)):
        [row] = table[(table["gene"] == first) & (table["group"] == group)].to_dict("records")
        assert row["expressing"] == sum(value > 0 for value in cells[:, column]) / len(cells)
        assert row["mean"] == pytest.approx(sum(cells[:, column]) / len(cells))
        assert row["q50"] == pytest.approx(np.median(cells[:, column]))


def test_places_are_fitted_on_measured_cells_only(unit, reference):
    places = figure_data.embedding(reference.cells(unit.prediction), reference)
    far = figure_data.embedding(reference.cells(unit.prediction * 9 + 5), reference)
    measured = places["group"] != "prediction"
    pd.testing.assert_frame_equal(places[measured], far[measured])
    assert not np.allclose(places.loc[~measured, "x"], far.loc[~measured, "x"])
    basis = fit_basis(np.vstack([unit.control, unit.truth]), 2)
    np.testing.assert_allclose(places.loc[~measured, ["x", "y"]], basis.transform(unit.prediction), atol=1e-4)


def test_a_large_group_is_shown_by_a_draw(unit, reference, monkeypatch):
    monkeypatch.setattr(figure_data, "_CELLS", 4)
    places = figure_data.embedding(reference.cells(unit.prediction), reference)
    assert places["group"].value_counts().tolist() == [4, 4, 4]


def test_umap_is_fitted_on_measured_cells_only(unit, reference, monkeypatch, tmp_path):
    fitted = []

    class UMAP:
        def __init__(self, **settings):
            assert settings["random_state"] == 0

        def fit(self, cells):
            fitted.append(len(cells))
            self.embedding_ = cells[:, :2]
            return self

        def transform(self, cells):
            return cells[:, :2]

    module = ModuleType("umap")
    module.UMAP = UMAP
    monkeypatch.setitem(sys.modules, "umap", module)
    draw_condition(reference.cells(unit.prediction), reference, tmp_path, umap=True)
    assert fitted == [len(unit.control) + len(unit.truth)]
    assert {path.name for path in tmp_path.iterdir()} == PICTURES | TABLES | {"umap.png", "umap.csv"}


def test_little_data_are_drawn_as_far_as_they_go(tmp_path):
    reference = Reference(np.array([[1.0, 0.0], [1.0, 0.0]]), np.zeros((2, 2)), ["a", "b"])
    draw_condition(reference.cells(np.zeros((2, 2))), reference, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == (PICTURES | TABLES) - {"pca.png", "pca.csv"}
    assert json.loads((tmp_path / "scores.json").read_text())["pearson_delta"] == 0.0


def test_names_do_not_overlap():
    points = np.array([[0.0, 0.0], [0.1, 0.1], [5.0, 0.0], [5.0, 3.0]])
    assert figures._apart(points, 1.0) == [0, 2, 3]

"""Files of other tools are scored as the same cells in memory are, and bad ones are refused in one sentence."""

from contextlib import ExitStack

import anndata
import numpy as np
import pandas as pd
import pytest
from pb_eval import Reference, cellfile, evaluate, fit_basis, other_unit
from pb_eval.artefact import ArtefactError
from pb_eval.cellfile import open_cells
from pb_eval.columns import Columns
from pb_eval.conditions import Condition
from pb_eval.layouts import arrange
from pb_eval.matches import Matches
from pb_eval.matrix import moments, subsample
from pb_eval.survey import Expression, declared_scale
from scipy import sparse

GENES = [f"g{i}" for i in range(30)]
CONTEXTS = ("B", "T")
DRUGS = ("A", "g3")


def counts(rng, rates, n):
    return rng.poisson(rates, (n, len(GENES))).astype(np.float32)


@pytest.fixture(scope="module")
def drawn():
    """Counts of each context and label, measured and predicted."""
    rng = np.random.default_rng(0)
    cells = {}
    for context in CONTEXTS:
        base = rng.gamma(2.0, 1.0, len(GENES))
        for number, label in enumerate(("ctrl", *DRUGS)):
            rates = base * np.where(np.arange(len(GENES)) % 5 == number, 3.0, 1.0)
            cells[context, label] = counts(rng, rates, 12 + number), counts(rng, rates * 1.2, 9 + number)
    return cells


def write(path, parts, genes=GENES, layout=sparse.csr_matrix, seed=1, uns=None):
    """Write labelled cells in a drawn order."""
    obs = pd.DataFrame([label for label, cells in parts.items() for _ in cells], columns=["cell_type", "condition"])
    obs.index = [f"c{i}" for i in range(len(obs))]
    X = np.vstack(list(parts.values()))
    order = np.random.default_rng(seed).permutation(len(obs))
    adata = anndata.AnnData(layout(X[order]), obs=obs.iloc[order].copy(), var=pd.DataFrame(index=genes), uns=uns or {})
    adata.write_h5ad(path)
    return path


@pytest.fixture
def files(drawn, tmp_path):
    """A measured and a predicted file, log1p."""
    truth = write(tmp_path / "truth.h5ad", {key: np.log1p(cells) for key, (cells, _) in drawn.items()})
    predicted = {key: np.log1p(cells) for key, (_, cells) in drawn.items() if key[1] != "ctrl"}
    return write(tmp_path / "cpa.h5ad", predicted, layout=np.asarray, seed=2), truth


def compared(prediction, truth, scale="log1p", *, allow=False, columns=None, **settings):
    """Score every condition; scores by condition, comparisons, and notes."""
    with ExitStack() as stack:
        opened = [stack.enter_context(open_cells(path)) for path in (prediction, truth)]
        layout = arrange(opened[0], opened[1], None, columns or Columns())
        expression = Expression(opened, declared_scale(opened, scale), allow_missing=allow)
        comparisons = Matches(layout, expression, **settings)
        found = {each.condition: evaluate(each.prediction, each.reference) for each in comparisons}
        return found, comparisons.notes


def rows_of(path, context, label):
    """Cells of one label in the order of the file, dense."""
    adata = anndata.read_h5ad(path)
    chosen = adata[(adata.obs["cell_type"] == context) & (adata.obs["condition"] == label)].X
    return chosen.toarray() if sparse.issparse(chosen) else chosen


@pytest.mark.parametrize("block", [10**6, 50])
def test_scores_are_those_of_the_cells_in_memory(files, block, monkeypatch):
    monkeypatch.setattr(cellfile, "_BLOCK_VALUES", block)
    prediction, truth = files
    found, notes = compared(prediction, truth)
    assert set(found) == {Condition(context, drug, None) for context in CONTEXTS for drug in DRUGS}
    basis = fit_basis(np.vstack([rows_of(truth, context, "ctrl") for context in CONTEXTS]))
    for context in CONTEXTS:
        control = rows_of(truth, context, "ctrl")
        for drug, rival in zip(DRUGS, DRUGS[::-1], strict=True):
            reference = Reference(
                rows_of(truth, context, drug),
                control,
                GENES,
                basis,
                others={"rival": other_unit(rows_of(truth, context, rival), control, [rival])},
                targets=[drug],
            )
            expected = evaluate(rows_of(prediction, context, drug), reference)
            scored = found[Condition(context, drug, None)]
            assert scored.keys() == expected.keys()
            for name, value in expected.items():
                assert scored[name] == pytest.approx(value, rel=1e-5, abs=1e-6, nan_ok=True), name
    assert "Left out, needing training cells: wmse_mean" in " ".join(notes)


def test_counts_are_scored_as_their_log(drawn, files, tmp_path):
    def logged(cells):
        return np.log1p(cells * (1e4 / cells.sum(axis=1, keepdims=True)))

    measured = {key: cells for key, (cells, _) in drawn.items()}
    predicted = {key: cells for key, (_, cells) in drawn.items() if key[1] != "ctrl"}
    paths = [
        [write(tmp_path / f"{name}{kind}.h5ad", {k: change(v) for k, v in parts.items()}) for name, parts in
         (("p", predicted), ("t", measured))]
        for kind, change in (("counts", np.asarray), ("logs", logged))
    ]  # fmt: skip
    found, notes = compared(*paths[0], scale="counts")
    expected, _ = compared(*paths[1])
    for condition, scores in expected.items():
        for name in ("mse_mean", "pearson_delta", "gene_wasserstein", "edistance", "discrimination_l2"):
            assert found[condition][name] == pytest.approx(scores[name], rel=1e-4), name
    assert "Counts of the 30 genes are scaled to 10,000 a cell, then log1p." in notes


def test_a_large_group_keeps_its_means_and_loads_a_draw(files):
    prediction, truth = files
    with ExitStack() as stack:
        opened = [stack.enter_context(open_cells(path)) for path in (prediction, truth)]
        layout = arrange(*opened, None, Columns())
        comparisons = Matches(layout, Expression(opened, "log1p"), max_cells=5, seed=3)
        first = next(iter(comparisons))
    every = rows_of(truth, *first.condition[:2]).astype(np.float64)
    assert first.n_true == len(every)
    assert first.reference.truth.n_cells == first.prediction.n_cells == first.reference.control.n_cells == 5
    np.testing.assert_allclose(first.reference.truth.mean, every.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(first.reference.truth.moments.variance, moments(every).variance, rtol=1e-6)
    np.testing.assert_array_equal(
        first.reference.truth.matrix.toarray(),
        rows_of(truth, *first.condition[:2])[np.sort(subsample(len(every), 5, 3))],
    )
    noise = first.reference.truth.moments.variance / len(every)
    error = (first.reference.truth.mean - first.prediction.mean) ** 2
    scored = evaluate(first.prediction, first.reference, ["mse_mean", "mse_mean_corrected"])
    assert scored["mse_mean_corrected"] == pytest.approx(np.mean(error - noise))
    assert comparisons.notes[-1] == (
        "10 of 10 groups have more than 5 cells (up to 14): their means, variances and shifts are those of all cells, "
        "everything else that of 5 drawn ones (--max-cells)."
    )


def test_genes_in_another_order_are_the_same_genes(files, tmp_path):
    prediction, truth = files
    turned = anndata.read_h5ad(prediction)[:, ::-1].copy()
    turned.write_h5ad(tmp_path / "turned.h5ad")
    expected, _ = compared(prediction, truth)
    assert compared(tmp_path / "turned.h5ad", truth)[0] == expected


def test_other_genes_are_refused_unless_allowed(files, tmp_path):
    prediction, truth = files
    less = anndata.read_h5ad(prediction)[:, 4:].copy()
    less.var_names = [*less.var_names[:-1], "odd"]
    less.write_h5ad(tmp_path / "less.h5ad")
    with pytest.raises(
        ArtefactError, match=r"has 26 and .* has 30, 25 are shared \(not shared: 'odd', 'g0', 'g1' and 3"
    ):
        compared(tmp_path / "less.h5ad", truth)
    found, notes = compared(tmp_path / "less.h5ad", truth, allow=True)
    assert len(found) == 4
    [note] = [note for note in notes if "lost" in note]
    assert note.startswith("Only the 25 genes that all files have are scored; lost: 1 of 26 in ")
    less.var_names = [f"ENSG{i}" for i in range(26)]
    less.write_h5ad(tmp_path / "none.h5ad")
    with pytest.raises(ArtefactError, match="none of them shared"):
        compared(tmp_path / "none.h5ad", truth, allow=True)


def test_genes_without_expression_are_named(files, tmp_path):
    prediction, truth = (anndata.read_h5ad(path) for path in files)
    truth.X = truth.X.toarray()
    truth.X[:, 0] = 0
    prediction.X[:, [0, 1]] = 0
    truth.X[:, 2] = 0
    paths = tmp_path / "p.h5ad", tmp_path / "t.h5ad"
    for adata, path in zip((prediction, truth), paths, strict=True):
        adata.write_h5ad(path)
    notes = compared(*paths)[1]
    assert "1 of 30 genes are zero in every cell: they are kept, and agree with any prediction." in notes
    assert "1 of 30 genes are zero in every predicted cell but not in the measured ones ('g1')." in notes
    assert "1 of 30 genes are zero in every measured cell but not in the predicted ones ('g2')." in notes


@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_matrix])
def test_predictions_below_zero_are_scored_and_told(files, layout):
    prediction = anndata.read_h5ad(files[0])
    assert not [note for note in compared(*files)[1] if "go down" in note]
    prediction.X[4, 5] = -0.25
    prediction.X = layout(prediction.X)
    prediction.write_h5ad(files[0])
    assert [note for note in compared(*files)[1] if "go down" in note] == [
        "Predicted values go down to -0.25, as no log1p does: they are kept; if X was centred or scaled, undo it."
    ]


def test_one_condition_without_expression_is_refused_and_named(files):
    prediction = anndata.read_h5ad(files[0])
    condition = prediction.obs.iloc[0]
    rows = (prediction.obs == condition).all(axis=1).to_numpy()
    assert 0 < rows.sum() < len(rows)
    prediction.X[rows] = 0
    prediction.write_h5ad(files[0])
    with pytest.raises(
        ArtefactError, match=r"cpa.h5ad: all genes are zero in every predicted cell of '\w+' in '\w+': "
    ):
        compared(*files)


@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_matrix])
def test_cells_without_expression_are_counted_and_kept(files, layout):
    prediction = anndata.read_h5ad(files[0])
    expected, notes = compared(*files)
    assert not [note for note in notes if "cells are zero" in note]
    prediction.X[[0, 3]] = 0
    prediction.X = layout(prediction.X)
    prediction.write_h5ad(files[0])
    found, notes = compared(*files)
    assert "2 cells are zero in every gene: they are kept." in notes
    assert set(found) == set(expected)


def nan(X):
    X[3, 7] = np.nan


def large(X):
    X *= 100


def whole(X):
    X[:] = np.rint(X * 3)


def zero(X):
    X[:] = 0


def below(X):
    X[2, 3] = -0.5


def same(X):
    pass


@pytest.mark.parametrize(
    ("which", "change", "scale", "words"),
    [
        (0, nan, "log1p", "cpa.h5ad: X holds values that are NaN or infinite (the first for gene 'g7')"),
        (1, nan, "log1p", "truth.h5ad: X holds values that are NaN or infinite (the first for gene 'g7')"),
        (0, large, "log1p", "as no log1p can: declare counts, or log1p X"),
        (1, whole, "log1p", "truth.h5ad: The scale is declared log1p but X holds whole numbers up to"),
        (0, same, "counts", "declared counts but X holds fractions"),
        (0, below, "counts", "cpa.h5ad: The scale is declared counts but X goes down to -0.5"),
        (1, below, "log1p", "truth.h5ad: The scale is declared log1p but measured cells go down to -0.5"),
        (0, zero, "log1p", "cpa.h5ad: all genes are zero in every predicted cell"),
        (1, zero, "log1p", "truth.h5ad: all genes are zero in every cell of "),
        (0, same, None, "cpa.h5ad does not say on which scale X is, and it is not guessed"),
    ],
)
def test_values_that_cannot_be_are_one_sentence(which, change, scale, words, files):
    adata = anndata.read_h5ad(files[which])
    X = adata.X.toarray() if sparse.issparse(adata.X) else adata.X
    change(X)
    adata.X = sparse.csr_matrix(X) if which else X
    adata.write_h5ad(files[which])
    with pytest.raises(ArtefactError) as caught:
        compared(*files, scale=scale)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_declared_scale_is_believed_and_not_overruled(files):
    prediction, truth = files
    for path in files:
        adata = anndata.read_h5ad(path)
        adata.uns["pb"] = {"scale": "log1p"}
        adata.write_h5ad(path)
    assert len(compared(prediction, truth, scale=None)[0]) == 4
    with pytest.raises(ArtefactError, match="declares its scale as 'log1p', not 'counts'"):
        compared(prediction, truth, scale="counts")
    adata.uns["pb"] = {"scale": "counts"}
    adata.write_h5ad(truth)
    with pytest.raises(ArtefactError, match=r"cpa.h5ad holds log1p and .*truth.h5ad holds counts"):
        compared(prediction, truth, scale=None)


def test_without_components_distances_are_left_out(tmp_path):
    alike = np.tile(np.arange(30, dtype=np.float32) / 30, (4, 1))
    truth = write(tmp_path / "truth.h5ad", {("B", "ctrl"): alike, ("B", "A"): alike + np.eye(4, 30, dtype=np.float32)})
    prediction = write(tmp_path / "p.h5ad", {("B", "A"): alike + 1})
    found, notes = compared(prediction, truth)
    assert "edistance" not in found[Condition("B", "A", None)]
    assert any(
        note.startswith("Distances in principal components are left out: training cells are all") for note in notes
    )
    assert any(note.startswith("Left out, needing other measured conditions: discrimination_l2") for note in notes)

"""Normalisation and gene selection against scanpy, by hand, and never from held-out cells."""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import scanpy as sc
from anndata import AnnData
from pb_data import Keys, PerturbationData, Preprocessor, PreprocessSettings, filter_cells, fit_preprocessor, make_split
from scipy import sparse

SETTINGS = PreprocessSettings(n_genes=25, min_cells_per_gene=5)


def scanpy_pipeline(cells: AnnData, n_genes: int, min_cells: int) -> AnnData:
    expected = cells.copy()
    sc.pp.normalize_total(expected)
    sc.pp.log1p(expected)
    sc.pp.filter_genes(expected, min_cells=min_cells)
    sc.pp.highly_variable_genes(expected, n_top_genes=n_genes, flavor="seurat")
    return expected[:, expected.var["highly_variable"]]


@pytest.mark.parametrize("seed", range(5))
def test_equals_scanpy_on_the_same_cells(make_cells: Callable[..., AnnData], keys: Keys, seed: int) -> None:
    cells = make_cells(seed=seed)
    fitted = Preprocessor(SETTINGS).fit(cells, keys)
    expected = scanpy_pipeline(cells, 25, 5)
    assert fitted.genes == expected.var_names.tolist()
    np.testing.assert_allclose(fitted.transform(cells).X.toarray(), expected.X.toarray(), rtol=1e-6)


def test_equals_the_formula_cell_by_cell(make_cells: Callable[..., AnnData], keys: Keys) -> None:
    cells = make_cells()
    fitted = Preprocessor(PreprocessSettings(n_genes=None, min_cells_per_gene=40, target_sum=300.0)).fit(cells, keys)
    counts = cells.X.toarray()
    kept = [g for g in range(60) if sum(counts[c, g] > 0 for c in range(cells.n_obs)) >= 40]
    assert fitted.genes == [f"gene{g}" for g in kept]
    expected = [[np.log1p(row[g] * 300.0 / row.sum(dtype=float)) for g in kept] for row in counts]
    np.testing.assert_allclose(fitted.transform(cells).X.toarray(), expected, rtol=1e-6)


def test_target_sum_is_the_median_of_the_training_cells(make_cells: Callable[..., AnnData], keys: Keys) -> None:
    cells = make_cells()
    totals = np.asarray(cells.X.sum(axis=1)).ravel()
    assert Preprocessor(SETTINGS).fit(cells[:41], keys).target_sum == np.median(totals[:41])


def test_library_size_column_replaces_the_row_sums(make_cells: Callable[..., AnnData], keys: Keys) -> None:
    cells = make_cells()
    cells.obs["total"] = np.linspace(500.0, 2000.0, cells.n_obs)
    settings = PreprocessSettings(n_genes=None, min_cells_per_gene=0)
    fitted = Preprocessor(settings).fit(cells, replace(keys, library_size="total"))
    assert fitted.target_sum == np.median(cells.obs["total"])
    expected = np.log1p(cells.X.toarray() / cells.obs["total"].to_numpy()[:, None] * fitted.target_sum)
    np.testing.assert_allclose(fitted.transform(cells).X.toarray(), expected, rtol=1e-6)


def test_log1p_data_are_only_cut_to_genes(make_cells: Callable[..., AnnData], keys: Keys) -> None:
    cells = make_cells()
    logged = cells.copy()
    sc.pp.normalize_total(logged)
    sc.pp.log1p(logged)
    fitted = Preprocessor(SETTINGS).fit(logged, replace(keys, scale="log1p"))
    assert fitted.target_sum is None
    assert fitted.genes == Preprocessor(SETTINGS).fit(cells, keys).genes
    np.testing.assert_array_equal(fitted.transform(logged).X.toarray(), logged[:, fitted.genes].X.toarray())


@pytest.mark.parametrize("form", ["dense", "csc", "view", "float64", "int"])
def test_every_form_of_x_gives_the_same(make_cells: Callable[..., AnnData], keys: Keys, form: str) -> None:
    cells = make_cells()
    other = {
        "dense": lambda: AnnData(cells.X.toarray(), obs=cells.obs, var=cells.var),
        "csc": lambda: AnnData(cells.X.tocsc(), obs=cells.obs, var=cells.var),
        "view": lambda: cells[np.arange(cells.n_obs)],
        "float64": lambda: AnnData(cells.X.astype(np.float64), obs=cells.obs, var=cells.var),
        "int": lambda: AnnData(cells.X.astype(np.int32), obs=cells.obs, var=cells.var),
    }[form]()
    expected = Preprocessor(SETTINGS).fit(cells, keys)
    fitted = Preprocessor(SETTINGS).fit(other, keys)
    assert fitted.hash == expected.hash
    result = fitted.transform(other)
    assert isinstance(result.X, sparse.csr_matrix)
    assert result.X.dtype == np.float32
    assert result.X.has_sorted_indices
    np.testing.assert_array_equal(result.X.toarray(), expected.transform(cells).X.toarray())


def test_input_is_not_touched(make_cells: Callable[..., AnnData], keys: Keys) -> None:
    cells = make_cells()
    before = cells.copy()
    fitted = Preprocessor(PreprocessSettings(n_genes=None, min_cells_per_gene=0)).fit(cells, keys)
    result = fitted.transform(cells)
    result.obs["cell_type"] = "changed"
    result.X.data[:] = -1
    np.testing.assert_array_equal(cells.X.toarray(), before.X.toarray())
    assert cells.obs.equals(before.obs)
    assert list(cells.uns) == []


def test_ties_go_to_the_first_genes(make_cells: Callable[..., AnnData], keys: Keys) -> None:
    cells = make_cells()
    half = cells.X[:, :30]
    twins = AnnData(sparse.hstack([half, half], format="csr"), obs=cells.obs, var=cells.var)
    # each gene has a twin of equal dispersion: of a pair cut by an odd limit the first stays
    for n_genes in range(1, 60, 2):
        fitted = Preprocessor(PreprocessSettings(n_genes=n_genes, min_cells_per_gene=1)).fit(twins, keys)
        numbers = [int(gene.removeprefix("gene")) for gene in fitted.genes]
        assert len(numbers) == n_genes
        assert all(number - 30 in numbers for number in numbers if number >= 30)


def test_constant_genes_come_last(make_cells: Callable[..., AnnData], keys: Keys) -> None:
    cells = make_cells()
    flat = sparse.csr_matrix(np.full((cells.n_obs, 3), np.log1p(2.0), dtype=np.float32))
    X = sparse.hstack([flat, np.log1p(cells.X[:, :10])], format="csr")
    logged = AnnData(X, obs=cells.obs)
    fitted = Preprocessor(PreprocessSettings(n_genes=10, min_cells_per_gene=1)).fit(
        logged, replace(keys, scale="log1p")
    )
    assert fitted.genes == [str(number) for number in range(3, 13)]


def test_more_genes_than_there_are_keeps_those_expressed(make_cells: Callable[..., AnnData], keys: Keys) -> None:
    cells = make_cells()
    cells.X = sparse.csr_matrix(cells.X.multiply(np.arange(60) != 7))
    fitted = Preprocessor(PreprocessSettings(n_genes=7000, min_cells_per_gene=1)).fit(cells, keys)
    assert fitted.genes == [f"gene{number}" for number in range(60) if number != 7]


def test_a_cell_without_counts_stays_zero(make_cells: Callable[..., AnnData], keys: Keys) -> None:
    cells = make_cells()
    cells.X = sparse.csr_matrix(cells.X.multiply((np.arange(cells.n_obs) != 4)[:, None]))
    result = Preprocessor(SETTINGS).fit(cells, keys).transform(cells)
    assert not result.X[4].toarray().any()
    assert np.isfinite(result.X.data).all()


def test_saved_and_rebuilt(make_cells: Callable[..., AnnData], keys: Keys) -> None:
    cells = make_cells()
    fitted = Preprocessor(SETTINGS).fit(cells, keys)
    again = Preprocessor.from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert again.hash == fitted.hash
    assert again.settings == SETTINGS
    np.testing.assert_array_equal(again.transform(cells).X.toarray(), fitted.transform(cells).X.toarray())


def test_the_hash_follows_what_was_fitted(make_cells: Callable[..., AnnData], keys: Keys) -> None:
    fits = [
        Preprocessor(SETTINGS).fit(make_cells(), keys),
        Preprocessor(SETTINGS).fit(make_cells(seed=1), keys),
        Preprocessor(replace(SETTINGS, n_genes=24)).fit(make_cells(), keys),
        Preprocessor(replace(SETTINGS, fit_on="all-cells")).fit(make_cells(), keys),
    ]
    assert len({fit.hash for fit in fits}) == 4


def test_other_genes_are_refused(make_cells: Callable[..., AnnData], keys: Keys) -> None:
    cells = make_cells()
    fitted = Preprocessor(SETTINGS).fit(cells, keys)
    with pytest.raises(ValueError, match=r"the 60 genes are not those .*fitted on \(none is missing"):
        fitted.transform(cells[:, ::-1])
    with pytest.raises(ValueError, match=f"first: {fitted.genes[0]}"):
        fitted.transform(cells[:, [name != fitted.genes[0] for name in cells.var_names]])


def test_unfitted_and_unfittable_are_refused(make_cells: Callable[..., AnnData], keys: Keys) -> None:
    with pytest.raises(ValueError, match="not fitted; call fit"):
        Preprocessor().transform(make_cells())
    with pytest.raises(ValueError, match="none of 60 genes is expressed in at least 1000 of 99 training cells"):
        Preprocessor(PreprocessSettings(min_cells_per_gene=1000)).fit(make_cells(), keys)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"n_genes": 0}, "n_genes is 0"),
        ({"min_cells_per_gene": -1}, "min_cells_per_gene is -1"),
        ({"target_sum": 0.0}, "target_sum is 0.0"),
        ({"target_sum": float("nan")}, "target_sum is nan"),
        ({"fit_on": "trainig"}, "did you mean 'training'"),
    ],
)
def test_wrong_settings_say_what_to_do(setting: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PreprocessSettings(**setting)


def noisy_truth(data: PerturbationData, truth: np.ndarray) -> PerturbationData:
    noise = np.random.default_rng(7).poisson(30.0, size=(truth.size, data.adata.n_vars))
    counts = data.adata.X.tolil()
    counts[truth] = noise
    return data._replace(adata=AnnData(counts.tocsr().astype(np.float32), obs=data.adata.obs, var=data.adata.var))


@pytest.mark.parametrize("split_name", ["leave-context-out", "random"])
@pytest.mark.parametrize("controls", ["shared", "disjoint"])
@pytest.mark.parametrize("target_controls", ["train+input", "input-only"])
def test_held_out_cells_change_nothing(
    make_data: Callable[..., PerturbationData], split_name: str, controls: str, target_controls: str
) -> None:
    data = make_data()
    options = {"held_out": "B", "controls": controls, "target_controls": target_controls}
    split = make_split(split_name, data, **options)
    noisy = noisy_truth(data, split.truth)
    assert make_split(split_name, noisy, **options).hash == split.hash
    fitted, refitted = (fit_preprocessor(d.adata, d.keys, split, SETTINGS) for d in (data, noisy))
    assert refitted.to_dict() == fitted.to_dict()
    training, _ = split.training(data.adata)
    retraining, _ = split.training(noisy.adata)
    assert fitted.transform(training).X.toarray().tobytes() == refitted.transform(retraining).X.toarray().tobytes()


def test_the_leaky_variant_does_see_them(make_data: Callable[..., PerturbationData]) -> None:
    data = make_data()
    split = make_split("leave-context-out", data, held_out="B")
    settings = replace(SETTINGS, fit_on="all-cells")
    noisy = noisy_truth(data, split.truth)
    fitted, refitted = (fit_preprocessor(d.adata, d.keys, split, settings) for d in (data, noisy))
    assert refitted.target_sum != fitted.target_sum
    assert refitted.genes != fitted.genes


def test_filter_cells_is_a_rule_per_cell(make_cells: Callable[..., AnnData]) -> None:
    cells = make_cells()
    counts = cells.X.toarray()
    kept = [i for i in range(cells.n_obs) if counts[i].sum() >= 150 and (counts[i] > 0).sum() >= 38]
    assert 0 < len(kept) < cells.n_obs
    for form in (cells, AnnData(counts, obs=cells.obs)):
        result = filter_cells(form, min_counts=150, min_genes=38)
        assert result.obs_names.tolist() == cells.obs_names[kept].tolist()
        assert result.is_view
    with pytest.raises(ValueError, match=r"^min_counts=10, min_genes=61 drop all 99 cells; lower them$"):
        filter_cells(cells, min_counts=10, min_genes=61)

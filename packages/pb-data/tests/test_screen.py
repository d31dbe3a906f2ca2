"""Screens: prepared from cells and a table, and simulated with a known truth."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from pb_data import (
    DataFileError,
    LabelledData,
    SchemaError,
    Screen,
    ScreenSettings,
    fit_standardiser,
    load_labelled,
    make_folds,
    prepare_screen,
    simulate_screen,
    write_screen,
)
from pb_data.labelled.screen_simulation import draw_outcomes
from scipy import sparse


@pytest.fixture
def cells() -> AnnData:
    rng = np.random.default_rng(0)
    obs = pd.DataFrame(
        {"gene": [*"AAAABBBBCC", "NTC", "NTC"], "grown": ["alone", "with T cells"] * 6},
        index=[f"cell{n}" for n in range(12)],
    )
    counts = sparse.csr_matrix(rng.poisson(3.0, size=(12, 4)).astype(np.float32))
    return AnnData(counts, obs=obs, var=pd.DataFrame(index=[f"m{n}" for n in range(4)]))


@pytest.fixture
def screen() -> pd.DataFrame:
    return pd.DataFrame(
        {"gene": ["A", "B", "C", "D"], "neg.p.value": [0.01, 0.5, np.nan, 0.2], "pos.p.value": [0.9, 0.4, 1.0, 0.1]}
    )


def test_cells_and_screen_are_joined(cells: AnnData, screen: pd.DataFrame, tmp_path: Path) -> None:
    joined = prepare_screen(
        cells,
        screen,
        target_key="gene",
        scale="counts",
        co_culture=("grown", "with T cells"),
        held_out=["B", "NTC"],
        test_fraction=0.34,
        seed=1,
    )
    files = write_screen(tmp_path / "mine", joined)
    assert [file.name for file in files] == ["mine_tpm.npz", "mine_labels_and_extras.npz"]
    data = load_labelled("akana", task="regression", path=tmp_path)
    counts = cells.X.toarray().astype(float)
    np.testing.assert_allclose(
        data.X[:, 1:].toarray(), np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True)), rtol=1e-6
    )
    assert data.X[:, 0].toarray()[:, 0].tolist() == [0, 1] * 6
    assert data.features == ("co-culture", "m0", "m1", "m2", "m3")
    assert data.groups.tolist() == cells.obs["gene"].tolist()
    outcome = {"A": (0.01, 0.9), "B": (0.5, 0.4), "C": (np.nan, 1.0), "NTC": (np.nan, np.nan)}
    np.testing.assert_array_equal(data.y, np.array([outcome[g] for g in data.groups], dtype=np.float32))
    held = np.isin(data.groups.astype(str), ["B", "NTC"])
    assert data.test[held].all()
    assert data.test[~held].sum() == 2


def test_the_same_input_gives_the_same_bytes(cells: AnnData, screen: pd.DataFrame, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_screen(tmp_path / name, prepare_screen(cells, screen, target_key="gene", scale="counts"))
    for suffix in ("_tpm.npz", "_labels_and_extras.npz"):
        assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()


def test_no_object_array_is_written(cells: AnnData, screen: pd.DataFrame, tmp_path: Path) -> None:
    joined = prepare_screen(cells, screen, target_key="gene", scale="counts")
    with np.load(write_screen(tmp_path / "mine", joined)[1], allow_pickle=False) as content:
        kinds = {name: content[name].dtype.kind for name in content.files}
    assert kinds == {"Y": "f", "genes": "U", "features": "U", "tr_ids": "i", "te_ids": "i"}


def test_log_expression_is_taken_as_it_is(cells: AnnData, screen: pd.DataFrame) -> None:
    logged = cells.copy()
    logged.X = sparse.csr_matrix(np.log1p(cells.X.toarray()) * 0.7)
    joined = prepare_screen(logged, screen, target_key="gene", scale="log1p", test_fraction=0)
    np.testing.assert_allclose(joined.expression.toarray(), logged.X.toarray(), rtol=1e-6)
    assert not joined.test.any()
    assert not joined.co_culture.any()
    with pytest.raises(SchemaError):
        prepare_screen(logged, screen, target_key="gene", scale="counts")


def test_files_are_never_overwritten_and_nothing_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = simulate_screen(ScreenSettings(n_genes=3, cells_per_gene=2, n_measured=20))
    write_screen(tmp_path / "sim", drawn)
    with pytest.raises(FileExistsError, match=r"sim_tpm\.npz is there already"):
        write_screen(tmp_path / "sim", drawn)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        write_screen(tmp_path / "nowhere" / "sim", drawn)
    before = sorted(tmp_path.iterdir())

    def fail(*_arguments: object, **_members: object) -> None:
        raise OSError

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError):
        write_screen(tmp_path / "other", drawn)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target_key": "gen"}, "no obs column 'gen'; did you mean 'gene'"),
        ({"columns": ("gene", "neg", "pos.p.value")}, "the screen has no column 'neg'.*it has 'gene', 'neg.p.value'"),
        ({"co_culture": ("grown", "with B cells")}, "no cell has 'with B cells'.*did you mean 'with T cells'"),
        ({"held_out": ["NCT"]}, "no cell has the held-out target 'NCT'; did you mean 'NTC'"),
        ({"held_out": ["A", "B", "C", "NTC"]}, "all targets are held out"),
        ({"test_fraction": 1.0}, "the test fraction is 1.0"),
    ],
)
def test_wrong_names_are_said(cells: AnnData, screen: pd.DataFrame, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prepare_screen(cells, screen, **{"target_key": "gene", "scale": "counts", **changes})


def test_wrong_content_is_said(cells: AnnData, screen: pd.DataFrame) -> None:
    def prepare(adata: AnnData, table: pd.DataFrame) -> Screen:
        return prepare_screen(adata, table, target_key="gene", scale="counts")

    with pytest.raises(DataFileError, match="several rows for 'A'"):
        prepare(cells, pd.concat([screen, screen[:1]]))
    with pytest.raises(DataFileError, match=r"'neg\.p\.value' does not hold p-values"):
        prepare(cells, screen.assign(**{"neg.p.value": [0.1, 0.2, 1.3, 0.4]}))
    with pytest.raises(DataFileError, match=r"'pos\.p\.value' does not hold p-values"):
        prepare(cells, screen.assign(**{"pos.p.value": list("abcd")}))
    with pytest.raises(DataFileError, match=r"none of the 4 targets.*name genes alike in both"):
        prepare(cells, screen.assign(gene=list("abcd")))
    unnamed = cells.copy()
    unnamed.obs.loc["cell3", "gene"] = None
    with pytest.raises(DataFileError, match="1 cells have no value in obs column 'gene'"):
        prepare(unnamed, screen)
    broken = cells.copy()
    broken.X.data[3] = np.nan
    with pytest.raises(DataFileError, match="NaN or infinite"):
        prepare(broken, screen)


def ridge_correlations(data: LabelledData, kind: str, *, penalty: float = 1000.0) -> float:
    """Mean correlation, over folds and targets, of ridge predictions with the labels of validation cells."""
    found = []
    X = data.X.toarray()
    for train, validation in make_folds(kind, data).folds:
        Z = fit_standardiser(data, train).transform(X).astype(float)
        y = data.y[train] - data.y[train].mean(axis=0)
        weights = np.linalg.solve(Z[train].T @ Z[train] + penalty * np.eye(Z.shape[1]), Z[train].T @ y)
        predicted = Z[validation] @ weights
        found += [np.corrcoef(predicted[:, t], data.y[validation, t])[0, 1] for t in range(2)]
    return float(np.mean(found))


def simulated(folder: Path, **settings: float) -> LabelledData:
    write_screen(folder / "sim", simulate_screen(ScreenSettings(**settings)))
    return load_labelled("akana", task="regression", path=folder)


def test_folds_over_cells_leak_what_folds_over_genes_do_not(tmp_path: Path) -> None:
    """Expression says nothing of the outcome but whose cell it is."""
    scores: dict[str, list[float]] = {"cells-unshuffled": [], "cells": [], "stratified": [], "genes": []}
    for seed in range(4):
        folder = tmp_path / str(seed)
        folder.mkdir()
        data = simulated(folder, seed=seed)
        for kind, values in scores.items():
            values.append(ridge_correlations(data, kind))
    assert min(scores["cells-unshuffled"] + scores["cells"] + scores["stratified"]) > 0.65
    assert abs(np.mean(scores["genes"])) < 0.15
    assert max(scores["genes"]) < 0.3


def test_folds_over_genes_find_a_true_signal(tmp_path: Path) -> None:
    data = simulated(tmp_path, signal=0.3)
    assert ridge_correlations(data, "genes") > 0.7
    assert ridge_correlations(data, "genes") < ridge_correlations(data, "cells")


def test_the_claims_say_which_folds_leak(tmp_path: Path) -> None:
    data = simulated(tmp_path)
    assert "100 % of those validated on are of a gene that trains" in make_folds("cells", data).claim
    assert "to recognise the gene is to know them" in make_folds("cells-unshuffled", data).claim
    assert make_folds("genes", data).claim.startswith("unseen genes")


def test_outcomes_are_extreme_as_often_as_asked_for() -> None:
    settings = ScreenSettings(n_genes=40, extremes=0.3)
    outcomes = draw_outcomes(settings, np.random.default_rng(0))
    assert ((outcomes.p_values <= 0.05).sum(axis=0) == 12).all()
    assert ((outcomes.p_values >= 0.95).sum(axis=0) == 12).all()
    for z, p in zip(outcomes.normal.T, outcomes.p_values.T, strict=True):
        np.testing.assert_array_equal(z.argsort(), p.argsort())


def test_simulated_counts_have_the_means_of_their_formula() -> None:
    """Mean counts over many cells of one gene follow exp(signature), share for share."""
    drawn = simulate_screen(
        ScreenSettings(n_genes=2, cells_per_gene=4000, n_control=4000, n_measured=12, n_signature=2, depth=20000)
    )
    shares = np.expm1(drawn.expression.toarray().astype(float)) / 1e4
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-4)
    means = {gene: shares[drawn.genes == gene].mean(axis=0) for gene in ("G1", "G2", "NTC")}
    for gene in ("G1", "G2"):
        ratio = means[gene] / means["NTC"]
        usual = np.median(ratio)  # ten of the twelve share the renormalisation alone
        assert (np.abs(ratio / usual - 1) < 0.02).sum() == 10


def test_the_seed_decides_and_settings_are_checked() -> None:
    small = {"n_genes": 3, "cells_per_gene": 2, "n_measured": 20}
    one, two, other = (simulate_screen(ScreenSettings(seed=seed, **small)) for seed in (0, 0, 1))
    assert (one.expression != two.expression).nnz == 0
    assert (one.expression != other.expression).nnz > 0
    with pytest.raises(ValueError, match="n_genes is 1; give a number from 2"):
        ScreenSettings(n_genes=1)
    with pytest.raises(ValueError, match=r"extremes is 0\.6; give a number from 0 to 0.5"):
        ScreenSettings(extremes=0.6)

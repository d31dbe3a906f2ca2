"""Simulated data: exact responses, counts whose means converge to the known truth, and files that load."""

import hashlib
import json
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData
from hypothesis import given, settings
from hypothesis import strategies as st
from pb_data import check, load, load_h5ad, make_split, split_units, write_h5ad
from pb_data.dose_response import draw_responses, hill_factor
from pb_data.responding_counts import GeneRates, change_counts, gene_rates, respond
from pb_data.simulate import Simulation, SimulationSettings, noiseless_mean, simulate
from scipy import sparse

cached_load = cache(load)
SMALL = SimulationSettings(n_contexts=2, n_cells=20, n_controls=40, n_genes=150, n_responding=25)


@pytest.fixture(autouse=True)
def pbmc_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pb_data.datasets.registry.load", cached_load)


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate(SMALL)


@pytest.mark.parametrize(("fold", "efficacy"), [(5.0, 1.0), (8.0, 0.5), (0.25, 0.8), (1.0, 0.7)])
@pytest.mark.parametrize("exponent", [0.7, 1.0, 2.5])
def test_hill_values(fold: float, efficacy: float, exponent: float) -> None:
    response = {"fold": fold, "efficacy": efficacy, "ec50": 3.0, "exponent": exponent}
    assert hill_factor(0.0, **response) == 1
    assert hill_factor(3.0, **response) == pytest.approx(1 + (fold - 1) * efficacy / 2, rel=1e-12)
    assert hill_factor(1e9, **response) == pytest.approx(1 + (fold - 1) * efficacy, rel=1e-5)
    by_hand = 1 + (fold - 1) * efficacy * 7.0**exponent / (7.0**exponent + 3.0**exponent)
    assert hill_factor(7.0, **response) == pytest.approx(by_hand, rel=1e-12)
    values = [float(hill_factor(dose, **response)) for dose in (0.0, 0.1, 1.0, 10.0, 100.0)]
    assert all((after - before) * (fold - 1) >= 0 for before, after in pairwise(values))


def test_rates_by_loops() -> None:
    rng = np.random.default_rng(0)
    counts = rng.negative_binomial(1, 0.3, (40, 6)) * rng.integers(1, 4, (40, 1))
    counts[:, 5] = 0
    rates = gene_rates(sparse.csr_matrix(counts.astype(np.float32)))
    totals = [sum(row) for row in counts]
    size = [total / (sum(totals) / 40) for total in totals]
    for gene in range(6):
        mean = sum(counts[:, gene]) / 40
        excess = max(0.0, sum((counts[cell, gene] - size[cell] * mean) ** 2 for cell in range(40)) / 40 - mean)
        assert rates.mean[gene] == pytest.approx(mean, rel=1e-12)
        assert rates.spread[gene] == pytest.approx(excess / (excess + mean) if mean else 0, rel=1e-9)
    assert rates.size == pytest.approx(size, rel=1e-12)


def test_responding_counts_are_counts_and_a_factor_of_one_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    counts = rng.poisson(2.0, (30, 4))
    rates = gene_rates(sparse.csr_matrix(counts.astype(float)))
    factor = np.array([0.3, 1.0, 4.0, 0.0])
    changed = respond(counts, factor, rates, rng)
    assert changed.dtype == np.int64
    assert (changed[:, 0] <= counts[:, 0]).all()
    np.testing.assert_array_equal(changed[:, 1], counts[:, 1])
    assert (changed[:, 2] >= counts[:, 2]).all()
    assert not changed[:, 3].any()


@pytest.mark.parametrize("factor", [0.3, 4.0])
@pytest.mark.parametrize("shape", [0.5, 3.0])
def test_gamma_poisson_counts_stay_gamma_poisson(factor: float, shape: float) -> None:
    rng, n, mean = np.random.default_rng(1), 400_000, 2.0
    counts = rng.poisson(rng.gamma(shape, mean / shape, (n, 1)))
    rates = GeneRates(np.array([mean]), np.ones(n), np.array([mean / (mean + shape)]))
    changed = respond(counts, np.array([factor]), rates, rng)[:, 0]
    new = factor * mean
    # mean, variance and part of zeros of a gamma-Poisson of that mean and the same shape, within five standard errors
    variance = new + new**2 / shape
    fourth = ((changed - new) ** 4.0).mean()
    assert changed.mean() == pytest.approx(new, abs=5 * np.sqrt(variance / n))
    assert changed.var() == pytest.approx(variance, abs=5 * np.sqrt((fourth - variance**2) / n))
    zeros = (shape / (shape + new)) ** shape
    assert (changed == 0).mean() == pytest.approx(zeros, abs=5 * np.sqrt(zeros * (1 - zeros) / n))


def test_the_mean_of_changed_counts_is_the_factor_times_the_mean_whatever_the_counts() -> None:
    rng = np.random.default_rng(2)
    cells = sparse.csr_matrix(
        (rng.integers(0, 2, (60, 5)) * rng.integers(1, 30, (60, 5)) * rng.integers(1, 6, (60, 1))).astype(np.float32)
    )
    rates, factor, n = gene_rates(cells), np.array([0.2, 0.8, 1.0, 1.5, 6.0]), 800
    drawn = np.stack([change_counts(cells, factor, rates, rng).toarray().mean(axis=0) for _ in range(n)])
    error = drawn.std(axis=0) / np.sqrt(n)
    assert (np.abs(drawn.mean(axis=0) - factor * rates.mean) <= 5 * error + 1e-4 * rates.mean).all()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), data=st.data())
def test_unchanged_genes_keep_their_counts(seed: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    cells = sparse.csr_matrix(rng.poisson(0.8, (7, 9)).astype(np.float32))
    factor = np.array(data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=9, max_size=9)))
    changed = change_counts(cells, factor, gene_rates(cells), rng)
    np.testing.assert_array_equal(changed[:, factor == 1].toarray(), cells[:, factor == 1].toarray())
    assert (changed.data > 0).all()
    assert (changed.data == np.round(changed.data)).all()
    assert changed.has_sorted_indices


def test_every_condition_has_its_cells(simulation: Simulation) -> None:
    adata, keys = simulation
    check(adata, keys)
    sizes = adata.obs.groupby(["cell_type", "perturbation", "dose"], observed=True).size()
    labels = ["drug1", "drug2", "drug3", *adata.uns["simulation"]["interactions"]]
    expected = {(c, "control", 0.0): 40 for c in ("CD14+ Monocytes", "CD4 T cells")}
    expected |= {(c, name, d): 20 for c in ("CD14+ Monocytes", "CD4 T cells") for name in labels for d in SMALL.doses}
    assert sizes.to_dict() == expected
    assert len(adata.uns["simulation"]["conditions"]) == adata.varm["expected_counts"].shape[1] == len(expected)


def test_no_real_cell_is_used_twice_and_controls_are_real(simulation: Simulation) -> None:
    adata, keys = simulation
    real = cached_load("pbmc").adata
    assert adata.obs["source_cell"].is_unique
    source = real[adata.obs["source_cell"]]
    assert (source.obs["condition"] == "control").all()
    assert (source.obs["cell_type"].astype(str).to_numpy() == adata.obs["cell_type"].astype(str).to_numpy()).all()
    control = keys.is_control(adata.obs)
    np.testing.assert_array_equal(adata.X[control].toarray(), source[control, adata.var_names].X.toarray())
    assert (adata.X[~control] != source[~control, adata.var_names].X).nnz > 1000


def test_the_control_profile_is_the_mean_of_all_real_controls(simulation: Simulation) -> None:
    adata, _ = simulation
    real = cached_load("pbmc").adata
    for context in ("CD14+ Monocytes", "CD4 T cells"):
        chosen = (real.obs["cell_type"] == context) & (real.obs["condition"] == "control")
        mean = real[chosen.to_numpy(), adata.var_names].X.toarray().astype(np.float64).mean(axis=0)
        control = noiseless_mean(adata, context, "control", 0.0)
        np.testing.assert_allclose(control, mean, rtol=1e-9)
        np.testing.assert_array_equal(noiseless_mean(adata, context, "drug1", 0.0), control)


def test_expected_counts_follow_from_the_stored_parameters(simulation: Simulation) -> None:
    adata, _ = simulation
    truth = adata.uns["simulation"]
    responses = truth["responses"].set_index(["context", "perturbation"])
    hill = json.loads(truth["settings"])["hill"]
    for context, label, dose in truth["conditions"].itertuples(index=False):
        control = noiseless_mean(adata, context, "control", 0.0)
        expected = control.copy()
        if label != "control":
            log_factor = 0.0
            for part in label.split("+"):
                ec50, efficacy = responses.loc[(context, part), ["ec50", "efficacy"]]
                fold = adata.varm["fold"][part].to_numpy()
                log_factor += np.log(1 + (fold - 1) * efficacy * dose**hill / (dose**hill + ec50**hill))
            expected *= np.exp((1 + truth["interactions"].get(label, 0.0)) * log_factor)
        np.testing.assert_allclose(noiseless_mean(adata, context, label, dose), expected, rtol=1e-9)


def test_pairs_add_their_log_factors_unless_they_interact(simulation: Simulation) -> None:
    adata, _ = simulation
    strengths = adata.uns["simulation"]["interactions"]
    assert sorted(strengths.values()) == [0.0, 0.5]
    for label, strength in strengths.items():
        control = noiseless_mean(adata, "CD4 T cells", "control", 0.0)
        pair, *singles = (
            np.log(noiseless_mean(adata, "CD4 T cells", name, 10.0) / control) for name in (label, *label.split("+"))
        )
        assert np.abs(sum(singles)).max() > 1
        np.testing.assert_allclose(pair, (1 + strength) * sum(singles), atol=1e-9)


def test_contexts_differ_in_potency_and_efficacy_and_share_folds() -> None:
    truth = draw_responses(SimulationSettings(n_perturbations=4, n_responding=30, n_genes=200, seed=3), 5)
    assert truth.ec50.shape == truth.efficacy.shape == (5, 4)
    assert np.unique(truth.ec50).size == np.unique(truth.efficacy).size == 20
    assert ((truth.efficacy >= 0.5) & (truth.efficacy <= 1)).all()
    assert (np.abs(np.log10(truth.ec50)) <= 1).all()  # the middle of 0.1, 1 and 10 is 1
    assert ((truth.fold != 1).sum(axis=1) == 30).all()
    size = np.abs(np.log2(truth.fold[truth.fold != 1]))
    assert size.min() >= 1
    assert size.max() <= 3
    assert (truth.fold > 1).any()
    assert (truth.fold < 1).any()


def largest_error(control: sparse.csr_matrix, factor: np.ndarray, n: int) -> np.ndarray:
    """Bound the standard error of the mean of n changed cells, (genes,), from the real cells' variance.

    Below 1 a mean's variance is (f^2 V + f (1 - f) m) / n. Above 1, y = x + Poisson((f - 1) r), where r has the mean q
    and, given the cell, the variance w q; the standard deviation of q is at most that of w x plus that of (1 - w) s m.
    """
    rates, X = gene_rates(control), control.toarray().astype(np.float64)
    m, w, above = rates.mean, rates.spread, np.maximum(factor - 1, 0)
    sd = X.std(axis=0)
    thinned = factor**2 * sd**2 + factor * (1 - factor) * m
    added = (sd + above * (w * sd + (1 - w) * m * rates.size.std())) ** 2 + above**2 * w * m + above * m
    return np.sqrt(np.where(factor < 1, thinned, added) / n)


def test_means_converge_to_the_truth() -> None:
    chosen = SimulationSettings(
        n_contexts=1, doses=(1.0, 10.0), n_perturbations=2, n_combinations=1, n_cells=150, n_genes=60, n_responding=20
    )
    conditions = [("control", 0.0, 100), ("drug1", 1.0, 150), ("drug2", 10.0, 150), ("drug1+drug2", 10.0, 150)]
    real = cached_load("pbmc").adata
    pool = real[((real.obs["cell_type"] == "CD4 T cells") & (real.obs["condition"] == "control")).to_numpy()]
    scores = np.empty((12, len(conditions), 60))
    for seed in range(12):
        adata, _ = simulate(replace(chosen, seed=seed))
        counts = pool[:, adata.var_names].X
        control = noiseless_mean(adata, "CD4 T cells", "control", 0.0)
        for row, (label, dose, n) in enumerate(conditions):
            cells = ((adata.obs["perturbation"] == label) & (adata.obs["dose"] == dose)).to_numpy()
            assert cells.sum() == n
            expected = noiseless_mean(adata, "CD4 T cells", label, dose)
            difference = adata[cells].X.toarray().astype(np.float64).mean(axis=0) - expected
            scores[seed, row] = difference / largest_error(counts, expected / control, n)
    assert np.abs(scores.sum(axis=0) / np.sqrt(12)).max() < 4.5
    assert 0.8 < scores.std() < 1.05
    assert np.abs(scores.mean(axis=(0, 2))).max() < 0.15


def test_the_seed_decides_the_file(tmp_path: Path) -> None:
    hashes = []
    for number, seed in enumerate((1, 1, 2)):
        adata, keys = simulate(replace(SMALL, seed=seed))
        write_h5ad(tmp_path / f"{number}.h5ad", adata, keys)
        hashes.append(hashlib.sha256((tmp_path / f"{number}.h5ad").read_bytes()).hexdigest())
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_written_file_loads_splits_and_keeps_its_truth(simulation: Simulation, tmp_path: Path) -> None:
    adata, keys = simulation
    write_h5ad(tmp_path / "simulated.h5ad", adata, keys)
    data = load_h5ad(tmp_path / "simulated.h5ad")
    assert data.keys == keys
    np.testing.assert_array_equal(
        noiseless_mean(data.adata, "CD4 T cells", "drug2", 1.0), noiseless_mean(adata, "CD4 T cells", "drug2", 1.0)
    )
    assert split_units("leave-dose-out", data) == ["0.1", "1", "10"]
    assert split_units("leave-perturbation-out", data) == ["drug1", "drug2", "drug3"]
    assert split_units("leave-combination-out", data) == sorted(adata.uns["simulation"]["interactions"])
    split = make_split("leave-dose-out", data, held_out="1")
    assert "interpolation: 0.1 and 10 were seen" in split.claim
    assert split.truth.size == 2 * 5 * 20


def test_the_truth_follows_a_choice_of_genes_and_an_order_of_parts(simulation: Simulation) -> None:
    adata, _ = simulation
    label = next(iter(adata.uns["simulation"]["interactions"]))
    turned = "+".join(reversed(label.split("+")))
    chosen = adata[:, ::-7].copy()
    np.testing.assert_array_equal(
        noiseless_mean(chosen, "CD4 T cells", turned, 1.0), noiseless_mean(adata, "CD4 T cells", label, 1.0)[::-7]
    )


def test_what_was_not_simulated_is_answered_with_the_nearest(simulation: Simulation) -> None:
    adata, _ = simulation
    with pytest.raises(
        ValueError, match=r"'drug9 at 1 in CD4 T cells' was not simulated; did you mean 'drug\d at 1 in"
    ):
        noiseless_mean(adata, "CD4 T cells", "drug9", 1.0)
    with pytest.raises(ValueError, match="was not simulated"):
        noiseless_mean(adata, "B cells", "drug1", 1.0)
    with pytest.raises(ValueError, match="the data hold no known truth"):
        noiseless_mean(AnnData(np.ones((2, 2))), "B cells", "drug1", 1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_cells": 1}, "n_cells is 1; give at least 2"),
        ({"n_contexts": 0}, "n_contexts is 0; give at least 1"),
        ({"n_combinations": 4}, "n_combinations is 4, but there can be no more than 3 of them here"),
        ({"n_interacting": 3}, "n_interacting is 3, but there can be no more than 2"),
        ({"n_responding": 3000}, "n_responding is 3000, but there can be no more than 2000"),
        ({"doses": (0.0, 1.0)}, "doses are .*; give different finite numbers above 0"),
        ({"doses": (1.0, 1.0)}, "give different finite numbers above 0"),
        ({"doses": (1.0, float("inf"))}, "give different finite numbers above 0"),
        ({"doses": ()}, "give different finite numbers above 0"),
        ({"hill": 0.0}, "hill is 0.0"),
        ({"max_log2_fold": float("nan")}, "max_log2_fold is nan; give at least 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SimulationSettings(), **change)


def test_more_than_the_real_cells_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"100 controls and 15 groups of 200 .* take 3100 .*, and 'B cells' has 593; ask"
    ):
        simulate(SimulationSettings(n_cells=200))
    with pytest.raises(
        ValueError, match="8 contexts and 2000 genes are asked for, but the embedded cells have 7 and 14053"
    ):
        simulate(SimulationSettings(n_contexts=8))


def test_no_combinations_are_no_problem(tmp_path: Path) -> None:
    adata, keys = simulate(replace(SMALL, n_combinations=0))
    write_h5ad(tmp_path / "singles.h5ad", adata, keys)
    data = load_h5ad(tmp_path / "singles.h5ad")
    assert dict(data.adata.uns["simulation"]["interactions"]) == {}
    with pytest.raises(ValueError, match="no perturbation of 'singles' is a combination"):
        split_units("leave-combination-out", data)

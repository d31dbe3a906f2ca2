"""The ridge over perturbation covariates: its closed forms against plain refits, and laws it has to find."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from pb_data.keys import Keys
from pb_models import create, load_model
from pb_models.pca_shifts import PENALTIES
from pb_models.perturbation_ridge import Design, gene_loadings, press, smoother

KEYS = Keys(context="line", perturbation="gene", control="ctrl", scale="log1p", separator="+")


def cells(control, shifts, genes):
    """Two cells a group around exact means, one context."""
    groups = {"ctrl": np.zeros(len(control))} | shifts
    noise = np.random.default_rng(7).normal(size=len(control)) / 10
    X = np.concatenate([[control + shift + noise, control + shift - noise] for shift in groups.values()])
    labels = [label for label in groups for _ in range(2)]
    obs = pd.DataFrame({"line": "K", "gene": labels}, index=[f"c{i}" for i in range(len(labels))])
    return AnnData(X=X.astype(np.float32), obs=obs, var=pd.DataFrame(index=genes))


def shift(model, train, perturbation):
    control = train[(train.obs["gene"] == "ctrl").to_numpy()].copy()
    return (model.predict(control, perturbation=perturbation).X - control.X).mean(axis=0)


def fitted(train, **settings):
    return create("ridge-perturbation", **settings).fit(train, keys=KEYS)


def linear_law(n_genes=40, rank=3, seed=0):
    """Shifts of every gene's perturbation that are linear in its loadings, all profiles spanned by the same axes."""
    rng = np.random.default_rng(seed)
    axes = rng.normal(size=(n_genes, rank))
    axes -= axes.mean(axis=0)
    control = 6 + axes @ rng.normal(size=rank)
    law = rng.normal(size=(rank, rank))
    mean = axes @ rng.normal(size=rank)
    genes = [f"g{j}" for j in range(n_genes)]
    return control, {gene: mean + axes @ law @ axes[j] for j, gene in enumerate(genes)}, genes


def random_design(seed, n_parts=6, k=2, pairs=4):
    """Singles and pairs, the loadings of a pair being the sum of its parts'."""
    rng = np.random.default_rng(seed)
    every = list(combinations(range(n_parts), 2))
    chosen = [every[i] for i in rng.choice(len(every), pairs, replace=False)]
    labels = [(j,) for j in range(n_parts)] + chosen
    loadings = rng.normal(size=(n_parts, k))
    multi_hot = np.array([[float(j in label) for j in range(n_parts)] for label in labels])
    shared = np.column_stack([multi_hot.sum(axis=1), multi_hot @ loadings])
    return Design(shared, multi_hot), rng.normal(size=(len(labels), 5))


def refit(design, shifts, part_penalty, gene_penalty):
    """Coefficients (1 + k + parts, genes) by the normal equations of the objective in the class's docstring."""
    X = np.hstack(design)
    k = design.shared.shape[1] - 1
    weights = [0.0] + [gene_penalty * part_penalty / (1 + part_penalty)] * k + [part_penalty] * design.parts.shape[1]
    return np.linalg.solve(X.T @ X + np.diag(weights), X.T @ shifts)


def loop_press(design, shifts, part_penalty, gene_penalty):
    total = 0.0
    for i in range(len(shifts)):
        rest = [j for j in range(len(shifts)) if j != i]
        left = Design(design.shared[rest], design.parts[rest])
        guess = np.hstack(design)[i] @ refit(left, shifts[rest], part_penalty, gene_penalty)
        total += sum((a - b) ** 2 for a, b in zip(guess, shifts[i], strict=True))
    return total / shifts.size


@pytest.mark.parametrize("seed", range(4))
def test_press_is_the_loop_that_leaves_one_out(seed):
    design, shifts = random_design(seed)
    part_penalties, gene_penalties = (1000.0, 1.0, 1e-3), (1000.0, 0.3, 1e-6)
    errors = press(design, shifts, part_penalties, gene_penalties)
    loops = [[loop_press(design, shifts, a, b) for b in gene_penalties] for a in part_penalties]
    np.testing.assert_allclose(errors, loops, rtol=1e-10)


def test_press_is_the_loop_with_more_perturbations_than_genes_and_no_loadings():
    design, shifts = random_design(9, k=0)
    errors = press(design, shifts[:, :2], (0.5,), (1.0,))
    np.testing.assert_allclose(errors, [[loop_press(design, shifts[:, :2], 0.5, 1.0)]], rtol=1e-10)


@pytest.mark.parametrize("penalties", [(0.3, 2.0), (20.0, 1e-3), (1e-2, 1e-2)])
def test_the_smoother_gives_the_coefficients_of_the_normal_equations(penalties):
    design, shifts = random_design(5)
    np.testing.assert_allclose(smoother(design, *penalties) @ shifts, refit(design, shifts, *penalties), atol=1e-10)


def test_loadings_are_gene_scores_of_an_svd():
    rows = np.random.default_rng(3).normal(size=(6, 30))
    u, s, _ = np.linalg.svd((rows - rows.mean(axis=1, keepdims=True)).T, full_matrices=False)
    found = gene_loadings(rows, 4)
    np.testing.assert_allclose(found @ found.T, (u[:, :4] * s[:4] ** 2) @ u[:, :4].T, atol=1e-10)
    assert gene_loadings(rows[[0, 0, 0]], 4).shape == (30, 1)


# --- the model --------------------------------------------------------------------------------------------------------


def loop_model(train, shifts, perturbation, genes, penalties, k):
    """The prediction by the docstring: loadings from an SVD, standardised over training parts, normal equations."""
    labels = sorted(shifts)
    parts = sorted({part for label in labels for part in label.split("+")})
    means = [np.asarray(train.X[(train.obs["gene"] == label).to_numpy()], dtype=float).mean(axis=0) for label in labels]
    control = np.asarray(train.X[(train.obs["gene"] == "ctrl").to_numpy()], dtype=float).mean(axis=0)
    M = np.array([control, *means])
    u, s, _ = np.linalg.svd((M - M.mean(axis=1, keepdims=True)).T, full_matrices=False)
    loadings = dict(zip(genes, u[:, :k] * s[:k], strict=True))
    known = [loadings[part] for part in parts if part in loadings]
    centre = sum(known) / len(known)
    scale = np.sqrt(sum(np.sum((each - centre) ** 2) for each in known) / len(known))
    g = {gene: (each - centre) / scale for gene, each in loadings.items()}

    def covariates(label):
        each = label.split("+")
        shared = [float(len(each)), *sum((g.get(part, np.zeros(k)) for part in each), np.zeros(k))]
        return shared, [float(part in each) for part in parts]

    design = Design(*(np.array(block) for block in zip(*map(covariates, labels), strict=True)))
    return np.hstack(covariates(perturbation)) @ refit(design, np.array(means) - control, *penalties)


@pytest.mark.parametrize("perturbation", ["g7", "g0", "g1+g9", "nogene", "g2+other", "g0+g3"])
def test_a_prediction_by_loops(perturbation):
    rng = np.random.default_rng(4)
    genes = [f"g{j}" for j in range(12)]
    labels = ["g0", "g1", "g2", "g3", "g4", "nogene", "g0+g1", "g2+nogene", "g5+g6"]
    shifts = {label: rng.normal(size=12) for label in labels}
    train = cells(rng.gamma(3.0, 1.0, 12), shifts, genes)
    model = fitted(train, n_components=3, part_penalty=0.4, gene_penalty=0.7)
    expected = loop_model(train, shifts, perturbation, genes, (0.4, 0.7), 3)
    np.testing.assert_allclose(shift(model, train, perturbation), expected, atol=2e-6)


def test_a_linear_law_is_found_and_the_mean_does_not():
    control, law, genes = linear_law()
    seen, unseen = genes[:25], genes[25:]
    train = cells(control, {gene: law[gene] for gene in seen}, genes)
    model = fitted(train)
    mean = create("perturbed-mean").fit(train, keys=KEYS)
    truth = np.array([law[gene] for gene in unseen])
    errors = [np.abs(np.array([shift(each, train, gene) for gene in unseen]) - truth).max() for each in (model, mean)]
    assert errors[0] < 1e-3
    assert errors[1] > 1
    assert model.fit_record["gene_penalty"] == PENALTIES[-1]
    pair = shift(model, train, f"{unseen[0]}+{seen[0]}")
    np.testing.assert_allclose(pair, law[unseen[0]] + law[seen[0]], atol=1e-3)


def test_additive_effects_with_combinations_are_found():
    rng = np.random.default_rng(1)
    effects = {name: rng.normal(size=10) for name in "abcde"}
    labels = ["a", "b", "c", "d", "a+b", "b+c", "c+e", "d+e"]
    shifts = {label: sum(effects[part] for part in label.split("+")) for label in labels}
    train = cells(np.full(10, 5.0), shifts, [f"g{j}" for j in range(10)])
    model = fitted(train)
    assert model.fit_record["part_penalty"] == PENALTIES[-1]
    assert model.fit_record["no_gene"] == list("abcde")
    np.testing.assert_allclose(shift(model, train, "a+d"), effects["a"] + effects["d"], atol=1e-4)
    np.testing.assert_allclose(shift(model, train, "e"), effects["e"], atol=1e-4)  # never seen alone


def test_parts_without_covariates_get_the_mean_whatever_the_penalties():
    rng = np.random.default_rng(2)
    genes = [f"g{j}" for j in range(15)]
    train = cells(rng.gamma(3.0, 1.0, 15), {name: rng.normal(size=15) for name in [*genes[:6], "p", "q"]}, genes)
    mean = create("perturbed-mean").fit(train, keys=KEYS)
    expected = shift(mean, train, "new")
    for settings in ({}, {"part_penalty": 3.0, "gene_penalty": 0.01}, {"gene_penalty": 100.0}):
        model = fitted(train, **settings)
        np.testing.assert_allclose(shift(model, train, "new"), expected, atol=1e-5)
        np.testing.assert_allclose(shift(model, train, "new+newer"), 2 * expected, atol=1e-5)


def test_single_perturbations_alone_are_believed_and_say_nothing_of_the_part_penalty():
    rng = np.random.default_rng(3)
    genes = [f"g{j}" for j in range(15)]
    shifts = {name: rng.normal(size=15) for name in genes[:8]}
    train = cells(rng.gamma(3.0, 1.0, 15), shifts, genes)
    chosen = fitted(train)
    assert chosen.fit_record["part_penalty"] == PENALTIES[-1]
    np.testing.assert_allclose(shift(chosen, train, "g1+g4"), shifts["g1"] + shifts["g4"], atol=2e-5)
    unseen = [shift(fitted(train, part_penalty=a, gene_penalty=0.2), train, "g12") for a in (1e-3, 1.0, 500.0)]
    np.testing.assert_allclose(unseen[1:], [unseen[0]] * 2, atol=1e-5)


def test_both_penalties_are_the_pair_with_the_smallest_error():
    rng = np.random.default_rng(6)
    genes = [f"g{j}" for j in range(15)]
    labels = [*genes[:8], "g0+g1", "g2+g3", "g4+g5", "g1+g6"]
    train = cells(rng.gamma(3.0, 1.0, 15), {label: rng.normal(size=15) for label in labels}, genes)
    model = fitted(train, n_components=2)
    design = model._design(model.perturbations)
    groups = [(train.obs["gene"] == label).to_numpy() for label in ["ctrl", *map("+".join, model.perturbations)]]
    control, *means = (train.X[group].astype(float).mean(axis=0) for group in groups)
    errors = {(a, b): loop_press(design, np.array(means) - control, a, b) for a in PENALTIES for b in PENALTIES}
    assert (model.fit_record["part_penalty"], model.fit_record["gene_penalty"]) == min(errors, key=errors.get)


@pytest.mark.parametrize("genes", [["x", "y", "z"], ["a", "y", "z"]])
def test_fewer_than_two_genes_among_the_parts_teach_no_map(genes, tmp_path):
    rng = np.random.default_rng(8)
    train = cells(np.full(3, 4.0), {name: rng.normal(size=3) for name in "abc"}, genes)
    model = fitted(train)
    assert model.fit_record["n_components"] == 0
    mean = create("perturbed-mean").fit(train, keys=KEYS)
    np.testing.assert_allclose(shift(model, train, "y"), shift(mean, train, "y"), atol=1e-6)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(shift(load_model(tmp_path / "model"), train, "y"), shift(model, train, "y"))


@pytest.mark.parametrize("setting", ["n_components", "part_penalty", "gene_penalty"])
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(ValueError, match=setting):
        create("ridge-perturbation", **{setting: 0})

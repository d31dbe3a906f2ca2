import numpy as np
import pytest
import torch
from anndata import AnnData
from pb_models.registry import create, load_model
from pb_models.scgen import balanced_rows, mean_of_class_means
from pb_models.training import DivergedError

SMALL = {"n_hidden": 16, "n_latent": 4, "max_epochs": 4, "batch_size": 32}
PROFILES = ["scgen:fixed", "scgen:reference"]


def fitted(problem, spec="scgen", seed=1, **overrides):
    model = create(spec, **{**SMALL, **overrides})
    return model.fit(problem.train, keys=problem.keys, validation=problem.validation, seed=seed, device="cpu")


@pytest.mark.parametrize("spec", PROFILES)
def test_the_same_seed_gives_the_same_weights(problem, spec, reproduced):
    first, other = reproduced(lambda: fitted(problem, spec)), fitted(problem, spec, seed=2)
    assert not np.array_equal(first.delta("stim"), other.delta("stim"))


@pytest.mark.parametrize("spec", PROFILES)
def test_a_second_process_predicts_the_same(problem, spec, predicted_elsewhere, tmp_path):
    model = fitted(problem, spec)
    [found] = predicted_elsewhere(model)
    np.testing.assert_array_equal(found, model.predict(problem.control, perturbation="stim").X)
    loaded = load_model(tmp_path / "0")
    assert (loaded.profile, loaded.settings, loaded.fit_record) == (model.profile, model.settings, model.fit_record)


def test_the_prediction_is_the_decoded_shifted_mean(problem):
    model = fitted(problem)
    x = torch.tensor(problem.control.X.toarray())
    with torch.no_grad():
        latent = model.network.encode(x).mean.double() + torch.tensor(model.delta("stim"))
        expected = model.network.decode(latent.float()).numpy()
    np.testing.assert_array_equal(model.predict(problem.control, perturbation="stim").X, expected)


def test_each_control_cell_is_predicted_once_whatever_the_block_size(problem, monkeypatch):
    model = fitted(problem)
    whole = model.predict(problem.control, perturbation="stim").X
    monkeypatch.setattr("pb_models.latent.BLOCK", 7)
    blocks = model.predict(problem.control, perturbation="stim").X
    assert whole.shape == problem.control.shape
    np.testing.assert_allclose(blocks, whole, rtol=1e-5, atol=1e-6)
    alone = model.predict(problem.control[[3]], perturbation="stim").X
    np.testing.assert_allclose(alone, whole[[3]], rtol=1e-5, atol=1e-6)


def test_a_planted_shift_is_found(cells, keys):
    """Five genes rise by two in all of six contexts; the prediction has to be far nearer to the truth than control."""
    adata = cells(dict.fromkeys("ABCDEF", (60, 50)))
    target, stimulated = adata.obs["cell_type"] == "B", adata.obs["condition"] == "stim"
    model = create("scgen", n_hidden=64, n_latent=16, batch_size=32, max_epochs=60, dropout=0, learning_rate=5e-3)
    model.fit(adata[~(target & stimulated)].copy(), keys=keys, seed=1, device="cpu")
    control, truth = adata[target & ~stimulated].copy(), adata[target & stimulated]
    predicted = model.predict(control, perturbation="stim").X.mean(axis=0)
    means = [np.asarray(part.X.mean(axis=0)).ravel() for part in (control, truth)]
    assert np.square(predicted - means[1]).sum() < 0.3 * np.square(means[0] - means[1]).sum()


def test_the_length_is_counted_in_steps_up_to_a_number_of_epochs(problem):
    n_batches = (~problem.validation).sum() // 32
    lengths = {
        limit: fitted(problem, max_epochs=9, max_steps=limit).fit_record["epochs"] for limit in (1, 50, 99, None)
    }
    assert lengths == {1: 1, 50: -(-50 // n_batches), 99: 9, None: 9}


@pytest.mark.parametrize("spec", PROFILES)
def test_sparse_and_dense_training_cells_give_the_same_model(problem, spec):
    dense = problem.train.copy()
    dense.X = dense.X.toarray()
    first, second = fitted(problem, spec), fitted(problem._replace(train=dense), spec)
    np.testing.assert_array_equal(first.delta("stim"), second.delta("stim"))


def test_profiles_use_their_own_validation_cells(problem):
    fixed, reference = fitted(problem), fitted(problem, "scgen:reference")
    assert fixed.fit_record["n_validation"] == problem.validation.sum()
    n = problem.train.n_obs
    assert reference.fit_record["n_training"] == -(-9 * n // 10)
    without = create("scgen", **SMALL).fit(problem.train, keys=problem.keys, device="cpu")
    assert (without.fit_record["monitor"], without.fit_record["n_training"]) == ([], n)


def test_the_monitors_are_their_formulas(problem):
    """One epoch; the recorded monitor against the formula from the kept network, elbo up to its sampled position."""
    fixed = fitted(problem, max_epochs=1)
    x = torch.tensor(problem.train.X.toarray()[problem.validation])
    with torch.no_grad():
        posterior = fixed.network.encode(x)
        error = (fixed.network.decode(posterior.mean) - x).square().sum(dim=1)
        kl = 0.5 * (posterior.mean**2 + posterior.variance - 1 - posterior.variance.log()).sum(dim=1)
    expected = (0.5 * error + 0.5 * 5e-5 * kl).mean().item()
    assert fixed.fit_record["monitor"] == pytest.approx([expected], rel=1e-5)

    elbo = fitted(problem, max_epochs=1, monitor="elbo")
    with torch.no_grad():
        errors = [(elbo.network(x)[1] - x).square().sum(dim=1).mean().item() for _ in range(200)]
    watched = elbo.fit_record["monitor"][0]
    assert np.mean(errors) + kl.mean().item() == pytest.approx(watched, abs=4 * np.std(errors))
    assert np.std(errors) < 0.05 * watched


def test_a_reference_validation_batch_below_three_cells_is_left_out():
    from pb_models.vae_training import _whole_batches

    reference = create("scgen:reference").settings
    sizes = {n: len(_whole_batches(np.arange(n), reference)) for n in (31, 32, 33, 34, 35)}
    assert sizes == {31: 31, 32: 32, 33: 32, 34: 32, 35: 35}
    assert len(_whole_batches(np.arange(129), create("scgen").settings)) == 129


# --- the shift -------------------------------------------------------------------------------------------------------


def test_delta_is_the_difference_of_means_of_class_means(problem):
    model = fitted(problem)
    latent, obs = model.encode(problem.train.X), problem.train.obs
    means = {
        (context, label): np.mean(
            [latent[i] for i in range(len(obs)) if (obs.iloc[i] == [context, label]).all()], axis=0
        )
        for context in ("A", "C")
        for label in ("ctrl", "stim")
    }
    expected = sum(means[context, "stim"] - means[context, "ctrl"] for context in ("A", "C")) / 2
    np.testing.assert_allclose(model.delta("stim"), expected, rtol=1e-10)


def test_the_target_s_controls_bias_the_shift_as_derived(problem):
    """delta = dbar + (cbar of the others - c of the target) / K, with K contexts; to float64 rounding."""
    biased = fitted(problem, unpaired_controls=True)
    mended = fitted(problem, unpaired_controls=False)
    latent, obs = biased.encode(problem.train.X), problem.train.obs
    centroid = {
        c: latent[((obs["cell_type"] == c) & (obs["condition"] == "ctrl")).to_numpy()].mean(axis=0) for c in "ABC"
    }
    others = (centroid["A"] + centroid["C"]) / 2
    expected = mended.delta("stim") + (others - centroid["B"]) / 3
    np.testing.assert_allclose(biased.delta("stim"), expected, rtol=0, atol=1e-12)


def test_the_resampled_means_converge_to_the_exact_ones():
    random = np.random.default_rng(0)
    classes = np.repeat(["A", "B", "C"], [50, 20, 7])
    control = random.random(77) < 0.5
    values = random.normal(size=(77, 2)) + (classes == "C")[:, None]
    draws = [balanced_rows(classes, control, ~control, random) for _ in range(2000)]
    deltas = np.array([values[b].mean(axis=0) - values[a].mean(axis=0) for a, b in draws])
    exact = mean_of_class_means(values[~control], classes[~control]) - mean_of_class_means(
        values[control], classes[control]
    )
    error = deltas.std(axis=0) / np.sqrt(len(deltas))
    assert (np.abs(deltas.mean(axis=0) - exact) < 4 * error).all()


KANG = {  # control and perturbed cells of the published 16,893-cell file, by type
    "B": (818, 993),
    "CD14+Mono": (1946, 615),
    "CD4T": (2437, 3127),
    "CD8T": (574, 541),
    "Dendritic": (615, 463),
    "FCGR3A+Mono": (1100, 2501),
    "NK": (517, 646),
}


@pytest.mark.parametrize(("held_out", "n_rows"), [("B", 34_118), ("CD4T", 30_012)])
def test_balanced_row_counts_are_those_of_the_published_logs(held_out, n_rows):
    classes, control = [], []
    for name, (n_control, n_perturbed) in KANG.items():
        n_perturbed = 0 if name == held_out else n_perturbed
        classes += [name] * (n_control + n_perturbed)
        control += [True] * n_control + [False] * n_perturbed
    classes, control = np.array(classes), np.array(control)
    first, second = balanced_rows(classes, control, ~control, np.random.default_rng(0))
    assert len(first) + len(second) == n_rows
    assert control[first].all()
    assert not control[second].any()
    larger, n_classes = (second, 6) if held_out == "B" else (first, 7)
    shares = np.unique(classes[larger], return_counts=True)[1] / len(larger)
    assert len(shares) == n_classes
    np.testing.assert_allclose(shares, 1 / n_classes, atol=0.01)


def test_balancing_draws_every_class_up_to_the_largest():
    classes = np.array(["A"] * 5 + ["B"] * 2 + ["A"] * 4 + ["B"] * 4)
    control = np.arange(15) < 7
    first, second = balanced_rows(classes, control, ~control, np.random.default_rng(0))
    assert len(first) == len(second) == 8, "2 x 5 control rows are cut to the 2 x 4 perturbed ones"
    assert sorted(classes[second]) == ["A"] * 4 + ["B"] * 4


def test_a_single_context_is_enough(problem):
    train = problem.train[problem.train.obs["cell_type"].isin(["A", "B"])]
    model = create("scgen", **SMALL).fit(train, keys=problem.keys, device="cpu")
    latent, obs = model.encode(train.X.astype(np.float32)), train.obs
    sides = [
        latent[((obs["cell_type"] == "A") & (obs["condition"] == label)).to_numpy()].mean(axis=0)
        for label in ("stim", "ctrl")
    ]
    np.testing.assert_allclose(model.delta("stim"), sides[0] - sides[1], rtol=1e-10)
    assert model.fit_record["contexts"] == {"stim": ["A"]}


def with_two_perturbations(problem):
    train = problem.train.copy()
    labels = train.obs["condition"].astype(str).to_numpy()
    stimulated = np.flatnonzero(labels == "stim")
    labels[stimulated[::2]] = "other"
    train.obs["condition"] = labels
    return problem._replace(train=train)


def test_every_perturbation_has_its_shift(problem, tmp_path):
    model = fitted(with_two_perturbations(problem))
    assert not np.array_equal(model.delta("stim"), model.delta("other"))
    model.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    for name in ("other", "stim"):
        np.testing.assert_array_equal(loaded.delta(name), model.delta(name))
        assert set(loaded.predict(problem.control, perturbation=name).obs["condition"]) == {name}
    with pytest.raises(ValueError, match="has not seen"):
        model.delta("nothing")


# --- training --------------------------------------------------------------------------------------------------------


def test_best_weights_are_kept_by_fixed_and_last_ones_by_reference(problem):
    options = {"max_epochs": 8, "learning_rate": 0.05, "settling_steps": 0, "patience": None}
    best = fitted(problem, **options)
    assert best.fit_record["best_epoch"] < 8, "the case is made for this"
    again = fitted(problem, **{**options, "max_epochs": best.fit_record["best_epoch"]})
    np.testing.assert_array_equal(best.delta("stim"), again.delta("stim"))
    last = fitted(problem, keep="last", **options)
    assert not np.array_equal(best.delta("stim"), last.delta("stim"))


def test_the_record_and_the_parameter_count(problem):
    steps = []
    model = create("scgen", **SMALL)
    model.fit(problem.train, keys=problem.keys, validation=problem.validation, device="cpu", progress=steps.append)
    record = model.fit_record
    assert record["epochs"] == len(steps) == len(record["loss"]) == len(record["monitor"]) == 4
    assert [step.loss for step in steps] == record["loss"]
    assert (record["device"], record["precision"], record["contexts"]) == ("cpu", "float32", {"stim": ["A", "C"]})
    hidden, latent, genes = 16, 4, 30
    weights = [
        (genes, hidden),
        (hidden, hidden),
        (hidden, latent),
        (hidden, latent),
        (latent, hidden),
        (hidden, hidden),
        (hidden, genes),
    ]
    assert model.n_parameters == sum(a * b + b for a, b in weights) + 4 * 2 * hidden


def test_bf16_trains_to_about_the_same_loss(problem):
    full, half = fitted(problem, max_epochs=8), fitted(problem, max_epochs=8, precision="bf16")
    assert half.fit_record["loss"][-1] == pytest.approx(full.fit_record["loss"][-1], rel=0.1)
    assert half.network.output.weight.dtype == torch.float32


def test_divergence_is_named(problem):
    with pytest.raises(DivergedError, match=r"epoch .* batch .* not finite"):
        fitted(problem, learning_rate=1e30, max_epochs=20)


def test_a_context_without_controls_is_named(problem):
    obs = problem.train.obs
    train = problem.train[~((obs["cell_type"] == "C") & (obs["condition"] == "ctrl"))]
    with pytest.warns(UserWarning, match="no control cells in C"):
        model = create("scgen", **SMALL).fit(train, keys=problem.keys, device="cpu")
    assert model.fit_record["contexts"] == {"stim": ["A"]}


def test_prediction_does_not_need_the_labels(problem):
    bare = AnnData(problem.control.X, var=problem.control.var)
    model = fitted(problem)
    expected = model.predict(problem.control, perturbation="stim").X
    np.testing.assert_array_equal(model.predict(bare, perturbation="stim").X, expected)

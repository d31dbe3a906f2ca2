import numpy as np
import pytest
import torch
from anndata import AnnData
from anndata import concat as stack
from pb_models.registry import create, load_model
from pb_models.training import DivergedError
from pb_models.vae import Vae

SMALL = {"n_hidden": 16, "n_latent": 4, "max_epochs": 3, "batch_size": 32}
PROFILES = ["scvidr:fixed", "scvidr:reference", "scvidr-multi:fixed", "scvidr-multi:reference"]
DOSES = [0.0, 0.1, 1.0, 10.0]


@pytest.fixture
def dosed(cells, keys):
    """Three contexts at three doses; B has controls only."""
    parts = []
    for seed, dose in enumerate(DOSES[1:]):
        part = cells({"A": (20, 25), "B": (25, 20), "C": (15, 22)}, seed=seed)
        part.obs["dose"] = np.where(part.obs["condition"] == "stim", dose, 0.0)
        parts.append(part)
    adata = stack(parts, index_unique="-")
    keep = (adata.obs["cell_type"] != "B") | (adata.obs["condition"] == "ctrl")
    return adata[keep].copy(), adata[~keep].copy(), type(keys)(**{**keys.to_dict(), "dose": "dose"})


def fitted(problem, spec="scvidr", seed=1, **overrides):
    model = create(spec, **{**SMALL, **overrides})
    return model.fit(problem.train, keys=problem.keys, validation=problem.validation, seed=seed, device="cpu")


def fitted_on_doses(dosed, spec="scvidr-multi", **overrides):
    train, _, keys = dosed
    return create(spec, **{**SMALL, **overrides}).fit(train, keys=keys, seed=1, device="cpu")


def controls(adata, context):
    return adata[(adata.obs["cell_type"] == context) & (adata.obs["condition"] == "ctrl")].copy()


def centroid(model, adata, context, condition, **labels):
    rows = (adata.obs["cell_type"] == context) & (adata.obs["condition"] == condition)
    for name, value in labels.items():
        rows &= adata.obs[name] == value
    latent = model.encode(adata.X[rows.to_numpy()])
    return sum(latent) / len(latent)


# --- the protocol ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", PROFILES)
def test_the_same_seed_gives_the_same_model(problem, spec, reproduced):
    first, other = reproduced(lambda: fitted(problem, spec)), fitted(problem, spec, seed=2)
    assert not np.array_equal(first.regressions["stim"].shifts, other.regressions["stim"].shifts)


@pytest.mark.parametrize("spec", ["scvidr-multi:fixed", "scvidr:reference"])
def test_a_second_process_predicts_the_same(problem, spec, predicted_elsewhere, tmp_path):
    model = fitted(problem, spec)
    [found] = predicted_elsewhere(model)
    np.testing.assert_array_equal(found, model.predict(problem.control, perturbation="stim").X)
    loaded = load_model(tmp_path / "0")
    assert (loaded.profile, loaded.settings, loaded.fit_record) == (model.profile, model.settings, model.fit_record)
    for name, array in model._state().items():
        np.testing.assert_array_equal(loaded._state()[name], array)


@pytest.mark.parametrize("spec", PROFILES)
def test_the_prediction_is_the_decoded_shifted_mean(problem, spec):
    model = fitted(problem, spec)
    x = torch.tensor(problem.control.X.toarray())
    with torch.no_grad():
        shift = torch.tensor(model.delta(problem.control, perturbation="stim"))
        expected = model.network.decode((model.network.encode(x).mean.double() + shift).float()).numpy()
    found = model.predict(problem.control, perturbation="stim")
    np.testing.assert_array_equal(found.X, expected)
    assert list(found.obs_names) == list(problem.control.obs_names), "each control cell once, in order"


def test_the_network_is_scgens(problem):
    vidr, gen = fitted(problem), fitted(problem, "scgen")
    assert isinstance(vidr.network, Vae)
    assert vidr.n_parameters == gen.n_parameters
    for name, weight in vidr.network.state_dict().items():
        torch.testing.assert_close(weight, gen.network.state_dict()[name], rtol=0, atol=0)
    with torch.device("meta"):
        full = create("scvidr").new_network(7000)
    assert sum(weight.numel() for weight in full.parameters()) == 1601 * 7000 + 1_529_800


def test_reference_trains_as_published():
    settings = create("scvidr:reference").settings
    expected = {
        "batch_size": 128,
        "max_epochs": 100,
        "max_steps": None,
        "patience": 25,
        "monitor": "elbo",
        "keep": "last",
        "split": "random",
        "learning_rate": 1e-3,
        "adam_eps": 0.01,
        "weight_decay": 1e-6,
        "kl_weight": 5e-5,
        "dropout": 0.2,
    }
    assert {name: getattr(settings, name) for name in expected} == expected
    multi = create("scvidr-multi:reference").settings.to_dict()
    assert multi == {**settings.to_dict(), "reference_dose": None, "dose_unit": 1.0}
    gen = create("scgen").settings.to_dict()
    assert {name: getattr(create("scvidr").settings, name) for name in gen if name != "unpaired_controls"} == {
        name: value for name, value in gen.items() if name != "unpaired_controls"
    }


def test_divergence_is_named(problem):
    with pytest.raises(DivergedError, match=r"epoch .* batch .* not finite"):
        fitted(problem, learning_rate=1e30, max_epochs=20)


# --- the shift -------------------------------------------------------------------------------------------------------


def test_the_shift_is_the_regression_on_exact_means(problem):
    model, obs = fitted(problem), problem.train.obs
    c = {name: centroid(model, problem.train, name, "ctrl") for name in "ABC"}
    d = {name: centroid(model, problem.train, name, "stim") - c[name] for name in "AC"}
    along = c["C"] - c["A"]
    share = (c["B"] - c["A"]) @ along / (along @ along)  # two contexts: the projection on a line, by hand
    np.testing.assert_allclose(
        model.delta(problem.control, perturbation="stim"), (1 - share) * d["A"] + share * d["C"], atol=1e-6
    )
    weights = model.weights(problem.control, perturbation="stim")
    assert weights == pytest.approx({"A": 1 - share, "C": share}, abs=1e-5)
    assert sum(weights.values()) == pytest.approx(1)
    assert model.fit_record["contexts"] == {"stim": ["A", "C"]}
    assert model.fit_record["shift_norms"]["stim"]["A"] == pytest.approx(np.linalg.norm(d["A"]))
    assert set(obs["cell_type"]) == {"A", "B", "C"}


def test_training_contexts_get_their_own_shift(problem):
    model = fitted(problem)
    for name in "AC":
        control = controls(problem.train, name)
        start, end = (centroid(model, problem.train, name, label) for label in ("ctrl", "stim"))
        np.testing.assert_allclose(model.delta(control, perturbation="stim"), end - start, atol=1e-5)


def test_reference_keeps_the_target_out_of_its_own_regression(problem):
    model = fitted(problem, "scvidr:reference")
    fit = model.regressions["stim"]
    found = model.delta(controls(problem.train, "A"), perturbation="stim")
    np.testing.assert_array_equal(found, fit.shifts[fit.contexts.index("C")])
    assert model.weights(controls(problem.train, "A"), perturbation="stim") == {"C": 1.0}


def test_reference_takes_centroids_of_resampled_cells(problem):
    """They differ from the exact ones, by no more than their sampling noise, and the target's is resampled, too."""
    model = fitted(problem, "scvidr:reference")
    for name in "ABC":
        rows = controls(problem.train, name)
        latent = model.encode(rows.X)
        error = 6 * latent.std(axis=0) / np.sqrt(rows.n_obs)
        distance = np.abs(model.control_centroids["stim"][name] - latent.mean(axis=0))
        assert (distance < error).all()
        assert (distance > 0).all()
    assert model.fit_record["control_contexts"] == {"stim": ["A", "B", "C"]}
    weights = model.weights(problem.control, perturbation="stim")
    fit, target = model.regressions["stim"], model.control_centroids["stim"]["B"]
    along = fit.centroids[1] - fit.centroids[0]
    assert weights["C"] == pytest.approx((target - fit.centroids[0]) @ along / (along @ along), rel=1e-6)
    half = problem.control[:7]
    np.testing.assert_array_equal(
        model.delta(half, perturbation="stim"), model.delta(problem.control, perturbation="stim")
    )


def test_every_context_handed_over_is_predicted_by_itself(problem):
    model = fitted(problem)
    parts = [problem.control, controls(problem.train, "A")]
    both = model.predict(stack(parts), perturbation="stim").X
    apart = np.concatenate([model.predict(part, perturbation="stim").X for part in parts])
    np.testing.assert_allclose(both, apart, rtol=1e-5, atol=1e-5)
    bare = AnnData(problem.control.X, var=problem.control.var)
    expected = model.predict(problem.control, perturbation="stim").X
    np.testing.assert_array_equal(model.predict(bare, perturbation="stim").X, expected)
    with pytest.raises(ValueError, match="of 2 contexts"):
        model.delta(stack(parts), perturbation="stim")


def test_a_context_dependent_shift_is_found(cells, keys):
    """Five genes rise by the context's level, which its controls show in ten others; one shift for all cannot do it."""
    random = np.random.default_rng(0)
    adata = cells(dict.fromkeys("ABCDEFGH", (60, 60)), n_genes=20)
    level = adata.obs["cell_type"].astype(str).map(dict(zip("ABCDEFGH", np.linspace(0, 3, 8), strict=True)))
    stimulated, target = (adata.obs["condition"] == "stim").to_numpy(), (adata.obs["cell_type"] == "G").to_numpy()
    mean = np.tile(random.gamma(1.0, 1.0, 20), (adata.n_obs, 1))
    mean[:, :10] = level.to_numpy()[:, None]
    mean[:, 15:] += (level * stimulated).to_numpy()[:, None]
    adata.X = (mean + random.normal(0, 0.2, adata.shape)).astype(np.float32)
    train, truth = adata[~(target & stimulated)].copy(), adata.X[target & stimulated].mean(axis=0)
    options = {"n_hidden": 64, "n_latent": 16, "max_epochs": 20, "dropout": 0.0, "learning_rate": 5e-3}
    errors = {}
    for name in ("scvidr", "scgen"):
        model = create(name, **options).fit(train, keys=keys, seed=1, device="cpu")
        predicted = model.predict(controls(adata, "G"), perturbation="stim").X.mean(axis=0)
        errors[name] = np.square(predicted - truth).sum()
    assert errors["scvidr"] < 0.5 * errors["scgen"]


@pytest.mark.parametrize("spec", PROFILES)
def test_contexts_that_lack_a_side_are_named(problem, spec):
    extra = problem.control.copy()
    extra.obs["cell_type"] = "D"
    stimulated = problem.truth.copy()
    stimulated.obs["cell_type"] = "E"
    train = stack([problem.train, extra, stimulated], index_unique="-")
    model = create(spec, **SMALL)
    with pytest.warns(UserWarning, match="left out of the shift") as caught:
        model.fit(train, keys=problem.keys, device="cpu")
    messages = sorted(str(each.message) for each in caught)
    assert [message.partition(":")[0] for message in messages] == ["no 'stim' cells in B, D", "no control cells in E"]
    assert model.fit_record["contexts"] == {"stim": ["A", "C"]}


@pytest.mark.parametrize("spec", PROFILES)
def test_one_context_is_refused(problem, spec):
    train = problem.train[problem.train.obs["cell_type"].isin(["A", "B"])]
    with pytest.raises(ValueError, match=r"needs two training contexts.*there is only A; use scgen"):
        create(spec, **SMALL).fit(train, keys=problem.keys, device="cpu")


def test_perturbations_have_their_own_regressions(problem, tmp_path):
    train = problem.train.copy()
    labels = train.obs["condition"].astype(str).to_numpy()
    labels[np.flatnonzero(labels == "stim")[::2]] = "other"
    train.obs["condition"] = labels
    model = fitted(problem._replace(train=train))
    shifts = [model.delta(problem.control, perturbation=name) for name in ("stim", "other")]
    assert not np.array_equal(*shifts)
    with pytest.raises(ValueError, match="has not seen"):
        model.delta(problem.control, perturbation="stimm")


# --- doses -----------------------------------------------------------------------------------------------------------


def test_one_dose_at_a_time_unless_multi(dosed):
    with pytest.raises(ValueError, match="one dose at a time"):
        fitted_on_doses(dosed, "scvidr")


@pytest.mark.parametrize("spec", ["scvidr-multi:fixed", "scvidr-multi:reference"])
def test_the_shift_is_learned_at_the_highest_dose_and_scaled_by_log_dose(dosed, spec):
    train, _, _ = dosed
    model, control = fitted_on_doses(dosed, spec), controls(train, "B")
    top = model.delta(control, perturbation="stim", dose=10)
    for dose in (0, 0.1, 0.5, 1, 10):  # seen or not, and the control's
        found = model.delta(control, perturbation="stim", dose=dose)
        np.testing.assert_allclose(found, top * np.log1p(dose) / np.log1p(10), rtol=1e-12)
    with pytest.raises(ValueError, match=r"seen at the doses \[0.1, 1.0, 10.0\]; name one"):
        model.delta(control, perturbation="stim")
    if spec.endswith("fixed"):
        start = centroid(model, train, "A", "ctrl")
        end = centroid(model, train, "A", "stim", dose=10.0)
        np.testing.assert_allclose(
            model.delta(controls(train, "A"), perturbation="stim", dose=10), end - start, atol=1e-5
        )


def test_no_dose_depends_on_the_list_asked_for(dosed):
    train, _, _ = dosed
    model, control = fitted_on_doses(dosed), controls(train, "B")
    whole = model.predict_doses(control, perturbation="stim", doses=DOSES)
    for doses in ([0.1, 1, 10], [0, 0.1], [10, 0.1, 1]):  # without control, without the highest, unsorted
        found = model.predict_doses(control, perturbation="stim", doses=doses)
        assert list(found) == doses
        for dose in doses:
            np.testing.assert_array_equal(found[dose].X, whole[dose].X)
            assert set(found[dose].obs["dose"]) == {dose}
    reconstruction = model.decode(model.encode(control.X))
    np.testing.assert_array_equal(whole[0.0].X, reconstruction)
    assert (whole[10.0].obs_names == control.obs_names).all()


def test_the_reference_dose_can_be_chosen(dosed):
    train, _, _ = dosed
    model = fitted_on_doses(dosed, reference_dose=1.0)
    start, end = centroid(model, train, "A", "ctrl"), centroid(model, train, "A", "stim", dose=1.0)
    found = model.delta(controls(train, "A"), perturbation="stim", dose=1)
    np.testing.assert_allclose(found, end - start, atol=1e-5)
    with pytest.warns(UserWarning, match="beyond the reference dose"):
        model.delta(controls(train, "A"), perturbation="stim", dose=10)
    with pytest.raises(ValueError, match=r"reference_dose is 3, but 'stim' was seen at the doses"):
        fitted_on_doses(dosed, reference_dose=3.0)
    with pytest.raises(ValueError, match="dose_unit is 0"):
        create("scvidr-multi", dose_unit=0)


def test_the_unit_of_doses_can_be_named(dosed):
    train, truth, keys = dosed
    small = train.copy()
    small.obs["dose"] = small.obs["dose"] / 1000
    models = [fitted_on_doses(dosed), fitted_on_doses((small, truth, keys), dose_unit=1e-3)]
    first, second = (
        model.delta(controls(train, "B"), perturbation="stim", dose=dose)
        for model, dose in zip(models, (1, 1e-3), strict=True)
    )
    np.testing.assert_allclose(first, second, rtol=1e-10)


def test_a_context_without_the_reference_dose_is_named(dosed):
    train, truth, keys = dosed
    extra = stack([controls(train, "B"), truth[truth.obs["dose"] < 10]])
    extra.obs["cell_type"] = "D"
    model = create("scvidr-multi", **SMALL)
    with pytest.warns(UserWarning, match="left out of the shift") as caught:
        model.fit(stack([train, extra], index_unique="-"), keys=keys, device="cpu")
    assert "no cells at the reference dose 10 in D" in str(caught[0].message)
    assert model.fit_record["contexts"] == {"stim": ["A", "C"]}


def test_without_doses_or_with_one_multi_is_the_single_model(problem, dosed):
    single, multi = (fitted(problem, name) for name in ("scvidr", "scvidr-multi"))
    expected = single.predict(problem.control, perturbation="stim").X
    np.testing.assert_array_equal(multi.predict(problem.control, perturbation="stim").X, expected)
    with pytest.raises(ValueError, match="without doses"):
        multi.predict(problem.control, perturbation="stim", dose=3)
    train, truth, keys = dosed
    top = train[train.obs["dose"].isin([0, 10])].copy()
    single, multi = (fitted_on_doses((top, truth, keys), name) for name in ("scvidr", "scvidr-multi"))
    predictions = [model.predict(controls(train, "B"), perturbation="stim").X for model in (single, multi)]
    np.testing.assert_array_equal(*predictions)


# --- reading the shift -----------------------------------------------------------------------------------------------


def test_pseudo_dose_puts_controls_at_0_and_perturbed_at_1(problem):
    model = fitted(problem)
    control, perturbed = problem.control, problem.truth
    known = {"control": control, "perturbed": perturbed, "perturbation": "stim"}
    ends = [model.pseudo_dose(cells, **known).mean() for cells in (control, perturbed)]
    np.testing.assert_allclose(ends, [0, 1], atol=1e-5)
    published = model.pseudo_dose(control, **known, origin="zero")
    start = model.encode(control.X).mean(axis=0)
    along = model.encode(perturbed.X).mean(axis=0) - start
    np.testing.assert_allclose(published, model.encode(control.X) @ along / (along @ along), rtol=1e-6)
    predicted = model.predict(control, perturbation="stim")
    moved = model.encode(control.X) + model.delta(control, perturbation="stim")
    blind = model.pseudo_dose(control, control=control, perturbation="stim")
    assert blind.mean() == pytest.approx(0, abs=1e-6)
    delta = model.delta(control, perturbation="stim")
    np.testing.assert_allclose((moved - start) @ delta / (delta @ delta), blind + 1, atol=1e-6)
    with pytest.raises(ValueError, match="genes"):
        model.pseudo_dose(predicted[:, ::-1], control=control, perturbation="stim")


def test_gene_scores_are_for_the_decoder_s_box_and_shift(problem, tmp_path):
    from pb_models.gene_scores import gene_scores

    model = fitted(problem)
    latent = model.encode(problem.train.X)
    found = model.gene_scores(problem.control, perturbation="stim", n_points=400, n_test_points=100, seed=3)
    box = np.stack([latent.min(axis=0), latent.max(axis=0)])
    delta = model.delta(problem.control, perturbation="stim")
    expected = gene_scores(model.decode, box, delta, n_points=400, n_test_points=100, seed=3)
    np.testing.assert_array_equal(found.scores, expected.scores)
    assert (found.scores.shape, found.r2) == ((30,), expected.r2)
    model.save(tmp_path / "model")
    again = load_model(tmp_path / "model")
    same = again.gene_scores(problem.control, perturbation="stim", n_points=400, n_test_points=100, seed=3)
    np.testing.assert_array_equal(same.scores, found.scores)

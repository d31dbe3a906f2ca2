"""What holds for every baseline: saving, sparse input, row order, doses, several perturbations, errors."""

import inspect
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from pb_data.keys import Keys
from pb_models import MODELS, create, get_model, load_model
from scipy import sparse

KEYS = Keys(context="cell_type", perturbation="condition", control="ctrl", scale="log1p")
DOSE_KEYS = replace(KEYS, dose="dose")
BASELINES = [name for name, entry in MODELS.items() if entry.is_baseline]


def draw(contexts="abct", perturbations=("ifn", "lps"), doses=(None,), n_cells=14, n_genes=25, seed=0):
    """Sparse log1p cells; the target t has controls only."""
    rng = np.random.default_rng(seed)
    rows, labels = [], []
    conditions = [("ctrl", 0.0)] + [(name, dose) for name in perturbations for dose in doses]
    for i, context in enumerate(contexts):
        base = rng.gamma(0.6, 1.0, n_genes)
        for condition, dose in conditions if context != "t" else conditions[:1]:
            step = 1 if condition == "ctrl" else np.exp(0.4 * rng.normal(size=n_genes) * (dose or 1))
            rows.append(np.log1p(rng.poisson(base * step, (n_cells + i, n_genes))))
            labels += [(context, condition, dose)] * (n_cells + i)
    obs = pd.DataFrame(labels, columns=["cell_type", "condition", "dose"], index=[f"c{i}" for i in range(len(labels))])
    if doses == (None,):
        obs = obs.drop(columns="dose")
    X = sparse.csr_matrix(np.concatenate(rows).astype(np.float32))
    return AnnData(X=X, obs=obs, var=pd.DataFrame(index=[f"g{j}" for j in range(n_genes)]))


def target(adata):
    return adata[(adata.obs["cell_type"] == "t").to_numpy()].copy()


def fitted(name, train, keys=KEYS, **options):
    return create(name).fit(train, keys=keys, **options)


@pytest.mark.parametrize("name", BASELINES)
class TestEveryBaseline:
    def test_says_what_the_registry_says(self, name):
        model = get_model(name)
        assert (model.name, model.summary, model.is_baseline) == (name, MODELS[name].summary, True)
        assert tuple(model.profiles) == MODELS[name].profiles == ("default",)
        assert inspect.getdoc(model)

    @pytest.mark.parametrize("perturbation", ["ifn", "lps"])
    def test_survives_saving(self, name, perturbation, tmp_path):
        train = draw()
        model = fitted(name, train)
        model.save(tmp_path / "model")
        again = load_model(tmp_path / "model")
        before, after = (m.predict(target(train), perturbation=perturbation) for m in (model, again))
        np.testing.assert_array_equal(before.X, after.X)
        assert again.n_parameters == model.n_parameters
        assert again.settings == model.settings

    def test_answers_each_perturbation_by_its_own_cells(self, name):
        train = draw()
        alone = train[(train.obs["condition"] != "lps").to_numpy()].copy()
        both, one = fitted(name, train), fitted(name, alone)
        ifn, lps = (both.predict(target(train), perturbation=p).X for p in ("ifn", "lps"))
        if name in {"control", "perturbed-mean"}:
            np.testing.assert_array_equal(ifn, lps)
        else:
            assert np.abs(ifn - lps).max() > 0.1
        if name in {"control", "mean-shift", "similarity-shift"}:
            np.testing.assert_array_equal(ifn, one.predict(target(train), perturbation="ifn").X)

    def test_sparse_equals_dense(self, name):
        train = draw()
        full = train.copy()
        full.X = train.X.toarray()
        few, many = fitted(name, train), fitted(name, full)
        for cells in (target(train), target(full)):
            expected = few.predict(target(train), perturbation="ifn").X
            np.testing.assert_allclose(many.predict(cells, perturbation="ifn").X, expected, atol=1e-5)

    def test_row_order_of_training_cells_does_not_matter(self, name):
        train = draw()
        order = np.random.default_rng(1).permutation(train.n_obs)
        shuffled = fitted(name, train[order].copy())
        expected = fitted(name, train).predict(target(train), perturbation="ifn").X
        np.testing.assert_allclose(shuffled.predict(target(train), perturbation="ifn").X, expected, atol=2e-5)

    def test_the_same_bits_whatever_the_seed_and_the_validation_cells(self, name):
        train = draw()
        aside = np.arange(train.n_obs) % 3 == 0
        results = [fitted(name, train, seed=seed, validation=mask) for seed, mask in ((1, None), (1, None), (2, aside))]
        first, *others = (model.predict(target(train), perturbation="lps").X for model in results)
        for other in others:
            np.testing.assert_array_equal(first, other)

    def test_leaves_its_input_as_it_was(self, name):
        train = draw()
        data, cells = train.X.toarray(), target(train)
        given = cells.X.toarray()
        result = fitted(name, train).predict(cells, perturbation="ifn")
        np.testing.assert_array_equal(train.X.toarray(), data)
        np.testing.assert_array_equal(cells.X.toarray(), given)
        assert result.X.dtype == np.float32
        assert result.X.shape == cells.shape

    def test_predicts_each_context_of_a_mixture_by_itself(self, name):
        train = draw(contexts="abcdt")
        model = fitted(name, train[(train.obs["cell_type"] != "d").to_numpy()].copy())
        held_out = train.obs["cell_type"].isin(["d", "t"]) & (train.obs["condition"] == "ctrl")
        mixed = train[held_out.to_numpy()].copy()
        together = model.predict(mixed, perturbation="ifn").X
        for context in "dt":
            mask = (mixed.obs["cell_type"] == context).to_numpy()
            alone = model.predict(mixed[mask].copy(), perturbation="ifn").X
            np.testing.assert_array_equal(together[mask], alone)

    def test_learns_each_dose_by_itself(self, name):
        train = draw(doses=(1.0, 3.0))
        model = fitted(name, train, DOSE_KEYS)
        low, high = (model.predict(target(train), perturbation="ifn", dose=dose) for dose in (1.0, 3.0))
        assert set(high.obs["dose"]) == {3.0}
        if name != "control":
            assert np.abs(low.X - high.X).max() > 0.1
        if name in {"control", "mean-shift", "similarity-shift", "perturbed-mean", "additive"}:
            alone = train[train.obs["dose"].isin([0.0, 3.0]).to_numpy()].copy()
            np.testing.assert_array_equal(high.X, fitted(name, alone).predict(target(train), perturbation="ifn").X)

    def test_mixes_the_nearest_doses_in_log1p(self, name):
        train = draw(doses=(1.0, 3.0))
        model, cells = fitted(name, train, DOSE_KEYS), target(train)
        low, high = (model.predict(cells, perturbation="ifn", dose=dose).X for dose in (1.0, 3.0))
        share = (math.log(1 + 1.7) - math.log(2)) / (math.log(4) - math.log(2))
        between = model.predict(cells, perturbation="ifn", dose=1.7)
        assert set(between.obs["dose"]) == {1.7}
        np.testing.assert_allclose(between.X, (1 - share) * low + share * high, atol=3e-6)
        share = math.log(1.5) / math.log(2)
        below = model.predict(cells, perturbation="ifn", dose=0.5).X
        np.testing.assert_allclose(below, (1 - share) * cells.X.toarray() + share * low, atol=3e-6)
        np.testing.assert_array_equal(model.predict(cells, perturbation="ifn", dose=0).X, cells.X.toarray())

    def test_beyond_the_highest_dose_it_stays_there_and_says_so(self, name):
        train = draw(doses=(1.0, 3.0))
        model, cells = fitted(name, train, DOSE_KEYS), target(train)
        with pytest.warns(UserWarning, match="dose 30 lies beyond the highest one seen, 3"):
            beyond = model.predict(cells, perturbation="ifn", dose=30)
        np.testing.assert_array_equal(beyond.X, model.predict(cells, perturbation="ifn", dose=3).X)

    def test_a_dose_is_named_where_there_are_several(self, name):
        train = draw(doses=(1.0, 3.0))
        with pytest.raises(ValueError, match=r"'ifn' was seen at the doses \[1.0, 3.0\]; name one"):
            fitted(name, train, DOSE_KEYS).predict(target(train), perturbation="ifn")

    def test_an_unseen_perturbation_is_answered_or_refused_with_the_nearest(self, name):
        train = draw()
        model = fitted(name, train)
        if MODELS[name].unseen_perturbations:
            assert set(model.predict(target(train), perturbation="ifm").obs["condition"]) == {"ifm"}
            with pytest.raises(ValueError, match="'ctrl' names no perturbation"):
                model.predict(target(train), perturbation="ctrl")
            return
        with pytest.raises(
            ValueError, match=r"has not seen the perturbation 'ifm'; did you mean 'ifn'\? \(seen: ifn, lps\)"
        ):
            model.predict(target(train), perturbation="ifm")

    def test_fitting_again_forgets_the_first_fit(self, name):
        first, second = draw(), draw(perturbations=("lps",), seed=3)
        model = fitted(name, first).fit(second, keys=KEYS)
        expected = fitted(name, second).predict(target(second), perturbation="lps").X
        np.testing.assert_array_equal(model.predict(target(second), perturbation="lps").X, expected)
        assert model.n_parameters == fitted(name, second).n_parameters


@pytest.mark.parametrize("name", ["mean-shift", "similarity-shift"])
def test_the_targets_own_controls_in_training_change_nothing(name):
    train = draw()
    without = train[(train.obs["cell_type"] != "t").to_numpy()].copy()
    results = [fitted(name, cells).predict(target(train), perturbation="ifn").X for cells in (train, without)]
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("name", [name for name in BASELINES if name != "control"])
def test_clip_only_removes_what_is_negative(name):
    train = draw()
    plain = fitted(name, train).predict(target(train), perturbation="ifn").X
    clipped = create(name, clip=True).fit(train, keys=KEYS).predict(target(train), perturbation="ifn").X
    assert (plain < 0).any()
    np.testing.assert_array_equal(clipped, np.maximum(plain, 0))


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("control", 0),
        ("mean-shift", 25),
        ("similarity-shift", 3 * 25 * 2 + 1),
        ("linear", 6 * 25 + 25 + 6 * 6 + 6),
        ("pca-arithmetic", 6 * 25 + 25 + 6),
        ("ot-map", 6 * 25 + 25 + 3 * 25 + 1 + 2 * 6 * (14 + 15 + 16)),
    ],
)
def test_parameters_are_the_numbers_stored(name, count):
    train = draw(perturbations=("ifn",))
    options = {"n_components": 6} if name in {"linear", "pca-arithmetic", "ot-map"} else {}
    assert create(name, **options).fit(train, keys=KEYS).n_parameters == count


def test_linear_needs_two_contexts():
    with pytest.raises(ValueError, match=r"linear needs 2 training contexts .* there is only a; use mean-shift"):
        fitted("linear", draw(contexts="at"))


@pytest.mark.parametrize("name", ["mean-shift", "similarity-shift", "ot-map", "pca-arithmetic"])
def test_one_context_is_enough_for_the_others(name):
    train = draw(contexts="at")
    assert fitted(name, train).predict(target(train), perturbation="ifn").n_obs == target(train).n_obs


def test_no_context_with_both_kinds_of_cells_is_refused():
    train = draw(contexts="at")
    apart = train[~((train.obs["cell_type"] == "a") & (train.obs["condition"] == "ctrl")).to_numpy()].copy()
    with (
        pytest.warns(UserWarning, match="no control cells in a"),
        pytest.raises(ValueError, match="no context has both"),
    ):
        fitted("mean-shift", apart)


def test_the_weights_can_be_read():
    train = draw()
    model = fitted("similarity-shift", train)
    weights = model.weights(target(train).X, "ifn")
    assert weights.shape == (3,)
    assert weights.sum() == pytest.approx(1)
    assert model.fit_record["ifn"]["contexts"] == ["a", "b", "c"]


def test_large_groups_are_thinned_whatever_their_order():
    train = draw(n_cells=60)
    order = np.random.default_rng(1).permutation(train.n_obs)
    models = [create("ot-map", max_cells=20).fit(cells, keys=KEYS) for cells in (train, train[order].copy())]
    first, second = (model.predict(target(train), perturbation="ifn").X for model in models)
    np.testing.assert_allclose(first, second, atol=2e-5)
    assert models[0].n_parameters < create("ot-map").fit(train, keys=KEYS).n_parameters


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("similarity-shift", "temperature", 0.0),
        ("linear", "penalty", -1.0),
        ("pca-arithmetic", "n_components", 0),
        ("ot-map", "n_neighbors", 0),
        ("ot-map", "max_cells", 1),
    ],
)
def test_settings_out_of_range_are_refused(name, setting, value):
    with pytest.raises(ValueError, match=setting):
        create(name, **{setting: value})

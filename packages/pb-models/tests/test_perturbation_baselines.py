"""Baselines for unseen perturbations and combinations, against exact answers and plain loops."""

import math
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from pb_data.keys import Keys
from pb_models import MODELS, create
from pb_models.cells import TrainingData
from scipy import sparse

KEYS = Keys(context="line", perturbation="gene", control="ctrl", scale="log1p", separator="+")
DOSE_KEYS = replace(KEYS, dose="dose")
NAMES = [name for name, entry in MODELS.items() if entry.made_for == "perturbations"]
RNG = np.random.default_rng(0)
BASE = {"K": RNG.integers(4, 9, 8) / 2.0, "L": RNG.integers(4, 9, 8) / 2.0, "M": RNG.integers(4, 9, 8) / 2.0}
EFFECTS = {name: RNG.integers(-8, 9, 8) / 4.0 for name in "abcdef"}


def cells(shifts, controls="KLM", seed=1):
    """Four cells a group, with means exact in binary: controls of each context, shifts by (context, label[, dose])."""
    rng, rows, labels = np.random.default_rng(seed), [], []
    groups = {(context, "ctrl"): np.zeros(8) for context in controls} | shifts
    for (context, label, *dose), shift in groups.items():
        noise = rng.integers(-3, 4, (2, 8)) / 8.0
        rows.append(BASE[context] + shift + np.concatenate([noise, -noise]))
        labels += [(context, label, *dose, *[0.0] * (not dose))] * 4
    obs = pd.DataFrame(labels, columns=["line", "gene", "dose"], index=[f"c{i}" for i in range(len(labels))])
    X = sparse.csr_matrix(np.concatenate(rows).astype(np.float32))
    return AnnData(X=X, obs=obs, var=pd.DataFrame(index=[f"g{j}" for j in range(8)]))


def shift(model, perturbation, context="K", dose=None):
    """What the model adds to control cells, the same for all of them; exact where all numbers are dyadic."""
    control = cells({}, controls=context, seed=9)
    moves = model.predict(control, perturbation=perturbation, dose=dose).X - control.X.toarray()
    assert np.abs(moves - moves[0]).max() < 1e-6
    return moves[0]


def fitted(name, train, keys=KEYS, **settings):
    return create(name, **settings).fit(train, keys=keys)


def singles(names="abcd", contexts="K"):
    return {(context, name): EFFECTS[name] for context in contexts for name in names}


def test_training_data_know_the_parts():
    train = cells({("K", "b+a"): EFFECTS["a"], ("K", "c"): EFFECTS["c"], ("K", "c+ctrl"): EFFECTS["c"]})
    parts = TrainingData.from_anndata(train, KEYS).parts
    assert parts == {"b+a": ("a", "b"), "c": ("c",), "c+ctrl": ("c",)}
    assert TrainingData.from_anndata(train, replace(KEYS, separator=None)).parts["b+a"] == ("b+a",)


# --- exact answers ----------------------------------------------------------------------------------------------------


def test_additive_effects_are_recovered_exactly():
    model = fitted("additive", cells(singles() | {("K", "a+b"): EFFECTS["a"] * 3}))
    np.testing.assert_array_equal(shift(model, "c+d"), EFFECTS["c"] + EFFECTS["d"])
    np.testing.assert_array_equal(shift(model, "d+a+c"), EFFECTS["a"] + EFFECTS["c"] + EFFECTS["d"])
    np.testing.assert_array_equal(shift(model, "a+b"), EFFECTS["a"] + EFFECTS["b"])  # the combination is not used
    np.testing.assert_array_equal(shift(model, "b"), EFFECTS["b"])


def test_a_part_never_seen_alone_adds_the_mean_of_the_single_ones():
    model = fitted("additive", cells(singles() | {("K", "a+e"): EFFECTS["e"]}))
    mean = sum(EFFECTS[name] for name in "abcd") / 4
    np.testing.assert_array_equal(shift(model, "b+e"), EFFECTS["b"] + mean)
    np.testing.assert_array_equal(shift(model, "e+f"), 2 * mean)
    assert model.fit_record["single"] == ["a", "b", "c", "d"]
    assert model.fit_record["never_single"] == ["e"]


def test_the_mean_is_over_perturbations_with_as_many_parts():
    pairs = {("K", "a+b"): EFFECTS["e"], ("K", "c+d"): EFFECTS["f"]}
    model = fitted("perturbed-mean", cells(singles() | pairs))
    np.testing.assert_array_equal(shift(model, "z"), sum(EFFECTS[name] for name in "abcd") / 4)
    np.testing.assert_array_equal(shift(model, "a"), shift(model, "z"))
    np.testing.assert_array_equal(shift(model, "a+z"), (EFFECTS["e"] + EFFECTS["f"]) / 2)
    everything = (sum(EFFECTS[name] for name in "abcd") + EFFECTS["e"] + EFFECTS["f"]) / 6
    np.testing.assert_allclose(shift(model, "x+y+z"), everything, atol=1e-6)


@pytest.mark.parametrize("unseen", ["e", "f"])
def test_additive_predicts_an_unseen_single_one_as_perturbed_mean_does(unseen):
    train = cells(singles(contexts="KL") | {("K", "a+b"): EFFECTS["f"]})
    mean, additive = (fitted(name, train) for name in ("perturbed-mean", "additive"))
    for context in "KLM":
        np.testing.assert_array_equal(shift(additive, unseen, context), shift(mean, unseen, context))


def test_the_targets_own_context_comes_first_then_the_mean_over_the_others():
    own, second, third = EFFECTS["d"], EFFECTS["e"], EFFECTS["f"]
    train = cells({("K", "a"): own, ("L", "a"): second, ("M", "a"): third, ("L", "b"): own, ("M", "b"): second})
    additive = fitted("additive", train)
    np.testing.assert_array_equal(shift(additive, "a", "K"), own)
    np.testing.assert_array_equal(shift(additive, "b", "K"), (own + second) / 2)
    np.testing.assert_array_equal(shift(additive, "a+b", "K"), own + (own + second) / 2)
    np.testing.assert_array_equal(shift(additive, "a+b", "L"), second + own)
    mean = fitted("perturbed-mean", train)
    np.testing.assert_array_equal(shift(mean, "z", "K"), (own + (own + second) / 2) / 2)


def test_a_target_of_unknown_context_gets_the_mean_over_contexts():
    train = cells({("K", "a"): EFFECTS["a"], ("L", "a"): EFFECTS["b"]})
    train.obs["line"] = train.obs["line"].replace({"K": "None"})  # a name like any other
    control = cells({}, controls="K")
    control.obs = control.obs.drop(columns="line")
    moves = fitted("additive", train).predict(control, perturbation="a").X - control.X.toarray()
    np.testing.assert_allclose(moves, np.tile((EFFECTS["a"] + EFFECTS["b"]) / 2, (4, 1)), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_labels_of_the_same_parts_are_one_perturbation(name):
    pooled = cells(singles("cd") | {("K", "a+b"): EFFECTS["a"]})
    split = pooled.copy()
    pair = np.flatnonzero(split.obs["gene"] == "a+b")
    split.obs.iloc[pair[:2], 1], split.obs.iloc[pair[2:], 1] = "b + a", "a+b+ctrl"
    one, two = (fitted(name, train) for train in (pooled, split))
    for label in ("a+b", "b+a", "c+d", "c"):
        np.testing.assert_array_equal(shift(one, label), shift(two, label))
    assert one.perturbations == two.perturbations == [("a", "b"), ("c",), ("d",)]


# --- doses ------------------------------------------------------------------------------------------------------------


def loop_share(dose, seen):
    """Shares of the seen doses by the definition; what is missing to 1 is the control's."""
    knots = [0.0, *seen]
    for low, high in pairwise(knots):
        if low <= dose <= high:
            up = (math.log(1 + dose) - math.log(1 + low)) / (math.log(1 + high) - math.log(1 + low))
            return {low: 1 - up, high: up}
    return {seen[-1]: 1.0}


@pytest.mark.parametrize("dose", [0.25, 1.0, 2.0, 3.0, 7.0])
def test_each_part_has_doses_of_its_own(dose):
    measured = {("a", 1.0): "a", ("a", 7.0): "b", ("b", 3.0): "c", ("c", 1.0): "d", ("c", 3.0): "e", ("c", 7.0): "f"}
    train = cells({("K", name, at): EFFECTS[effect] for (name, at), effect in measured.items()})
    expected = {}
    for name in "abc":
        doses = sorted(at for label, at in measured if label == name)
        shares = loop_share(dose, doses).items()
        expected[name] = sum(share * EFFECTS[measured[name, at]] for at, share in shares if at > 0)
    additive, mean = (fitted(name, train, DOSE_KEYS) for name in ("additive", "perturbed-mean"))
    np.testing.assert_allclose(shift(additive, "a+b", dose=dose), expected["a"] + expected["b"], atol=1e-6)
    np.testing.assert_allclose(shift(mean, "z", dose=dose), sum(expected.values()) / 3, atol=1e-6)


@pytest.mark.parametrize("name", [*NAMES, "control"])
def test_an_unseen_perturbation_needs_a_dose_where_there_are_several(name):
    train = cells({("K", "a", 1.0): EFFECTS["a"], ("K", "b", 3.0): EFFECTS["b"]})
    model = fitted(name, train, DOSE_KEYS)
    with pytest.raises(ValueError, match=r"'z' is new; others were seen at the doses \[1.0, 3.0\]; name one"):
        shift(model, "z")
    with pytest.warns(UserWarning, match="dose 8 lies beyond the highest one seen, 3"):
        beyond = shift(model, "z", dose=8)
    np.testing.assert_array_equal(beyond, shift(model, "z", dose=3))
    one = fitted(name, cells({("K", "a", 3.0): EFFECTS["a"]}), DOSE_KEYS)
    assert set(one.predict(cells({}, controls="K"), perturbation="z").obs["dose"]) == {3.0}


@pytest.mark.parametrize("name", NAMES)
def test_a_dose_below_the_control_dose_is_refused(name):
    model = fitted(name, cells({("K", "a", 3.0): EFFECTS["a"]}), DOSE_KEYS)
    with pytest.raises(ValueError, match="dose -1 lies below the control dose 0"):
        shift(model, "z", dose=-1)
    np.testing.assert_array_equal(shift(model, "z", dose=0), np.zeros(8))


# --- what they do not depend on ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_contexts_of_controls_alone_change_nothing(name):
    train = cells(singles(contexts="K"))
    without = train[(train.obs["line"] != "M").to_numpy()].copy()
    for context in "KLM":
        moves = [shift(fitted(name, each), "a+z", context) for each in (train, without)]
        np.testing.assert_array_equal(*moves)


@pytest.mark.parametrize("name", NAMES)
def test_control_cells_of_the_target_teach_nothing(name):
    model = fitted(name, cells(singles(contexts="KL")))
    many, other = cells({}, controls="KM"), cells({}, controls="K", seed=5)
    moved = model.predict(many, perturbation="a+z").X
    for rows in (slice(0, 4), slice(4, 8), slice(1, 2)):
        np.testing.assert_array_equal(model.predict(many[rows].copy(), perturbation="a+z").X, moved[rows])
    moves = model.predict(other, perturbation="a+z").X - other.X.toarray()
    np.testing.assert_allclose(moves, np.tile(shift(model, "a+z"), (4, 1)), atol=1e-6)


def test_additive_does_not_see_combinations_and_perturbed_mean_not_who_is_who():
    train = cells(singles() | {("K", "a+b"): EFFECTS["e"]})
    noisy = cells(singles() | {("K", "a+b"): EFFECTS["f"] * 7})
    np.testing.assert_array_equal(*(shift(fitted("additive", each), "a+c") for each in (train, noisy)))
    renamed = train.copy()
    renamed.obs["gene"] = renamed.obs["gene"].replace({"a": "d", "d": "a"})
    np.testing.assert_array_equal(*(shift(fitted("perturbed-mean", each), "a") for each in (train, renamed)))


@pytest.mark.parametrize("name", NAMES)
def test_another_process_reads_it_back_and_says_the_same(name, tmp_path):
    train = cells(singles(contexts="KL") | {("K", "a+b"): EFFECTS["e"]})
    train.var_names = ["a", "b", "c", "d", "z", "g5", "g6", "g7"]
    model = fitted(name, train)
    control = cells({}, controls="K")
    control.var_names = train.var_names
    control.write_h5ad(tmp_path / "control.h5ad")
    model.save(tmp_path / "model")
    code = (
        "import sys, numpy as np, anndata; from pb_models import load_model; folder, out = sys.argv[1:];"
        "control = anndata.read_h5ad(folder + '/control.h5ad'); model = load_model(folder + '/model');"
        "np.save(out, np.stack([model.predict(control, perturbation=p).X for p in ('a', 'c+z', 'z')]))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path), str(tmp_path / "out.npy")], check=True)
    here = np.stack([model.predict(control, perturbation=p).X for p in ("a", "c+z", "z")])
    assert np.load(tmp_path / "out.npy").tobytes() == here.tobytes()


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*NAMES, "control"])
@pytest.mark.parametrize("label", ["ctrl", "ctrl+ctrl", "", "a+", "+"])
def test_what_names_no_perturbation_is_refused(name, label):
    model = fitted(name, cells(singles()))
    with pytest.raises(ValueError, match="names no perturbation: it is the control label, or a part of it is blank"):
        shift(model, label)


def test_additive_needs_single_perturbations():
    train = cells({("K", "a+b"): EFFECTS["a"], ("K", "b+c"): EFFECTS["b"]})
    with pytest.raises(ValueError, match=r"only combinations \(first: a\+b, b\+c\)"):
        fitted("additive", train)


@pytest.mark.parametrize("name", NAMES)
def test_a_context_without_controls_is_left_out_and_named(name):
    train = cells(singles("ab") | singles("abc", "L"), controls="KM")
    with pytest.warns(UserWarning, match="no control cells in L: left out of the shifts"):
        model = fitted(name, train)
    assert model.perturbations == [("a",), ("b",)]
    expected = fitted(name, cells(singles("ab"), controls="KM"))
    np.testing.assert_array_equal(shift(model, "c", "L"), shift(expected, "c", "L"))
    apart = cells(singles("ab"), controls="LM")
    with (
        pytest.warns(UserWarning, match="no control cells in K"),
        pytest.raises(ValueError, match=r"no context has both control and perturbed cells \(control: \['L', 'M'\]"),
    ):
        fitted(name, apart)


@pytest.mark.parametrize("name", NAMES)
def test_one_perturbation_is_enough(name):
    model = fitted(name, cells({("K", "a"): EFFECTS["a"]}))
    np.testing.assert_allclose(shift(model, "z"), EFFECTS["a"], atol=1e-6)

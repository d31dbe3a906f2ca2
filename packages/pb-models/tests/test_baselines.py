"""Every baseline against its formula in plain loops, and where its assumption holds exactly."""

import itertools
import math

import numpy as np
import pytest
from anndata import AnnData
from pb_data.keys import Keys
from pb_models import create
from pb_models.pca_shifts import PENALTIES
from pb_models.shifts import fit_pca, leave_one_out, pearson, softmax_weights
from pb_models.transport import barycentric_displacement, choose_neighbors, neighbour_displacement
from scipy import sparse

KEYS = Keys(context="cell_type", perturbation="condition", control="ctrl", scale="log1p")


def assemble(groups):
    """Build an AnnData from {(context, condition): (cells, genes)}."""
    import pandas as pd

    X = np.concatenate([np.asarray(rows, dtype=np.float32) for rows in groups.values()])
    labels = [label for label, rows in groups.items() for _ in range(len(rows))]
    obs = pd.DataFrame(labels, columns=["cell_type", "condition"], index=[f"cell{i}" for i in range(len(X))])
    return AnnData(X=X, obs=obs, var=pd.DataFrame(index=[f"g{j}" for j in range(X.shape[1])]))


@pytest.fixture
def random_groups():
    """Four contexts of unequal size; t, the target, has controls only."""
    rng = np.random.default_rng(0)
    groups = {}
    for i, context in enumerate("abcd"):
        centre = rng.gamma(1.0, 1.0, 12)
        groups[context, "ctrl"] = rng.gamma(centre + 0.1, 1.0, (9 + 4 * i, 12))
        groups[context, "ifn"] = rng.gamma(centre + rng.random(12), 1.0, (21 - 3 * i, 12))
    groups["t", "ctrl"] = rng.gamma(1.0, 1.0, (7, 12))
    return groups


def predicted(model, groups, perturbation="ifn"):
    target = assemble({("t", "ctrl"): groups["t", "ctrl"]})
    return model.fit(assemble(groups), keys=KEYS).predict(target, perturbation=perturbation).X


def loop_mean(rows):
    return [math.fsum(float(np.float32(row[g])) for row in rows) / len(rows) for g in range(len(rows[0]))]


def loop_shift(groups, context):
    control, perturbed = loop_mean(groups[context, "ctrl"]), loop_mean(groups[context, "ifn"])
    return [after - before for before, after in zip(control, perturbed, strict=True)]


def loop_pearson(a, b):
    ma, mb = math.fsum(a) / len(a), math.fsum(b) / len(b)
    products = math.fsum((x - ma) * (y - mb) for x, y in zip(a, b, strict=True))
    squares = math.fsum((x - ma) ** 2 for x in a) * math.fsum((y - mb) ** 2 for y in b)
    return products / math.sqrt(squares)


def loop_similarity_shift(profiles, shifts, target, temperature):
    raw = [math.exp(loop_pearson(profile, target) / temperature) for profile in profiles]
    return [math.fsum(w * s[g] for w, s in zip(raw, shifts, strict=True)) / math.fsum(raw) for g in range(len(target))]


def loop_ridge_shift(profiles, shifts, target, penalty):
    """Solve the normal equations with an unpenalised intercept, output by output."""
    Z, D = np.array(profiles), np.array(shifts)
    spread = sum(sum((z - Z.mean(axis=0)) ** 2) for z in Z) / len(Z)
    design = np.column_stack([np.ones(len(Z)), Z])
    weights = np.diag([0.0] + [penalty * spread] * Z.shape[1])
    inverse = np.linalg.inv(design.T @ design + weights)
    return [float(np.array([1.0, *target]) @ inverse @ design.T @ D[:, j]) for j in range(D.shape[1])]


def loop_choice(shift_of, profiles, shifts, candidates):
    errors = []
    for candidate in candidates:
        total = 0.0
        for i in range(len(profiles)):
            rest = [j for j in range(len(profiles)) if j != i]
            guess = shift_of([profiles[j] for j in rest], [shifts[j] for j in rest], profiles[i], candidate)
            total += sum((g - s) ** 2 for g, s in zip(guess, shifts[i], strict=True)) / len(guess)
        errors.append(total / len(profiles))
    return candidates[int(np.argmin(errors))]


# --- the formulas, by plain loops -------------------------------------------------------------------------------------


def test_control_copies(random_groups):
    np.testing.assert_array_equal(predicted(create("control"), random_groups), random_groups["t", "ctrl"].astype("f4"))


def test_mean_shift_by_loops(random_groups):
    shifts = [loop_shift(random_groups, context) for context in "abcd"]
    for row, cell in zip(predicted(create("mean-shift"), random_groups), random_groups["t", "ctrl"], strict=True):
        for g in range(12):
            assert row[g] == pytest.approx(cell[g] + sum(s[g] for s in shifts) / 4, abs=2e-6)


@pytest.mark.parametrize("temperature", [0.05, 0.5, None])
def test_similarity_shift_by_loops(random_groups, temperature):
    profiles = [loop_mean(random_groups[context, "ctrl"]) for context in "abcd"]
    shifts = [loop_shift(random_groups, context) for context in "abcd"]
    model = create("similarity-shift", temperature=temperature)
    rows = predicted(model, random_groups)
    if temperature is None:
        temperature = loop_choice(loop_similarity_shift, profiles, shifts, [2.0**-k for k in range(8)])
        assert model.fit_record["ifn"]["temperature"] == temperature
    shift = loop_similarity_shift(profiles, shifts, loop_mean(random_groups["t", "ctrl"]), temperature)
    np.testing.assert_allclose(rows, random_groups["t", "ctrl"] + np.array(shift), atol=3e-6)


@pytest.mark.parametrize("penalty", [0.01, 3.0, None])
def test_linear_by_loops(random_groups, penalty):
    model = create("linear", penalty=penalty, n_components=3)
    rows = predicted(model, random_groups)
    axes, centre = exact_pca(random_groups, 3)
    profiles = [axes @ (np.array(loop_mean(random_groups[context, "ctrl"])) - centre) for context in "abcd"]
    moves = [axes @ np.array(loop_shift(random_groups, context)) for context in "abcd"]
    target = axes @ (np.array(loop_mean(random_groups["t", "ctrl"])) - centre)
    if penalty is None:
        penalty = loop_choice(loop_ridge_shift, profiles, moves, PENALTIES)
        assert model.fit_record["ifn"]["penalty"] == penalty
    move = np.array(loop_ridge_shift(profiles, moves, target, penalty))
    np.testing.assert_allclose(rows, random_groups["t", "ctrl"] + move @ axes, atol=5e-6)


def exact_pca(groups, k):
    X = np.concatenate(list(groups.values())).astype(np.float32).astype(np.float64)
    centre = X.mean(axis=0)
    return np.linalg.svd(X - centre, full_matrices=False)[2][:k], centre


def test_pca_arithmetic_by_loops(random_groups):
    rows = predicted(create("pca-arithmetic", n_components=4), random_groups)
    axes, centre = exact_pca(random_groups, 4)
    move = sum(axes @ np.array(loop_shift(random_groups, context)) for context in "abcd") / 4
    for row, cell in zip(rows, random_groups["t", "ctrl"], strict=True):
        expected = centre.copy()
        for axis, step in zip(axes, move, strict=True):
            expected += axis * (sum(axis * (cell - centre)) + step)
        np.testing.assert_allclose(row, expected, atol=5e-6)


def test_ot_map_by_loops(random_groups):
    rows = predicted(create("ot-map", n_components=2, n_neighbors=3), random_groups)
    axes, centre = exact_pca(random_groups, 2)
    target = loop_mean(random_groups["t", "ctrl"])
    nearest = max("abcd", key=lambda context: loop_pearson(loop_mean(random_groups[context, "ctrl"]), target))
    source = (random_groups[nearest, "ctrl"] - centre) @ axes.T
    moves = barycentric_displacement(source, (random_groups[nearest, "ifn"] - centre) @ axes.T)
    for row, cell in zip(rows, random_groups["t", "ctrl"], strict=True):
        distances = [sum((axes @ (cell - centre) - point) ** 2) for point in source]
        near = sorted(range(len(source)), key=distances.__getitem__)[:3]
        np.testing.assert_allclose(row, cell + (sum(moves[i] for i in near) / 3) @ axes, atol=2e-5)


@pytest.mark.parametrize("seed", range(3))
def test_displacement_is_the_best_of_all_pairings(seed):
    rng = np.random.default_rng(seed)
    source, target = rng.normal(size=(6, 2)), rng.normal(size=(6, 2)) + 1
    cost = [[sum((a - b) ** 2) for b in target] for a in source]
    pairing = min(itertools.permutations(range(6)), key=lambda order: sum(cost[i][j] for i, j in enumerate(order)))
    np.testing.assert_allclose(barycentric_displacement(source, target), target[list(pairing)] - source, atol=1e-12)


def test_displacements_carry_the_mean_onto_the_mean():
    rng = np.random.default_rng(4)
    source, target = rng.normal(size=(7, 3)), rng.normal(size=(11, 3))
    moved = source + barycentric_displacement(source, target)
    np.testing.assert_allclose(moved.mean(axis=0), target.mean(axis=0), atol=1e-12)


def test_neighbours_are_all_points_where_there_are_fewer():
    source, moves = np.array([[0.0], [1.0]]), np.array([[2.0], [4.0]])
    assert neighbour_displacement(np.array([[9.0]]), source, moves, 15).tolist() == [[3.0]]
    assert neighbour_displacement(np.array([[9.0]]), source, moves, 1).tolist() == [[4.0]]


@pytest.mark.parametrize("seed", range(4))
def test_neighbours_are_chosen_by_loops(seed):
    rng = np.random.default_rng(seed)
    profiles, steps = rng.normal(size=(4, 9)), rng.normal(size=(4, 2)) / 2
    sources, moves = [rng.normal(size=(60, 2)) for _ in range(4)], [rng.normal(size=(60, 2)) for _ in range(4)]
    errors = {}
    for n in (50, 15, 5, 1):
        errors[n] = 0.0
        for i in range(4):
            j = max((j for j in range(4) if j != i), key=lambda j: loop_pearson(profiles[j], profiles[i]))
            near = [np.argsort([sum((x - z) ** 2) for z in sources[j]])[:n] for x in sources[i]]
            step = sum(sum(moves[j][k] for k in rows) / n for rows in near) / 60
            errors[n] += sum((step - steps[i]) ** 2)
    assert choose_neighbors(profiles, steps, sources, moves) == min(errors, key=errors.get)
    assert choose_neighbors(profiles[:1], steps[:1], sources[:1], moves[:1]) == 15


# --- where an assumption holds, the baseline is exact -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["mean-shift", "similarity-shift", "linear", "pca-arithmetic", "ot-map"])
def test_a_constant_shift_is_found_exactly(random_groups, name):
    shift = np.linspace(-1, 2, 12)
    for context in "abcd":
        random_groups[context, "ifn"] = random_groups[context, "ctrl"] + shift
    rows = predicted(create(name), random_groups)
    np.testing.assert_allclose(rows, random_groups["t", "ctrl"] + shift, atol=2e-5)


def linear_groups():
    """Profiles on a plane, shifts linear in the profile; the target lies inside the plane, outside the hull."""
    rng = np.random.default_rng(2)
    plane, slope, offset = rng.normal(size=(2, 20)), rng.normal(size=(20, 20)) / 4, rng.normal(size=20)
    noise = rng.normal(size=(30, 20))
    noise -= noise.mean(axis=0)
    groups, profiles = {}, {}
    for context, place in zip("abcdet", rng.normal(size=(6, 2)), strict=True):
        profiles[context] = 5 + place @ plane
        groups[context, "ctrl"] = profiles[context] + noise
        groups[context, "ifn"] = groups[context, "ctrl"] + offset + profiles[context] @ slope
    truth = groups.pop(("t", "ifn"))
    return groups, truth


def test_linear_recovers_a_linear_law_and_the_mean_does_not():
    groups, truth = linear_groups()
    linear = np.abs(predicted(create("linear"), groups) - truth).max()
    mean = np.abs(predicted(create("mean-shift"), groups) - truth).max()
    assert linear < 1e-3
    assert mean > 0.3


def test_linear_with_a_vast_penalty_is_the_mean_shift():
    groups, _ = linear_groups()
    linear = predicted(create("linear", penalty=1e9), groups)
    np.testing.assert_allclose(linear, predicted(create("mean-shift"), groups), atol=1e-5)


def test_ot_map_moves_each_kind_of_cell_by_its_own_way():
    rng = np.random.default_rng(3)
    kinds = np.zeros((40, 6))
    kinds[:20, 0], kinds[20:, 1] = 30, 30
    steps = np.zeros((40, 6))
    steps[:20, 2], steps[20:, 3] = 2, -3
    near, far, target = (kinds + rng.normal(size=kinds.shape) / 10 for _ in range(3))
    groups = {
        ("near", "ctrl"): near,
        ("near", "ifn"): (near + steps)[rng.permutation(40)],
        ("far", "ctrl"): far[:, ::-1],
        ("far", "ifn"): far[:, ::-1] + 5,
        ("t", "ctrl"): target,
    }
    np.testing.assert_allclose(predicted(create("ot-map"), groups), target + steps, atol=0.25)


# --- the parts --------------------------------------------------------------------------------------------------------


def test_pearson_of_a_flat_profile_is_zero():
    flat, same = pearson(np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 4.0]]), np.array([1.0, 2.0, 4.0]))
    assert flat == 0
    assert 1 - 1e-14 < same <= 1


def test_weights_go_from_the_plain_mean_to_the_nearest():
    rng = np.random.default_rng(5)
    profiles, target = rng.normal(size=(4, 9)), rng.normal(size=9)
    np.testing.assert_allclose(softmax_weights(profiles, target, 1e9), 0.25, atol=1e-8)
    np.testing.assert_array_equal(
        softmax_weights(profiles, target, 1e-9).round(9), pearson(profiles, target) == max(pearson(profiles, target))
    )


def test_leave_one_out_takes_the_first_of_equals_and_needs_three():
    profiles, shifts = np.eye(3), np.ones((3, 3))
    assert leave_one_out(lambda C, S, c, candidate: S.mean(axis=0), profiles, shifts, [4.0, 2.0, 1.0]) == 4.0
    assert leave_one_out(lambda C, S, c, candidate: S[0] * candidate, profiles, shifts, [4.0, 2.0, 1.0]) == 1.0
    assert leave_one_out(lambda C, S, c, candidate: S[0] * candidate, profiles[:2], shifts[:2], [4.0, 1.0]) == 4.0


@pytest.mark.parametrize("n_genes", [30, 1200])
def test_pca_spans_the_same_space_as_an_svd(n_genes):
    rng = np.random.default_rng(6)
    X = rng.normal(size=(60, 5)) @ rng.normal(size=(5, n_genes)) * 3 + rng.random((60, n_genes))
    X = np.where(rng.random(X.shape) < 0.3, 0, X).astype(np.float32)
    basis = fit_pca(sparse.csr_matrix(X), 5)
    axes = np.linalg.svd(X - X.mean(axis=0, dtype=np.float64), full_matrices=False)[2][:5]
    np.testing.assert_allclose(basis.components.T @ basis.components, axes.T @ axes, atol=1e-5)
    np.testing.assert_allclose(basis.scores(X), (X - basis.mean) @ basis.components.T, atol=1e-3)


def test_pca_gives_as_many_axes_as_there_are():
    assert fit_pca(np.random.default_rng(0).random((4, 9)), 50).components.shape == (3, 9)
    assert fit_pca(np.random.default_rng(0).random((40, 9)), 50).components.shape == (9, 9)

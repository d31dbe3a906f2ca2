import itertools

import numpy as np
import pytest
from pb_models import pairing
from pb_models.pairing import Pairs, pair_controls, places_in_context, plan_partners, transport_plan
from scipy import sparse
from scipy.spatial.distance import cdist

SIZES = {"A": 12, "B": 1, "C": 20}


@pytest.fixture(autouse=True)
def empty_memory(monkeypatch):
    monkeypatch.setattr(pairing, "_remembered", {})


def planted(sizes, n_genes=15, seed=0, noise=0.01):
    """Per context a permuted, slightly moved copy of its control cells, all rows shuffled; who is whose is returned."""
    random = np.random.default_rng(seed)
    blocks, contexts, control, origin = [], [], [], []
    for name, n in sizes.items():
        cells = random.gamma(1.0, 1.0, (n, n_genes)) + 3 * random.random(n_genes)
        order = random.permutation(n)
        blocks += [cells, cells[order] + 0.3 + noise * random.random((n, n_genes))]
        contexts += [name] * (2 * n)
        control += [True] * n + [False] * n
        origin += [(name, int(i)) for i in np.r_[np.arange(n), order]]
    shuffle = random.permutation(len(control))
    X = np.concatenate(blocks).astype(np.float32)[shuffle]
    return X, np.array(contexts)[shuffle], np.array(control)[shuffle], [origin[i] for i in shuffle]


def assert_planted(pairs, control, origin):
    np.testing.assert_array_equal(pairs.control, np.flatnonzero(control))
    assert [origin[i] for i in pairs.partner] == [origin[i] for i in pairs.control]
    assert not control[pairs.partner].any()


@pytest.mark.parametrize("assignment", ["reuse", "maximise"])
@pytest.mark.parametrize("make", [np.asarray, sparse.csr_matrix])
def test_a_planted_permutation_is_recovered(assignment, make):
    X, contexts, control, origin = planted(SIZES)
    assert_planted(pair_controls(make(X), contexts, control, ~control, assignment=assignment), control, origin)


def test_beyond_the_exact_genes_too():
    X, contexts, control, origin = planted({"A": 15, "B": 2, "C": 1}, n_genes=1100)
    assert_planted(pair_controls(sparse.csr_matrix(X), contexts, control, ~control), control, origin)


def test_the_reference_s_assignment_avoids_the_planted_pairs():
    X, contexts, control, origin = planted({"A": 12, "C": 20})
    pairs = pair_controls(X, contexts, control, ~control, assignment="minimise")
    assert len(pairs.control) == control.sum()
    assert not any(origin[i] == origin[j] for i, j in zip(*pairs, strict=True))


def test_minimising_takes_no_transport_mass_and_random_distances():
    random = np.random.default_rng(0)
    source, target = random.normal(size=(40, 6)), random.normal(size=(55, 6)) + 1
    plan, distance = transport_plan(source, target), cdist(source, target)
    mass, length = {}, {}
    for how in ("maximise", "minimise"):
        rows, columns = plan_partners(plan, how)
        assert len(rows) == len(set(rows.tolist())) == len(set(columns.tolist())) == 40
        mass[how], length[how] = plan[rows, columns], distance[rows, columns].mean()
    assert (mass["maximise"] > 0).all()
    assert (mass["minimise"] == 0).all()
    assert length["maximise"] < 0.8 * length["minimise"]
    assert length["minimise"] > 0.95 * distance.mean()


def test_the_plan_is_the_best_permutation_of_small_clouds():
    """Against all 720 permutations; every component is kept, so that distances are those of the genes."""
    random = np.random.default_rng(3)
    source, target = random.normal(size=(6, 4)), random.normal(size=(6, 4)) + 0.5
    distance = np.array([[np.sqrt(((a - b) ** 2).sum()) for b in target] for a in source])
    best = min(itertools.permutations(range(6)), key=lambda order: sum(distance[i, j] for i, j in enumerate(order)))
    assert plan_partners(transport_plan(source, target), "reuse").partner.tolist() == list(best)


def test_the_distance_is_not_squared():
    """Staying and one long way cost 2.02 against 2.04 for two short ways; of squares, 4.09 against 2.09."""
    source, target = np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([[1.0, 0.0], [2.0, 0.3]])
    assert plan_partners(transport_plan(source, target), "reuse").partner.tolist() == [1, 0]


def test_marginals_are_uniform():
    random = np.random.default_rng(1)
    plan = transport_plan(random.normal(size=(7, 5)), random.normal(size=(11, 5)))
    np.testing.assert_allclose(plan.sum(axis=1), 1 / 7)
    np.testing.assert_allclose(plan.sum(axis=0), 1 / 11)


def test_equal_mass_goes_to_the_last():
    assert plan_partners(np.array([[0.25, 0.25, 0.0], [0.0, 0.25, 0.25]]), "reuse").partner.tolist() == [1, 2]


def test_partners_are_of_the_same_context_and_inside_the_masks():
    X, contexts, control, _ = planted({"A": 30, "B": 25, "C": 9})
    random = np.random.default_rng(0)
    some = random.random(len(control)) < 0.7
    some[contexts == "C"] &= control[contexts == "C"]
    pairs = pair_controls(X, contexts, control & some, ~control & some)
    np.testing.assert_array_equal(contexts[pairs.control], contexts[pairs.partner])
    np.testing.assert_array_equal(pairs.control, np.flatnonzero(control & some & (contexts != "C")))
    assert some[pairs.partner].all()


def test_permuting_the_cells_permutes_the_pairs():
    X, contexts, control, _ = planted({"A": 30, "B": 25}, noise=1.0)
    order = np.random.default_rng(0).permutation(len(control))
    place = np.argsort(order)
    first = pair_controls(X, contexts, control, ~control)
    second = pair_controls(X[order], contexts[order], control[order], ~control[order])
    expected = sorted(zip(place[first.control].tolist(), place[first.partner].tolist(), strict=True))
    assert list(zip(*(side.tolist() for side in second), strict=True)) == expected


def test_a_problem_is_solved_once_for_all_folds(monkeypatch):
    X, contexts, control, _ = planted({"A": 6, "B": 7, "C": 8})
    solved = []

    def counting(source, target, **options):
        solved.append(source.shape[0])
        return transport_plan(source, target, **options)

    monkeypatch.setattr(pairing, "transport_plan", counting)
    matrix = sparse.csr_matrix(X)
    folds = {}
    for held_out in "ABC":
        perturbed = ~control & (contexts != held_out)
        folds[held_out] = pair_controls(matrix, contexts, control, perturbed)
    assert sorted(solved) == [6, 7, 8]
    pair_controls(matrix, contexts, control, ~control, assignment="maximise")
    assert sorted(solved) == [6, 6, 7, 7, 8, 8]
    X[np.flatnonzero(control & (contexts == "A"))[0], 0] += 1
    pair_controls(sparse.csr_matrix(X), contexts, control, ~control)
    assert sorted(solved) == [6, 6, 6, 7, 7, 8, 8], "another cell is another problem"
    monkeypatch.setattr(pairing, "_remembered", {})
    again = pair_controls(matrix, contexts, control, ~control & (contexts != "B"))
    np.testing.assert_array_equal(again, folds["B"])


def test_the_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(pairing, "_MOST_REMEMBERED", 2)
    X, contexts, control, _ = planted({"A": 3, "B": 4, "C": 5})
    pair_controls(X, contexts, control, ~control)
    assert len(pairing._remembered) == 2


def test_stopping_the_simplex_early_is_said():
    random = np.random.default_rng(0)
    X, half = random.normal(size=(80, 5)), np.arange(80) < 40
    with pytest.warns(UserWarning, match="numItermax"):
        pairs = pair_controls(X, np.array(["A"] * 80), half, ~half, max_pivots=1)
    assert len(pairs.control) == 40


def test_local_places_are_those_in_the_context():
    X, contexts, control, _ = planted({"A": 6, "B": 7})
    pairs = pair_controls(X, contexts, control, ~control)
    places = places_in_context(pairs.partner, contexts, ~control)
    for context in "AB":
        members = np.flatnonzero(~control & (contexts == context))
        of_context = contexts[pairs.control] == context
        np.testing.assert_array_equal(members[places[of_context]], pairs.partner[of_context])


def test_bad_masks_are_refused():
    X, contexts, control, _ = planted({"A": 4, "B": 4})
    with pytest.raises(ValueError, match="4 cells are marked as control and as perturbed"):
        pair_controls(X, contexts, control, ~control | (contexts == "A"))
    with pytest.raises(ValueError, match=r"no context has both control cells \(A\) and perturbed cells \(B\)"):
        pair_controls(X, contexts, control & (contexts == "A"), ~control & (contexts == "B"))


def test_pairs_are_integer_rows():
    X, contexts, control, _ = planted({"A": 4})
    pairs = pair_controls(X, contexts, control, ~control)
    assert isinstance(pairs, Pairs)
    assert {side.dtype for side in pairs} == {np.dtype(np.int64)}

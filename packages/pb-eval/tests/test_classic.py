"""The reference benchmark's metrics equal plain loops in its own joint PCA."""

import math

import numpy as np
import pytest
from pb_eval import METRICS, Reference, evaluate
from pb_eval.classic import CLASSIC, joint_coordinates, regularised_cost
from scipy import sparse, stats
from scipy.special import logsumexp


@pytest.fixture(scope="module")
def groups(unit):
    """Coordinates of truth, prediction and control from a singular value decomposition of all cells."""
    parts = [cells.astype(np.float64) for cells in (unit.truth, unit.prediction, unit.control)]
    cells = np.concatenate(parts)
    cells -= cells.mean(axis=0)
    _, _, axes = np.linalg.svd(cells, full_matrices=False)
    return np.split(cells @ axes[:50].T, np.cumsum([len(part) for part in parts])[:2])


def pairs(x, y, power):
    return sum(math.dist(a, b) ** power for a in x for b in y) / (len(x) * len(y))


def energy(x, y, power):
    return 2 * pairs(x, y, power) - pairs(x, x, power) - pairs(y, y, power)


def entropic(x, y):
    cost = np.array([[math.dist(a, b) ** 2 for b in y] for a in x])
    epsilon, f, g = 0.05 * cost.std(), np.zeros(len(x)), np.zeros(len(y))
    for _ in range(2000):
        f = -epsilon * logsumexp((g - cost) / epsilon, b=1 / len(y), axis=1)
        g = -epsilon * logsumexp((f - cost.T) / epsilon, b=1 / len(x), axis=1)
    return f.mean() + g.mean()


TWINS = {
    "classic_edistance": lambda x, y: energy(x, y, 1),
    "classic_edistance_squared": lambda x, y: energy(x, y, 2),
    "classic_wasserstein": entropic,
    "classic_euclidean": lambda x, y: math.dist(x.mean(axis=0), y.mean(axis=0)),
    "classic_mean_pairwise": lambda x, y: pairs(x, y, 1),
    "classic_mmd": lambda x, y: math.dist(x.mean(axis=0), y.mean(axis=0)) ** 2,
}


@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_matrix, lambda cells: cells.astype(np.float64)])
def test_distances_equal_their_twins(layout, unit, groups):
    truth, prediction, control = groups
    reference = Reference(layout(unit.truth), sparse.csr_matrix(unit.control), unit.genes)
    values = evaluate(layout(unit.prediction), reference, list(TWINS))
    for name, value in values.items():
        twin = TWINS[name](truth, prediction) / TWINS[name](control, prediction)
        assert value == pytest.approx(twin, rel=1e-5), name  # PCA of float32 cells
    assert values["classic_mmd"] == pytest.approx(values["classic_edistance_squared"], rel=1e-12)


def test_common_genes_equal_a_sorted_list(unit):
    def best(cells):
        scores = []
        for gene in range(len(unit.genes)):
            x, y = cells[:, gene].astype(np.float64), unit.control[:, gene].astype(np.float64)
            score = 0.0 if len({*x, *y}) == 1 else stats.ttest_ind(x, y, equal_var=False).statistic
            scores.append((score, gene))
        return {gene for _, gene in sorted(scores, reverse=True)[:100]}

    reference = Reference(unit.truth, unit.control, unit.genes)
    value = evaluate(unit.prediction, reference, ["classic_common_top100"])["classic_common_top100"]
    assert value == len(best(unit.truth) & best(unit.prediction))
    assert 5 < value < 95


def test_the_set_is_complete_and_on_request_only(unit):
    family = {name for name, metric in METRICS.items() if metric.family == "classic"}
    assert family == {name for name in CLASSIC if name.startswith("classic_")} == {*TWINS, "classic_common_top100"}
    assert set(CLASSIC) - family == {
        "r2_mean_all_resampled",
        "r2_mean_top20_resampled",
        "r2_mean_top100_resampled",
    }
    assert not any(METRICS[name].default for name in family)


def test_top_20_and_top_100_are_not_swapped(unit):
    reference = Reference(unit.truth, unit.control, unit.genes)
    found = evaluate(unit.prediction, reference, ["r2_mean_top20_resampled", "r2_mean_top100_resampled"])
    draws = reference.truth.resampled_means, reference.cells(unit.prediction).resampled_means
    for k in (20, 100):
        genes = reference.top_genes(k)
        assert len(genes) == k
        squares = [np.corrcoef(t[genes], p[genes])[0, 1] ** 2 for t, p in zip(*draws, strict=True)]
        assert found[f"r2_mean_top{k}_resampled"] == pytest.approx(np.mean(squares))


def test_the_joint_space_is_fitted_once_per_prediction(unit, monkeypatch):
    calls = []
    monkeypatch.setattr("pb_eval.classic.joint_coordinates", lambda *a: calls.append(1) or joint_coordinates(*a))
    evaluate(unit.prediction, Reference(unit.truth, unit.control, unit.genes), list(CLASSIC))
    assert len(calls) == 1


def test_groups_that_are_each_one_point():
    x, y = np.zeros((3, 2)), np.full((4, 2), 2.0)
    assert regularised_cost(x, y) == pytest.approx(8.0)
    assert regularised_cost(x, x) == 0.0

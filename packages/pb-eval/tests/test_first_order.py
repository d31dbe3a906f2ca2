"""Potentials are the derivatives of transport costs by the weights of cells, and resampled costs follow them."""

import math

import numpy as np
import pytest
from pb_eval.distances import projections, sliced_wasserstein
from pb_eval.distributions import gene_wasserstein
from pb_eval.first_order import cost_draws, gene_plan, sliced_plan
from pb_eval.transport import Plan, entropic_plan, sinkhorn_divergence, sinkhorn_plan, wasserstein, wasserstein_plan
from scipy import sparse, stats

STEP = 1e-6


def cells(seed, n=9, m=9, n_genes=5):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, n_genes)), rng.normal(0.4, 1.3, size=(m, n_genes))


def counts(seed, n=9, m=9):
    rng = np.random.default_rng(seed)
    return [rng.multinomial(size, np.full(size, 1 / size), size=4).astype(np.uint16) for size in (n, m)]


def derivative(cost, w, v):
    """Change of a weighted cost from equal weights towards counts: half that of a small step on and one back.

    Where steps on and back differ, transport has several sets of potentials, and the middle one is asked for.
    """
    ends = [cost(1 + step * (w - 1.0), 1 + step * (v - 1.0)) for step in (STEP, -STEP)]
    return (ends[0] - ends[1]) / (2 * STEP)


def weighted_squares(x, y, w, v):
    """Squared 2-Wasserstein distance along a line, moving weight from cell to cell in rising order."""
    (x, w), (y, v) = (
        (values[np.argsort(values)], list(weights[np.argsort(values)])) for values, weights in ((x, w), (y, v))
    )
    i = j = 0
    total, size = 0.0, sum(w)
    while i < len(x) and j < len(y):
        moved = min(w[i], v[j])
        total += moved * (x[i] - y[j]) ** 2
        w[i] -= moved
        v[j] -= moved
        i, j = i + (w[i] <= 0), j + (v[j] <= 0)
    return total / size


@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("kind", ["continuous", "counts", "negative"])
def test_gene_draws_follow_scipys_weighted_distances(layout, kind):
    x, y = cells(1)
    if kind == "counts":
        x, y = np.maximum(np.rint(2 * x), 0.0), np.maximum(np.rint(2 * y), 0.0)
    if kind == "negative":
        x[np.abs(x) < 0.7], y[np.abs(y) < 0.7] = 0.0, 0.0
    plan = gene_plan(layout(x), layout(y))
    assert plan.cost == pytest.approx(gene_wasserstein(x, y), rel=1e-12)
    w, v = counts(2)
    found = cost_draws(plan, w, v)
    for draw in range(4):
        moves = [
            derivative(lambda a, b, g=g: stats.wasserstein_distance(x[:, g], y[:, g], a, b), w[draw], v[draw])
            for g in range(x.shape[1])
        ]
        assert found[draw] == pytest.approx(plan.cost + np.mean(moves), rel=1e-6)


def test_sliced_draws_follow_weighted_distances_along_lines():
    x, y = cells(3)
    plan = sliced_plan(x, y, seed=4)
    assert math.sqrt(plan.cost) == pytest.approx(sliced_wasserstein(x, y, seed=4), rel=1e-12)
    along = list(zip(projections(x, 4), projections(y, 4), strict=True))[:20]
    w, v = counts(5)
    few = [sliced_line(a, b) for a, b in along]
    for draw in range(2):
        for (a, b), line in zip(along, few, strict=True):
            move = derivative(lambda p, q, a=a, b=b: weighted_squares(a, b, p, q), w[draw], v[draw])
            assert cost_draws(line, w, v)[draw] == pytest.approx(line.cost + move, rel=1e-5, abs=1e-7)


def sliced_line(a, b):
    """The plan along one line: all directions of a single dimension are that line."""
    return sliced_plan(a[:, None], b[:, None])


@pytest.mark.parametrize("power", [1, 2])
def test_exact_potentials_solve_the_dual_problem(power):
    """They stay below every cost and add up to the least cost, which makes them its derivatives."""
    x, y = cells(6, n=12, m=12)
    plan = wasserstein_plan(x, y, power)
    assert plan.cost ** (1 / power) == wasserstein(x, y, power)
    assert plan.first.mean() + plan.second.mean() == pytest.approx(plan.cost, rel=1e-12)
    for i in range(12):
        for j in range(12):
            assert plan.first[i] + plan.second[j] <= math.dist(x[i], y[j]) ** power + 1e-9


def entropic(x, y, a, b, epsilon):
    """Entropic cost of weighted cells, by plain Sinkhorn iterations."""
    a, b = a / a.sum(), b / b.sum()
    kernel = np.exp(-((x[:, None] - y[None]) ** 2).sum(axis=2) / epsilon)
    g = np.zeros(len(y))
    for _ in range(2000):
        f = -epsilon * np.log(kernel @ (b * np.exp(g / epsilon)))
        g = -epsilon * np.log(kernel.T @ (a * np.exp(f / epsilon)))
    return f @ a + g @ b


def test_entropic_draws_follow_weighted_costs():
    x, y = cells(7, n=6, m=8)
    w, v = counts(8, n=6, m=8)
    plan, divergence = entropic_plan(x, y, 3.0, 1e-10), sinkhorn_plan(x, y, 3.0)
    assert divergence.cost == sinkhorn_divergence(x, y, 3.0)

    def cost(a, b):
        return entropic(x, y, a, b, 3.0)

    def debiased(a, b):
        return cost(a, b) - entropic(x, x, a, a, 3.0) / 2 - entropic(y, y, b, b, 3.0) / 2

    for draw in range(2):
        for found, twin in ((plan, cost), (divergence, debiased)):
            move = derivative(twin, w[draw], v[draw])
            assert cost_draws(found, w, v)[draw] == pytest.approx(found.cost + move, rel=1e-4)


def test_first_order_is_what_is_left_of_resampling_many_cells():
    """Of two groups apart, costs of resamples themselves move as the first order says, but for a common shift."""
    rng = np.random.default_rng(9)
    x, y = rng.normal(size=(400, 3)), rng.normal(1.0, 1.0, size=(400, 3))
    w, v = counts(10, n=400, m=400)
    found = cost_draws(gene_plan(x, y), w, v)
    exact = [gene_wasserstein(np.repeat(x, a, axis=0), np.repeat(y, b, axis=0)) for a, b in zip(w, v, strict=True)]
    np.testing.assert_allclose(found - found.mean(), exact - np.mean(exact), atol=0.1 * np.std(exact))


def test_a_cell_taken_twice_costs_its_potential():
    plan = Plan(1.0, np.array([2.0, 4.0]), np.array([0.0, 1.0]))
    assert cost_draws(plan, np.array([[0, 2]]), np.array([[2, 0]])).tolist() == [1.0 + 1.0 - 0.5]

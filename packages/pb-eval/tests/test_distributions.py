"""Distances between groups of cells."""

import math
import tracemalloc

import numpy as np
import pytest
from pb_eval import distances
from pb_eval.distributions import distance_sum, energy_distance, equal_sizes
from pb_eval.transport import entropic_cost, sinkhorn_divergence, wasserstein


@pytest.fixture
def clouds():
    rng = np.random.default_rng(4)
    return rng.normal(size=(37, 6)), rng.normal(0.5, 1.5, size=(29, 6))


def test_distance_sums_equal_double_loops(clouds):
    x, y = clouds
    assert distance_sum(x, y) == pytest.approx(sum(math.dist(a, b) for a in x for b in y), rel=1e-12)
    assert distance_sum(x) == pytest.approx(sum(math.dist(a, b) for a in x for b in x), rel=1e-12)


def test_blocks_of_rows_join_seamlessly(clouds, monkeypatch):
    x, y = clouds
    whole = distance_sum(x, y), distance_sum(x)
    monkeypatch.setattr("pb_eval.distances._ROWS", 5)
    assert (distance_sum(x, y), distance_sum(x)) == pytest.approx(whole, rel=1e-13)


def test_a_cell_repeated_has_no_distance_to_itself():
    assert distance_sum(np.full((600, 3), 0.1)) == pytest.approx(0.0, abs=1e-3)


def test_energy_distance_equals_double_loops(clouds):
    x, y = clouds
    n, m = len(x), len(y)
    twin = 2 * sum(math.dist(a, b) for a in x for b in y) / (n * m)
    twin -= sum(math.dist(a, b) for a in x for b in x) / (n * (n - 1))
    twin -= sum(math.dist(a, b) for a in y for b in y) / (m * (m - 1))
    assert energy_distance(x, y) == pytest.approx(twin, rel=1e-11)


def test_energy_distance_survives_cells_far_from_the_origin(clouds):
    x, y = clouds
    assert energy_distance(x + 1e6, y + 1e6) == pytest.approx(energy_distance(x, y), rel=1e-7)


def test_energy_distance_is_symmetric_and_grows_with_the_shift(clouds):
    x, y = clouds
    assert energy_distance(x, y) == pytest.approx(energy_distance(y, x), rel=1e-12)
    assert energy_distance(x, y + 1) > energy_distance(x, y)


def test_one_cell_has_no_energy_distance(clouds):
    x, y = clouds
    assert math.isnan(energy_distance(x[:1], y))
    assert math.isnan(energy_distance(x, y[:1]))


def test_equal_sizes_keeps_distinct_cells_of_the_larger_group(clouds):
    x, y = clouds
    cut, kept = equal_sizes(x, y, seed=2)
    assert kept is y
    assert len(cut) == len(y)
    rows = {tuple(row) for row in cut}
    assert len(rows) == len(y)
    assert rows <= {tuple(row) for row in x}
    assert (equal_sizes(y, x, seed=2)[1] == cut).all()
    assert not np.array_equal(equal_sizes(x, y, seed=3)[0], cut)


def kernel(a, b, width):
    return math.exp(-(math.dist(a, b) ** 2) / (2 * width**2))


def test_kernel_sums_equal_double_loops_over_blocks(clouds, monkeypatch):
    monkeypatch.setattr("pb_eval.distances._ROWS", 5)
    x, y = clouds
    for other in (x, y):
        twin = sum(kernel(a, b, 1.7) for a in x for b in other)
        assert distances.kernel_sum(x, None if other is x else other, bandwidth=1.7) == pytest.approx(twin, rel=1e-12)


def test_v_statistics_are_zero_between_a_group_and_itself(clouds):
    x, _ = clouds  # across groups, a cell's distance to itself is the root of a rounding error
    assert distances.energy_distance(x, x, "V") == pytest.approx(0.0, abs=1e-8)
    assert distances.mmd_rbf(x, x, 1.7, "V") == pytest.approx(0.0, abs=1e-12)
    assert distances.mmd_linear(x, x, "V") == 0.0


@pytest.mark.parametrize(
    "distance",
    [
        distances.squared_energy_distance,
        distances.mmd_linear,
        lambda x, y: distances.mmd_rbf(x, y, 2.0),
        distances.energy_distance,
    ],
)
def test_unbiased_distances_are_zero_in_expectation(distance):
    rng = np.random.default_rng(5)
    values = [distance(*rng.normal(size=(2, 8, 3))) for _ in range(500)]
    assert abs(np.mean(values)) < 3 * np.std(values) / math.sqrt(len(values))
    assert min(values) < 0 < max(values)


def test_the_squared_energy_distance_equals_double_loops(clouds):
    x, y = clouds
    n, m = len(x), len(y)
    twin = 2 * sum(math.dist(a, b) ** 2 for a in x for b in y) / (n * m)
    twin -= sum(math.dist(a, b) ** 2 for a in x for b in x) / (n * (n - 1))
    twin -= sum(math.dist(a, b) ** 2 for a in y for b in y) / (m * (m - 1))
    assert distances.squared_energy_distance(x, y) == pytest.approx(twin, rel=1e-11)
    assert distances.squared_energy_distance(x, y) == 2 * distances.mmd_linear(x, y)


def test_one_cell_has_no_unbiased_distance(clouds):
    x, y = clouds
    for one in ((x[:1], y), (x, y[:1])):
        assert math.isnan(distances.mmd_rbf(*one, 1.0))
        assert math.isnan(distances.mmd_linear(*one))
    assert math.isnan(distances.mmd_rbf(x, y, 0.0))


def test_the_median_distance_is_that_of_all_pairs_of_cells(clouds):
    cells = np.concatenate(clouds)
    pairs = [math.dist(a, b) for i, a in enumerate(cells) for b in cells[:i]]
    assert distances.median_distance(list(clouds)) == pytest.approx(np.median(pairs), rel=1e-12)
    assert math.isnan(distances.median_distance([cells[:1]]))
    many = [np.random.default_rng(0).normal(size=(700, 2)) for _ in range(2)]
    assert distances.median_distance(many, seed=1) == distances.median_distance(many, seed=1)
    assert distances.median_distance(many, seed=1) != distances.median_distance(many, seed=2)


def test_entropic_cost_lies_between_exact_transport_and_independence(clouds):
    x, y = clouds
    exact = wasserstein(x, y, 2) ** 2
    independent = np.mean([math.dist(a, b) ** 2 for a in x for b in y])
    costs = [entropic_cost(x, y, epsilon) for epsilon in (0.5, 1.0, 10.0, 1e6)]
    assert exact < costs[0] < costs[1] < costs[2] < costs[3]
    assert costs[3] == pytest.approx(independent, rel=1e-4)


def test_sinkhorn_divergence_is_zero_for_a_group_with_itself_and_finite_for_far_cells(clouds):
    x, y = clouds
    assert sinkhorn_divergence(x, x, 0.5) == 0.0
    assert sinkhorn_divergence(x, y * 100, 5.0) == pytest.approx(wasserstein(x, y * 100, 2) ** 2, rel=1e-2)
    assert math.isnan(sinkhorn_divergence(x, y, 0.0))


def test_pairs_are_never_all_in_memory():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 4000, 5))
    tracemalloc.start()
    distances.mmd_rbf(x, y, 2.0)
    energy_distance(x, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4000 * 4000 * 8 / 3

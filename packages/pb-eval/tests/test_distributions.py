"""Distances between groups of cells."""

import math

import numpy as np
import pytest
from pb_eval.distributions import distance_sum, energy_distance, equal_sizes


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
    monkeypatch.setattr("pb_eval.distributions._ROWS", 5)
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

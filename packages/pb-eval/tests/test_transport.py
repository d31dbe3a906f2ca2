"""Entropic transport equals Sinkhorn's iteration written out in the log domain."""

import numpy as np
import pytest
from pb_eval import transport
from scipy.special import logsumexp


def clouds(n=40, m=31, shift=0.5):
    rng = np.random.default_rng(4)
    return rng.normal(size=(n, 6)), rng.normal(shift, 1.5, size=(m, 6))


def costs(x, y):
    return np.array([[np.sum((a - b) ** 2) for b in y] for a in x])


def twin(cost, epsilon):
    f, g = np.zeros(len(cost)), np.zeros(cost.shape[1])
    for _ in range(400):
        f = -epsilon * logsumexp((g - cost) / epsilon, b=1 / len(g), axis=1)
        g = -epsilon * logsumexp((f - cost.T) / epsilon, b=1 / len(f), axis=1)
    return f.mean() + g.mean()


@pytest.mark.parametrize("epsilon", [1.0, 30.0])
@pytest.mark.parametrize("size", [1, 1000, 2**20])
def test_entropic_cost_equals_its_twin_in_any_blocks(epsilon, size, monkeypatch):
    monkeypatch.setattr("pb_eval.transport._BYTES", size)
    x, y = clouds()
    assert transport.entropic_cost(x, y, epsilon) == pytest.approx(twin(costs(x, y), epsilon), rel=1e-7)


@pytest.mark.parametrize("far", [0.0, 1e3])
def test_the_moments_of_costs_are_those_of_all_pairs(far):
    x, y = clouds()
    cost = costs(x, y)
    assert transport.cost_moments(x + far, y + far) == pytest.approx((cost.mean(), cost.var()), rel=1e-9)
    assert transport.cost_moments(x[:1], y[:1])[1] == pytest.approx(0.0, abs=1e-12)


def test_single_precision_that_misses_the_marginals_is_done_again_in_double(monkeypatch):
    x, y = clouds()
    expected = twin(costs(x, y), 1.0)
    rough, kinds = transport._scaled, []

    def scaled(kernel, tolerance):
        kinds.append(kernel.dtype)
        return rough(kernel, tolerance) * (1 if kernel.dtype == np.float64 else np.linspace(1.0, 1.1, kernel.shape[1]))

    monkeypatch.setattr("pb_eval.transport._scaled", scaled)
    assert transport.entropic_cost(x, y, 1.0) == pytest.approx(expected, rel=1e-7)
    assert kinds == [np.float32, np.float64]


def test_lengthened_steps_come_to_the_value_of_plain_ones(monkeypatch):
    x, y = clouds(80, 80)
    found = transport.entropic_cost(x, y, 1.0)
    monkeypatch.setattr("pb_eval.transport._RELAXATION", 1.0)
    assert found == pytest.approx(transport.entropic_cost(x, y, 1.0), rel=1e-6)


def test_what_leaves_the_floating_range_is_solved_in_the_log_domain(monkeypatch):
    x, y = clouds(6, 5, shift=0.0)
    solved = []
    solve = transport._in_log_domain
    monkeypatch.setattr("pb_eval.transport._in_log_domain", lambda *a: solved.append(1) or solve(*a))
    exact = transport.wasserstein(x, 40 * y, 2) ** 2
    assert exact <= transport.entropic_cost(x, 40 * y, 1.0) <= exact + np.log(5)
    assert solved == []
    assert transport.entropic_cost(x, 40 * y, 0.1) == pytest.approx(exact, rel=1e-2)
    assert solved == [1]
    assert transport.entropic_cost(x, 40 * y, 1e3) == pytest.approx(twin(costs(x, 40 * y), 1e3), rel=1e-6)
    assert solved == [1]

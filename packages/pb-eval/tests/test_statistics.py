"""Paired tests against plain enumeration and scipy, and the level they keep."""

import itertools
import math

import numpy as np
import pytest
from pb_eval.statistics import (
    friedman,
    holm,
    shift_interval,
    sign_flip,
    signed_rank,
    smallest_pvalue,
    tied_runs,
)
from scipy import stats

DIFFERENCES = {
    "plain": [0.3, -0.1, 0.7, 0.2, 0.5, -0.4, 0.6],
    "ties": [1.0, -1.0, 1.0, 2.0, 2.0, -2.0, 3.0],
    "zeros": [0.0, 0.0, 1.0, -2.0, 3.0, 4.0],
    "all one way": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7],
    "one": [2.0],
}


def middle_ranks(values):
    ordered = sorted(values)
    return [(ordered.index(v) + 1 + len(ordered) - ordered[::-1].index(v)) / 2 for v in values]


def slow_signed_rank(d):
    """Share of all choices of signs whose rank sum is as far from the middle."""
    d = [value for value in d if value != 0]
    ranks = middle_ranks([abs(value) for value in d])
    observed = sum(r for r, value in zip(ranks, d, strict=True) if value > 0)
    middle = sum(ranks) / 2
    choices = list(itertools.product((0, 1), repeat=len(d)))
    far = [abs(sum(r * s for r, s in zip(ranks, signs, strict=True)) - middle) for signs in choices]
    return sum(value >= abs(observed - middle) - 1e-9 for value in far) / len(choices)


def slow_sign_flip(d):
    choices = list(itertools.product((-1, 1), repeat=len(d)))
    far = [abs(sum(s * value for s, value in zip(signs, d, strict=True))) for signs in choices]
    return sum(value >= abs(sum(d)) - 1e-12 for value in far) / len(choices)


@pytest.mark.parametrize("name", DIFFERENCES)
def test_exact_tests_are_plain_enumerations(name):
    d = np.array(DIFFERENCES[name])
    assert signed_rank(d) == pytest.approx(slow_signed_rank(d.tolist()), abs=1e-12)
    assert sign_flip(d) == pytest.approx(slow_sign_flip(d.tolist()), abs=1e-12)


@pytest.mark.parametrize("n", [1, 6, 7, 13, 30, 50])
def test_the_rank_test_is_scipys_exact_one(n):
    d = np.random.default_rng(n).normal(0.3, 1, n)
    assert signed_rank(d) == pytest.approx(stats.wilcoxon(d, method="exact").pvalue, rel=1e-12)


def test_the_rank_test_of_many_units_is_scipys_approximate_one():
    rng = np.random.default_rng(0)
    d = np.round(rng.normal(0.2, 1, 80), 1)
    d = d[d != 0]
    assert signed_rank(d) == pytest.approx(stats.wilcoxon(d, correction=False, method="approx").pvalue, rel=1e-9)


def test_the_sign_flip_test_is_scipys_permutation_test():
    d = np.random.default_rng(1).normal(0.5, 1, 9)
    oracle = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip(d) == pytest.approx(oracle.pvalue, rel=1e-12)


def test_sign_flips_of_many_units_are_drawn():
    d = np.random.default_rng(2).normal(0.4, 1, 30)
    exact = 2 * stats.norm.sf(abs(d.sum()) / math.sqrt((d**2).sum()))  # to a few percent
    found = sign_flip(d)
    assert found == sign_flip(d)
    assert found == pytest.approx(exact, rel=0.1)
    assert sign_flip(d, seed=1) != found


@pytest.mark.parametrize("test", [signed_rank, sign_flip])
def test_of_seven_units_the_smallest_pvalue_is_two_of_128(test):
    assert test(np.arange(1.0, 8.0)) == smallest_pvalue(7) == 2 / 128
    assert test(np.zeros(7)) == 1.0
    assert smallest_pvalue(0) == smallest_pvalue(1) == 1.0


@pytest.mark.parametrize("test", [signed_rank, sign_flip])
def test_the_tests_keep_their_level(test):
    """Under the null at most 5 % of 2,000 tests are below 0.05; the bound is that of the binomial at 1 in 10,000."""
    rng = np.random.default_rng(3)
    found = [test(row) for row in rng.standard_t(3, size=(2000, 8))]
    assert sum(p <= 0.05 for p in found) <= stats.binom.ppf(1 - 1e-4, 2000, 0.05)
    assert sum(p <= 0.05 for p in found) >= stats.binom.ppf(1e-4, 2000, 10 / 256)  # the largest level under 0.05


def test_holm_is_the_step_down_of_its_definition():
    p = np.array([0.04, 0.01, np.nan, 0.03, 0.5, 0.01])
    known = sorted((value, i) for i, value in enumerate(p) if value == value)
    expected, so_far = np.full(6, np.nan), 0.0
    for place, (value, i) in enumerate(known):
        so_far = max(so_far, min(1.0, value * (len(known) - place)))
        expected[i] = so_far
    assert holm(p) == pytest.approx(expected, nan_ok=True)
    assert holm(np.array([])).size == 0
    assert np.isnan(holm(np.array([np.nan]))).all()


def test_friedman_is_scipys_and_ranks_share_ties():
    merits = np.round(np.random.default_rng(4).normal(size=(4, 9)), 1)
    found, oracle = friedman(merits), stats.friedmanchisquare(*merits)
    assert (found.statistic, found.pvalue) == pytest.approx((oracle.statistic, oracle.pvalue))
    slow = np.mean([middle_ranks([-value for value in unit]) for unit in merits.T.tolist()], axis=0)
    assert found.mean_ranks == pytest.approx(slow)


def test_friedman_of_equal_models_says_so():
    assert friedman(np.ones((3, 5)))[1:] == (0.0, 1.0)
    assert all(math.isnan(value) for value in friedman(np.eye(2))[1:])
    assert all(math.isnan(value) for value in friedman(np.ones((3, 1)))[1:])
    assert friedman(np.empty((0, 4))).mean_ranks.size == 0


@pytest.mark.parametrize("n", [6, 7, 12, 25])
def test_the_interval_holds_the_shifts_that_the_test_does_not_reject(n):
    d = np.random.default_rng(n).normal(1, 1, n)
    low, high = shift_interval(d)
    inside, outside = np.linspace(low + 1e-9, high - 1e-9, 7), (low - 1e-6, high + 1e-6)
    assert all(signed_rank(d - shift) > 0.05 for shift in inside)
    assert all(signed_rank(d - shift) <= 0.05 for shift in outside)


def test_five_units_have_no_interval_of_95_percent():
    assert all(math.isnan(bound) for bound in shift_interval(np.arange(5.0)))
    assert not any(math.isnan(bound) for bound in shift_interval(np.arange(5.0), level=0.9))
    assert all(math.isnan(bound) for bound in shift_interval(np.array([1.0] * 6 + [np.nan])))


@pytest.mark.parametrize("n", [7, 60])
def test_the_interval_covers_as_often_as_it_says(n):
    rng = np.random.default_rng(n)
    bounds = np.array([shift_interval(row) for row in rng.normal(0.5, 1, size=(1000, n))])
    covered = np.sum((bounds[:, 0] <= 0.5) & (bounds[:, 1] >= 0.5))
    assert covered >= stats.binom.ppf(1e-4, 1000, 0.95)
    assert covered <= stats.binom.ppf(1 - 1e-4, 1000, 0.97)


def test_the_interval_of_many_units_joins_the_exact_one(monkeypatch):
    d = np.random.default_rng(5).normal(0.3, 1, 50)
    exact = shift_interval(d)
    monkeypatch.setattr("pb_eval.statistics._EXACT_RANKS", 49)
    assert shift_interval(d) == pytest.approx(exact, abs=0.02)


def slow_tied_runs(differ):
    n = len(differ)
    runs = [
        (i, j)
        for i in range(n)
        for j in range(i, n)
        if not any(differ[a][b] for a in range(i, j + 1) for b in range(i, j + 1))
    ]
    return [run for run in runs if not any(o != run and o[0] <= run[0] and run[1] <= o[1] for o in runs)]


@pytest.mark.parametrize("seed", range(20))
def test_tied_runs_are_the_longest_without_a_difference(seed):
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((7, 7)) < 0.3, 1)
    assert tied_runs(upper | upper.T) == slow_tied_runs(upper | upper.T)


def test_runs_of_none_and_of_one():
    assert tied_runs(np.zeros((0, 0), dtype=bool)) == []
    assert tied_runs(np.zeros((1, 1), dtype=bool)) == [(0, 0)]

"""Ranks of parts and of resamples are those of the cells copied out; ranks along an axis are scipy's and sklearn's."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pb_eval import Reference, evaluate, fit_basis, intervals, ordering, ranking, split_half
from pb_eval.ordering import _sorted, kept_blocks, ordered_blocks
from pb_eval.ranks import rank_sum_draws, rank_sums, rank_sums_of_parts
from pb_eval.threads import once, spread, threads
from scipy import sparse, stats
from sklearn import metrics

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
LAYOUTS = pytest.mark.parametrize("layout", [np.asarray, sparse.csr_matrix])


def groups(dtype, seed=0):
    """Counts with many ties, continuous values with none, and values below zero."""
    rng = np.random.default_rng(seed)
    made = [rng.poisson(0.7, (n, 12)) * rng.choice([-1.0, 1.0], (n, 12), p=[0.2, 0.8]) for n in (17, 11)]
    for cells in made:
        cells[:, 4:8] *= rng.random((len(cells), 4))
        cells[:, 8] = 0.0
        cells[:, 9] = 2.0
    return [cells.astype(dtype) for cells in made]


@DTYPES
@LAYOUTS
def test_rank_sums_of_parts_are_those_of_the_parts(dtype, layout):
    group, control = groups(dtype)
    rng = np.random.default_rng(1)
    parts = [
        (np.sort(rng.permutation(17)[:n]), np.sort(rng.permutation(11)[:m])) for n, m in ((8, 5), (17, 11), (1, 2))
    ]
    found = rank_sums_of_parts(layout(group), layout(control), parts)
    for sums, (rows, controls) in zip(found, parts, strict=True):
        twin = rank_sums(group[rows], control[controls])
        assert (sums.n_group, sums.n_control) == (len(rows), len(controls))
        np.testing.assert_array_equal(sums.statistic, twin.statistic)
        np.testing.assert_array_equal(sums.ties, twin.ties)


@DTYPES
@LAYOUTS
def test_rank_sums_of_resamples_are_those_of_repeated_cells(dtype, layout, monkeypatch):
    group, control = groups(dtype)
    counts = np.random.default_rng(2).multinomial(17, np.full(17, 1 / 17), size=5).astype(np.uint16)
    found = rank_sum_draws(layout(group), layout(control), counts)
    for draw, taken in enumerate(counts):
        twin = rank_sums(np.repeat(group, taken, axis=0), control)
        np.testing.assert_allclose(found.statistic[draw], twin.statistic, rtol=1e-12, atol=1e-9)
        np.testing.assert_array_equal(found.ties[draw], twin.ties)
    monkeypatch.setattr("pb_eval.ordering._KEYS", 3 * 28)
    np.testing.assert_array_equal(rank_sum_draws(layout(group), layout(control), counts).ties, found.ties)


@DTYPES
def test_codes_turn_back_into_values(dtype):
    group, control = groups(dtype)
    [make] = ordered_blocks(group, control)
    block = make()
    stacked = np.concatenate([group, control])
    np.testing.assert_array_equal(block.values, stacked[block.cells, block.gene])
    assert block.decode(np.array([block.zero]))[0] == 0.0
    assert block.keys.size == np.count_nonzero(stacked)


@DTYPES
@LAYOUTS
@pytest.mark.parametrize("copies", [1, 30])  # 28 cells, and 840, whose numbers take two bytes
def test_kept_blocks_are_sorted_once_and_give_back_what_was_sorted(layout, dtype, copies, monkeypatch):
    """Several blocks, of which one is of a gene that is zero everywhere."""
    group, control = (layout(np.tile(cells, (copies, 1))) for cells in groups(dtype))
    monkeypatch.setattr("pb_eval.ordering._KEYS", 28 * copies)
    sorts = []
    monkeypatch.setattr(ordering, "_sorted", lambda *given: sorts.append(given) or _sorted(*given))
    blocks = list(zip(kept_blocks(group, control), ordered_blocks(group, control), strict=True))
    assert len(blocks) == 12
    for kept, make in blocks:
        for block, expected in ((kept(), make()), (kept(), make())):
            for name in ("keys", "cells", "values", "gene"):
                mine, theirs = getattr(block, name), getattr(expected, name)
                assert mine.dtype == theirs.dtype, name
                np.testing.assert_array_equal(mine, theirs, err_msg=name)
            assert (block.genes, block.zero) == (expected.genes, expected.zero)
    assert len(sorts) == 3 * 12  # once for two that are kept, twice for two that are not


def test_the_number_of_threads_changes_no_bit(unit, monkeypatch):
    """Scores, intervals and ceilings, with blocks so small that there are several of each kind."""
    for module, name, size in (("ordering", "_KEYS", 200), ("pairs", "_TILE", 16), ("bootstrap", "_ROWS", 16)):
        monkeypatch.setattr(f"pb_eval.{module}.{name}", size)
    monkeypatch.setattr("pb_eval.resampling._ROWS", 8)
    monkeypatch.setattr("pb_eval.distributions._GENES", 32)
    found = []
    for number in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", number)
        assert threads() == int(number)
        reference = Reference(unit.truth, sparse.csr_matrix(unit.control), unit.genes, fit_basis(unit.training, 5))
        scores = evaluate(unit.prediction, reference)
        bounds = intervals(unit.prediction, reference, scores, draws=20)
        found.append((scores, bounds, split_half(reference, draws=2)))
    assert repr(found[0]) == repr(found[1])


def test_pieces_run_in_several_threads_and_their_pieces_in_one(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    meeting = threading.Barrier(2, timeout=30)

    def name(_):
        meeting.wait()
        return threading.current_thread().name, set(spread(lambda _: threading.current_thread().name, range(3)))

    first, second = spread(name, range(2))
    assert first[0] != second[0]
    assert [first[1], second[1]] == [{first[0]}, {second[0]}]
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert threads() == 1


def test_two_objects_compute_a_property_at_the_same_time():
    meeting = threading.Barrier(2, timeout=30)

    class Meets:
        @once
        def number(self):
            return meeting.wait()

    objects = Meets(), Meets()
    pair = [threading.Thread(target=lambda one=one: one.number) for one in objects]
    for thread in pair:
        thread.start()
    for thread in pair:
        thread.join()
    assert sorted(one.number for one in objects) == [0, 1]  # computed, and not again


values = hnp.arrays(np.int8, st.tuples(st.integers(1, 3), st.integers(1, 7)), elements=st.integers(-2, 2))


@given(values, st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_ranks_along_an_axis_equal_scipy_and_sklearn(numbers, seed):
    scores = numbers.astype(float)
    np.testing.assert_array_equal(ranking.midranks(scores), stats.rankdata(scores, axis=-1))
    pvalues = (scores + 2) / 4
    twin = np.stack([stats.false_discovery_control(row, method="bh") for row in pvalues])
    np.testing.assert_allclose(ranking.adjusted(pvalues), twin, rtol=1e-12)
    labels = np.random.default_rng(seed).random(scores.shape) < 0.5
    precision, area = ranking.average_precision(labels, scores), ranking.roc_area(labels, scores)
    for row, (label, score) in enumerate(zip(labels, scores, strict=True)):
        expected = metrics.average_precision_score(label, score) if label.any() else np.nan
        np.testing.assert_allclose(precision[row], expected, rtol=1e-12)
        expected = metrics.roc_auc_score(label, score) if label.any() and not label.all() else np.nan
        np.testing.assert_allclose(area[row], expected, rtol=1e-12)
        np.testing.assert_array_equal(ranking.midranks(score), stats.rankdata(score))

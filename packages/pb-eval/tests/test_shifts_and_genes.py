"""Rounding is no signal, and ties are settled by what the genes are, not by where they stand."""

import math

import numpy as np
import pytest
from pb_eval import Reference, evaluate
from pb_eval.deltas import cosine, shift
from pb_eval.genes import overlap, rank_up_regulated, sign_agreement
from pb_eval.means import pearson
from scipy import sparse

COPIED = {"pearson_delta": 0.0, "cosine_delta": 0.0, "overlap_top100": 0.0, "direction_match": 0.0}


def test_a_difference_within_rounding_is_no_shift():
    mean = np.array([0.1 + 0.2, 1e6, 1e-9, 0.0])
    control = np.array([0.3, 1e6 + 1e-9, 2e-9, 1e-300])
    assert shift(mean, control).tolist() == [0.0, 0.0, -1e-9, -1e-300]


@pytest.mark.parametrize("layout", [sparse.csr_matrix, np.asfortranarray, lambda cells: cells[::-1].astype(np.float64)])
def test_a_copied_control_has_no_shift_in_any_layout(layout, unit):
    cells = unit.control.astype(np.float64) / 3
    reference = Reference(unit.truth, cells, unit.genes)
    assert evaluate(layout(cells), reference, list(COPIED)) == COPIED


@pytest.mark.parametrize("value", [0.1, 1 / 3, 7.7])
def test_a_constant_vector_has_no_correlation(value):
    constant, varied = np.full(7, value), np.arange(7.0)
    assert pearson(varied, constant) == 0.0
    assert math.isnan(pearson(constant, varied))
    rows = pearson(np.stack([varied, constant]), np.stack([varied, varied]))
    assert rows[0] == pytest.approx(1.0)
    assert math.isnan(rows[1])


def test_cosine_of_nothing():
    assert cosine(np.ones(3), np.zeros(3)) == 0.0
    assert math.isnan(cosine(np.zeros(3), np.ones(3)))


def test_ties_are_settled_by_shift_then_by_name():
    score = np.array([1.0, 2.0, 1.0, 1.0, 2.0])
    moved = np.array([0.1, 0.2, 0.3, 0.1, 0.2])
    names = ["D", "B", "C", "A", "E"]
    for order in (np.arange(5), np.array([3, 1, 4, 0, 2])):
        ranking = rank_up_regulated(score[order], moved[order], [names[i] for i in order])
        assert [names[order[i]] for i in ranking] == ["B", "E", "C", "A", "D"]


def test_empty_lists_have_no_overlap_and_no_sign():
    assert math.isnan(overlap(np.array([], dtype=np.intp), np.array([1])))
    assert overlap(np.array([1]), np.array([], dtype=np.intp)) == 0.0
    assert math.isnan(sign_agreement(np.zeros(2), np.ones(2)))

"""Genes named as false, lost or reversed are those that sets and shifts say."""

import numpy as np
import pytest
from pb_eval import Reference, gene_errors
from pb_eval.folds import log_fold, normalised_error
from pb_eval.genes import jaccard, precision, same_direction, strongest
from pb_eval.matrix import linear_means
from scipy import sparse


def test_errors_equal_sets(unit):
    reference = Reference(unit.truth, unit.control, unit.genes)
    prediction = reference.cells(unit.prediction)
    truth, predicted = ({unit.genes[i] for i in cells.significant} for cells in (reference.truth, prediction))
    shifts = {gene: (reference.truth.shift[i], prediction.shift[i]) for i, gene in enumerate(unit.genes)}
    named = gene_errors(prediction, reference).groupby("error")["gene"].agg(set).to_dict()
    reversed_ = {gene for gene in truth & predicted if shifts[gene][0] * shifts[gene][1] < 0}
    expected = {"false": predicted - truth, "lost": truth - predicted, "reversed": reversed_}
    assert named == {kind: genes for kind, genes in expected.items() if genes}
    assert len(named) >= 2


def test_the_surest_errors_come_first(unit):
    reference = Reference(unit.truth, unit.control, unit.genes)
    table = gene_errors(reference.cells(unit.prediction), reference)
    for _, rows in table.groupby("error"):
        surest = rows[["true_score", "predicted_score"]].abs().max(axis=1)
        assert surest.is_monotonic_decreasing


def test_truth_itself_has_no_errors(unit):
    reference = Reference(unit.truth, unit.control, unit.genes)
    assert gene_errors(reference.truth, reference).empty


def test_empty_sets():
    none, some = np.array([], dtype=np.intp), np.array([0, 1])
    assert precision(some, none) == jaccard(some, none) == same_direction(some, none, np.ones(2), np.ones(2)) == 0.0
    assert all(np.isnan(measure(none, some)) for measure in (precision, jaccard))
    assert np.isnan(same_direction(none, some, np.ones(2), np.ones(2)))
    assert np.isnan(normalised_error(np.zeros(2), np.ones(2)))


def test_the_strongest_genes_are_settled_by_name():
    assert strongest(np.array([0, 1, 2]), np.array([1.0, -1.0, 1.0]), ["C", "A", "B"], 2).tolist() == [1, 2]


@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_matrix])
def test_means_before_log1p_equal_loops(layout):
    counts = np.random.default_rng(0).poisson(1.0, (700, 4)).astype(np.float64)
    assert linear_means(layout(np.log1p(counts))) == pytest.approx(counts.mean(axis=0), rel=1e-12)
    assert np.isfinite(linear_means(layout(np.full((2, 3), 1e4, dtype=np.float32)))).all()
    assert linear_means(layout(np.full((2, 3), -5.0))).tolist() == [0.0] * 3


def test_rounding_is_no_fold_change():
    assert log_fold(np.array([0.1 + 0.2, 0.0]), np.array([0.3, 0.0])).tolist() == [0.0, 0.0]

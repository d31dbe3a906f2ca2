"""Matrices come in through one door, and moments do not depend on the layout."""

import numpy as np
import pytest
from pb_eval.matrix import as_matrix, moments, subsample
from scipy import sparse


def test_good_input_is_handed_through_without_a_copy():
    dense = np.zeros((2, 3), dtype=np.float32)
    csr = sparse.csr_matrix(dense)
    assert as_matrix(dense, "truth", 3) is dense
    assert as_matrix(csr, "truth", 3) is csr


def test_integers_become_floats():
    assert as_matrix(np.ones((1, 2), dtype=np.int32), "truth", 2).dtype == np.float64
    assert as_matrix(sparse.csr_matrix(np.ones((1, 2), dtype=np.int32)), "truth", 2).dtype == np.float64


def test_duplicated_entries_are_summed_on_a_copy():
    doubled = sparse.csr_matrix((np.array([1.0, 2.0]), np.array([1, 1]), np.array([0, 2])), shape=(1, 3))
    assert as_matrix(doubled, "truth", 3).toarray().tolist() == [[0.0, 3.0, 0.0]]
    assert doubled.nnz == 2


def test_unsorted_indices_are_sorted_on_a_copy():
    backwards = sparse.csr_matrix((np.array([1.0, 2.0]), np.array([2, 0]), np.array([0, 2])), shape=(1, 3))
    assert as_matrix(backwards, "truth", 3).toarray().tolist() == [[2.0, 0.0, 1.0]]
    assert backwards.indices.tolist() == [2, 0]


BAD = {
    "prediction has 2 dimensions? no: 1 dimensions, expected a matrix of cells x genes.": np.zeros(3),
    "prediction has no cells: give at least one.": np.zeros((0, 3)),
    "prediction has 2 genes, expected 3: give all groups the same genes in one order.": np.zeros((4, 2)),
    "prediction has NaN or infinite values in 1 genes (first: column 2): mend them.": [[0, 0, np.nan]],
    "prediction has NaN or infinite values in 2 genes (first: column 0): mend them.": [
        [np.inf, 1, -np.inf],
        [-np.inf, 1, 0],
    ],
    "prediction holds <U1 values, expected numbers.": [["a", "b", "c"]],
}
BAD["prediction has 1 dimensions, expected a matrix of cells x genes."] = BAD.pop(next(iter(BAD)))


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_answered_in_one_sentence(message):
    with pytest.raises(ValueError) as caught:
        as_matrix(BAD[message], "prediction", 3)
    assert str(caught.value) == message


def test_nan_in_a_sparse_matrix_is_found():
    cells = sparse.csr_matrix(np.array([[0.0, np.nan], [1.0, 1.0]]))
    with pytest.raises(ValueError, match="truth has NaN or infinite values in 1 genes"):
        as_matrix(cells, "truth", 2)


@pytest.mark.parametrize("layout", [np.asarray, np.asfortranarray, sparse.csr_matrix, sparse.csr_array])
def test_moments_equal_loops(layout):
    rng = np.random.default_rng(0)
    cells = (rng.poisson(1.0, (700, 5)) + 1e4 * (np.arange(5) == 4)).astype(np.float32)
    found = moments(layout(cells))
    for gene in range(5):
        values = [float(v) for v in cells[:, gene]]
        centre = sum(values) / len(values)
        assert found.mean[gene] == pytest.approx(centre, rel=1e-13)
        spread = sum((v - centre) ** 2 for v in values) / (len(values) - 1)
        assert found.variance[gene] == pytest.approx(spread, rel=1e-12)


@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("value", [0.0, 0.1, 1.1, 1 / 3, 1e5 / 7])
def test_a_constant_gene_has_no_variance(layout, value):
    assert moments(layout(np.full((1013, 2), value))).variance.tolist() == [0.0, 0.0]


def test_one_cell_has_no_variance_to_speak_of():
    assert np.isnan(moments(np.ones((1, 2))).variance).all()


def test_subsample_draws_distinct_cells_and_repeats_itself():
    drawn = subsample(50, 40, seed=3)
    assert len(set(drawn.tolist())) == 40
    assert drawn.tolist() == subsample(50, 40, seed=3).tolist()
    assert drawn.tolist() != subsample(50, 40, seed=4).tolist()

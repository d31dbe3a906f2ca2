"""Principal components of training cells."""

import numpy as np
import pytest
from pb_eval import fit_basis
from scipy import sparse


@pytest.fixture(scope="module")
def training():
    rng = np.random.default_rng(1)
    factors = rng.gamma(1.0, 1.0, (150, 4)) @ rng.gamma(0.5, 1.0, (4, 60))
    return np.log1p(rng.poisson(factors * 0.3)).astype(np.float32)


def test_basis_equals_the_singular_value_decomposition(training):
    basis = fit_basis(training, n_components=6)
    centred = training.astype(np.float64) - training.mean(axis=0, dtype=np.float64)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    assert np.abs(np.sum(basis.components * axes[:6], axis=1)) == pytest.approx(np.ones(6), abs=1e-5)
    assert basis.explained_variance_ratio == pytest.approx(values[:6] ** 2 / np.sum(values**2), rel=1e-4)
    assert basis.mean == pytest.approx(training.mean(axis=0), abs=1e-6)


def test_sparse_and_dense_cells_give_one_basis(training):
    dense, csr = fit_basis(training, 5), fit_basis(sparse.csr_matrix(training), 5)
    assert csr.components == pytest.approx(dense.components, abs=1e-4)


def test_coordinates_are_projections(training):
    basis = fit_basis(training, n_components=3)
    expected = [[float((row - basis.mean) @ axis) for axis in basis.components] for row in training.astype(np.float64)]
    assert basis.transform(training) == pytest.approx(np.array(expected), abs=1e-10)
    assert basis.transform(sparse.csr_matrix(training)) == pytest.approx(np.array(expected), abs=1e-10)


def test_one_seed_gives_one_basis_bit_for_bit(training):
    first, second = (fit_basis(sparse.csr_matrix(training), 5, seed=3) for _ in range(2))
    assert first.components.tobytes() == second.components.tobytes()


def test_axes_are_orthonormal_and_other_seeds_agree(training):
    basis, other = fit_basis(training, 5), fit_basis(training, 5, seed=9)
    assert basis.components @ basis.components.T == pytest.approx(np.eye(5), abs=1e-5)
    assert other.components == pytest.approx(basis.components, abs=1e-3)


def test_few_cells_give_few_components(training):
    assert fit_basis(training[:4], n_components=50).components.shape == (3, 60)


def test_cells_of_low_rank_give_no_arbitrary_axes(training):
    repeated = np.tile(training[:3], (20, 1))
    bases = [fit_basis(sparse.csr_matrix(repeated), 10) for _ in range(2)]
    assert bases[0].components.shape == (2, 60)
    assert bases[0].explained_variance_ratio.sum() == pytest.approx(1.0, abs=1e-5)
    assert bases[0].components == pytest.approx(bases[1].components, abs=1e-5)


def test_sparse_cells_are_never_densified(training, monkeypatch):
    csr = sparse.csr_matrix(training)

    def refuse(*args, **kwargs):
        raise AssertionError

    monkeypatch.setattr(sparse.csr_matrix, "toarray", refuse)
    monkeypatch.setattr(sparse.csr_matrix, "todense", refuse)
    fit_basis(csr, 5).transform(csr)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (np.zeros((1, 5)), "expected at least two cells"),
        (np.zeros((5, 1)), "expected at least two cells"),
        (np.full((9, 5), 2.0), "training cells are all alike"),
        (np.full((9, 5), np.nan), "training has NaN or infinite values in 5 genes"),
        (np.zeros(3), "training has 1 dimensions"),
    ],
)
def test_impossible_training_cells_are_refused(cells, message):
    with pytest.raises(ValueError, match=message):
        fit_basis(cells, 3)

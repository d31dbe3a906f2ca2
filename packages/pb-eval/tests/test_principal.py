"""Principal axes of many cells equal a singular value decomposition."""

import numpy as np
import pytest
from pb_eval import Reference, evaluate, fit_basis
from pb_eval.matrix import moments, pooled_moments
from pb_eval.principal import principal_axes
from scipy import sparse


def draw(n_cells=200, n_genes=150, dtype=np.float32, seed=3):
    """Cells of a slowly falling spectrum on a large mean, in three groups of unequal size."""
    rng = np.random.default_rng(seed)
    cells = rng.normal(size=(n_cells, n_genes)) @ np.diag(0.99 ** np.arange(n_genes)) + rng.gamma(2.0, 1.0, n_genes)
    cells[rng.random(cells.shape) < 0.3] = 0.0
    return np.split(cells.astype(dtype), [70, 90])


def decomposed(groups):
    cells = np.concatenate(groups).astype(np.float64)
    _, values, axes = np.linalg.svd(cells - cells.mean(axis=0), full_matrices=False)
    return values**2, axes


@pytest.mark.parametrize(("dtype", "rel"), [(np.float32, 1e-6), (np.float64, 1e-12)])
@pytest.mark.parametrize(
    "layouts", [(np.asarray,) * 3, (sparse.csr_matrix,) * 3, (sparse.csr_array, np.asarray, np.asarray)]
)
def test_axes_and_squares_equal_the_decomposition(layouts, dtype, rel):
    groups = draw(dtype=dtype)
    squares, axes = decomposed(groups)
    laid = [layout(group) for layout, group in zip(layouts, groups, strict=True)]
    found = principal_axes(laid, np.concatenate(groups).mean(axis=0, dtype=np.float64), 8)
    assert found.squares == pytest.approx(squares[:8], rel=rel)
    assert np.abs(np.sum(found.axes * axes[:8], axis=1)) == pytest.approx(np.ones(8), abs=rel)
    assert found.axes @ found.axes.T == pytest.approx(np.eye(8), abs=rel)
    assert found.axes.dtype == dtype
    assert (np.take_along_axis(found.axes, np.abs(found.axes).argmax(axis=1, keepdims=True), axis=1) > 0).all()


@pytest.mark.parametrize(("n_cells", "n_genes"), [(200, 30), (110, 150), (200, 16), (200, 33)])
def test_all_axes_there_are_can_be_asked_for(n_cells, n_genes):
    groups = draw(n_cells, n_genes, np.float64)
    size = min(n_cells - 1, n_genes)
    found = principal_axes(groups, np.concatenate(groups).mean(axis=0), size)
    assert found.squares == pytest.approx(decomposed(groups)[0][:size], rel=1e-9)


def test_cells_of_low_rank_repeat_no_axis():
    rng = np.random.default_rng(5)
    cells = rng.normal(size=(400, 20)) @ rng.normal(size=(20, 300))
    found = principal_axes([cells], cells.mean(axis=0), 30)
    assert found.squares[:20] == pytest.approx(decomposed([cells])[0][:20], rel=1e-9)
    assert (np.abs(found.squares[20:]) < 1e-10 * found.squares[0]).all()
    assert found.axes @ found.axes.T == pytest.approx(np.eye(30), abs=1e-10)


def test_one_seed_gives_the_axes_bit_for_bit_and_another_the_same_ones():
    groups = draw()
    mean = np.concatenate(groups).mean(axis=0, dtype=np.float64)
    first, again, other = (principal_axes(groups, mean, 5, seed).axes for seed in (0, 0, 1))
    assert first.tobytes() == again.tobytes() != other.tobytes()
    assert other == pytest.approx(first, abs=1e-4)


def test_pooled_moments_are_those_of_all_cells():
    groups = [*draw(), np.full((1, 150), 2.0)]
    found = pooled_moments([moments(group) for group in groups])
    cells = np.concatenate(groups).astype(np.float64)
    assert found.mean == pytest.approx(cells.mean(axis=0), rel=1e-12)
    assert found.variance == pytest.approx(cells.var(axis=0, ddof=1), rel=1e-10)
    assert found.n_cells == len(cells)
    alike = pooled_moments([moments(np.full((3, 2), 0.1)), moments(np.full((5, 2), 0.1))])
    assert (alike.variance == 0).all()


@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_matrix])
def test_a_basis_of_many_cells_is_that_of_few(layout, monkeypatch):
    cells = layout(np.concatenate(draw()))
    few = fit_basis(cells, 6)
    monkeypatch.setattr("pb_eval.spaces._MANY", 10)
    many = fit_basis(cells, 6)
    assert many.components == pytest.approx(few.components, abs=1e-3)
    assert many.explained_variance_ratio == pytest.approx(few.explained_variance_ratio, rel=1e-5)
    assert many.mean == pytest.approx(few.mean, rel=1e-6)


def test_classic_distances_of_many_cells_are_those_of_few(unit, monkeypatch):
    names = ["classic_edistance", "classic_mmd", "classic_mean_pairwise", "classic_wasserstein"]
    few = evaluate(unit.prediction, Reference(unit.truth, sparse.csr_matrix(unit.control), unit.genes), names)
    monkeypatch.setattr("pb_eval.spaces._MANY", 10)
    many = evaluate(unit.prediction, Reference(unit.truth, sparse.csr_matrix(unit.control), unit.genes), names)
    assert many == pytest.approx(few, rel=1e-5)

"""The parts of scVIDR that need no network: regression, doses, gene scores."""

import warnings

import numpy as np
import pytest
from pb_models.doses import dose_coefficient, pseudo_dose
from pb_models.gene_scores import fit_surrogate, gene_scores
from pb_models.latent_regression import LatentRegression, project
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import r2_score

SIZES = [(2, 100), (3, 100), (6, 100), (10, 100), (4, 2)]  # contexts, latent dimensions; the last has more contexts


def draw(n, d, seed=0):
    """Centroids as latent ones are: a common offset of spread 2, contexts of spread 3 around it."""
    random = np.random.default_rng(seed)
    centroids = random.normal(0, 2, d) + random.normal(0, 3, (n, d))
    shifts, target = random.normal(1, 1, (n, d)), centroids.mean(axis=0) + random.normal(0, 3, d)
    return LatentRegression([f"t{i}" for i in range(n)], centroids, shifts), target


# --- the regression --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "d"), SIZES)
@pytest.mark.parametrize("seed", range(20))
def test_it_is_the_least_squares_regression_with_intercept(n, d, seed):
    """scikit-learn from 1.6 on cuts the spurious singular value off, too."""
    fit, target = draw(n, d, seed)
    expected = LinearRegression().fit(fit.centroids, fit.shifts).predict(target[None])[0]
    np.testing.assert_allclose(fit.shift(target), expected, rtol=1e-6, atol=1e-6 * np.abs(fit.shifts).max())


@pytest.mark.parametrize(("n", "d"), SIZES[:4])
def test_training_contexts_get_their_own_shift(n, d):
    fit, _ = draw(n, d)
    for centroid, shift in zip(fit.centroids, fit.shifts, strict=True):
        np.testing.assert_allclose(fit.shift(centroid), shift, atol=1e-12 * n)


@pytest.mark.parametrize(("n", "d"), SIZES)
def test_weights_sum_to_one_and_give_the_nearest_point_of_the_hull(n, d):
    fit, target = draw(n, d)
    weights, distance = project(fit.centroids, target)
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    rest = weights @ fit.centroids - target
    assert distance == pytest.approx(np.linalg.norm(rest), abs=1e-12)
    edges = fit.centroids[1:] - fit.centroids[0]
    assert np.abs(edges @ rest).max() < 1e-10, "orthogonal to the hull"
    np.testing.assert_allclose(fit.shift(target), weights @ fit.shifts)


def test_turning_the_latent_space_changes_nothing():
    fit, target = draw(6, 30)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(30, 30)))[0]
    turned = LatentRegression(fit.contexts, fit.centroids @ turn, fit.shifts @ turn)
    np.testing.assert_allclose(turned.shift(target @ turn), fit.shift(target) @ turn, atol=1e-11)


@pytest.mark.parametrize(("n", "d"), SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_order_of_contexts_does_not_matter(n, d, dtype):
    """A solver that keeps the n-th singular value, which is rounding, fails here by a fifth of the shift."""
    for seed in range(20):
        fit, target = draw(n, d, seed)
        expected = fit.shift(target)
        order = np.random.default_rng(seed).permutation(n)
        other = LatentRegression(fit.contexts, fit.centroids[order].astype(dtype), fit.shifts[order].astype(dtype))
        found = other.shift(target.astype(dtype))
        tolerance = 1e-12 if dtype == np.float64 else 3e-5
        np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(fit.shifts).max() * n)
        assert found.dtype == np.float64


def test_keeping_every_singular_value_ruins_the_shift():
    """The reason for the cut: with machine epsilon as the only bound, some draws are wrong by more than a percent."""
    errors = []
    for seed in range(50):
        fit, target = draw(6, 100, seed)
        mean, shift = fit.centroids.mean(axis=0), fit.shifts.mean(axis=0)
        inverse = np.linalg.pinv(fit.centroids - mean, rcond=np.finfo(float).eps / 100)
        naive = shift + (target - mean) @ inverse @ (fit.shifts - shift)
        errors.append(np.linalg.norm(naive - fit.shift(target)) / np.linalg.norm(fit.shift(target)))
    assert np.mean(np.array(errors) > 0.01) > 0.1


def test_one_context_gives_its_shift_whatever_the_target():
    fit, target = draw(1, 8)
    np.testing.assert_array_equal(fit.shift(target), fit.shifts[0])


def test_two_contexts_give_a_line():
    fit, _ = draw(2, 5)
    along = fit.centroids[1] - fit.centroids[0]
    across = np.linalg.svd(along[None])[2][-1]
    found = fit.shift(fit.centroids[0] + 0.3 * along + 7 * across)
    np.testing.assert_allclose(found, 0.7 * fit.shifts[0] + 0.3 * fit.shifts[1], atol=1e-12)


def test_contexts_at_one_centroid_are_averaged():
    fit, target = draw(3, 10)
    twins = np.concatenate([fit.centroids, fit.centroids[:1]])
    shifts = np.concatenate([fit.shifts, fit.shifts[:1] + 2])
    double = LatentRegression([*"abcd"], twins, shifts)
    np.testing.assert_allclose(double.shift(fit.centroids[0]), fit.shifts[0] + 1, atol=1e-10)
    np.testing.assert_allclose(double.shift(fit.centroids[1]), fit.shifts[1], atol=1e-10)
    same = LatentRegression([*"abcd"], np.ones((4, 10)), shifts)
    np.testing.assert_allclose(same.shift(target), shifts.mean(axis=0), atol=1e-12)


def test_a_context_can_be_left_out():
    fit, target = draw(3, 5)
    rest = LatentRegression(["t0", "t2"], fit.centroids[[0, 2]], fit.shifts[[0, 2]])
    np.testing.assert_array_equal(fit.without("t1").shift(target), rest.shift(target))
    assert fit.without(None) is fit.without("unknown") is fit


# --- doses -----------------------------------------------------------------------------------------------------------

NAULT = {0.01: 0.0029, 0.03: 0.0086, 0.1: 0.0278, 0.3: 0.0764, 1: 0.2018, 3: 0.4037, 10: 0.6983, 30: 1}
SCIPLEX = {10: 0.260, 100: 0.501, 1000: 0.750, 10_000: 1}


@pytest.mark.parametrize(("table", "digits"), [(NAULT, 4), (SCIPLEX, 3)])
def test_dose_coefficients_are_the_tabulated_ones(table, digits):
    found = {dose: round(dose_coefficient(dose, reference_dose=max(table)), digits) for dose in table}
    assert found == table


def test_the_control_dose_gets_nothing():
    assert dose_coefficient(0, reference_dose=30) == 0
    assert dose_coefficient(2, reference_dose=30, control_dose=2) == 0
    assert dose_coefficient(30, reference_dose=30, control_dose=2) == 1


def test_another_unit_changes_the_coefficients_unless_it_is_named():
    original = dose_coefficient(10, reference_dose=10_000)
    assert dose_coefficient(0.01, reference_dose=10) == pytest.approx(np.log1p(0.01) / np.log1p(10))
    assert dose_coefficient(0.01, reference_dose=10, unit=1e-3) == pytest.approx(original, rel=1e-12)


def test_a_dose_in_another_unit_is_warned_of():
    with pytest.warns(UserWarning, match=r"dose 10000 lies beyond the reference dose 30.*same unit"):
        found = dose_coefficient(10_000, reference_dose=30)
    assert found == pytest.approx(np.log1p(10_000) / np.log1p(30))


@pytest.mark.parametrize(
    "doses",
    [
        {"dose": -1, "reference_dose": 30},
        {"dose": 1, "reference_dose": -1},
        {"dose": 1, "reference_dose": 0},
        {"dose": 1, "reference_dose": 30, "control_dose": 2},
        {"dose": float("nan"), "reference_dose": 30},
    ],
)
def test_doses_that_cannot_be_compared_are_refused(doses):
    with pytest.raises(ValueError, match="cannot be compared"):
        dose_coefficient(**doses)


def test_the_only_dose_may_be_a_placeholder():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert dose_coefficient(-1, reference_dose=-1) == 1


def test_pseudo_dose_in_both_definitions():
    random = np.random.default_rng(0)
    control = random.normal(3, 1, (40, 6))
    perturbed = control + random.normal(1, 1, 6)
    start, delta = control.mean(axis=0), perturbed.mean(axis=0) - control.mean(axis=0)
    affine = [pseudo_dose(cells, delta, origin=start) for cells in (control, perturbed)]
    np.testing.assert_allclose([part.mean() for part in affine], [0, 1], atol=1e-12)
    linear = pseudo_dose(control, delta)
    expected = [sum(a * b for a, b in zip(z, delta, strict=True)) / sum(d * d for d in delta) for z in control]
    np.testing.assert_allclose(linear, expected, rtol=1e-10)
    assert abs(linear.mean()) > 0.1, "the published one does not put controls at 0"
    np.testing.assert_allclose(linear - affine[0], start @ delta / (delta @ delta))
    with pytest.raises(ValueError, match="shift is zero"):
        pseudo_dose(control, np.zeros(6))


# --- gene scores -----------------------------------------------------------------------------------------------------

BOX = np.array([[-1.0, 0.0, 2.0], [1.0, 4.0, 2.5]])
DELTA = np.array([1.0, -2.0, 0.5])
MATRIX = np.random.default_rng(3).normal(size=(7, 3))


def linear(z):
    return z @ MATRIX.T + 5


def bent(z):
    return np.tanh(z @ MATRIX.T) * np.append(np.ones(6), 0)  # the last gene does not vary


def test_a_linear_decoder_is_recovered():
    surrogate = fit_surrogate(linear, iter([np.random.default_rng(0).uniform(*BOX, (500, 3))]), DELTA, penalty=1e-9)
    np.testing.assert_allclose(surrogate.weights, MATRIX, atol=1e-8)
    np.testing.assert_allclose(surrogate.intercept, 5, atol=1e-7)
    found = gene_scores(linear, BOX, DELTA, n_points=500, n_test_points=100, penalty=1e-9)
    np.testing.assert_allclose(found.scores, (MATRIX / np.linalg.norm(MATRIX, axis=0)) @ DELTA, atol=1e-8)
    assert found.r2 == pytest.approx(1)


def test_scores_are_scikit_learns_weighted_ridge():
    random = np.random.default_rng(4)
    z, fresh = random.uniform(*BOX, (300, 3)), random.uniform(*BOX, (80, 3))
    cosine = [sum(a * b for a, b in zip(p, DELTA, strict=True)) / np.linalg.norm(p) / np.linalg.norm(DELTA) for p in z]
    ridge = Ridge(alpha=1).fit(z, bent(z), sample_weight=1 / (1 - np.array(cosine)))
    surrogate = fit_surrogate(bent, iter([z]), DELTA)
    np.testing.assert_allclose(surrogate.weights, ridge.coef_, atol=1e-9)
    np.testing.assert_allclose(surrogate.intercept, ridge.intercept_, atol=1e-9)
    found = gene_scores(bent, BOX, DELTA, n_points=300, n_test_points=80, seed=4)
    columns = ridge.coef_ / np.linalg.norm(ridge.coef_, axis=0)
    np.testing.assert_allclose(np.linalg.norm(columns, axis=0), 1)
    np.testing.assert_allclose(found.scores, columns @ DELTA, atol=1e-8)
    assert found.r2 == pytest.approx(r2_score(bent(fresh)[:, :-1], ridge.predict(fresh)[:, :-1]))
    assert 0 < found.r2 < 1


def test_blocks_change_nothing():
    whole, blocks = (gene_scores(bent, BOX, DELTA, n_points=900, n_test_points=70, block=b) for b in (1000, 37))
    np.testing.assert_allclose(blocks.scores, whole.scores, atol=1e-10)
    assert blocks.r2 == pytest.approx(whole.r2)


def test_a_decoder_that_never_varies_has_no_r2():
    found = gene_scores(lambda z: np.ones((len(z), 4)), BOX, DELTA, n_points=50, n_test_points=20)
    assert np.isnan(found.r2)

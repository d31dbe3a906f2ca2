"""Standardisation sees the rows it is given and no others, dense or sparse."""

import numpy as np
import pytest
from pb_data import LabelledData, fit_standardiser, load_labelled
from scipy import sparse


@pytest.fixture
def data() -> LabelledData:
    X = np.random.default_rng(0).poisson(1.5, size=(40, 6)).astype(np.float32)
    X[:, 2] = 3.1  # constant
    X[:30, 4] = 0  # constant on the training rows
    concrete = load_labelled("concrete", task="regression")
    return concrete._replace(X=X, y=X[:, :1], unscaled=np.arange(6) == 0)


def test_means_and_deviations_are_those_of_the_training_rows(data: LabelledData) -> None:
    rows = np.arange(30)
    fitted = fit_standardiser(data, rows)
    for column in range(6):
        values = [float(x) for x in data.X[:30, column]]
        mean = sum(values) / 30
        deviation = (sum((x - mean) ** 2 for x in values) / 30) ** 0.5
        if column == 0:
            mean, deviation = 0.0, 1.0
        assert fitted.mean[column] == pytest.approx(mean, rel=1e-6)
        assert fitted.scale[column] == pytest.approx(deviation if column not in (2, 4) else 1.0, rel=1e-6)


def test_the_validation_rows_change_nothing_but_where_the_name_says_so(data: LabelledData) -> None:
    changed = data.X.copy()
    changed[30:] += 100
    other = data._replace(X=changed)
    rows = np.arange(30)
    for one, two in zip(fit_standardiser(data, rows), fit_standardiser(other, rows), strict=True):
        np.testing.assert_array_equal(one, two)
    leaky = fit_standardiser(data, rows, using="all-rows")
    assert not np.allclose(leaky.mean, fit_standardiser(other, rows, using="all-rows").mean)
    np.testing.assert_allclose(leaky.mean[1:], data.X.mean(axis=0)[1:], rtol=1e-6)


def test_sparse_features_stay_sparse_and_differ_by_the_shift(data: LabelledData) -> None:
    rows = np.arange(5, 35)
    dense = fit_standardiser(data, rows)
    counts = data._replace(X=sparse.csr_matrix(data.X))
    fitted = fit_standardiser(counts, rows)
    np.testing.assert_allclose(fitted.mean, dense.mean, rtol=1e-5)
    np.testing.assert_allclose(fitted.scale, dense.scale, rtol=1e-5)
    scaled = fitted.transform(counts.X)
    assert sparse.issparse(scaled)
    assert scaled.nnz == counts.X.nnz
    np.testing.assert_allclose(scaled.toarray() + fitted.shift, dense.transform(data.X), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(counts.X.toarray(), data.X)  # left as it was


def test_scaled_upstream_or_not_training_rows_give_the_same(data: LabelledData) -> None:
    rows = np.arange(20)
    moved = data._replace(X=data.X * np.float32(4) - np.float32(7))
    columns = [1, 3, 5]
    one = fit_standardiser(data, rows).transform(data.X)[:, columns]
    two = fit_standardiser(moved, rows).transform(moved.X)[:, columns]
    np.testing.assert_allclose(one, two, atol=1e-5)


def test_none_changes_nothing(data: LabelledData) -> None:
    fitted = fit_standardiser(data, np.arange(3), using="none")
    np.testing.assert_array_equal(fitted.transform(data.X), data.X)


def test_what_makes_no_sense_is_refused(data: LabelledData) -> None:
    with pytest.raises(ValueError, match="using is 'all_rows'; did you mean 'all-rows'"):
        fit_standardiser(data, np.arange(3), using="all_rows")
    with pytest.raises(ValueError, match="no rows to fit a standardiser on"):
        fit_standardiser(data, np.arange(0))
    with pytest.raises(ValueError, match="X has 5 features, the standardiser was fitted on 6"):
        fit_standardiser(data, np.arange(3)).transform(data.X[:, :5])

"""Tests gene by gene equal scipy's, called once per gene."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pb_eval.differential import rank_sums, t_test, wilcoxon
from pb_eval.matrix import moments
from scipy import sparse, stats


def groups(dtype, *, density=0.3, negative=False):
    rng = np.random.default_rng(2)
    cells = [
        rng.poisson(2.0, (n, 40)) * rng.uniform(0.5, 1.5, (n, 1)) * (rng.random((n, 40)) < density) for n in (31, 23)
    ]
    if negative:
        cells = [c - 2.0 * (rng.random(c.shape) < 0.3) for c in cells]
    cells[0][:, 3], cells[1][:, 3] = 0.0, 0.0
    cells[0][:, 4], cells[1][:, 4] = 2.0, 2.0
    return [np.log1p(np.abs(c)).astype(dtype) * np.sign(c).astype(dtype) for c in cells]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_matrix, sparse.csr_array])
def test_wilcoxon_equals_scipy(dtype, negative, layout):
    group, control = groups(dtype, negative=negative)
    sums = rank_sums(layout(group), layout(control))
    test = wilcoxon(sums)
    for gene in range(group.shape[1]):
        x, y = group[:, gene].astype(np.float64), control[:, gene].astype(np.float64)
        if len(np.unique(np.concatenate([x, y]))) == 1:
            assert (test.score[gene], test.pvalue[gene]) == (0.0, 1.0)
            continue
        twin = stats.mannwhitneyu(x, y, use_continuity=False, method="asymptotic")
        assert sums.statistic[gene] == twin.statistic
        assert test.pvalue[gene] == pytest.approx(twin.pvalue, rel=1e-10)
        assert np.sign(test.score[gene]) == np.sign(twin.statistic - x.size * y.size / 2)


def test_wilcoxon_without_tie_correction_equals_the_rank_sum_score():
    group, control = groups(np.float32)
    test = wilcoxon(rank_sums(group, control), tie_correct=False)
    for gene in range(group.shape[1]):
        twin = stats.ranksums(group[:, gene], control[:, gene])
        assert test.score[gene] == pytest.approx(twin.statistic, rel=1e-12)
        assert test.pvalue[gene] == pytest.approx(twin.pvalue, rel=1e-10)


def test_scores_without_tie_correction_have_the_order_of_auroc():
    sums = rank_sums(*groups(np.float32))
    assert (
        np.argsort(wilcoxon(sums, tie_correct=False).score, kind="stable") == np.argsort(sums.auroc, kind="stable")
    ).all()


small = hnp.arrays(np.int8, st.tuples(st.integers(1, 6), st.just(5)), elements=st.integers(-2, 2))


@given(small, small)
def test_rank_sums_equal_midranks_and_tie_counts(group, control):
    group, control = group.astype(np.float32), control.astype(np.float32)
    sums = rank_sums(sparse.csr_matrix(group), control)
    for gene in range(5):
        values = np.concatenate([group[:, gene], control[:, gene]])
        ranks = stats.rankdata(values)
        counts = np.unique(values, return_counts=True)[1]
        assert sums.statistic[gene] == ranks[: len(group)].sum() - len(group) * (len(group) + 1) / 2
        assert sums.ties[gene] == sum(int(count) ** 3 - int(count) for count in counts)


def test_blocks_of_genes_join_seamlessly(monkeypatch):
    group, control = groups(np.float32)
    whole = rank_sums(group, control)
    monkeypatch.setattr("pb_eval.ordering._KEYS", 3 * (len(group) + len(control)))
    for parts in (rank_sums(group, control), rank_sums(sparse.csr_matrix(group), sparse.csr_matrix(control))):
        assert (parts.statistic == whole.statistic).all()
        assert (parts.ties == whole.ties).all()


def test_explicit_zeros_count_as_zeros():
    group, control = groups(np.float32)
    stored = sparse.csr_matrix(np.ones_like(group))
    stored.data[:] = group.ravel()
    assert (stored.data == 0).any()
    assert (rank_sums(stored, control).statistic == rank_sums(group, control).statistic).all()
    assert (stored.data == group.ravel()).all()


@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_matrix])
def test_t_test_equals_scipy(layout):
    group, control = groups(np.float32)
    test = t_test(moments(layout(group)), moments(layout(control)))
    for gene in range(group.shape[1]):
        if gene in (3, 4):
            assert (test.score[gene], test.pvalue[gene]) == (0.0, 1.0)
            continue
        twin = stats.ttest_ind(group[:, gene].astype(np.float64), control[:, gene].astype(np.float64), equal_var=False)
        assert test.score[gene] == pytest.approx(twin.statistic, rel=1e-9)
        assert test.pvalue[gene] == pytest.approx(twin.pvalue, rel=1e-9)


def test_t_test_of_one_cell_tells_nothing():
    group, control = groups(np.float32)
    test = t_test(moments(group[:1]), moments(control))
    assert (test.score == 0).all()
    assert (test.pvalue == 1).all()


def test_adjusted_p_values_follow_benjamini_and_hochberg():
    test = wilcoxon(rank_sums(*groups(np.float32)))
    n = test.pvalue.size
    for gene, p in enumerate(test.pvalue):
        larger = [q for q in test.pvalue if q >= p]
        twin = min(q * n / sum(other <= q for other in test.pvalue) for q in larger)
        assert test.adjusted[gene] == pytest.approx(min(twin, 1.0), rel=1e-12)

"""A reference checks its input, remembers what it computed and repeats itself bit for bit."""

import subprocess
import sys

import numpy as np
import pytest
from pb_eval import DEFAULT_METRICS, METRICS, Reference, differential, evaluate, fit_basis, means
from scipy import sparse


def test_errors_are_one_sentence(unit):
    with pytest.raises(ValueError, match="control has no cells"):
        Reference(unit.truth, unit.control[:0], unit.genes)
    with pytest.raises(ValueError, match="truth has 259 genes, expected 260"):
        Reference(unit.truth[:, 1:], unit.control, unit.genes)
    with pytest.raises(ValueError, match="2 gene names are given more than once"):
        Reference(unit.truth[:, :5], unit.control[:, :5], ["a", "b", "a", "b", "c"])
    with pytest.raises(ValueError, match="the basis was fitted on 4 genes, the reference has 260"):
        Reference(unit.truth, unit.control, unit.genes, fit_basis(unit.training[:, 4:8], 2))
    with pytest.raises(ValueError, match="prediction has NaN or infinite values in 260 genes"):
        evaluate(np.full_like(unit.prediction, np.nan), Reference(unit.truth, unit.control, unit.genes))
    with pytest.raises(ValueError, match=r"training_shift has shape \(3,\), expected \(260,\)"):
        Reference(unit.truth, unit.control, unit.genes, training_shift=[0, 1, 2])
    with pytest.raises(ValueError, match="weights go from -1 to 258, expected none below 0"):
        Reference(unit.truth, unit.control, unit.genes, weights=np.arange(-1, 259))
    with pytest.raises(ValueError, match="weights has 260 NaN or infinite values"):
        Reference(unit.truth, unit.control, unit.genes, weights=np.full(260, np.nan))


def test_without_a_basis_the_default_leaves_out_pca_space(unit):
    reference = Reference(unit.truth, unit.control, unit.genes, **unit.extras)
    assert set(DEFAULT_METRICS) - set(evaluate(unit.prediction, reference)) == {
        name for name in DEFAULT_METRICS if METRICS[name].space == "pca"
    }
    with pytest.raises(ValueError, match="needs a basis of training cells"):
        evaluate(unit.prediction, reference, ["edistance"])


def test_what_concerns_the_unit_is_computed_once(unit, monkeypatch):
    calls = []
    original = differential.rank_sums
    monkeypatch.setattr(differential, "rank_sums", lambda *a: calls.append(a[0] is unit.truth) or original(*a))
    reference = Reference(unit.truth, unit.control, unit.genes, fit_basis(unit.training))
    for _ in range(3):
        evaluate(unit.prediction, reference)
    assert calls.count(True) == 1


def test_a_value_does_not_depend_on_the_other_metrics_or_models(unit):
    basis = fit_basis(unit.training)
    reference = Reference(unit.truth, unit.control, unit.genes, basis)
    evaluate(unit.control, reference)
    together = evaluate(unit.prediction, reference)
    for name, value in together.items():
        alone = evaluate(unit.prediction, Reference(unit.truth, unit.control, unit.genes, basis), [name])
        assert alone == {name: value}


def test_input_is_left_as_it_was(unit):
    given = [sparse.csr_matrix(unit.truth), sparse.csr_matrix(unit.control), unit.prediction.copy()]
    before = [given[0].copy(), given[1].copy(), given[2].copy()]
    evaluate(given[2], Reference(given[0], given[1], unit.genes, fit_basis(given[1])))
    for old, new in zip(before[:2], given[:2], strict=True):
        assert (old.data == new.data).all()
        assert (old.indices == new.indices).all()
    assert (before[2] == given[2]).all()


def test_read_only_and_row_sliced_input_is_accepted(unit):
    cells = np.repeat(unit.prediction, 2, axis=0)[::2]
    cells.setflags(write=False)
    reference = Reference(unit.truth, unit.control, unit.genes)
    assert evaluate(cells, reference) == evaluate(unit.prediction, reference)


def test_the_seed_decides_the_draws(unit):
    values = [
        evaluate(unit.prediction, Reference(unit.truth, unit.control, unit.genes, seed=seed), ["r2_mean_all_resampled"])
        for seed in (0, 0, 1)
    ]
    assert values[0] == values[1] != values[2]


def test_resampled_means_equal_the_loop_over_the_same_draws(unit):
    for cells in (unit.truth, sparse.csr_matrix(unit.truth), np.asfortranarray(unit.truth)):
        vectorised = means.resampled_means(cells, draws=7, fraction=0.6, seed=4)
        for draw in range(7):
            drawn = np.random.RandomState(4 + draw).choice(35, size=21, replace=False)
            assert vectorised[draw] == pytest.approx(unit.truth[drawn].astype(np.float64).mean(axis=0), rel=1e-12)


PROGRAM = """
import numpy as np
from scipy import sparse
from pb_eval import Reference, evaluate, fit_basis
rng = np.random.default_rng(0)
cells = [np.log1p(rng.poisson(1.0, (n, 150))).astype(np.float32) for n in (90, 60, 70, 50)]
basis = fit_basis(sparse.csr_matrix(cells[0]))
reference = Reference(sparse.csr_matrix(cells[1]), cells[2], [str(i) for i in range(150)], basis)
print({name: value.hex() for name, value in evaluate(cells[3], reference).items()})
"""


def test_another_process_gives_the_same_bits():
    outputs = [
        subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert outputs[0] == outputs[1]
    assert "edistance" in outputs[0]

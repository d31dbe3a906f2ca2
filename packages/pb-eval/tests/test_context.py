"""What training contexts tell about a unit, from plain loops."""

import math

import numpy as np
import pytest
from pb_eval import Reference, evaluate, training_response
from pb_eval.deltas import residual
from scipy import sparse, stats
from sklearn.metrics import r2_score


@pytest.fixture(scope="module")
def contexts():
    rng = np.random.default_rng(9)
    up = rng.lognormal(0, 0.7, 30)
    return [
        (np.log1p(rng.poisson(2 * up, (25, 30)).astype(float)), np.log1p(rng.poisson(2.0, (20, 30)).astype(float)))
        for _ in range(3)
    ]


def test_training_response_equals_loops(contexts):
    response = training_response((sparse.csr_matrix(perturbed), control) for perturbed, control in contexts)
    scores = []
    for gene in range(30):
        shifts = [perturbed[:, gene].mean() - control[:, gene].mean() for perturbed, control in contexts]
        assert response.shift[gene] == pytest.approx(sum(shifts) / 3, abs=1e-14)
        tests = [
            stats.ttest_ind(perturbed[:, gene], control[:, gene], equal_var=False) for perturbed, control in contexts
        ]
        scores.append(sum(abs(test.statistic) for test in tests) / 3)
    squares = [((score - min(scores)) / (max(scores) - min(scores))) ** 2 for score in scores]
    assert response.weights == pytest.approx([square / sum(squares) for square in squares], rel=1e-9)


def test_genes_that_respond_alike_weigh_alike():
    cells = np.ones((4, 5))
    assert training_response([(cells, cells)]).weights.tolist() == [0.2] * 5


def test_no_context_is_refused():
    with pytest.raises(ValueError, match="there are no training contexts"):
        training_response([])
    with pytest.raises(ValueError, match="control cells of context 0 has 2 genes, expected 3"):
        training_response([(np.ones((4, 3)), np.ones((4, 2)))])


def test_the_mean_response_has_no_residual_although_stored_in_float32(unit):
    predicted = (unit.control.astype(np.float64) + unit.training_shift).astype(np.float32)
    reference = Reference(unit.truth, unit.control, unit.genes, **unit.extras)
    assert not residual(reference.cells(predicted), unit.training_shift).any()
    names = ["pearson_residual", "spearman_residual", "cosine_residual", "sign_residual"]
    assert evaluate(predicted, reference, names) == dict.fromkeys(names, 0.0)


def test_r2_score_is_scikit_learns(unit):
    reference = Reference(unit.truth, unit.control, unit.genes)
    means = unit.truth.mean(axis=0, dtype=np.float64), unit.prediction.mean(axis=0, dtype=np.float64)
    assert evaluate(unit.prediction, reference, ["r2_score_mean"])["r2_score_mean"] == pytest.approx(r2_score(*means))


def test_correction_is_unbiased_for_the_error_against_the_true_mean():
    rng = np.random.default_rng(0)
    prediction, genes = np.full((5, 40), 0.5), [str(gene) for gene in range(40)]
    values = []
    for _ in range(150):
        truth = rng.normal(size=(10, 40))
        values.append(evaluate(prediction, Reference(truth, prediction, genes), ["mse_mean_corrected"]))
    errors = [value["mse_mean_corrected"] - 0.25 for value in values]
    assert abs(np.mean(errors)) < 3 * np.std(errors) / math.sqrt(len(errors))

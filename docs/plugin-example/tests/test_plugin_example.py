"""One test for each: small cells whose answer is known, the formula again in plain loops."""

import math

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from pb_data import Keys
from pb_eval import Cells, Reference, get_metric
from pb_losses import get_loss
from pb_models import create, load_model


def test_model_predicts_the_mean_of_perturbed_cells_saved_and_loaded(tmp_path):
    obs = pd.DataFrame({"cell_type": list("aabb"), "condition": ["ctrl", "drug"] * 2}, index=list("1234"))
    cells = AnnData(np.arange(12, dtype=np.float32).reshape(4, 3), obs=obs)
    keys = Keys(context="cell_type", perturbation="condition", control="ctrl", scale="log1p")
    create("plugin-mean").fit(cells, keys=keys).save(tmp_path / "model")
    prediction = load_model(tmp_path / "model").predict(cells[[0]].copy(), perturbation="drug")
    assert prediction.X.tolist() == [[6.0, 7.0, 8.0]]


def test_loss_is_its_formula_and_leaves_missing_targets_out():
    prediction, target = torch.tensor([0.5, -3.0, 4.0]), torch.tensor([0.0, 1.0, math.nan])
    expected = sum(math.log(math.cosh(p - t)) for p, t in [(0.5, 0.0), (-3.0, 1.0)]) / 2
    torch.testing.assert_close(get_loss("log-cosh")(prediction, target), torch.tensor(expected))


def test_metric_is_its_formula():
    generator = np.random.default_rng(0)
    truth, prediction, control = (generator.gamma(2.0, size=(5, 4)) for _ in range(3))
    genes = [f"gene {number}" for number in range(4)]
    expected = max(abs(sum(truth[:, gene]) / 5 - sum(prediction[:, gene]) / 5) for gene in range(4))
    value = get_metric("max_error_mean").compute(Cells(prediction), Reference(truth, control, genes))
    np.testing.assert_allclose(value, expected, rtol=1e-12)

"""On cells whose true response is known, metrics know the truth, and models of doses come nearer to it than control."""

from functools import cache

import numpy as np
import pb_models
import pytest
from pb_cli.unit import Unit, prepare
from pb_data import PerturbationData, load_h5ad, make_split, write_h5ad
from pb_data.responding_counts import change_counts, gene_rates
from pb_data.simulate import SimulationSettings, noiseless_mean, simulate
from pb_eval import evaluate

HELD_OUT = "CD4 T cells"
DOSES = (0.1, 1.0, 10.0)
PREPROCESS = {"n_genes": 300, "min_cells_per_gene": 10, "target_sum": None, "fit_on": "training"}
BETTER = {"r2_mean_all": 1, "r2_mean_top20": 1, "pearson_delta": 1, "mse_mean": -1, "mae_mean": -1, "edistance": -1}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> PerturbationData:
    only_doses = {"doses": DOSES, "n_perturbations": 1, "n_combinations": 0}
    settings = SimulationSettings(n_contexts=3, n_cells=60, n_controls=150, n_genes=800, **only_doses)
    path = tmp_path_factory.mktemp("simulated") / "doses.h5ad"
    write_h5ad(path, *simulate(settings))
    return load_h5ad(path)


@pytest.fixture(scope="module")
def unit(simulated: PerturbationData) -> Unit:
    parameters = {"held_out": HELD_OUT, "seed": 0}
    split = make_split("leave-context-out", simulated, **parameters)
    return prepare(simulated.source, split.name, parameters, split.hash, PREPROCESS)


@pytest.fixture(scope="module")
def redrawn(simulated: PerturbationData, unit: Unit):
    """Return, for each condition, the input control cells with the response they would have had, drawn anew."""

    def draw(condition) -> np.ndarray:
        cells = simulated.adata[unit.control.obs_names].copy()
        perturbed, control = (
            noiseless_mean(simulated.adata, condition.context, *which)
            for which in ((condition.perturbation, condition.dose), ("control", 0.0))
        )
        factor = np.divide(perturbed, control, out=np.ones_like(control), where=control > 0)
        counts = cells.X.tocsr()
        cells.X = change_counts(counts, factor, gene_rates(counts), np.random.default_rng(1))
        return unit.preprocessor.transform(cells).X

    return cache(draw)


@pytest.mark.parametrize("metric", BETTER)
def test_the_truth_drawn_anew_scores_better_than_no_response(unit: Unit, redrawn, metric: str):
    [strongest] = [condition for condition in unit.references if condition.dose == max(DOSES)]
    reference = unit.references[strongest]
    truth, control = (evaluate(X, reference, [metric])[metric] for X in (redrawn(strongest), unit.control.X))
    assert BETTER[metric] * truth > BETTER[metric] * control


def test_the_score_of_no_response_falls_with_the_dose(unit: Unit):
    errors = {c.dose: evaluate(unit.control.X, r, ["mse_mean"])["mse_mean"] for c, r in unit.references.items()}
    assert [dose for dose, _ in sorted(errors.items(), key=lambda item: item[1])] == list(DOSES)


@pytest.mark.parametrize("model", ["mean-shift", "scvidr-multi"])
def test_a_model_of_all_doses_orders_them_and_beats_control(unit: Unit, redrawn, model: str):
    short = {} if model == "mean-shift" else {"max_steps": 1500, "n_hidden": 128, "n_latent": 20}
    fitted = pb_models.create(model, **short).fit(unit.training, keys=unit.keys, validation=unit.validation, seed=1)
    start = fitted.predict(unit.control, perturbation="drug1", dose=0.0).X.mean(axis=0)
    lengths, gains = {}, {}
    for condition, reference in unit.references.items():
        predicted = fitted.predict(unit.control, perturbation=condition.perturbation, dose=condition.dose).X
        lengths[condition.dose] = float(np.linalg.norm(predicted.mean(axis=0) - start))
        shifts = [evaluate(X, reference, ["pearson_delta"])["pearson_delta"] for X in (predicted, redrawn(condition))]
        gains[condition.dose] = shifts
    assert [dose for dose, _ in sorted(lengths.items(), key=lambda item: item[1])] == list(DOSES)
    found, best = gains[max(DOSES)]
    assert 0.3 < found < best

"""The gate for doses, perturbations and combinations: noise in the held-out cells changes no prediction by a bit."""

from functools import cache

import numpy as np
import pytest
from pb_cli.planning import suited_models
from pb_data import (
    PerturbationData,
    PreprocessSettings,
    fit_preprocessor,
    label_array,
    load_h5ad,
    make_split,
    split_units,
    write_h5ad,
)
from pb_data.simulate import SimulationSettings, simulate
from pb_models import create, get_model
from scipy import sparse

SMALL = {"max_epochs": 2, "n_hidden": 16, "n_latent": 4, "settling_steps": 0}
CELLS = {"n_contexts": 3, "n_cells": 12, "n_controls": 30, "n_genes": 200, "n_responding": 20}
DATA = {
    "dose": SimulationSettings(**CELLS, n_perturbations=1, n_combinations=0, doses=(0.1, 1.0, 10.0)),
    "perturbation": SimulationSettings(**CELLS, n_perturbations=3, n_combinations=3, doses=(1.0,)),
}
SPLITS = {
    "leave-dose-out": "dose",
    "leave-perturbation-out": "perturbation",
    "leave-combination-out": "perturbation",
    "leave-combination-out-1": "perturbation",
    "leave-combination-out-0": "perturbation",
}
CASES = [(split, model) for split in SPLITS for model in suited_models(split)]

pytestmark = pytest.mark.filterwarnings("ignore:dose 10 lies beyond")  # it is the one held out


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory):
    """Return the simulated data that a split is tried on."""

    @cache
    def made(kind: str) -> PerturbationData:
        path = tmp_path_factory.mktemp(kind) / "cells.h5ad"
        write_h5ad(path, *simulate(DATA[kind]))
        return load_h5ad(path)

    return made


def with_noise(data: PerturbationData, rows: np.ndarray) -> PerturbationData:
    """Return the data, but what was counted in some cells is noise."""
    counts = sparse.lil_matrix(data.adata.X, dtype=np.float32)
    counts[rows] = np.random.default_rng(1).poisson(20, size=(rows.size, data.adata.n_vars))
    adata = data.adata.copy()
    adata.X = counts.tocsr()
    return data._replace(adata=adata)


def predictions(data: PerturbationData, split: str, unit: str, model: str, **preprocess: str) -> list[bytes]:
    """Split, preprocess, fit and predict every held-out condition, each as the benchmark does."""
    parts, keys = make_split(split, data, held_out=unit), data.keys
    cells, validation = parts.training(data.adata)
    preprocessor = fit_preprocessor(data.adata, keys, parts, PreprocessSettings(n_genes=60, **preprocess))
    known = get_model(model)
    own = next(iter(known.profiles.values())).to_dict()
    fitted = create(model, **{name: value for name, value in SMALL.items() if name in own})
    fitted.fit(preprocessor.transform(cells), keys=keys, validation=validation, seed=3, device="cpu")
    control = preprocessor.transform(data.adata[parts.input_control])
    asked = data.adata.obs.iloc[parts.truth][[keys.context, keys.perturbation, keys.dose]].drop_duplicates()
    found = []
    for context, perturbation, dose in asked.itertuples(index=False):
        own_control = control[label_array(control.obs, keys.context) == context]
        found.append(np.asarray(fitted.predict(own_control, perturbation=perturbation, dose=dose).X).tobytes())
    return found


def clean_and_noisy(data: PerturbationData, split: str, model: str, **preprocess: str) -> list[list[bytes]]:
    unit = split_units(split, data)[-1]
    noisy = with_noise(data, make_split(split, data, held_out=unit).truth)
    return [predictions(version, split, unit, model, **preprocess) for version in (data, noisy)]


@pytest.mark.parametrize(("split", "model"), CASES)
def test_no_model_sees_the_held_out_condition(cells, split: str, model: str):
    clean, noisy = clean_and_noisy(cells(SPLITS[split]), split, model)
    assert len(clean) >= 1
    assert clean == noisy


@pytest.mark.parametrize("split", SPLITS)
def test_held_out_conditions_are_in_the_truth_and_nowhere_else(cells, split: str):
    data = cells(SPLITS[split])
    for unit in split_units(split, data):
        parts = make_split(split, data, held_out=unit)
        used = np.concatenate([parts.train, parts.validation, parts.input_control, parts.reference_control])
        keys, obs = data.keys, data.adata.obs
        conditions = [
            set(obs.iloc[rows][[keys.context, keys.perturbation, keys.dose]].itertuples(index=False, name=None))
            for rows in (parts.truth, used)
        ]
        assert conditions[0]
        assert not conditions[0] & conditions[1]


@pytest.mark.parametrize(("split", "model"), [("leave-dose-out", "mean-shift"), ("leave-perturbation-out", "additive")])
def test_the_gate_sees_genes_chosen_on_all_cells(cells, split: str, model: str):
    clean, noisy = clean_and_noisy(cells(SPLITS[split]), split, model, fit_on="all-cells")
    assert clean != noisy

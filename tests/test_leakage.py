"""The gate: replace the held-out perturbed cells by noise, and every prediction is bit for bit the same."""

import dataclasses
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from pb_data import PreprocessSettings, fit_preprocessor, load, make_split
from pb_eval import read_prediction
from pb_models import create, get_model, model_names
from scipy import sparse

HELD_OUT = "Dendritic cells"
CELLS_PER_GROUP = 30
MODELS = [f"{name}:{profile}" for name in model_names() for profile in get_model(name).profiles]
# Small and short; settling_steps 0 so that early stopping is at work, too.
SMALL = {"max_epochs": 2, "n_hidden": 16, "n_latent": 4, "settling_steps": 0, "steps_per_epoch": 2}
PREPROCESSING = {
    "few genes": PreprocessSettings(n_genes=150),
    "every gene": PreprocessSettings(n_genes=None, min_cells_per_gene=200),
    "fixed total": PreprocessSettings(n_genes=150, target_sum=1e4),
}
SPLITS = {
    "default": {},
    "input-only": {"target_controls": "input-only"},
    "disjoint": {"controls": "disjoint"},
    "disjoint input-only": {"controls": "disjoint", "target_controls": "input-only"},
}


@cache
def cells():
    """The embedded data, a few cells of every cell type and condition."""
    data = load("pbmc")
    groups = data.adata.obs.groupby([data.keys.context, data.keys.perturbation], observed=True).indices
    rng = np.random.default_rng(0)
    rows = [rng.choice(group, size=min(CELLS_PER_GROUP, group.size), replace=False) for group in groups.values()]
    return data._replace(adata=data.adata[np.sort(np.concatenate(rows))].copy())


@cache
def cells_with_noise():
    """The same cells, but what was counted in the held-out perturbed ones is noise."""
    data = cells()
    obs = data.adata.obs
    noisy = np.flatnonzero((obs[data.keys.context] == HELD_OUT) & ~data.keys.is_control(obs))
    counts = sparse.lil_matrix(data.adata.X, dtype=np.float32)
    counts[noisy] = np.random.default_rng(1).poisson(20, size=(noisy.size, data.adata.n_vars))
    adata = data.adata.copy()
    adata.X = counts.tocsr()
    return data._replace(adata=adata)


def predict(data, spec, settings, *, split="leave-context-out", **parameters):
    """Split, preprocess, fit and predict, each as the benchmark does; the truth is not touched."""
    parts = make_split(split, data, held_out=HELD_OUT, **parameters)
    training, validation = parts.training(data.adata)
    preprocessor = fit_preprocessor(data.adata, data.keys, parts, settings)
    model = create(spec, **cheap(spec))
    model.fit(preprocessor.transform(training), keys=data.keys, validation=validation, seed=3, device="cpu")
    control = preprocessor.transform(data.adata[parts.input_control])
    perturbation = data.adata.obs[data.keys.perturbation].iloc[parts.truth[0]]
    return np.asarray(model.predict(control, perturbation=str(perturbation)).X)


def cheap(spec):
    """Settings that make a network small: what is tested is what it sees, not how well it learns."""
    name, _, profile = spec.partition(":")
    fields = {field.name for field in dataclasses.fields(get_model(name).profiles[profile])}
    return {key: value for key, value in SMALL.items() if key in fields}


def unchanged_by_noise(*arguments, **parameters):
    clean, noisy = (predict(data(), *arguments, **parameters) for data in (cells, cells_with_noise))
    return clean.shape == noisy.shape and clean.tobytes() == noisy.tobytes()


@pytest.mark.parametrize("preprocessing", PREPROCESSING)
@pytest.mark.parametrize("spec", MODELS)
def test_no_model_sees_the_held_out_cells(spec, preprocessing):
    assert unchanged_by_noise(spec, PREPROCESSING[preprocessing])


@pytest.mark.parametrize("parameters", SPLITS.values(), ids=SPLITS)
def test_no_split_hands_them_over(parameters):
    assert unchanged_by_noise("scgen:fixed", PREPROCESSING["few genes"], **parameters)


@pytest.mark.parametrize("seed", [0, 1])
def test_held_out_cells_are_the_truth_and_nothing_else(seed):
    data = cells()
    parts = make_split("leave-context-out", data, held_out=HELD_OUT, seed=seed)
    obs = data.adata.obs
    held_out = np.flatnonzero((obs[data.keys.context] == HELD_OUT) & ~data.keys.is_control(obs))
    assert parts.truth.tolist() == held_out.tolist()
    for used in (parts.train, parts.validation, parts.input_control, parts.reference_control):
        assert not set(used) & set(held_out)


def test_the_gate_sees_the_leak_of_genes_chosen_on_all_cells():
    settings = dataclasses.replace(PREPROCESSING["few genes"], fit_on="all-cells")
    assert not unchanged_by_noise("mean-shift:default", settings)


def test_the_gate_sees_the_leak_of_the_random_split():
    assert not unchanged_by_noise("mean-shift:default", PREPROCESSING["fixed total"], split="random")


def bench(folder, data):
    """Predictions by model of the command itself, given the cells in a file."""
    data.adata.write_h5ad(folder / "cells.h5ad")
    keys = data.keys
    columns = ["--context-key", keys.context, "--perturbation-key", keys.perturbation, "--control", keys.control]
    specs = [f"{name}:{next(iter(get_model(name).profiles))}" for name in model_names()]
    small = [f"--set={spec.partition(':')[0]}.{key}={value}" for spec in specs for key, value in cheap(spec).items()]
    command = ["bench", "--data", folder / "cells.h5ad", *columns, "--scale", keys.scale, "--hold-out", HELD_OUT]
    command += ["--model", ",".join(specs)]  # also those that are made for other splits
    command += ["--n-genes", 150, *small, "--out", folder / "run", "--no-save-models", "--device", "cpu", "--quiet"]
    subprocess.run([sys.executable, "-m", "pb_cli", *map(str, command)], check=True, capture_output=True)
    found = [read_prediction(path) for path in (folder / "run" / "tasks").glob("*/prediction.h5ad")]
    return {info.model: np.asarray(adata.X).tobytes() for adata, info in found}


def test_the_command_hands_no_model_the_held_out_cells(tmp_path):
    folders = [tmp_path / "clean", tmp_path / "noisy"]
    for folder in folders:
        folder.mkdir()
    clean, noisy = (bench(folder, data()) for folder, data in zip(folders, (cells, cells_with_noise), strict=True))
    assert set(clean) == set(model_names())
    assert clean == noisy

from __future__ import annotations

import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest
import torch
from anndata import AnnData
from pb_data.keys import Keys
from scipy import sparse


@pytest.fixture(autouse=True)
def seeded_torch() -> None:
    """Draw the same weights and inputs in every run, whatever ran before."""
    torch.manual_seed(0)


class Problem(NamedTuple):
    """Three contexts, one of which ("B") has its perturbed cells held out."""

    train: AnnData
    control: AnnData
    truth: AnnData
    keys: Keys
    validation: np.ndarray


def make_cells(contexts: dict[str, tuple[int, int]], n_genes: int = 30, seed: int = 0) -> AnnData:
    """Sparse non-negative expression; the first five genes shift. Counts are (control, perturbed) by context."""
    random = np.random.default_rng(seed)
    shift = np.where(np.arange(n_genes) < 5, 2.0, 0.0)
    blocks, cell_types, conditions = [], [], []
    for name, counts in contexts.items():
        base = random.gamma(1.0, 1.0, n_genes)
        for label, count in zip(("ctrl", "stim"), counts, strict=True):
            noise = random.normal(0, 0.3, (count, n_genes))
            blocks.append(np.clip(base + shift * (label == "stim") + noise, 0, None))
            cell_types += [name] * count
            conditions += [label] * count
    adata = AnnData(sparse.csr_matrix(np.concatenate(blocks).astype(np.float32)))
    adata.obs_names = [f"cell{i}" for i in range(adata.n_obs)]
    adata.var_names = [f"gene{i}" for i in range(n_genes)]
    adata.obs["cell_type"], adata.obs["condition"] = cell_types, conditions
    for column in ("cell_type", "condition"):
        adata.obs[column] = adata.obs[column].astype("category")
    return adata


@pytest.fixture
def keys() -> Keys:
    return Keys(context="cell_type", perturbation="condition", control="ctrl", scale="log1p")


@pytest.fixture
def problem(keys: Keys) -> Problem:
    adata = make_cells({"A": (60, 50), "B": (40, 45), "C": (30, 55)})
    target, stimulated = adata.obs["cell_type"] == "B", adata.obs["condition"] == "stim"
    train = adata[~(target & stimulated)].copy()
    validation = np.random.default_rng(1).random(train.n_obs) < 0.1
    return Problem(train, adata[target & ~stimulated].copy(), adata[target & stimulated].copy(), keys, validation)


@pytest.fixture
def cells():
    return make_cells


@pytest.fixture
def predicted_elsewhere(problem: Problem, tmp_path):
    """Return what saves models here and loads them in another process; their predictions for "stim", in order."""

    def predict(*models):
        for i, model in enumerate(models):
            model.save(tmp_path / f"{i}")
        problem.control.write_h5ad(tmp_path / "control.h5ad")
        code = (
            "import sys, anndata, numpy, pathlib, torch, pb_models\n"
            f"torch.set_num_threads({torch.get_num_threads()})\n"
            "folder = pathlib.Path(sys.argv[1])\n"
            "control = anndata.read_h5ad(folder / 'control.h5ad')\n"
            f"for i in range({len(models)}):\n"
            "    model = pb_models.load_model(folder / f'{i}')\n"
            "    numpy.save(folder / f'{i}.npy', model.predict(control, perturbation='stim').X)\n"
        )
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
        return [np.load(tmp_path / f"{i}.npy") for i in range(len(models))]

    return predict


@pytest.fixture
def reproduced():
    """Return what fits a model twice, torch's own random state differing, and holds the second to the first."""

    def fit_twice(fit):
        torch.manual_seed(0)
        first = fit()
        torch.manual_seed(99)
        before = torch.get_rng_state()
        second = fit()
        assert torch.equal(torch.get_rng_state(), before), "the caller's random state is left alone"
        for name, array in first._state().items():
            np.testing.assert_array_equal(array, second._state()[name])
        return first

    return fit_twice

"""Small perturbation data with real-looking counts."""

import runpy
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from pb_data import Keys, PerturbationData, Split
from scipy import sparse

GROUPS = {
    ("A", "control"): 23,
    ("A", "drug"): 17,
    ("B", "control"): 12,
    ("B", "drug"): 30,
    ("C", "control"): 9,
    ("C", "drug"): 8,
}
KEYS = Keys(context="cell_type", perturbation="condition", control="control", scale="counts")


@pytest.fixture
def keys() -> Keys:
    return KEYS


@pytest.fixture
def make_cells() -> Callable[..., AnnData]:
    """Return a function that draws counts (cells, genes) for given numbers of cells by (context, perturbation)."""

    def draw(groups: dict[tuple[str, str], int] | None = None, *, n_genes: int = 60, seed: int = 0) -> AnnData:
        groups = GROUPS if groups is None else groups
        rng = np.random.default_rng(seed)
        labels = [label for label, n in groups.items() for _ in range(n)]
        order = rng.permutation(len(labels))
        means = rng.gamma(0.6, 4.0, size=n_genes)
        counts = rng.poisson(means * rng.gamma(3.0, 0.4, size=(len(labels), 1))).astype(np.float32)
        counts[:, 0] += 1  # no cell is empty
        obs = pd.DataFrame(
            {"cell_type": [labels[i][0] for i in order], "condition": [labels[i][1] for i in order]},
            index=[f"cell{i}" for i in range(len(labels))],
        )
        var = pd.DataFrame(index=[f"gene{i}" for i in range(n_genes)])
        return AnnData(sparse.csr_matrix(counts), obs=obs, var=var)

    return draw


@pytest.fixture
def make_data(make_cells: Callable[..., AnnData]) -> Callable[..., PerturbationData]:
    """Return a function that draws cells and wraps them as a data set would be."""

    def wrap(*args: object, keys: Keys = KEYS, **options: object) -> PerturbationData:
        source = {"dataset": "toy", "path": "/tmp/toy.h5ad", "sha256": "0" * 64, "options": {}, "keys": keys.to_dict()}
        return PerturbationData(make_cells(*args, **options), keys, "toy", source)

    return wrap


@pytest.fixture
def make_labelled() -> Callable[..., PerturbationData]:
    """Return a function that lays cells out in order, given numbers of cells by (context, perturbation[, dose])."""

    def lay_out(groups: dict[tuple[object, ...], int], *, separator: str | None = None) -> PerturbationData:
        labels = [label for label, n in groups.items() for _ in range(n)]
        columns = ["cell_type", "condition", "dose"][: len(labels[0])]
        obs = pd.DataFrame(labels, columns=columns, index=[f"cell{i}" for i in range(len(labels))])
        keys = replace(KEYS, dose="dose" if "dose" in obs else None, separator=separator)
        source = {"dataset": "toy", "path": "/tmp/toy.h5ad", "sha256": "0" * 64, "options": {}, "keys": keys.to_dict()}
        counts = sparse.csr_matrix(np.ones((len(obs), 3), dtype=np.float32))
        return PerturbationData(AnnData(counts, obs=obs), keys, "toy", source)

    return lay_out


@pytest.fixture
def described() -> Callable[[PerturbationData, Split], dict[str, set[tuple[object, ...]]]]:
    """Return a function that says, for the fitted cells and the other parts, which groups they are of."""

    def describe(data: PerturbationData, split: Split) -> dict[str, set[tuple[object, ...]]]:
        rows = {
            "fitted": np.union1d(split.train, split.validation),
            "input": split.input_control,
            "reference": split.reference_control,
            "truth": split.truth,
        }
        columns = [name for name in ("cell_type", "condition", "dose") if name in data.adata.obs]
        return {
            part: set(data.adata.obs[columns].iloc[cells].itertuples(index=False, name=None))
            for part, cells in rows.items()
        }

    return describe


@pytest.fixture
def embed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Path], Path]:
    """Return a function that runs one of the scripts that embed data, and returns what it made of an original."""
    scripts = Path(__file__).parents[1] / "scripts"
    target = tmp_path / "embedded.h5"

    def run(script: str, original: Path) -> Path:
        monkeypatch.syspath_prepend(scripts)
        monkeypatch.setattr(sys, "argv", [script, str(original), "--target", str(target)])
        runpy.run_path(str(scripts / script), run_name="__main__")
        return target

    return run

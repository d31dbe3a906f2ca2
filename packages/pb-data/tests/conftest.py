"""Small perturbation data with real-looking counts."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from pb_data import Keys, PerturbationData
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

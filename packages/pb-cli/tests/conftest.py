"""Small real files for the command line: counts with a planted response in four contexts."""

from pathlib import Path
from typing import NamedTuple

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from scipy import sparse

CONTEXTS = ("alpha", "beta", "gamma; $HOME [/red]", "délta 'x' [b]")


def make_counts(seed: int = 0, n_cells: int = 30, n_genes: int = 80) -> ad.AnnData:
    """Draw Poisson counts; perturbed cells express the first ten genes more, in every context a little differently."""
    generator = np.random.default_rng(seed)
    base = generator.gamma(1.0, 2.0, size=n_genes) + 0.2
    blocks, obs = [], []
    for number, context in enumerate(CONTEXTS):
        profile = base * generator.gamma(4.0, 0.25, size=n_genes)
        response = np.where(np.arange(n_genes) < 10, 4.0 + number, 1.0)
        for condition, rate in (("ctrl", profile), ("stim", profile * response)):
            blocks.append(generator.poisson(rate, size=(n_cells, n_genes)))
            obs += [(context, condition)] * n_cells
    frame = pd.DataFrame(obs, columns=["kind", "condition"], dtype="category")
    frame.index = [f"cell{i}" for i in range(len(frame))]
    var = pd.DataFrame(index=[f"gene{i}" for i in range(n_genes)])
    return ad.AnnData(sparse.csr_matrix(np.vstack(blocks).astype(np.float32)), obs=frame, var=var)


@pytest.fixture(scope="session")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "my data.h5ad"
    make_counts().write_h5ad(path)
    return path


class Shell(NamedTuple):
    """Runs the command line in this process, in a folder of its own."""

    folder: Path

    def __call__(self, *arguments: object) -> Result:
        from pb_cli import app

        return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="pb")


@pytest.fixture
def pb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return Shell(tmp_path)


@pytest.fixture
def contexts() -> tuple[str, ...]:
    return CONTEXTS

"""The two embedded screens: content, checksum, keys, and the splits they are for."""

from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from pb_data import card, check, contexts, fit_preprocessor, load, make_split, split_units
from pb_data.datasets.embedded import read_embedded
from pb_data.datasets.screens import RESOURCE
from pb_data.hashing import matrix_sha256
from pb_data.preprocess import PreprocessSettings
from scipy import sparse

SCREENS = ("norman", "mcfaline")


def test_the_content_hash_is_the_one_the_registry_states() -> None:
    expression, obs, genes = read_embedded(RESOURCE)
    assert matrix_sha256(expression, obs, genes, values="<f4") == card("norman").sha256 == card("mcfaline").sha256
    changed = expression.copy()
    changed.data[7] = np.nextafter(changed.data[7], np.float32(9))
    assert matrix_sha256(changed, obs, genes, values="<f4") != card("norman").sha256
    assert expression.shape == (5961, 500)
    assert RESOURCE.stat().st_size < 1e6


@pytest.mark.parametrize("name", SCREENS)
def test_the_screens_are_valid_and_of_the_size_their_card_says(name: str) -> None:
    data = load(name)
    check(data.adata, data.keys)
    assert data.adata.shape == (card(name).n_cells, card(name).n_genes)
    assert data.adata.X.dtype == np.float32
    assert data.adata.X.max() < 10
    assert list(data.adata.obs) == ["condition", "cell_type", "dataset"]
    assert (data.adata.obs.nunique() == [len(data.adata.obs[c].cat.categories) for c in data.adata.obs]).all()
    assert "float32" in card(name).note
    assert "no split can undo" in card(name).note


def test_norman_has_single_and_double_perturbations_of_one_line() -> None:
    data = load("norman")
    assert contexts(data) == ["k562"]
    assert len(split_units("leave-perturbation-out", data)) == 18
    assert len(split_units("leave-combination-out-0", data)) == 15
    assert split_units("leave-combination-out", data) == [
        "KLF1+MAP2K6",
        "KLF1+TGFBR2",
        "MAP2K3+MAP2K6",
        "MAP2K3+SLC38A2",
        "MAPK1+TGFBR2",
    ]
    split = make_split("leave-combination-out", data, held_out="MAP2K6+KLF1")
    assert split.counts == {
        "train": 2947,
        "validation": 328,
        "input_control": 100,
        "reference_control": 100,
        "truth": 100,
    }


def test_mcfaline_has_nine_kinases_in_three_lines_and_is_a_negative_control() -> None:
    data = load("mcfaline")
    assert contexts(data) == ["A172", "T98G", "U87MG"]
    assert len(split_units("leave-perturbation-out", data)) == 9
    assert "negative control" in card("mcfaline").note
    split = make_split("leave-context-out", data, held_out="A172")
    assert split.truth.size == 750
    assert "dropped_conditions" not in split.parameters


@pytest.mark.parametrize("name", SCREENS)
def test_the_cards_preprocessing_keeps_every_gene(name: str) -> None:
    data = load(name)
    unit = split_units("leave-perturbation-out", data)[0]
    split = make_split("leave-perturbation-out", data, held_out=unit)
    fitted = fit_preprocessor(data.adata, data.keys, split, PreprocessSettings(**card(name).preprocess))
    assert fitted.genes == data.adata.var_names.tolist()


def test_the_script_embeds_and_compares(tmp_path: Path, embed: Callable[[str, Path], Path]) -> None:
    rng = np.random.default_rng(0)
    obs = pd.DataFrame(
        {"dose": "1", "condition": rng.choice(["control", "A+B"], 30), "cell_type": "x", "dataset": "y"},
        index=[f"cell{i}" for i in range(30)],
    )
    X = sparse.csr_matrix(np.log1p(rng.poisson(0.7, (30, 9))))
    X.indices = X.indices.astype(np.int64)
    cells = AnnData(X, obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(9)]))
    cells.write_h5ad(tmp_path / "original.h5ad")
    expression, obs, genes = read_embedded(embed("embed_screens.py", tmp_path / "original.h5ad"))
    np.testing.assert_array_equal(expression.toarray(), X.toarray().astype(np.float32))
    original = anndata.read_h5ad(tmp_path / "original.h5ad").obs
    pd.testing.assert_frame_equal(obs, original[["condition", "cell_type", "dataset"]], check_names=False)
    assert genes.tolist() == cells.var_names.tolist()

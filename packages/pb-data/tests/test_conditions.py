"""Choosing perturbations and doses."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData
from pb_data import Keys, PerturbationData, load_h5ad, load_source, make_split, restrict, write_h5ad

KEYS = Keys(
    context="cell_type", perturbation="condition", control="control", scale="counts", dose="dose", control_dose=0.0
)


@pytest.fixture
def dosed(make_cells: Callable[..., AnnData], tmp_path: Path) -> PerturbationData:
    groups = {(context, label): 12 for context in "AB" for label in ("control", "drug", "toxin")}
    cells = make_cells(groups)
    rng = np.random.default_rng(1)
    cells.obs["dose"] = np.where(cells.obs["condition"] == "control", 0.0, rng.choice([1.0, 10.0], size=cells.n_obs))
    write_h5ad(tmp_path / "dosed.h5ad", cells, KEYS)
    return load_h5ad(tmp_path / "dosed.h5ad")


def test_all_controls_and_only_the_chosen_cells_are_kept(dosed: PerturbationData) -> None:
    kept = restrict(dosed, perturbations=["drug"], doses=[10]).adata.obs
    controls = kept["condition"] == "control"
    assert controls.sum() == (dosed.adata.obs["condition"] == "control").sum()
    assert set(kept["condition"][~controls]) == {"drug"}
    assert set(kept["dose"][~controls]) == {10.0}
    wanted = (dosed.adata.obs["condition"] == "drug") & (dosed.adata.obs["dose"] == 10)
    assert (~controls).sum() == wanted.sum()


def test_the_recipe_repeats_the_choice_and_the_split_knows_it(dosed: PerturbationData) -> None:
    chosen = restrict(dosed, doses=[10.0])
    again = load_source(json.loads(json.dumps(chosen.source)))
    assert again.source == chosen.source
    assert again.adata.obs_names.equals(chosen.adata.obs_names)
    hashes = {make_split("leave-context-out", data, held_out="A").hash for data in (chosen, again, dosed)}
    assert len(hashes) == 2


def test_no_choice_changes_nothing(dosed: PerturbationData) -> None:
    assert restrict(dosed) is dosed


def test_what_is_not_there_is_answered_with_what_is(
    dosed: PerturbationData, make_data: Callable[..., PerturbationData]
) -> None:
    with pytest.raises(ValueError, match="no perturbation 'drugg'; did you mean 'drug'"):
        restrict(dosed, perturbations=["drugg"])
    with pytest.raises(ValueError, match=r"no dose 3 \(doses: 1, 10\)"):
        restrict(dosed, doses=[3])
    with pytest.raises(ValueError, match="no dose column"):
        restrict(make_data(), doses=[3])
    only_low = dosed._replace(
        adata=dosed.adata[(dosed.adata.obs["condition"] != "toxin") | (dosed.adata.obs["dose"] == 1)].copy()
    )
    with pytest.raises(ValueError, match="no cell of 'dosed' has one of"):
        restrict(only_low, perturbations=["toxin"], doses=[10])

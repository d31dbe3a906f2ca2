"""The embedded matrices and their format."""

from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from hypothesis import given
from hypothesis import strategies as st
from pb_data import card, load
from pb_data.datasets.embedded import gaps_of, positions_of, read_embedded, write_embedded
from pb_data.datasets.pbmc import RESOURCE
from pb_data.hashing import matrix_sha256
from scipy import sparse


@given(st.lists(st.sets(st.integers(0, 65_535), max_size=6), max_size=8))
def test_gaps_are_undone(lines: list[set[int]]) -> None:
    positions = np.array([position for line in lines for position in sorted(line)], dtype=np.int32)
    starts = np.cumsum([0, *map(len, lines)])
    gaps = gaps_of(positions, starts)
    assert gaps.dtype == np.uint16
    np.testing.assert_array_equal(positions_of(gaps, starts), positions)


def test_the_content_hash_is_the_one_the_registry_states() -> None:
    counts, obs, genes = read_embedded(RESOURCE)
    assert matrix_sha256(counts, obs, genes) == card("pbmc").sha256
    assert counts.shape == (13_999, 14_053)
    assert counts.dtype == np.float32
    assert RESOURCE.stat().st_size < 14e6


def test_one_changed_count_label_or_name_changes_the_content_hash(make_cells: Callable[..., AnnData]) -> None:
    cells = make_cells()
    counts = cells.X.copy()
    counts.data[5] += 1
    obs = cells.obs.copy()
    obs.iloc[3, 0] = "Z"
    hashes = {
        matrix_sha256(cells.X, cells.obs, cells.var_names),
        matrix_sha256(counts, cells.obs, cells.var_names),
        matrix_sha256(cells.X, obs, cells.var_names),
        matrix_sha256(cells.X, cells.obs, cells.var_names[::-1]),
        matrix_sha256(cells.X, cells.obs.set_axis(cells.obs_names[::-1]), cells.var_names),
        matrix_sha256(cells.X, cells.obs[["condition", "cell_type"]], cells.var_names),
    }
    assert len(hashes) == 6


def test_default_cells_are_the_seven_types_of_singlets() -> None:
    data = load("pbmc")
    assert data.adata.shape == (card("pbmc").n_cells, card("pbmc").n_genes)
    assert data.adata.obs["cell_type"].nunique() == len(data.adata.obs["cell_type"].cat.categories) == 7
    assert set(data.adata.obs["multiplets"]) == {"singlet"}
    assert list(data.adata.obs) == ["condition", "cell_type", "donor", "multiplets"]
    assert data.adata.X.has_sorted_indices


def test_all_cells_by_option() -> None:
    cells = load("pbmc", singlets=False, megakaryocytes=True).adata
    assert cells.n_obs == 13_999
    assert cells.obs["multiplets"].value_counts().to_dict() == {"singlet": 13_690, "ambs": 309}
    assert cells.obs["condition"].value_counts().to_dict() == {"stimulated": 7451, "control": 6548}
    assert (cells.obs["cell_type"] == "Megakaryocytes").sum() == 132


def test_interferon_genes_rise_and_lineage_genes_do_not() -> None:
    cells = load("pbmc", singlets=False, megakaryocytes=True).adata
    totals = np.asarray(cells.X.sum(axis=1)).ravel()
    control = (cells.obs["condition"] == "control").to_numpy()
    published = {"ISG15": (0.65, 4.79), "IFIT1": (0.06, 2.83), "CXCL10": (0.10, 2.57), "CD3D": (0.75, 0.74)}
    for gene, means in published.items():
        expression = np.log1p(cells[:, gene].X.toarray().ravel() / totals * 1e4)
        assert [expression[control].mean(), expression[~control].mean()] == pytest.approx(means, abs=0.005)


def test_the_script_embeds_and_compares(
    make_cells: Callable[..., AnnData], tmp_path: Path, embed: Callable[[str, Path], Path]
) -> None:
    cells = make_cells()
    cells.obs = cells.obs.astype("category").assign(empty=pd.Categorical(["x"] * cells.n_obs, categories=["w", "x"]))
    cells.X = sparse.csr_matrix(cells.X.multiply(np.arange(60) % 7 != 3))  # genes without any count
    cells.write_h5ad(tmp_path / "original.h5ad")
    counts, obs, genes = read_embedded(embed("embed_kang.py", tmp_path / "original.h5ad"))
    np.testing.assert_array_equal(counts.toarray(), cells.X.toarray())
    pd.testing.assert_frame_equal(obs, anndata.read_h5ad(tmp_path / "original.h5ad").obs, check_names=False)
    assert genes.tolist() == cells.var_names.tolist()


def test_counts_that_do_not_fit_are_refused(make_cells: Callable[..., AnnData], tmp_path: Path) -> None:
    cells = make_cells()
    for wrong in (0.5, 70_000, -1):
        counts = cells.X.astype(np.float64)
        counts.data[0] = wrong
        with pytest.raises(ValueError, match="do not fit 16-bit whole numbers"):
            write_embedded(tmp_path / "x.h5", counts, cells.obs, cells.var_names.to_numpy().astype(str))
        with pytest.raises(ValueError, match="do not fit 32-bit numbers"):
            write_embedded(
                tmp_path / "x.h5", counts * np.pi, cells.obs, cells.var_names.to_numpy().astype(str), dtype=np.float32
            )
    assert not (tmp_path / "x.h5").exists()

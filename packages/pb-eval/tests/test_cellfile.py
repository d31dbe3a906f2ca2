"""Cells read from disk in blocks are those of the file read whole, however they are stored."""

import errno
import json

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from pb_eval import cellfile
from pb_eval.artefact import ArtefactError
from pb_eval.cellfile import log_normalised, merged_moments, open_cells
from pb_eval.matrix import linear_means, moments
from scipy import sparse

LAYOUTS = {
    "dense": np.asarray,
    "csr": sparse.csr_matrix,
    "csc": sparse.csc_matrix,
    "whole numbers": lambda x: sparse.csr_matrix(np.rint(x).astype(np.int64)),
    "double": lambda x: np.asarray(x, dtype=np.float64),
}


def write(path, X, **obs):
    index = [f"c{i}" for i in range(X.shape[0])]
    frame = pd.DataFrame({name: list(column) for name, column in obs.items()}, index=index)
    var = pd.DataFrame(index=[f"g{i}" for i in range(X.shape[1])])
    anndata.AnnData(X, obs=frame, var=var).write_h5ad(path)
    return path


@pytest.fixture
def values():
    rng = np.random.default_rng(0)
    return (rng.random((60, 7)) * (rng.random((60, 7)) < 0.4)).astype(np.float32) * 9


def dense(matrix):
    return matrix if isinstance(matrix, np.ndarray) else matrix.toarray()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("block", "gap"), [(10**6, 10**6), (20, 10**6), (20, 0), (1, 0)])
def test_blocks_hold_what_the_file_holds(layout, block, gap, values, tmp_path, monkeypatch):
    monkeypatch.setattr(cellfile, "_BLOCK_VALUES", block)
    monkeypatch.setattr(cellfile, "_GAP_VALUES", gap)
    stored = LAYOUTS[layout](values)
    path = write(tmp_path / "a.h5ad", stored)
    rows = np.sort(np.random.default_rng(1).choice(60, 23, replace=False))
    columns = np.array([5, 0, 3])
    with open_cells(path) as file:
        read = list(file.blocks(rows, columns))
        whole = file.read(rows)
    assert np.concatenate([part for part, _ in read]).tolist() == rows.tolist()
    np.testing.assert_array_equal(np.vstack([dense(part) for _, part in read]), dense(stored)[rows][:, columns])
    np.testing.assert_array_equal(dense(whole), dense(stored)[rows])
    assert whole.dtype == (np.float64 if layout == "double" else np.float32)
    assert (len(read) > 1) == (block < 10**6)


def test_a_small_group_reads_little(values, tmp_path, monkeypatch):
    path = write(tmp_path / "a.h5ad", sparse.csr_matrix(np.tile(values, (50, 1))))
    monkeypatch.setattr(cellfile, "_GAP_VALUES", 0)
    read = []
    with open_cells(path) as file:
        span = file._span
        monkeypatch.setattr(file, "_span", lambda first, last: read.append(last - first) or span(first, last))
        file.read(np.array([0, 1, 1500, 2999]))
    assert read == [2, 1, 1]


def test_what_a_file_says_of_itself(values, tmp_path):
    path = write(tmp_path / "a.h5ad", values)
    with h5py.File(path, "r+") as file:
        file["uns"].create_group("pb").attrs["encoding-type"] = "dict"
        file["uns/pb"].attrs["encoding-version"] = "0.1.0"
        file["uns/pb"]["scale"] = "log1p"
        file["uns/pb"]["scale"].attrs.update({"encoding-type": "string", "encoding-version": "0.2.0"})
        file["uns"]["pb_keys"] = json.dumps({"context": "kind", "control": "ctrl", "dose": None})
    with open_cells(path) as file:
        assert file.declared == {"scale": "log1p", "context_key": "kind", "control": "ctrl"}


def test_moments_of_blocks_are_those_of_all_cells(values):
    parts = np.split(values, [1, 20, 21])
    found, linear = merged_moments(iter(parts))
    expected = moments(values)
    assert found.n_cells == 60
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-12)
    np.testing.assert_allclose(found.variance, expected.variance, rtol=1e-12)
    np.testing.assert_allclose(linear, linear_means(values), rtol=1e-12)


def test_a_constant_gene_has_no_variance_in_blocks():
    cells = np.full((9, 1), 0.1)
    assert merged_moments(iter(np.split(cells, 3)))[0].variance.tolist() == [0.0]


@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_matrix])
def test_counts_are_normalised_cell_by_cell(layout):
    counts = np.array([[1.0, 3.0, 0.0], [0.0, 0.0, 0.0], [2.0, 2.0, 4.0]], dtype=np.float32)
    slow = np.zeros_like(counts)
    for cell in (0, 2):
        for gene in range(3):
            slow[cell, gene] = np.log(1 + counts[cell, gene] * 100 / counts[cell].sum())
    np.testing.assert_allclose(dense(log_normalised(layout(counts), 100.0)), slow, rtol=1e-6)


def test_what_cannot_be_read_is_one_sentence(values, tmp_path):
    (tmp_path / "letter.h5ad").write_text("Dear reader")
    good = write(tmp_path / "good.h5ad", values)
    (tmp_path / "short.h5ad").write_bytes(good.read_bytes()[:-2000])
    doubled = anndata.read_h5ad(good)
    doubled.var_names = ["g0", "g0", *doubled.var_names[2:]]
    doubled.write_h5ad(tmp_path / "doubled.h5ad")
    words = {
        "letter": "not an HDF5 file",
        "short": "cut short",
        "doubled": "1 gene names are repeated",
        "no": "not a file",
    }
    for name, expected in words.items():
        with pytest.raises(ArtefactError, match=expected), open_cells(tmp_path / f"{name}.h5ad"):
            pass


def test_a_full_disk_is_not_blamed_on_the_file_that_is_read(values, tmp_path):
    path = write(tmp_path / "a.h5ad", values)
    with pytest.raises(OSError, match="No space left"), open_cells(path):
        raise OSError(errno.ENOSPC, "No space left")
    with pytest.raises(ArtefactError, match="cut short or damaged"), open_cells(path):
        raise OSError("Can't read data")

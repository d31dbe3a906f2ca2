"""Prediction files: what goes in comes out, nothing is half-written, and every fault has its sentence."""

import dataclasses
import errno
import json
import os
import re
import resource
import tracemalloc
import typing
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from anndata.io import read_elem, write_elem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pb_eval import _checks, artefact
from pb_eval.artefact import ArtefactError, PredictionInfo, read_prediction, validate_prediction, write_prediction
from scipy import sparse

MINIMAL = {
    "dataset": "pbmc",
    "split": "leave-context-out",
    "context": "B cells",
    "model": "control",
    "scale": "log1p",
    "context_key": "cell_type",
    "perturbation_key": "condition",
}
FULL = MINIMAL | {
    "dose_key": "dose",
    "source": {
        "dataset": "file",
        "path": None,
        "sha256": "ab" * 32,
        "options": {"singlets": True},
        "keys": {"batch": None},
    },
    "split_hash": "cd" * 32,
    "split_parameters": {"target_controls": "train+input", "validation_fraction": 0.1},
    "preprocess": {"n_genes": 7000, "target_sum": 1234.567890123456789},
    "profile": "fixed",
    "settings": {"layers": [800, 800], "lr": 1e-3, "nested": {"β": {"deep": [None, -0.0]}}},
    "seed": 3,
    "versions": {"torch": "2.9.0", "pb-models": "0.1.0"},
    "fit_seconds": 12.5,
    "predict_seconds": 0.1 + 0.2,
    "peak_memory_bytes": 2**40 + 1,
    "n_parameters": 0,
    "device": "cuda:0",
}


@pytest.fixture
def info():
    return PredictionInfo(**MINIMAL)


@pytest.fixture
def cells():
    rng = np.random.default_rng(0)
    matrix = rng.normal(1, 1, (6, 4)).astype(np.float32)
    obs = pd.DataFrame(
        {
            "cell_type": "B cells",
            "condition": pd.Categorical(["stimulated"] * 6),
            "dose": [0.1, 0.1, 1.0, 1.0, 10.0, 10.0],
            "donor": ["a", "b"] * 3,
        },
        index=[f"cell-{i}" for i in range(6)],
    )
    return anndata.AnnData(matrix, obs=obs, var=pd.DataFrame({"n": range(4)}, index=["ISG15", "IFI6", "MX1", "é"]))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "prediction.h5ad"


def damage(path, change):
    """Change a written file in place, as another tool might have written it."""
    with h5py.File(path, "r+") as file:
        change(file)


# --- what goes in comes out


@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array])
def test_round_trip_keeps_every_bit(layout, cells, path):
    expected = np.where(cells.X > 1, cells.X, 0)
    cells.X = layout(expected)
    before = cells.copy()
    write_prediction(path, cells, PredictionInfo(**FULL))
    again, described = read_prediction(path)
    assert described == PredictionInfo(**FULL)
    matrix = again.X.toarray() if sparse.issparse(again.X) else again.X
    assert matrix.dtype == np.float32
    assert matrix.tobytes() == expected.tobytes()
    assert sparse.issparse(again.X) == (layout is not np.asarray)
    assert getattr(again.X, "format", "csr") == "csr"
    assert list(again.var_names) == list(cells.var_names)
    assert list(again.obs_names) == list(cells.obs_names)
    for column in cells.obs:
        assert list(again.obs[column]) == list(cells.obs[column])
    pd.testing.assert_frame_equal(cells.obs, before.obs)
    assert dict(cells.uns) == {}
    assert type(cells.X) is type(before.X)


def test_a_view_is_written_like_its_copy(cells, info, path):
    write_prediction(path, cells[1:4], info)
    assert read_prediction(path)[0].X.tobytes() == cells.X[1:4].tobytes()
    assert cells[1:4].is_view


def test_any_anndata_reader_reads_it(cells, path):
    write_prediction(path, cells, PredictionInfo(**FULL))
    again = anndata.read_h5ad(path)
    assert json.loads(again.uns["pb"]["settings"]) == FULL["settings"]
    assert again.uns["pb"]["scale"] == "log1p"
    assert again.uns["pb"]["seed"] == 3


def test_unknown_is_left_out(cells, info, path):
    write_prediction(path, cells, info)
    with h5py.File(path) as file:
        stored = set(file["uns/pb"])
    assert stored == {field.name for field in dataclasses.fields(info) if getattr(info, field.name) is not None}
    assert "dose_key" not in stored
    assert read_prediction(path)[1].n_parameters is None


def test_everything_stored_is_a_scalar():
    assert {type(value) for value in PredictionInfo(**FULL).to_uns().values()} == {str, int, float}


def test_kinds_of_fields_follow_their_types():
    hints = typing.get_type_hints(PredictionInfo)
    kinds = {name: next(iter(typing.get_args(hint)), hint) for name, hint in hints.items()}
    assert {name for name, kind in kinds.items() if kind is int} == set(artefact._INTEGERS)
    assert {name for name, kind in kinds.items() if kind is float} == set(artefact._FLOATS)
    mappings = {name for name, hint in hints.items() if typing.get_origin(hint) is dict}
    assert mappings == set(artefact._MAPPINGS)


def test_numpy_and_paths_become_plain_json():
    settings_ = {"a": np.float32(0.5), "b": np.arange(2), "c": Path("x"), "d": (1, 2)}
    again = PredictionInfo.from_uns(PredictionInfo(**MINIMAL, settings=settings_).to_uns())
    assert again.settings == {"a": 0.5, "b": [0, 1], "c": "x", "d": [1, 2]}


def test_what_is_no_json_is_refused(cells, path):
    with pytest.raises(ArtefactError, match=r"cannot be written as JSON: give text"):
        write_prediction(path, cells, PredictionInfo(**MINIMAL, settings={"optimizer": object()}))
    assert list(path.parent.iterdir()) == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
plain_text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.text(), json_values, max_size=4),
    plain_text,
    st.none() | st.integers(0, 2**62),
    st.none() | st.floats(allow_nan=False),
)
def test_any_description_survives_the_file(cells, path, settings_, device, size, seconds):
    info = PredictionInfo(
        **MINIMAL,
        settings=settings_,
        source={"options": settings_},
        device=device,
        n_parameters=size,
        fit_seconds=seconds,
    )
    write_prediction(path, cells, info)
    assert read_prediction(path)[1] == info


def test_other_tools_write_the_least(cells, path):
    cells.X = cells.X.astype(np.float64)
    cells.uns["pb"] = MINIMAL | {"schema_version": 1}
    cells.write_h5ad(path)
    assert validate_prediction(path) == []
    assert read_prediction(path)[1] == PredictionInfo(**MINIMAL)


# --- whole or not at all


def test_nothing_is_left_beside_the_file(cells, info, path):
    write_prediction(path, cells, info)
    write_prediction(path, cells, info)
    assert [found.name for found in path.parent.iterdir()] == ["prediction.h5ad"]


def test_permissions_are_those_of_any_new_file(cells, info, path):
    write_prediction(path, cells, info)
    (path.parent / "other").touch()
    assert path.stat().st_mode == (path.parent / "other").stat().st_mode


def test_a_full_disk_leaves_the_old_file(cells, info, path):
    write_prediction(path, cells, info)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(
            OSError, match=r"no room left for .*prediction\.h5ad \(\d+\.\d MB\): free some space"
        ) as caught:
            write_prediction(path, cells, info)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG
    assert path.read_bytes() == before
    assert [found.name for found in path.parent.iterdir()] == ["prediction.h5ad"]


@pytest.mark.parametrize(("number", "sentence"), [(errno.ENOSPC, "no room left"), (errno.EIO, "broken disk")])
def test_a_failing_disk_leaves_nothing(number, sentence, cells, info, path, monkeypatch):
    def fail(descriptor):
        raise OSError(number, "broken disk")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=sentence) as caught:
        write_prediction(path, cells, info)
    assert caught.value.errno == number
    assert list(path.parent.iterdir()) == []


def test_a_missing_folder_is_named(cells, info, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the folder .*nowhere does not exist: make it"):
        write_prediction(tmp_path / "nowhere" / "prediction.h5ad", cells, info)


# --- every fault has its sentence


def delete(name):
    def change(file):
        del file[name]

    return change


def put(name, value):
    return lambda file: write_elem(file["/".join(name.split("/")[:-1]) or "/"], name.split("/")[-1], value)


def spoil(value, column=0):
    def change(file):
        file["X"][5, column] = value

    return change


def rename_gene(file):
    file["var/_index"][1] = "ISG15"


def lose_a_condition(file):
    file["obs/condition/codes"][2] = -1


def one_cell_of_another_type(file):
    obs = read_elem(file["obs"])
    obs["cell_type"] = ["NK cells"] + ["B cells"] * 5
    write_elem(file, "obs", obs)


FAULTS = {
    "no pb": (delete("uns/pb"), r"uns\[\"pb\"\] is missing: set adata\.uns\[\"pb\"\] = PredictionInfo"),
    "pb is text": (put("uns/pb", "scgen"), r"uns\[\"pb\"\] is missing"),
    "no version": (delete("uns/pb/schema_version"), r"uns\['pb'\] has no 'schema_version': add it"),
    "newer version": (
        put("uns/pb/schema_version", 2),
        r"schema version 2, not the 1 that is read here: update pb-eval",
    ),
    "no model": (delete("uns/pb/model"), r"uns\['pb'\] has no 'model': add it"),
    "misspelt": (
        lambda file: file["uns/pb"].move("context_key", "contxt_key"),
        r"has no 'context_key' \(did you mean 'contxt_key'\?\): add it",
    ),
    "no JSON": (put("uns/pb/settings", "{lr: 1}"), r"\['settings'\] is '{lr: 1}': write it as JSON text of an object"),
    "JSON list": (put("uns/pb/source", "[1]"), r"\['source'\] is '\[1\]': write it as JSON text of an object"),
    "seed is text": (put("uns/pb/seed", "one"), r"\['seed'\] is 'one': write a whole number"),
    "seconds is text": (put("uns/pb/fit_seconds", "12 s"), r"\['fit_seconds'\] is '12 s': write a number"),
    "model is a number": (put("uns/pb/model", 3), r"\['model'\] is .*3.*: write text"),
    "unknown scale": (put("uns/pb/scale", "log"), r"\['scale'\] is 'log': declare one of log1p, counts"),
    "no X": (delete("X"), r"holds no X: write it as an AnnData"),
    "no obs, no var": (lambda file: [delete(name)(file) for name in ("obs", "var")], r"holds no obs, var: write"),
    "text in X": (put("X", np.full((6, 4), "a", dtype=object)), r"X holds object, not numbers"),
    "other shape": (put("X", np.ones((6, 3), np.float32)), r"X is \(6, 3\) but obs and var describe \(6, 4\) cells"),
    "NaN": (spoil(np.nan), r"X holds 1 values that are NaN or infinite: predict a finite value"),
    "infinity": (spoil(-np.inf, column=[0, 1]), r"X holds 2 values that are NaN or infinite"),
    "gene twice": (rename_gene, r"1 gene names are repeated \(first 'ISG15'\): keep one column a gene"),
    "half a table": (
        delete("obs/cell_type"),
        r"holds obs in no form that anndata reads \(KeyError.*\): write it again",
    ),
    "X is a dictionary": (
        put("X", {"a": np.ones(2)}),
        r"X is neither an array nor a sparse matrix: write the predicted",
    ),
    "missing condition": (lose_a_condition, r"obs\['condition'\] has 1 missing values: fill them or drop those cells"),
    "two contexts": (
        one_cell_of_another_type,
        r"obs\['cell_type'\] holds 'NK cells' beside the declared context 'B cells'",
    ),
    "other key": (
        put("uns/pb/perturbation_key", "conditions"),
        r"obs has no column 'conditions', which .*'perturbation_key'.* names \(did you mean 'condition'\?\): add it",
    ),
    "no dose column": (put("uns/pb/dose_key", "µM"), r"obs has no column 'µM', which .*'dose_key'.* names: add it"),
    "too large for log1p": (
        spoil(26.0),
        r"declared log1p but X reaches 26, as no log1p can: declare counts, or log1p X",
    ),
    "counts called log1p": (
        put("X", np.full((6, 4), 2.0)),
        r"declared log1p but X holds whole numbers up to 2: declare",
    ),
    "log1p called counts": (
        lambda file: [put("uns/pb/scale", "counts")(file), put("X", np.full((6, 4), 0.5))(file)],
        r"declared counts but X holds fractions up to 0\.5 only: declare log1p, or round X",
    ),
    "negative counts": (
        lambda file: [put("uns/pb/scale", "counts")(file), put("X", np.full((6, 4), -1))(file)],
        r"declared counts but X goes down to -1: declare log1p, or clip X at zero",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_has_one_sentence(fault, cells, info, path):
    change, sentence = FAULTS[fault]
    write_prediction(path, cells, info)
    damage(path, change)
    problems = validate_prediction(path)
    assert len(problems) == 1
    assert re.search(sentence, problems[0])
    assert problems[0].endswith(".")
    with pytest.raises(ArtefactError, match=sentence):
        read_prediction(path)


def test_all_faults_are_told_at_once(cells, info, path):
    write_prediction(path, cells, info)
    for fault in ("gene twice", "missing condition", "NaN", "seed is text"):
        damage(path, FAULTS[fault][0])
    assert len(validate_prediction(path)) == 4


def test_the_writer_refuses_what_the_validator_would(cells, info, path):
    cells.X[0, 0] = np.nan
    del cells.obs["condition"]
    with pytest.raises(ArtefactError, match=r"obs has no column 'condition'.*: add it\. X holds 1 values that are NaN"):
        write_prediction(path, cells, info)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("shape", [(0, 4), (6, 0)])
def test_an_empty_prediction_is_refused(shape, cells, info, path):
    with pytest.raises(
        ArtefactError, match=rf"X is empty \({shape[0]} cells x {shape[1]} genes\): predict at least one"
    ):
        write_prediction(path, cells[: shape[0], : shape[1]].copy(), info)


def test_cells_without_expression_are_refused(cells, info, path):
    with pytest.raises(ArtefactError, match="X is neither an array nor a sparse matrix"):
        write_prediction(path, anndata.AnnData(obs=cells.obs, var=cells.var), info)


def test_an_unknown_scale_is_refused(cells, path):
    with pytest.raises(ArtefactError, match="declare one of log1p, counts"):
        write_prediction(path, cells, PredictionInfo(**MINIMAL | {"scale": "tpm"}))


@pytest.mark.parametrize(
    ("scale", "matrix"),
    [
        ("log1p", [[-0.5, 24.9]]),  # models overshoot below zero
        ("log1p", [[0.0, 0.0]]),
        ("log1p", [[0.0, 1.0]]),
        ("counts", [[0, 7]]),
        ("counts", [[0.25, 40.0]]),  # expected counts
    ],
)
def test_a_possible_scale_is_believed(scale, matrix, cells, path):
    few = anndata.AnnData(np.array(matrix), obs=cells.obs.iloc[:1], var=cells.var.iloc[:2])
    write_prediction(path, few, PredictionInfo(**MINIMAL | {"scale": scale}))
    assert validate_prediction(path) == []


# --- what is no prediction file at all


@pytest.mark.parametrize("content", [b"cell,gene,value\na,b,1\n", b"", b"\x00" * 100])
def test_another_kind_of_file(content, path):
    path.write_bytes(content)
    (problem,) = validate_prediction(path)
    assert f"{path} is not an HDF5 file (it starts with {content[:24]!r}): give an .h5ad file." == problem
    with pytest.raises(ArtefactError, match="is not an HDF5 file"):
        read_prediction(path)


def test_no_file(tmp_path):
    assert validate_prediction(tmp_path / "none.h5ad") == [
        f"{tmp_path / 'none.h5ad'} is not a file: give the path of a prediction file (.h5ad)."
    ]
    with pytest.raises(ArtefactError, match="is not a file"):
        read_prediction(tmp_path)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.99])
def test_a_file_cut_short(kept, cells, info, path):
    write_prediction(path, cells, info)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    (problem,) = validate_prediction(path)
    assert "is cut short or damaged: copy it, or write it, again (" in problem
    with pytest.raises(ArtefactError, match="cut short or damaged"):
        read_prediction(path)


def test_a_damaged_block(cells, info, path):
    cells.X = np.zeros_like(cells.X)
    write_prediction(path, cells, info)
    with h5py.File(path) as file:
        where = file["X"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[where.byte_offset : where.byte_offset + where.size] = b"\xff" * where.size
    path.write_bytes(content)
    (problem,) = validate_prediction(path)
    assert "cut short or damaged" in problem


# --- read in blocks


@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_matrix])
def test_a_fault_in_any_block_is_found(layout, cells, info, path, monkeypatch):
    monkeypatch.setattr(_checks, "_BLOCK_VALUES", 5)
    for place in np.ndindex(cells.shape):
        matrix = cells.X.copy()
        matrix[place] = np.inf
        cells_ = anndata.AnnData(layout(matrix), obs=cells.obs, var=cells.var)
        with pytest.raises(ArtefactError, match="X holds 1 values"):
            write_prediction(path, cells_, info)


def test_blocks_cover_the_matrix_once(cells, monkeypatch):
    monkeypatch.setattr(_checks, "_BLOCK_VALUES", 9)
    blocks = list(_checks._blocks(cells.X))
    assert [len(block) for block in blocks] == [2, 2, 2]
    np.testing.assert_array_equal(np.concatenate(blocks), cells.X)


def test_validation_needs_less_memory_than_the_matrix(cells, info, path):
    write_prediction(path, cells, info)
    n_cells, n_genes = 20_000, 4_000

    def grow(file):
        del file["X"]
        file.create_dataset("X", (n_cells, n_genes), np.float32, chunks=(500, 1000), fillvalue=0.5)
        index = np.arange(n_cells).astype(str)
        write_elem(file, "obs", pd.DataFrame({"cell_type": "B cells", "condition": "stimulated"}, index=index))
        write_elem(file, "var", pd.DataFrame(index=np.arange(n_genes).astype(str)))

    damage(path, grow)
    tracemalloc.start()
    problems = validate_prediction(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert problems == []
    assert peak < 0.4 * 4 * n_cells * n_genes

"""The Akana layout: what is read of the two files, and that nothing is ever unpickled."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pb_data import DataFileError, load_labelled, load_labelled_source, make_folds
from scipy import sparse

P = np.array([[0.05, 0.95], [0.05, 0.95], [0.5, 0.2], [-1, -1], [0.5, 0.2], [0.99, 0.01], [0.051, -1], [-1, -1]])
Write = Callable[..., Path]


class Boom:
    """Leaves a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes the two files, as the original has them, with object arrays beside the labels."""

    def files(**changes: object) -> Path:
        rng = np.random.default_rng(0)
        X = rng.poisson(1.0, size=(8, 5)).astype(float)
        X[:, 0] = [0, 1, 0, 1, 1, 0, 0, 1]
        bombs = np.array([Boom(tmp_path / "boom"), {}], dtype=object)
        members = {
            "Y": P,
            "tr_ids": np.array([0, 2, 4, 5, 6]),
            "te_ids": np.array([1, 3, 7]),
            "pvalue_dict": bombs,
            "hold_in": bombs,
            "hold_out": bombs,
        } | changes
        sparse.save_npz(tmp_path / "A375_tpm.npz", sparse.csr_matrix(X))
        np.savez(tmp_path / "A375_labels_and_extras.npz", **{k: v for k, v in members.items() if v is not None})
        return tmp_path

    return files


def test_the_original_layout_is_read_and_its_objects_are_not(write: Write, tmp_path: Path) -> None:
    data = load_labelled("akana", task="regression", path=write())
    assert not (tmp_path / "boom").exists()
    expected = np.where(P == -1, np.nan, P).astype(np.float32)
    np.testing.assert_array_equal(data.y, expected)
    assert data.targets == ("neg.p.value", "pos.p.value")
    assert sparse.issparse(data.X)
    assert data.X.dtype == np.float32
    assert data.X[:, 0].toarray()[:, 0].tolist() == [0, 1, 0, 1, 1, 0, 0, 1]
    assert data.unscaled.tolist() == [True, False, False, False, False]
    assert data.features[:2] == ("co-culture", "feature 1")
    assert data.test.tolist() == [False, True, False, True, False, False, False, True]
    assert data.thresholds == (0.05, 0.95)


def test_the_mark_of_a_pickle_is_made_where_it_is_read(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Boom(tmp_path / "boom")))
    assert (tmp_path / "boom").exists()


def test_genes_are_told_by_their_outcomes(write: Write) -> None:
    groups = load_labelled("akana", task="regression", path=write()).groups
    for one in range(8):
        for other in range(8):
            assert (groups[one] == groups[other]) == np.array_equal(P[one], P[other])


def test_classes_hold_their_cut_points(write: Write) -> None:
    data = load_labelled("akana", task="classification", path=write())
    assert data.y.tolist() == [[0, 2], [0, 2], [1, 1], [-1, -1], [1, 1], [2, 0], [1, -1], [-1, -1]]
    assert data.classes == (("p <= 0.05", "0.05 < p < 0.95", "p >= 0.95"),) * 2


def test_unlabelled_cells_are_in_no_fold_and_half_labelled_ones_are(write: Write) -> None:
    data = load_labelled("akana", task="regression", path=write())
    folds = make_folds("cells", data, n_folds=5)
    assert folds.parameters["unlabelled"] == 2
    assert folds.test.tolist() == [1]
    assert sorted(np.concatenate(folds.folds[0]).tolist()) == [0, 2, 4, 5, 6]


def test_named_genes_and_features_are_taken(write: Write) -> None:
    genes, features = np.array(list("AABCBDEF")), np.array(["flag", "g1", "g2", "g3", "g4"])
    data = load_labelled("akana", task="regression", path=write(genes=genes, features=features))
    assert data.groups.tolist() == list("AABCBDEF")
    assert data.features == tuple(features)
    without = load_labelled("akana", task="regression", path=write(te_ids=None, tr_ids=None))
    assert without.test is None


def test_a_recipe_holds_both_files_to_their_checksums(write: Write) -> None:
    folder = write()
    data = load_labelled("akana", task="regression", path=folder)
    by_file = load_labelled("akana", task="regression", path=folder / "A375_tpm.npz")
    assert by_file.source["sha256"] == data.source["sha256"]
    np.testing.assert_array_equal(load_labelled_source(data.source).y, data.y)
    write(Y=P[::-1])
    with pytest.raises(DataFileError, match="has changed"):
        load_labelled_source(data.source)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Y": None}, "holds no Y, the p-values"),
        ({"Y": P.astype(object)}, "Y is pickled, and a pickle can run anything.*prepare-screen"),
        ({"genes": np.array(list("AABCBDEF"), dtype=object)}, "genes is pickled"),
        ({"Y": P[:6]}, r"Y has shape \(6, 2\), the matrix is of 8 cells and 5 features"),
        ({"Y": P.T}, r"Y has shape \(2, 8\).*cells in rows"),
        ({"Y": P * 3}, "values such as .*p-values lie in 0 to 1, -1 stands for none"),
        ({"Y": np.full((8, 2), 0.3)}, "target 'neg.p.value' is constant, 0.3"),
        ({"Y": np.full((8, 2), -1.0)}, "target 'neg.p.value' has no label at all"),
        ({"te_ids": np.array([2, 8])}, "te_ids have to be row numbers, 0 to 7"),
        ({"te_ids": np.array([2, 3])}, "1 rows are in both tr_ids and te_ids"),
    ],
)
def test_what_is_wrong_with_the_files_is_said(write: Write, changes: dict[str, object], message: str) -> None:
    folder = write(**changes)
    with pytest.raises(DataFileError, match=message):
        load_labelled("akana", task="regression", path=folder)


def test_a_single_class_is_said(write: Write) -> None:
    one = np.column_stack([np.linspace(0.2, 0.3, 8), np.linspace(0, 1, 8)])
    with pytest.raises(DataFileError, match=r"'neg.p.value' has a single class, '0.05 < p < 0.95'"):
        load_labelled("akana", task="classification", path=write(Y=one))


def test_other_files_are_refused(write: Write, tmp_path: Path) -> None:
    folder = write()
    with pytest.raises(FileNotFoundError, match="no file"):
        load_labelled("akana", task="regression", path=folder / "nowhere")
    with pytest.raises(DataFileError, match=r"is not named \*_tpm\.npz"):
        load_labelled("akana", task="regression", path=folder / "A375_labels_and_extras.npz")
    labels = (folder / "A375_labels_and_extras.npz").read_bytes()
    for content in (b"", b"no archive", labels[:200]):
        (folder / "A375_labels_and_extras.npz").write_bytes(content)
        with pytest.raises(DataFileError, match=r"is no \.npz archive"):
            load_labelled("akana", task="regression", path=folder)
    for content in (b"", b"no matrix", labels):
        (folder / "A375_tpm.npz").write_bytes(content)
        with pytest.raises(DataFileError, match="is no sparse matrix"):
            load_labelled("akana", task="regression", path=folder)
    (folder / "A375_labels_and_extras.npz").unlink()
    with pytest.raises(FileNotFoundError, match="A375_labels_and_extras"):
        load_labelled("akana", task="regression", path=folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataFileError, match=r"holds 0 files \*_tpm\.npz"):
        load_labelled("akana", task="regression", path=tmp_path / "empty")


def test_a_pickled_matrix_is_not_read(write: Write, tmp_path: Path) -> None:
    folder = write()
    np.savez(folder / "A375_tpm.npz", data=np.array([Boom(tmp_path / "boom")], dtype=object), format=b"csr")
    with pytest.raises(DataFileError, match="without pickles"):
        load_labelled("akana", task="regression", path=folder)
    assert not (tmp_path / "boom").exists()

"""The two `.npz` files of the Akana 2024 layout: expression of perturbed cells, and outcomes of a screen."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile, is_zipfile

import numpy as np

from pb_data.datasets.files import existing
from pb_data.labelled.cards import LabelledCard, LabelledData, LabelledDataset
from pb_data.labelled.labels import classes_of, require_learnable
from pb_data.problems import DataFileError, some

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from pb_data.labelled.cards import Task

__all__ = ["AKANA", "CLASSES", "LABELS", "MATRIX", "TARGETS", "THRESHOLDS", "read_akana"]

MATRIX, LABELS = "_tpm.npz", "_labels_and_extras.npz"
TARGETS = ("neg.p.value", "pos.p.value")
THRESHOLDS = (0.05, 0.95)
CLASSES = ("p <= 0.05", "0.05 < p < 0.95", "p >= 0.95")
FLAG = "co-culture"


def akana_files(path: Path) -> list[Path]:
    """Return the matrix and the label file of a folder, or those that a matrix file belongs to.

    Raises
    ------
    DataFileError
        Where a folder holds none or several pairs, or a file is not named as in the layout.
    FileNotFoundError
        Where the path leads nowhere.
    """
    if path.is_dir():
        found = sorted(path.glob(f"*{MATRIX}"))
        if len(found) != 1:
            msg = f"{path} holds {len(found)} files *{MATRIX}; give a folder with one, or name the file"
            raise DataFileError(msg)
        path = found[0]
    file = existing(path)
    if not file.name.endswith(MATRIX):
        msg = f"{file} is not named *{MATRIX}; give that file, which lies beside *{LABELS}, or their folder"
        raise DataFileError(msg)
    return [file, existing(file.with_name(file.name.removesuffix(MATRIX) + LABELS))]


def read_akana(files: list[Path], task: Task) -> LabelledData:
    """Read log-TPM expression, CSR (cells, features), and the screen's p-values of each cell's gene.

    Feature 0 is the co-culture flag, which is never standardised. A p-value of -1 means that the gene has none. Classes
    of each target: p <= .05, .05 < p < .95, p >= .95. `te_ids` are the fixed test rows.

    The label file may name the features (`features`) and each cell's gene (`genes`). In the original these are pickled
    objects or missing, and never read: features are then numbered, and a gene is told by its p-values, so that genes
    with equal ones, and all without any, are one group.

    Raises
    ------
    DataFileError
        Where a file is another one, what is needed of it is pickled, or the files do not fit each other.
    """
    X = read_matrix(files[0])
    held = read_members(files[1], X.shape)
    p = held["Y"].astype(np.float64)
    require_p_values(p, files[1])
    p[p == -1] = np.nan
    features = held.get("features", np.array([FLAG, *(f"feature {n}" for n in range(1, X.shape[1]))]))
    groups = held["genes"] if "genes" in held else genes_by_outcome(p)
    classified = task == "classification"
    y = classes_of(p, THRESHOLDS) if classified else p.astype(np.float32)
    classes = (CLASSES, CLASSES) if classified else ()
    require_learnable(files[1].name, y, TARGETS, classes)
    return LabelledData(
        X=X,
        y=y,
        targets=TARGETS,
        classes=classes,
        features=tuple(map(str, features)),
        groups=groups.astype(str).astype(object),
        test=test_mask(held, len(p), files[1]),
        task=task,
        name="akana",
        source={},
        unscaled=np.arange(X.shape[1]) == 0,
        thresholds=THRESHOLDS,
    )


def read_matrix(file: Path) -> Any:
    """Read a matrix that scipy wrote with `save_npz`, as float32 CSR."""
    from scipy import sparse

    try:
        require_archive(file)
        X = sparse.load_npz(file)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        msg = f"{file} is no sparse matrix as scipy.sparse.save_npz writes it, without pickles; write it again"
        raise DataFileError(msg) from error
    kept = sparse.csr_matrix(X, dtype=np.float32)
    kept.sum_duplicates()
    if n_bad := int((~np.isfinite(kept.data)).sum()):
        msg = f"{file} holds {n_bad} values that are NaN or infinite; expression has to be finite"
        raise DataFileError(msg)
    return kept


def read_members(file: Path, shape: tuple[int, int]) -> dict[str, NDArray[Any]]:
    """Read the members that are plain arrays and needed; pickled ones are left alone."""
    shapes = {"Y": (shape[0], 2), "tr_ids": None, "te_ids": None, "genes": (shape[0],), "features": (shape[1],)}
    require_archive(file)
    with np.load(file, allow_pickle=False) as content:
        members = {name: read_member(content, name, file) for name in shapes if name in content.files}
    if "Y" not in members:
        msg = f"{file} holds no Y, the p-values (cells, 2); give the layout's label file"
        raise DataFileError(msg)
    for name, found in members.items():
        if shapes[name] not in (None, found.shape):
            msg = (
                f"{file}: {name} has shape {found.shape}, the matrix is of {shape[0]} cells and {shape[1]} features, "
                f"so {shapes[name]} was expected; give the two files of one data set, cells in rows"
            )
            raise DataFileError(msg)
    return members


def require_archive(file: Path) -> None:
    """Raise where a file is no archive, such as one that was cut short."""
    if not is_zipfile(file):
        msg = f"{file} is no .npz archive: it is another kind of file or was cut short; give the layout's file"
        raise DataFileError(msg)


def read_member(content: Any, name: str, file: Path) -> NDArray[Any]:
    """Read one array without unpickling."""
    try:
        member: NDArray[Any] = content[name]
    except (BadZipFile, EOFError, zlib.error) as error:
        msg = f"{file}: {name} is damaged; copy the file again"
        raise DataFileError(msg) from error
    except ValueError as error:
        msg = (
            f"{file}: {name} is pickled, and a pickle can run anything when it is read; write it as plain numbers or "
            "text (pb data prepare-screen does)"
        )
        raise DataFileError(msg) from error
    return member


def require_p_values(p: NDArray[np.float64], file: Path) -> None:
    """Raise where a value is neither a p-value nor -1."""
    bad = ~(((p >= 0) & (p <= 1)) | (p == -1))
    if bad.any():
        msg = f"{file}: Y has {int(bad.sum())} values such as {p[bad][0]:g}; p-values lie in 0 to 1, -1 stands for none"
        raise DataFileError(msg)


def genes_by_outcome(p: NDArray[np.float64]) -> NDArray[Any]:
    """Tell genes apart by their p-values."""
    number = np.unique(np.nan_to_num(p, nan=-1), axis=0, return_inverse=True)[1].reshape(-1)
    return np.array([f"gene {n}" for n in range(number.max() + 1)])[number]


def test_mask(held: dict[str, NDArray[Any]], n_cells: int, file: Path) -> NDArray[np.bool_] | None:
    """Mark the test rows; None where the file fixes none."""
    if "te_ids" not in held:
        return None
    ids = held["te_ids"].reshape(-1)
    if ids.dtype.kind not in "iu" or ids.size == 0 or ids.min() < 0 or ids.max() >= n_cells:
        msg = f"{file}: te_ids have to be row numbers, 0 to {n_cells - 1}; there are {some(ids[:3])}"
        raise DataFileError(msg)
    if "tr_ids" in held and (shared := np.intersect1d(held["tr_ids"], ids)).size:
        msg = f"{file}: {shared.size} rows are in both tr_ids and te_ids; a row trains or tests"
        raise DataFileError(msg)
    return np.isin(np.arange(n_cells), ids)


AKANA = LabelledDataset(
    card=LabelledCard(
        name="akana",
        title="A375 cells with one of 62 genes perturbed, and the gene's p-values in a genome-wide CRISPRa screen",
        tasks=("regression", "classification"),
        citation="Akana et al. (2024), as the code that predicts screen outcomes from it names the data: "
        "github.com/DixianZhu/Perturb-Seq",
        licence="Not stated with the files; ask their authors.",
        origin="A375_tpm.npz (5,448 cells, 36,592 features) and A375_labels_and_extras.npz, or two files of that "
        "layout made by `pb data prepare-screen`",
        file_names=("A375_tpm.npz", "A375_labels_and_extras.npz"),
        n_samples=5448,
        n_features=36592,
        groups="perturbed genes; in the original files told by their p-values",
        note="All cells of a gene share its p-values: folds over cells leak them, folds over genes do not. 936 cells "
        "(B2M, CD274, NTC) have none. Fixed test rows: all cells of B2M, CD274, KLF4, NTC and TRPS1, and a random "
        "tenth of the others. Pickled objects in the label file are never read.",
    ),
    read=read_akana,
    files=akana_files,
)

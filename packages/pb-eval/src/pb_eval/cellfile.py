"""Files of cells whose tables are in memory and whose expression stays on disk, read in blocks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from anndata.io import read_elem
from scipy import sparse

from pb_eval._checks import table_problems
from pb_eval.artefact import ArtefactError, contents_of, opened
from pb_eval.matrix import ROUNDING, Moments, linear_means, moments

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from pb_eval.matrix import Matrix

__all__ = ["CellFile", "log_normalised", "merged_moments", "open_cells", "stacked"]

_BLOCK_VALUES = 4_000_000
_GAP_VALUES = 50_000
_DATA_KEYS = "pb_keys"  # where `pb data prepare` keeps the meaning of the columns, as JSON text


class CellFile:
    """Cells of an open `.h5ad`: `obs` and gene names in memory, expression read in blocks of rows.

    A matrix stored by columns (CSC) cannot be read by rows: it is held in memory whole.

    Attributes
    ----------
    path
        Of the file.
    obs
        One row a cell.
    genes
        Names of the columns, unique.
    declared
        What the file says of itself, in `uns["pb"]` (any tool) and `uns["pb_keys"]` (`pb data prepare`); names as in
        `PredictionInfo`, and `control` and `control_dose`.
    """

    def __init__(self, file: h5py.File) -> None:
        contents = contents_of(file)
        self.path = Path(file.filename)
        self.obs: pd.DataFrame = contents.obs
        self.genes = contents.genes.astype(str)
        self.declared = _declared(contents.uns, file["uns"][_DATA_KEYS][()] if f"uns/{_DATA_KEYS}" in file else None)
        if problems := table_problems(contents._replace(genes=self.genes), {}):
            msg = f"{self.path}: {' '.join(problems)}"
            raise ArtefactError(msg)
        self._X = _by_rows(contents.matrix)
        self._indptr: Any = (
            self._X["indptr"][:] if isinstance(self._X, h5py.Group) else getattr(self._X, "indptr", None)
        )
        if self._values.dtype.kind not in "iuf":
            msg = f"{self.path}: X holds {self._values.dtype}, not numbers: write float32."
            raise ArtefactError(msg)

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return len(self.obs)

    def blocks(
        self, rows: NDArray[np.intp], columns: NDArray[np.intp] | None = None
    ) -> Iterator[tuple[NDArray[np.intp], Matrix]]:
        """Yield the given cells in blocks of a few million values, as ``(rows, cells x genes)``.

        Parameters
        ----------
        rows
            Sorted.
        columns
            Genes, in the order wanted; None for all.
        """
        held: list[tuple[NDArray[np.intp], Matrix]] = []
        for piece in self._pieces(rows):
            span = self._span(int(piece[0]), int(piece[-1]) + 1)
            chosen = span if len(piece) == span.shape[0] else span[piece - piece[0]]
            held.append((piece, _floating(chosen if columns is None else _genes(chosen, columns))))
            if sum(block.size for _, block in held) >= _BLOCK_VALUES:
                yield _joined(held)
                held = []
        if held:
            yield _joined(held)

    def read(self, rows: NDArray[np.intp], columns: NDArray[np.intp] | None = None) -> Matrix:
        """Return the given cells, ``(cells, genes)``, CSR where the file is sparse; `rows` sorted."""
        return _joined(list(self.blocks(rows, columns)))[1]

    @property
    def _values(self) -> Any:
        return self._X["data"] if isinstance(self._X, h5py.Group) else self._X

    def _pieces(self, rows: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
        """Cut sorted rows where reading what lies between costs more than another access, and at one block."""
        size = np.arange(self.n_cells + 1) * len(self.genes) if self._indptr is None else self._indptr
        gaps = np.flatnonzero(size[rows[1:]] - size[rows[:-1] + 1] > _GAP_VALUES) + 1
        for run in np.split(rows, gaps):
            start = 0
            while start < len(run):
                limit = np.searchsorted(size, size[run[start]] + _BLOCK_VALUES, side="right") - 1
                stop = max(start + 1, int(np.searchsorted(run, limit)))
                yield run[start:stop]
                start = stop

    def _span(self, first: int, last: int) -> Matrix:
        """Return the cells from `first` up to `last`."""
        if not isinstance(self._X, h5py.Group):
            span: Matrix = self._X[first:last]
            return span
        begin, end = (int(self._indptr[row]) for row in (first, last))
        arrays = (self._X["data"][begin:end], self._X["indices"][begin:end], self._indptr[first : last + 1] - begin)
        return sparse.csr_matrix(arrays, shape=(last - first, len(self.genes)))


@contextmanager
def open_cells(path: Path | str) -> Iterator[CellFile]:
    """Open an `.h5ad` to read its cells in blocks.

    Raises
    ------
    ArtefactError
        In one sentence: no HDF5 file, cut short, no AnnData, repeated gene names, X and tables that do not fit.
    """
    with opened(path) as file:
        yield CellFile(file)


def stacked(blocks: Sequence[Any]) -> Matrix:
    """Put blocks of cells, all dense or all CSR, under each other."""
    if len(blocks) == 1:
        only: Matrix = blocks[0]
        return only
    together: Matrix = np.concatenate(blocks) if isinstance(blocks[0], np.ndarray) else sparse.vstack(blocks, "csr")
    return together


def log_normalised(matrix: Matrix, target_sum: float) -> Matrix:
    """Scale the counts of each cell to `target_sum` and take log1p; a cell without counts stays zero.

    Parameters
    ----------
    matrix
        Counts, ``(cells, genes)``; a sparse one is changed in place.

    Examples
    --------
    >>> log_normalised(np.array([[1.0, 3.0], [0.0, 0.0]]), 8.0).round(3)
    array([[1.099, 1.946],
           [0.   , 0.   ]])
    """
    totals = np.asarray(matrix.sum(axis=1), dtype=np.float64).ravel()
    factors = np.divide(target_sum, totals, out=np.zeros_like(totals), where=totals > 0).astype(matrix.dtype)
    if isinstance(matrix, np.ndarray):
        return np.asarray(np.log1p(matrix * factors[:, None]))
    matrix.sum_duplicates()
    matrix.data *= np.repeat(factors, np.diff(matrix.indptr))
    np.log1p(matrix.data, out=matrix.data)
    return matrix


def merged_moments(parts: Iterator[Matrix]) -> tuple[Moments, NDArray[np.float64]]:
    """Moments and linear means of cells that come in blocks, as of all of them at once.

    Means and squared deviations of two blocks are joined by Chan, Golub and LeVeque (1983), equation 1.5.

    Examples
    --------
    >>> merged_moments(iter([np.array([[1.0]]), np.array([[3.0], [5.0]])]))[0]
    Moments(mean=array([3.]), variance=array([4.]), n_cells=3)
    """
    n, mean, squares, linear = 0, np.zeros(1), np.zeros(1), np.zeros(1)
    for block in parts:
        part = moments(block)
        total = n + part.n_cells
        difference = part.mean - mean
        squares = squares + np.nan_to_num(part.variance) * (part.n_cells - 1)
        squares = squares + difference**2 * (n * part.n_cells / total)
        mean = mean + difference * (part.n_cells / total)
        linear = linear + (linear_means(block) - linear) * (part.n_cells / total)
        n = total
    squares[squares <= n * (ROUNDING * mean) ** 2] = 0.0
    return Moments(mean, squares / (n - 1) if n > 1 else np.full_like(mean, np.nan), n), linear


def _declared(uns: Any, keys: Any) -> dict[str, Any]:
    """Collect what a file says of its columns and its scale; what cannot be read is not said."""
    said = {str(name): _plain(value) for name, value in uns.items()} if isinstance(uns, Mapping) else {}
    try:
        own = json.loads(keys.decode() if isinstance(keys, bytes) else keys) if keys is not None else {}
    except (AttributeError, TypeError, ValueError):
        own = {}
    own = own if isinstance(own, dict) else {}
    columns = {"context", "perturbation", "dose"}
    named = {f"{name}_key" if name in columns else name: value for name, value in own.items() if value is not None}
    return said | named


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _by_rows(matrix: Any) -> Any:
    """Return what can be read by rows: the HDF5 data set or CSR group itself, or a CSC matrix turned in memory."""
    if isinstance(matrix, h5py.Group) and matrix.attrs.get("encoding-type") == "csc_matrix":
        return read_elem(matrix).tocsr()
    return matrix


def _joined(blocks: list[tuple[NDArray[np.intp], Matrix]]) -> tuple[NDArray[np.intp], Matrix]:
    """Put blocks of rows together."""
    rows, parts = zip(*blocks, strict=True)
    return np.concatenate(rows), stacked(parts)


def _genes(block: Matrix, columns: NDArray[np.intp]) -> Matrix:
    """Take columns, dense ones laid out by rows as the file's are: sums then do not depend on the genes' order."""
    return np.take(block, columns, axis=1) if isinstance(block, np.ndarray) else block[:, columns]


def _floating(block: Matrix) -> Matrix:
    """Turn whole numbers and half precision into float32, which holds them exactly up to 16 million."""
    return block if block.dtype.kind == "f" and block.dtype.itemsize >= 4 else block.astype(np.float32)

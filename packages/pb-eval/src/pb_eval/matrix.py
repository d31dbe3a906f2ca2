"""Expression matrices, dense or CSR: one door with checks, and their moments gene by gene without a dense copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "ROUNDING",
    "Matrix",
    "Moments",
    "Numbers",
    "as_matrix",
    "linear",
    "linear_means",
    "moments",
    "pooled_moments",
    "subsample",
]

Matrix: TypeAlias = "NDArray[Any] | sparse.csr_matrix[Any] | sparse.csr_array[Any]"

Numbers: TypeAlias = "float | NDArray[np.float64]"
"""One value, or one for each of a stack of resamples."""

ROUNDING = 1e-12
"""Relative size below which a difference of float64 sums is rounding, not signal."""

_ROWS = 64
_LARGEST = 50.0


class Moments(NamedTuple):
    """Mean and variance (n - 1) of each gene over ``n_cells`` cells; the variance of one cell is nan."""

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    n_cells: int


def as_matrix(values: Any, name: str, n_genes: int) -> Matrix:
    """Check expression values and return them as a dense floating array or as CSR with summed duplicates.

    Nothing is copied where the input already is such a matrix, and the input is never changed.

    Parameters
    ----------
    values
        Expression, ``(cells, genes)``, log1p.
    name
        What the cells are, for the message.
    n_genes
        Number of genes expected.

    Raises
    ------
    ValueError
        In one sentence: not two-dimensional, no cells, another number of genes, NaN or infinite values.

    Examples
    --------
    >>> as_matrix([[0.0, 1.0]], "prediction", 3)
    Traceback (most recent call last):
    ...
    ValueError: prediction has 2 genes, expected 3: give all groups the same genes in one order.
    """
    matrix = _as_csr(values) if sparse.issparse(values) else _as_dense(values, name)
    if matrix.ndim != 2:
        msg = f"{name} has {matrix.ndim} dimensions, expected a matrix of cells x genes."
        raise ValueError(msg)
    if matrix.shape[0] == 0:
        msg = f"{name} has no cells: give at least one."
        raise ValueError(msg)
    if matrix.shape[1] != n_genes:
        msg = f"{name} has {matrix.shape[1]} genes, expected {n_genes}: give all groups the same genes in one order."
        raise ValueError(msg)
    _check_finite(matrix, name)
    return matrix


def moments(matrix: Matrix) -> Moments:
    """Mean and unbiased variance of each gene, in float64, centred before squaring.

    A variance that is rounding against the gene's mean is set to zero, so that a constant gene is one in any layout.

    Parameters
    ----------
    matrix
        ``(cells, genes)``.

    Examples
    --------
    >>> moments(np.array([[1.0, 5.0], [3.0, 5.0]])).variance
    array([2., 0.])
    """
    n_cells = int(matrix.shape[0])
    mean = _sums(matrix) / n_cells
    if n_cells == 1:
        return Moments(mean, np.full_like(mean, np.nan), n_cells)
    squares = _centred_squares(matrix, mean)
    squares[squares <= n_cells * (ROUNDING * mean) ** 2] = 0.0
    return Moments(mean, squares / (n_cells - 1), n_cells)


def pooled_moments(groups: Sequence[Moments]) -> Moments:
    """Mean and variance of each gene over the cells of several groups.

    Examples
    --------
    >>> pooled_moments([moments(np.array([[1.0], [3.0]])), moments(np.array([[5.0]]))])
    Moments(mean=array([3.]), variance=array([4.]), n_cells=3)
    """
    n_cells = sum(group.n_cells for group in groups)
    mean = np.sum([group.n_cells * group.mean for group in groups], axis=0) / n_cells
    if n_cells == 1:
        return Moments(mean, np.full_like(mean, np.nan), n_cells)
    squares = np.sum([group.n_cells * (group.mean - mean) ** 2 for group in groups], axis=0)
    for group in groups:
        if group.n_cells > 1:
            squares += (group.n_cells - 1) * group.variance
    squares[squares <= n_cells * (ROUNDING * mean) ** 2] = 0.0
    return Moments(mean, squares / (n_cells - 1), n_cells)


def linear_means(matrix: Matrix) -> NDArray[np.float64]:
    """Mean of each gene before log1p, ``mean(exp(x) - 1)``, ``(genes,)``.

    Values are first cut to 0 to 50: below there is no expression, and above no mean that could be told from infinity.

    Parameters
    ----------
    matrix
        ``(cells, genes)``, log1p.

    Examples
    --------
    >>> linear_means(np.log1p([[1.0, 0.0], [3.0, 0.0]])).round(9)
    array([2., 0.])
    """
    n_cells, n_genes = (int(length) for length in matrix.shape)
    if not isinstance(matrix, np.ndarray):
        values = linear(matrix.data)
        return np.asarray(np.bincount(matrix.indices, weights=values, minlength=n_genes) / n_cells)
    total = np.zeros(n_genes)
    for start in range(0, n_cells, _ROWS):
        total += linear(matrix[start : start + _ROWS]).sum(axis=0)
    return total / n_cells


def linear(values: NDArray[Any]) -> NDArray[np.float64]:
    """Expression before log1p, ``exp(x) - 1`` of values cut to 0 to 50.

    Examples
    --------
    >>> linear(np.array([0.0, np.log(4.0)])).round(9)
    array([0., 3.])
    """
    return np.asarray(np.expm1(np.clip(values, 0.0, _LARGEST, dtype=np.float64)))


def subsample(n_cells: int, size: int, seed: int) -> NDArray[np.intp]:
    """Draw ``size`` of ``n_cells`` cells without replacement.

    The legacy generator is frozen, so a draw is the same under every numpy version, and the same as that of
    ``scanpy.pp.subsample(random_state=seed)``.

    Examples
    --------
    >>> subsample(5, 3, seed=0)
    array([2, 0, 1])
    """
    generator = np.random.RandomState(seed)
    return np.asarray(generator.choice(n_cells, size=size, replace=False), dtype=np.intp)


def _as_csr(values: Any) -> Matrix:
    """Canonical CSR of floats."""
    matrix = values.tocsr()
    if not np.issubdtype(matrix.dtype, np.floating):
        matrix = matrix.astype(np.float64)
    if not matrix.has_canonical_format:
        matrix = matrix.copy() if matrix is values else matrix
        matrix.sum_duplicates()
    checked: Matrix = matrix
    return checked


def _as_dense(values: Any, name: str) -> NDArray[Any]:
    """Dense floats."""
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        msg = f"{name} holds {array.dtype} values, expected numbers."
        raise ValueError(msg)
    return array if array.dtype.kind == "f" and array.dtype.itemsize >= 4 else array.astype(np.float64)


def _check_finite(matrix: Matrix, name: str) -> None:
    """Refuse NaN and infinite values; a column sum is finite unless a value is not."""
    if not isinstance(matrix, np.ndarray) and np.isfinite(matrix.data).all():
        return
    columns = np.flatnonzero(~np.isfinite(_sums(matrix)))
    if columns.size:
        msg = f"{name} has NaN or infinite values in {columns.size} genes (first: column {columns[0]}): mend them."
        raise ValueError(msg)


def _sums(matrix: Matrix) -> NDArray[np.float64]:
    """Sum of each gene."""
    if isinstance(matrix, np.ndarray):
        with np.errstate(invalid="ignore"):
            return np.asarray(matrix.sum(axis=0, dtype=np.float64))
    return np.asarray(np.bincount(matrix.indices, weights=matrix.data, minlength=matrix.shape[1]), dtype=np.float64)


def _centred_squares(matrix: Matrix, mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum over cells of the squared distance from the mean, of each gene."""
    if isinstance(matrix, np.ndarray):
        total = np.zeros_like(mean)
        for start in range(0, matrix.shape[0], _ROWS):
            difference = matrix[start : start + _ROWS] - mean
            total += np.einsum("cg,cg->g", difference, difference)
        return total
    n_genes = matrix.shape[1]
    stored = np.bincount(matrix.indices, minlength=n_genes)
    squares = np.bincount(matrix.indices, weights=(matrix.data - mean[matrix.indices]) ** 2, minlength=n_genes)
    return np.asarray(squares + (matrix.shape[0] - stored) * mean**2, dtype=np.float64)

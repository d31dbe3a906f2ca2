"""The space distances are taken in: principal components of the training cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from pb_eval.matrix import Matrix, Moments, as_matrix, moments, pooled_moments
from pb_eval.principal import PrincipalAxes, principal_axes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Basis", "fit_basis", "joint_basis"]

_ROWS = 64
_MANY = 1000


@dataclass(frozen=True, eq=False)
class Basis:
    """Principal axes of the training cells.

    Attributes
    ----------
    components
        Orthonormal axes, ``(components, genes)``.
    mean
        Mean expression of the training cells, ``(genes,)``.
    explained_variance_ratio
        Share of the training cells' variance along each axis, ``(components,)``.
    """

    components: NDArray[np.float64]
    mean: NDArray[np.float64]
    explained_variance_ratio: NDArray[np.float64]

    @property
    def n_genes(self) -> int:
        """Number of genes it was fitted on."""
        return int(self.components.shape[1])

    def transform(self, matrix: Matrix) -> NDArray[np.float64]:
        """Coordinates ``(x - mean) V^T`` of cells, ``(cells, components)``.

        Parameters
        ----------
        matrix
            ``(cells, genes)``, log1p, genes as in the training cells; sparse stays sparse.
        """
        axes = self.components.T
        if not isinstance(matrix, np.ndarray):
            return np.asarray(matrix @ axes) - self.mean @ axes
        coordinates = np.empty((matrix.shape[0], axes.shape[1]))
        for start in range(0, matrix.shape[0], _ROWS):
            coordinates[start : start + _ROWS] = (matrix[start : start + _ROWS] - self.mean) @ axes
        return coordinates


def fit_basis(training: Any, n_components: int = 50, seed: int = 0) -> Basis:
    """Fit principal components of the training cells by a Lanczos method.

    A sparse matrix is centred implicitly and never densified. The signs of the axes are fixed, and the start vectors
    are drawn from the seed, so that the same cells give the same basis. There are at most
    ``min(n_components, cells - 1, genes - 1)`` axes, and none along which the cells vary by rounding only, for those
    would be arbitrary.

    Parameters
    ----------
    training
        ``(cells, genes)``, log1p, dense or CSR: training cells only, or the score leaks.
    n_components
        Number of axes.
    seed
        Of the start vectors.

    Raises
    ------
    ValueError
        For fewer than two cells or genes, NaN or infinite values, or cells that are all alike.

    Examples
    --------
    >>> cells = np.random.default_rng(0).normal(size=(30, 5)) * [9, 3, 1, 1, 1]
    >>> basis = fit_basis(cells, n_components=2)
    >>> basis.transform(cells).shape
    (30, 2)
    """
    shape = np.shape(training)
    matrix = as_matrix(training, "training", shape[-1] if shape else 0)
    return joint_basis([matrix], [moments(matrix)], n_components, seed)


def joint_basis(
    groups: Sequence[Matrix], statistics: Sequence[Moments], n_components: int = 50, seed: int = 0
) -> Basis:
    """Fit principal components of several groups of cells together, as :func:`fit_basis` does with one.

    Parameters
    ----------
    groups
        ``(cells, genes)`` each, of the same genes.
    statistics
        Moments of each group.

    Raises
    ------
    ValueError
        For fewer than two cells or genes, or cells that are all alike.
    """
    pooled = pooled_moments(statistics)
    n_genes = pooled.mean.size
    size = min(n_components, pooled.n_cells - 1, n_genes - 1)
    if size < 1:
        msg = (
            f"training has shape {(pooled.n_cells, n_genes)}, expected at least two cells, two genes and one component."
        )
        raise ValueError(msg)
    if not pooled.variance.any():
        msg = "training cells are all alike, so they have no principal components: give cells that differ."
        raise ValueError(msg)
    axes, squares = _axes(groups, pooled, size, seed)
    ratio = squares / (pooled.variance.sum() * (pooled.n_cells - 1))
    kept = ratio > 100 * np.finfo(axes.dtype).eps * ratio[0]
    return Basis(np.asarray(axes[kept], dtype=np.float64), pooled.mean, ratio[kept])


def _axes(groups: Sequence[Matrix], pooled: Moments, size: int, seed: int) -> PrincipalAxes:
    """Principal axes, by scikit-learn where the cells or genes are few, which a Krylov space would soon exhaust."""
    if min(pooled.n_cells, pooled.mean.size) >= _MANY:
        return principal_axes(groups, pooled.mean, size, seed)
    from sklearn.decomposition import PCA  # importing it takes longer than the axes of many cells

    matrix = groups[0] if len(groups) == 1 else _stacked(groups)
    model = PCA(n_components=size, svd_solver="arpack", random_state=seed).fit(matrix)
    return PrincipalAxes(model.components_, np.asarray(model.singular_values_, dtype=np.float64) ** 2)


def _stacked(groups: Sequence[Matrix]) -> Any:
    """Stack groups of cells, sparse where all are."""
    parts: Any = groups
    if not any(isinstance(part, np.ndarray) for part in groups):
        return sparse.vstack(parts, format="csr")
    return np.concatenate([part if isinstance(part, np.ndarray) else part.toarray() for part in parts])

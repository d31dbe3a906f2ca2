"""The space distances are taken in: principal components of the training cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.decomposition import PCA

from pb_eval.matrix import Matrix, as_matrix, moments

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Basis", "fit_basis"]

_ROWS = 512


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
    """Fit principal components of the training cells by the implicitly restarted Lanczos method.

    A sparse matrix is centred implicitly and never densified. The signs of the axes are fixed, and the start vector is
    drawn from the seed, so that the same cells give the same basis. There are at most
    ``min(n_components, cells - 1, genes - 1)`` axes, and none along which the cells vary by rounding only, for those
    would be arbitrary.

    Parameters
    ----------
    training
        ``(cells, genes)``, log1p, dense or CSR: training cells only, or the score leaks.
    n_components
        Number of axes.
    seed
        Of the start vector.

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
    size = min(n_components, matrix.shape[0] - 1, matrix.shape[1] - 1)
    if size < 1:
        msg = f"training has shape {tuple(matrix.shape)}, expected at least two cells, two genes and one component."
        raise ValueError(msg)
    if not moments(matrix).variance.any():
        msg = "training cells are all alike, so they have no principal components: give cells that differ."
        raise ValueError(msg)
    model = PCA(n_components=size, svd_solver="arpack", random_state=seed).fit(matrix)
    ratio = np.asarray(model.explained_variance_ratio_, dtype=np.float64)
    kept = ratio > 100 * np.finfo(matrix.dtype).eps * ratio[0]
    return Basis(
        components=np.asarray(model.components_[kept], dtype=np.float64),
        mean=np.asarray(model.mean_, dtype=np.float64).ravel(),
        explained_variance_ratio=ratio[kept],
    )

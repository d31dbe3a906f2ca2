"""The numbers behind the figures of one condition, as tables."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pb_eval.cellfile import stacked
from pb_eval.matrix import subsample
from pb_eval.scoring import evaluate
from pb_eval.spaces import fit_basis

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pb_eval.matrix import Matrix
    from pb_eval.reference import Cells, Reference

__all__ = ["GROUPS", "SCORES", "embedding", "gene_table", "has_umap", "scores", "top_gene_table", "top_gene_values"]

GROUPS = ("control", "truth", "prediction")
SCORES = (
    "r2_mean_all",
    "r2_mean_top100",
    "r2_mean_top20",
    "r2_score_mean",
    "pearson_delta",
    "cosine_delta",
    "r2_score_delta",
)
_CELLS = 2000
_UMAP_COMPONENTS = 30


def scores(prediction: Cells, reference: Reference) -> dict[str, float]:
    """Return the scores that the figures show, by metric."""
    return evaluate(prediction, reference, SCORES)


def gene_table(prediction: Cells, reference: Reference) -> pd.DataFrame:
    """List means and shifts of every gene, the largest errors first.

    Returns
    -------
    One row a gene: ``gene``; ``control_mean``, ``true_mean`` and ``predicted_mean`` of log1p expression; ``true_shift``
    and ``predicted_shift`` against the measured control; ``error``, predicted less true mean; ``top``, which is 20 or
    100 where the gene is among that many with the highest Wilcoxon score of truth, else 0.

    Examples
    --------
    >>> from pb_eval import Reference
    >>> reference = Reference(np.array([[2.0, 1.0]]), np.array([[0.0, 1.0]]), ["ISG15", "CD3D"])
    >>> gene_table(reference.cells(np.array([[2.0, 0.0]])), reference)[["gene", "error"]].values.tolist()
    [['CD3D', -1.0], ['ISG15', 0.0]]
    """
    top = np.zeros(len(reference.genes), dtype=int)
    for k in (100, 20):
        top[reference.top_genes(k)] = k
    error = prediction.mean - reference.truth.mean
    table = pd.DataFrame(
        {
            "gene": reference.genes,
            "control_mean": reference.control.mean,
            "true_mean": reference.truth.mean,
            "predicted_mean": prediction.mean,
            "true_shift": reference.truth.shift,
            "predicted_shift": prediction.shift,
            "error": error,
            "top": top,
        }
    )
    order = np.lexsort((np.asarray(reference.genes), -np.abs(error)))
    return table.iloc[order].reset_index(drop=True)


def top_gene_values(prediction: Cells, reference: Reference, k: int) -> dict[str, NDArray[np.float64]]:
    """Return the expression of the ``k`` top genes of truth in each group, ``(cells, k)``."""
    columns = reference.top_genes(k)
    parts = (cells.matrix[:, columns] for cells in (reference.control, reference.truth, prediction))
    dense = [part if isinstance(part, np.ndarray) else part.toarray() for part in parts]
    return {name: np.asarray(part, dtype=np.float64) for name, part in zip(GROUPS, dense, strict=True)}


def top_gene_table(prediction: Cells, reference: Reference, k: int) -> pd.DataFrame:
    """Describe the top genes in each group.

    Returns
    -------
    One row for each gene and group: ``gene``, ``group``, ``expressing`` (share of cells above 0), ``mean``, and the
    quantiles ``q05`` to ``q95``.

    Examples
    --------
    >>> from pb_eval import Reference
    >>> reference = Reference(np.array([[2.0], [0.0]]), np.array([[0.0], [0.0]]), ["ISG15"])
    >>> top_gene_table(reference.truth, reference, 1)[["group", "expressing", "mean"]].values.tolist()
    [['control', 0.0, 0.0], ['truth', 0.5, 1.0], ['prediction', 0.5, 1.0]]
    """
    genes = [reference.genes[column] for column in reference.top_genes(k)]
    tables = []
    for group, values in top_gene_values(prediction, reference, k).items():
        shares = (5, 25, 50, 75, 95)
        quantiles = dict(zip((f"q{share:02d}" for share in shares), np.percentile(values, shares, axis=0), strict=True))
        described = {"expressing": (values > 0).mean(axis=0), "mean": values.mean(axis=0)}
        tables.append(pd.DataFrame({"gene": genes, "group": group, **described, **quantiles}))
    return pd.concat(tables, ignore_index=True)


def embedding(prediction: Cells, reference: Reference, *, umap: bool = False) -> pd.DataFrame | None:
    """Place at most 2,000 cells of each group in two dimensions that were fitted on measured cells only.

    Parameters
    ----------
    umap
        UMAP of 30 principal components instead of two components; umap-learn must be installed.

    Returns
    -------
    One row a cell: ``group``, ``x`` and ``y``; ``attrs["explained"]`` is the share of variance of each principal
    component. None where the measured cells have no two components.
    """
    groups = [_drawn(cells, reference.seed) for cells in (reference.control, reference.truth, prediction)]
    measured: Any = stacked([_alike(group, groups[0]) for group in groups[:2]])
    if min(measured.shape) < 3:
        return None
    basis = fit_basis(measured, _UMAP_COMPONENTS if umap else 2, reference.seed)
    if len(basis.components) < 2:
        return None
    places = [basis.transform(group) for group in groups]
    if umap:
        places = _umap(places, reference.seed)
    names = np.repeat(GROUPS, [len(place) for place in places])
    table = pd.DataFrame(np.concatenate(places)[:, :2], columns=["x", "y"])
    table.insert(0, "group", names)
    table.attrs["explained"] = [] if umap else basis.explained_variance_ratio[:2].tolist()
    return table


def has_umap() -> bool:
    """Tell whether umap-learn is installed."""
    return find_spec("umap") is not None


def _umap(places: list[NDArray[np.float64]], seed: int) -> list[NDArray[np.float64]]:
    """Fit a UMAP on control and truth and place all groups in it."""
    measured = np.concatenate(places[:2])
    neighbours = min(15, len(measured) - 1)
    model = importlib.import_module("umap").UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1).fit(measured)
    first = len(places[0])
    return [model.embedding_[:first], model.embedding_[first:], model.transform(places[2])]


def _drawn(cells: Cells, seed: int) -> Matrix:
    """Draw at most 2,000 cells."""
    if cells.n_cells <= _CELLS:
        return cells.matrix
    return cells.matrix[np.sort(subsample(cells.n_cells, _CELLS, seed))]


def _alike(matrix: Matrix, other: Matrix) -> Matrix:
    """Return a matrix in the layout of another, dense or CSR."""
    if isinstance(matrix, np.ndarray) or not isinstance(other, np.ndarray):
        return matrix
    return np.asarray(matrix.toarray())

"""Normalisation and gene selection, fitted on training cells and applied to all."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import numpy as np
from scipy import sparse

from pb_data.hashing import canonical_json, text_sha256
from pb_data.nearest import nearest

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from pb_data.keys import Keys
    from pb_data.splits import Split

__all__ = ["FitOn", "PreprocessSettings", "Preprocessor", "filter_cells", "fit_preprocessor"]

FitOn = Literal["training", "all-cells"]


@dataclass(frozen=True)
class PreprocessSettings:
    """How expression is normalised and which genes are kept.

    Parameters
    ----------
    n_genes
        Number of highly variable genes to keep; None keeps every gene that enough cells express.
    min_cells_per_gene
        Training cells that have to express a gene.
    target_sum
        Total every cell is scaled to; None takes the median total of the training cells.
    fit_on
        `training`, or `all-cells` as the reference benchmarks did: genes and total are then chosen with the held-out
        perturbed cells in sight, which leaks them.

    Raises
    ------
    ValueError
        Where a number is out of range or `fit_on` is unknown.
    """

    n_genes: int | None = 7000
    min_cells_per_gene: int = 10
    target_sum: float | None = None
    fit_on: FitOn = "training"

    def __post_init__(self) -> None:
        if self.n_genes is not None and self.n_genes < 1:
            msg = f"n_genes is {self.n_genes}; give at least 1, or None for all genes"
            raise ValueError(msg)
        if self.min_cells_per_gene < 0:
            msg = f"min_cells_per_gene is {self.min_cells_per_gene}; give 0 or more"
            raise ValueError(msg)
        if self.target_sum is not None and not 0 < self.target_sum < np.inf:
            msg = f"target_sum is {self.target_sum}; give a positive number of counts, or None for the median"
            raise ValueError(msg)
        if self.fit_on not in get_args(FitOn):
            msg = f"fit_on is {self.fit_on!r}{nearest(self.fit_on, get_args(FitOn))} (choose from: training, all-cells)"
            raise ValueError(msg)


class Preprocessor:
    """Normalise counts to one total a cell, take log1p, keep the genes chosen on the training cells.

    For a cell with counts `x` (genes,) and library size `s`: `log(1 + x * target_sum / s)`. The library size is the sum
    over *all* genes of the data (so that no gene filter changes it), or the column `Keys.library_size`. Genes are
    ranked by normalised dispersion (scanpy's `seurat` flavour). Data declared `log1p` are taken as they are; only genes
    are selected.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from anndata import AnnData
    >>> from pb_data.keys import Keys
    >>> keys = Keys(context="cell_type", perturbation="condition", control="control", scale="counts")
    >>> obs = pd.DataFrame({"cell_type": "B", "condition": ["control", "stimulated"]}, index=["a", "b"])
    >>> cells = AnnData(np.array([[1.0, 3.0], [2.0, 2.0]]), obs=obs)
    >>> fitted = Preprocessor(PreprocessSettings(n_genes=None, min_cells_per_gene=1)).fit(cells, keys)
    >>> fitted.target_sum
    4.0
    >>> np.expm1(fitted.transform(cells).X.toarray()).round(4).tolist()
    [[1.0, 3.0], [2.0, 2.0]]
    """

    def __init__(self, settings: PreprocessSettings | None = None) -> None:
        self.settings = settings or PreprocessSettings()
        self.genes: list[str] = []
        self.target_sum: float | None = None
        self._scale: str | None = None
        self._library_size: str | None = None
        self._all_genes_sha256: str | None = None

    def fit(self, training: AnnData, keys: Keys) -> Self:
        """Choose the total and the genes on these cells, (cells, genes).

        Raises
        ------
        ValueError
            Where there is no cell, or no gene is expressed by enough cells.
        """
        X = as_csr(training.X)
        expressing = np.bincount(X.indices[X.data != 0], minlength=X.shape[1])
        candidates = np.flatnonzero(expressing >= self.settings.min_cells_per_gene)
        if X.shape[0] == 0 or candidates.size == 0:
            msg = (
                f"none of {X.shape[1]} genes is expressed in at least {self.settings.min_cells_per_gene} of "
                f"{X.shape[0]} training cells; lower min_cells_per_gene or check the data"
            )
            raise ValueError(msg)
        self._scale, self._library_size = keys.scale, keys.library_size
        self._all_genes_sha256 = names_sha256(training)
        self.target_sum = self._fit_target_sum(X, training)
        kept = self._select(X, candidates, training)
        self.genes = [str(name) for name in training.var_names[kept]]
        return self

    def transform(self, adata: AnnData) -> AnnData:
        """Return a new AnnData with float32 CSR log1p expression of the chosen genes, and obs kept.

        The input is not modified; layers, obsm and uns are left behind.

        Raises
        ------
        ValueError
            Where nothing was fitted, or the genes are not those of the fit.
        """
        from anndata import AnnData

        columns = self._columns(adata)
        X = as_csr(adata.X)
        expression = X[:, columns].astype(np.float32, copy=False)
        if self._scale == "counts":
            normalise(expression, self._library_sizes(X, adata), self._total())
        return AnnData(expression, obs=adata.obs.copy(), var=adata.var.iloc[columns].copy())

    @property
    def hash(self) -> str:
        """SHA-256 over settings and everything fitted, in hex."""
        return text_sha256(canonical_json(self.to_dict()))

    def to_dict(self) -> dict[str, Any]:
        """Return settings and everything fitted as JSON-able values."""
        return {
            "settings": asdict(self.settings),
            "scale": self._scale,
            "library_size": self._library_size,
            "target_sum": self.target_sum,
            "all_genes_sha256": self._all_genes_sha256,
            "genes": list(self.genes),
        }

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> Preprocessor:
        """Rebuild a fitted preprocessor from `to_dict`."""
        self = cls(PreprocessSettings(**d["settings"]))
        self.genes, self.target_sum = list(d["genes"]), d["target_sum"]
        self._scale, self._library_size = d["scale"], d["library_size"]
        self._all_genes_sha256 = d["all_genes_sha256"]
        return self

    def _fit_target_sum(self, X: sparse.csr_matrix, training: AnnData) -> float | None:
        if self._scale != "counts":
            return None
        if self.settings.target_sum is not None:
            return float(self.settings.target_sum)
        sizes = self._library_sizes(X, training)
        return float(np.median(sizes[sizes > 0]))

    def _total(self) -> float:
        if self.target_sum is None:
            msg = "the preprocessor holds no target sum; fit it on counts first"
            raise ValueError(msg)
        return self.target_sum

    def _library_sizes(self, X: sparse.csr_matrix, adata: AnnData) -> NDArray[np.float64]:
        if self._library_size is None:
            return np.asarray(X.sum(axis=1, dtype=np.float64)).ravel()
        sizes: NDArray[np.float64] = adata.obs[self._library_size].to_numpy(dtype=np.float64)
        return sizes

    def _select(self, X: sparse.csr_matrix, candidates: NDArray[np.intp], training: AnnData) -> NDArray[np.intp]:
        n_genes = self.settings.n_genes
        if n_genes is None or n_genes >= candidates.size:
            return candidates
        expression = X[:, candidates].astype(np.float32, copy=False)
        if self._scale == "counts":
            normalise(expression, self._library_sizes(X, training), self._total())
        ranking = np.argsort(-normalised_dispersions(expression), kind="stable")  # NaN last, ties in gene order
        return candidates[np.sort(ranking[:n_genes])]

    def _columns(self, adata: AnnData) -> NDArray[np.intp]:
        if not self.genes:
            msg = "the preprocessor is not fitted; call fit(training, keys) first"
            raise ValueError(msg)
        if names_sha256(adata) != self._all_genes_sha256:
            missing = [gene for gene in self.genes if gene not in adata.var_names]
            detail = f"{len(missing)} of the chosen are missing, first: {missing[0]}" if missing else "none is missing"
            msg = (
                f"the {adata.n_vars} genes are not those the preprocessor was fitted on ({detail}); give the "
                "cells with all genes of the data set, in its order: a cell's total is taken over all of them"
            )
            raise ValueError(msg)
        columns: NDArray[np.intp] = adata.var_names.get_indexer(self.genes)
        return columns


def fit_preprocessor(
    adata: AnnData, keys: Keys, split: Split, settings: PreprocessSettings | None = None
) -> Preprocessor:
    """Fit a preprocessor on a split's training cells, or on all cells where the settings name that leak."""
    settings = settings or PreprocessSettings()
    cells = adata if settings.fit_on == "all-cells" else split.training(adata)[0]
    return Preprocessor(settings).fit(cells, keys)


def filter_cells(adata: AnnData, *, min_counts: float = 0, min_genes: int = 0) -> AnnData:
    """Return a view of the cells with enough counts and expressed genes: a rule per cell, nothing is fitted.

    Raises
    ------
    ValueError
        Where no cell is left.

    Examples
    --------
    >>> import numpy as np
    >>> from anndata import AnnData
    >>> filter_cells(AnnData(np.array([[5.0, 0.0], [1.0, 1.0]])), min_counts=2, min_genes=2).n_obs
    1
    """
    X = as_csr(adata.X)
    counts = np.asarray(X.sum(axis=1, dtype=np.float64)).ravel()
    genes = np.bincount(X.tocoo().row[X.data != 0], minlength=X.shape[0])
    kept = (counts >= min_counts) & (genes >= min_genes)
    if not kept.any():
        msg = f"min_counts={min_counts}, min_genes={min_genes} drop all {adata.n_obs} cells; lower them"
        raise ValueError(msg)
    return adata[kept]


def as_csr(X: Any) -> sparse.csr_matrix:
    """Return X as CSR: itself where it is CSR, a conversion where it is dense or CSC."""
    return X if isinstance(X, sparse.csr_matrix) else sparse.csr_matrix(X)


def normalise(X: sparse.csr_matrix, library_sizes: NDArray[np.float64], target_sum: float) -> None:
    """Scale each row to the total and take log1p, in place; a row of library size 0 stays as it is."""
    divisors = np.where(library_sizes > 0, library_sizes / target_sum, 1.0).astype(X.dtype)
    X.data /= np.repeat(divisors, np.diff(X.indptr))
    np.log1p(X.data, out=X.data)


def normalised_dispersions(expression: sparse.csr_matrix) -> NDArray[np.float64]:
    """Return scanpy's normalised dispersion (`seurat` flavour) of each gene of log1p expression, NaN where constant."""
    import scanpy as sc
    from anndata import AnnData

    table = sc.pp.highly_variable_genes(AnnData(expression), flavor="seurat", inplace=False)
    return np.asarray(table["dispersions_norm"], dtype=np.float64)


def names_sha256(adata: AnnData) -> str:
    """Return the hash of the gene names in their order."""
    return text_sha256("\n".join(adata.var_names.astype(str)))

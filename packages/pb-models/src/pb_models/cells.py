"""Training cells as a model sees them: an expression matrix and plain label arrays, taken out of an AnnData once."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData
    from numpy.typing import NDArray
    from pb_data.keys import Keys

__all__ = ["Matrix", "TrainingData", "expression"]

Matrix = Any  # float32 scipy CSR matrix or ndarray, (cells, genes)


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Cells a model is fitted on; `X` holds log1p expression (cells, genes), all other arrays have one entry a cell.

    `control` and `validation` are masks (`validation`: set aside for early stopping), `doses` and `batches` are None
    where the data name no such column. `parts` gives the single perturbations that each perturbed label stands for,
    sorted: one, but for combinations.
    """

    X: Matrix
    genes: list[str]
    contexts: NDArray[np.str_]
    perturbations: NDArray[np.str_]
    control: NDArray[np.bool_]
    validation: NDArray[np.bool_] | None = None
    doses: NDArray[np.float64] | None = None
    batches: NDArray[np.str_] | None = None
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def from_anndata(cls, adata: AnnData, keys: Keys, validation: NDArray[np.bool_] | None = None) -> TrainingData:
        """Take the arrays out of an AnnData (view, dense, CSC and backed input included).

        Raises
        ------
        ValueError
            Missing columns, repeated gene names, NaN or infinite values, no control or no perturbed cells, perturbed
            cells without a dose, or a validation mask of the wrong length.
        """
        _require_columns(adata, [keys.context, keys.perturbation, keys.dose, keys.batch])
        _require_unique_genes(adata)
        control = np.asarray(keys.is_control(adata.obs), dtype=bool)
        for name, cells in (("control", control), ("perturbed", ~control)):
            if not cells.any():
                labels = f"control label: {keys.control!r}"
                msg = f"none of the {adata.n_obs} training cells is {name} ({labels}); check the keys and the split"
                raise ValueError(msg)
        if validation is not None and (validation.shape != (adata.n_obs,) or validation.dtype != bool):
            given = f"{validation.dtype} of shape {validation.shape}"
            msg = f"validation is {given}; it has to be a bool mask of {adata.n_obs} cells"
            raise ValueError(msg)
        perturbations = adata.obs[keys.perturbation].to_numpy().astype(np.str_)
        doses = None if keys.dose is None else adata.obs[keys.dose].to_numpy().astype(np.float64)
        if doses is not None and (missing := int(np.isnan(doses[~control]).sum())):
            msg = f"obs[{keys.dose!r}] has no number for {missing} perturbed cells; fill it in or drop those cells"
            raise ValueError(msg)
        return cls(
            X=expression(adata),
            genes=[str(gene) for gene in adata.var_names],
            contexts=adata.obs[keys.context].to_numpy().astype(np.str_),
            perturbations=perturbations,
            control=control,
            validation=validation,
            doses=doses,
            batches=None if keys.batch is None else adata.obs[keys.batch].to_numpy().astype(np.str_),
            parts={str(label): keys.parts(str(label)) for label in np.unique(perturbations[~control])},
        )

    @property
    def perturbation_names(self) -> list[str]:
        """Sorted labels of the perturbed cells."""
        return sorted({str(label) for label in self.perturbations[~self.control]})

    def rows(self, context: str, perturbation: str | None = None) -> NDArray[np.int64]:
        """Return the rows of a context's control cells, or of its cells under a perturbation."""
        side = self.control if perturbation is None else ~self.control & (self.perturbations == perturbation)
        return np.flatnonzero(side & (self.contexts == context))

    def paired_contexts(self, perturbation: str) -> list[str]:
        """Return the sorted contexts with both control cells and cells under a perturbation.

        A context that has only controls is passed over in silence (the held-out one is such a context); one that has
        only perturbed cells cannot teach a shift and is named in a warning.

        Raises
        ------
        ValueError
            Where no context has both.
        """
        perturbed = ~self.control & (self.perturbations == perturbation)
        treated = {str(context) for context in self.contexts[perturbed]}
        controlled = {str(context) for context in self.contexts[self.control]}
        if lonely := sorted(treated - controlled):
            msg = f"no control cells in {', '.join(lonely)}: left out of the shift of {perturbation!r}"
            warnings.warn(msg, stacklevel=2)
        if not treated & controlled:
            msg = (
                f"no context has both control cells and cells under {perturbation!r} (control: {sorted(controlled)}, "
                f"{perturbation!r}: {sorted(treated)}); a shift needs at least one such context"
            )
            raise ValueError(msg)
        return sorted(treated & controlled)

    def mean(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the mean expression (genes,) of some rows, summed in float64."""
        part = self.X[rows]
        if isinstance(part, np.ndarray):
            return np.asarray(part.mean(axis=0, dtype=np.float64))
        return np.asarray(np.ones(len(rows)) @ part) / len(rows)  # scipy's own mean sums float32 in float32


def expression(adata: AnnData) -> Matrix:
    """Return X as a float32 CSR matrix or C-ordered ndarray, (cells, genes), read into memory where it was backed.

    Raises
    ------
    ValueError
        Where X is missing or holds NaN or infinite values; the message counts the cells concerned.
    """
    X: Any = adata.X
    if X is None:
        msg = "the AnnData has no X; put log1p expression there"
        raise ValueError(msg)
    X = X[:] if adata.isbacked else X
    if hasattr(X, "to_memory"):
        X = X.to_memory()
    is_sparse = sparse.issparse(X)
    X = X.tocsr().astype(np.float32, copy=False) if is_sparse else np.ascontiguousarray(X, dtype=np.float32)
    good = np.isfinite(X.data if is_sparse else X)
    if not good.all():
        rows = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))[~good] if is_sparse else np.nonzero(~good)[0]
        cells = np.unique(rows)
        names = ", ".join(str(adata.obs_names[row]) for row in cells[:3])
        msg = (
            f"X holds NaN or infinite values in {cells.size} of {X.shape[0]} cells (first: {names}); mend or drop them"
        )
        raise ValueError(msg)
    return X


def _require_columns(adata: AnnData, columns: list[str | None]) -> None:
    missing = [column for column in columns if column is not None and column not in adata.obs]
    if missing:
        present = ", ".join(map(str, adata.obs.columns)) or "none"
        msg = f"obs has no column {', '.join(map(repr, missing))}; it has {present}"
        raise ValueError(msg)


def _require_unique_genes(adata: AnnData) -> None:
    if not adata.var_names.is_unique:
        repeated = sorted({str(gene) for gene in adata.var_names[adata.var_names.duplicated()]})
        first = ", ".join(repeated[:3])
        msg = f"{len(repeated)} gene names occur more than once (first: {first}); call adata.var_names_make_unique()"
        raise ValueError(msg)

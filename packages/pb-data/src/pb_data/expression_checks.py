"""Checks of X: what it holds, and a cheap one whether the declared scale can be true."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from pb_data.problems import Problem, some

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from pb_data.keys import Keys, Scale

__all__ = ["expression_problems", "scale_problems"]

SAMPLE = 1_000_000  # values looked at to contradict a declared scale
LARGEST_LOG = 30.0  # exp(30) counts are more than any cell holds
SMALL_NUMBER = 2.0  # data with no number above this may be whole by chance


def expression_problems(adata: AnnData, keys: Keys) -> list[Problem]:
    """Return problems of X: missing, backed, not finite, negative, off its declared scale, above its library size."""
    if adata.isbacked:
        return [Problem("backed", "X lies on disk (backed mode); read it into memory first: adata.to_memory()")]
    if adata.X is None:
        return [Problem("no-expression", "the data have no X; put the expression there")]
    X: Any = adata.X
    values = stored_values(X)
    if not np.issubdtype(values.dtype, np.number):
        return [Problem("not-numbers", f"X holds {values.dtype}, not numbers; convert it")]
    found = finite_problems(adata, X, values)
    if negative := int((values < 0).sum()):
        wanted = "raw counts" if keys.scale == "counts" else "log1p of normalised counts"
        remedy = f"{wanted} are never negative (was X centred or scaled?); give the matrix before that step"
        found.append(
            Problem("negative", f"X holds {negative} negative values (smallest: {np.nanmin(values):.4g}); {remedy}")
        )
    return found + scale_problems(values, keys.scale) + library_problems(adata, X, keys)


def stored_values(X: Any) -> NDArray[Any]:
    """Return the stored values of a sparse matrix, or all of a dense one, without a copy where there need be none."""
    is_sparse = sparse.issparse(X)
    return np.asarray(X.data if is_sparse else np.ravel(X))


def stored_rows(X: Any) -> NDArray[np.int64]:
    """Return the row of each of `stored_values`."""
    is_sparse = sparse.issparse(X)
    return np.asarray(X.tocoo().row if is_sparse else np.arange(X.size) // X.shape[1], dtype=np.int64)


def finite_problems(adata: AnnData, X: Any, values: NDArray[Any]) -> list[Problem]:
    """Return NaN and infinite values with the cells that hold them."""
    bad = ~np.isfinite(values)
    if not bad.any():
        return []
    cells = adata.obs_names[np.unique(stored_rows(X)[bad])]
    message = f"X holds {bad.sum()} NaN or infinite values in {len(cells)} cells ({some(cells)}); mend or drop them"
    return [Problem("not-finite", message)]


def scale_problems(values: NDArray[Any], scale: Scale) -> list[Problem]:
    """Return why values (n,) cannot be on the declared scale, judged by an even sample; nothing where they can.

    Examples
    --------
    >>> scale_problems(np.array([1.0, 2.0, 7.0]), "counts")
    []
    >>> [problem.code for problem in scale_problems(np.array([1.0, 2.0, 7.0]), "log1p")]
    ['scale']
    """
    sample = values[:: max(1, values.size // SAMPLE)]
    sample = sample[np.isfinite(sample)]
    if sample.size == 0:
        return []
    broken = sample[sample % 1 != 0]
    if scale == "counts" and broken.size:
        message = (
            f"X is declared counts, but {broken.size / sample.size:.1%} of its values are not whole numbers "
            f"(such as {broken[0]:.4g}); give raw counts, or declare scale log1p if they are log1p"
        )
        return [Problem("scale", message)]
    if scale == "log1p" and not broken.size and sample.max() > SMALL_NUMBER:
        message = (
            f"X is declared log1p, but all its values are whole numbers (up to {sample.max():.0f}), which logarithms "
            "are not; declare scale counts"
        )
        return [Problem("scale", message)]
    if scale == "log1p" and sample.max() > LARGEST_LOG:
        message = f"X is declared log1p, but its largest value is {sample.max():.4g}; was the logarithm left out?"
        return [Problem("scale", message)]
    return []


def library_problems(adata: AnnData, X: Any, keys: Keys) -> list[Problem]:
    """Return cells whose counts sum to more than their stated library size."""
    column = keys.library_size
    if column is None or keys.scale != "counts" or column not in adata.obs or adata.obs[column].dtype.kind not in "iuf":
        return []
    sums = np.asarray(X.sum(axis=1)).ravel()
    over = sums > adata.obs[column].to_numpy() * (1 + 1e-6)
    if not over.any():
        return []
    message = (
        f"{over.sum()} cells hold more counts than their library size in {column!r} ({some(adata.obs_names[over])}); "
        "the column has to be the total over all sequenced genes"
    )
    return [Problem("library-size", message)]

"""Standardisation of features, fitted on the rows that may be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
from scipy import sparse

from pb_data.nearest import nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pb_data.labelled.cards import LabelledData

__all__ = ["Standardise", "Standardiser", "fit_standardiser"]

BLOCK = 512  # rows read at a time

Standardise = Literal["training-rows", "all-rows", "none"]


class Standardiser(NamedTuple):
    """Mean and standard deviation of each feature, (features,) float32; 0 and 1 where a feature stays as it is."""

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]

    @property
    def shift(self) -> NDArray[np.float32]:
        """What centring adds to scaled features: -mean / scale; a first linear layer W can take W shift as its bias."""
        shift: NDArray[np.float32] = -self.mean / self.scale
        return shift

    def transform(self, X: sparse.csr_matrix | NDArray[np.float32]) -> Any:
        """Return (X - mean) / scale where X is dense, and X / scale where it is CSR: `shift` is left to add to batches.

        Raises
        ------
        ValueError
            Where X has another number of features than the rows it was fitted on.
        """
        if X.shape[1] != len(self.mean):
            msg = (
                f"X has {X.shape[1]} features, the standardiser was fitted on {len(self.mean)}; give the same features"
            )
            raise ValueError(msg)
        if isinstance(X, np.ndarray):
            return (X - self.mean) / self.scale
        scaled = sparse.csr_matrix(X, dtype=np.float32, copy=True)
        scaled.data /= self.scale[scaled.indices]
        return scaled


def fit_standardiser(
    data: LabelledData, rows: NDArray[np.int64], *, using: Standardise = "training-rows"
) -> Standardiser:
    """Fit mean and standard deviation (ddof = 0) of each feature but those that are never scaled.

    A feature that is constant on the rows is centred and not scaled.

    Parameters
    ----------
    rows
        Training rows.
    using
        `training-rows`: only `rows` are looked at. `all-rows`: every row, validation and test included, which is the
        reference's leak. `none`: nothing is changed.

    Raises
    ------
    ValueError
        Where the choice is unknown or there are no rows.

    Examples
    --------
    >>> from pb_data import load_labelled
    >>> data = load_labelled("concrete", task="regression")
    >>> fitted = fit_standardiser(data, np.arange(600))
    >>> bool(abs(fitted.transform(data.X[:600]).mean(axis=0)).max() < 1e-5)
    True
    """
    if using not in get_args(Standardise):
        choices = get_args(Standardise)
        msg = f"using is {using!r}{nearest(using, choices)} (choose from: {', '.join(choices)})"
        raise ValueError(msg)
    if len(rows) == 0:
        msg = "there are no rows to fit a standardiser on; give the training rows"
        raise ValueError(msg)
    n_features = data.X.shape[1]
    if using == "none":
        return Standardiser(np.zeros(n_features, dtype=np.float32), np.ones(n_features, dtype=np.float32))
    mean, sd = moments(data.X, np.arange(data.X.shape[0]) if using == "all-rows" else rows)
    constant = sd <= 1e-6 * np.abs(mean)  # what rounding leaves of a constant
    mean[data.unscaled] = 0
    sd[data.unscaled | constant] = 1
    return Standardiser(mean.astype(np.float32), sd.astype(np.float32))


def moments(X: Any, rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of each column over rows, summed in float64, block by block."""
    blocks = np.array_split(rows, -(-len(rows) // BLOCK))
    n, zero = len(rows), np.zeros(X.shape[1])
    mean = np.sum([power_sums(X[block], zero, 1) for block in blocks], axis=0) / n
    variance = np.sum([power_sums(X[block], mean, 2) for block in blocks], axis=0) / n
    return mean, np.sqrt(variance)


def power_sums(X: Any, centre: NDArray[np.float64], power: int) -> NDArray[np.float64]:
    """Return sum_i (X_ij - centre_j)^power of each column j, without making X dense."""
    if isinstance(X, np.ndarray):
        return np.asarray(((X - centre) ** power).sum(axis=0))
    stored = np.bincount(X.indices, weights=(X.data - centre[X.indices]) ** power, minlength=X.shape[1])
    zeros = X.shape[0] - np.bincount(X.indices, minlength=X.shape[1])
    return np.asarray(stored + zeros * (-centre) ** power)

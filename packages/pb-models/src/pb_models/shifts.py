"""What the baselines are made of: context means, similarity weights, leave-one-context-out choices, PCA."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from scipy import sparse
from sklearn.decomposition import PCA

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from pb_models.cells import Matrix, TrainingData

__all__ = [
    "ContextShifts",
    "PcaBasis",
    "context_shifts",
    "first_best",
    "fit_pca",
    "leave_one_out",
    "pearson",
    "softmax_weights",
]

T = TypeVar("T")

_EXACT_GENES = 1000  # up to here the covariance matrix is small enough for an exact eigendecomposition


class ContextShifts(NamedTuple):
    """Mean control profile and mean shift of every training context, both (contexts, genes), log1p."""

    contexts: list[str]
    profiles: NDArray[np.float64]
    shifts: NDArray[np.float64]


class PcaBasis(NamedTuple):
    """Principal axes `components` (k, genes) and centre `mean` (genes,) of some cells."""

    components: NDArray[np.float32]
    mean: NDArray[np.float32]

    def scores(self, X: Matrix) -> NDArray[np.float64]:
        """Return z = V (x - mean) of every row, (cells, k); a sparse X is never made dense."""
        axes = self.components.T.astype(np.float64)  # (genes, k)
        return np.asarray(X @ axes) - self.mean.astype(np.float64) @ axes


def context_shifts(data: TrainingData, perturbation: str, *, at_least: int = 1, model: str = "") -> ContextShifts:
    """Return c_i = mean control cell and s_i = mean perturbed cell - c_i of every training context i.

    Raises
    ------
    ValueError
        Where fewer contexts than `at_least` have both control cells and cells under the perturbation.
    """
    contexts = data.paired_contexts(perturbation)
    if len(contexts) < at_least:
        msg = (
            f"{model} needs {at_least} training contexts with control and {perturbation!r} cells, there is only "
            f"{', '.join(contexts)}; use mean-shift, or add contexts"
        )
        raise ValueError(msg)
    profiles = np.stack([data.mean(data.rows(context)) for context in contexts])
    perturbed = np.stack([data.mean(data.rows(context, perturbation)) for context in contexts])
    return ContextShifts(contexts, profiles, perturbed - profiles)


def pearson(profiles: NDArray[np.floating], target: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the Pearson correlation of the target (genes,) with every profile (contexts, genes).

    A profile that is the same for all genes has no correlation; it gets 0.

    Examples
    --------
    >>> pearson(np.array([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]), np.array([1.0, 2.0, 3.0])).round(6).tolist()
    [1.0, -1.0]
    """
    rows = np.asarray(profiles, dtype=np.float64)
    rows = rows - rows.mean(axis=1, keepdims=True)
    column = np.asarray(target, dtype=np.float64) - np.mean(target, dtype=np.float64)
    norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(column)
    value = np.divide(rows @ column, norms, out=np.zeros(len(rows)), where=norms > 0)
    return np.asarray(value.clip(-1, 1))  # rounding, which differs from processor to processor, may end beyond


def softmax_weights(
    profiles: NDArray[np.floating], target: NDArray[np.floating], temperature: float
) -> NDArray[np.float64]:
    """Return w_i = exp(r_i / temperature) / sum_j exp(r_j / temperature), r_i the Pearson similarity of profile i.

    Examples
    --------
    >>> softmax_weights(np.array([[0.0, 1.0, 2.0], [0.0, 2.0, 4.0]]), np.array([1.0, 2.0, 3.0]), 0.1).tolist()
    [0.5, 0.5]
    """
    similarity = pearson(profiles, target)
    weights = np.exp((similarity - similarity.max()) / temperature)
    return np.asarray(weights / weights.sum())


def leave_one_out(
    predict: Callable[[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float], NDArray[np.float64]],
    profiles: NDArray[np.float64],
    shifts: NDArray[np.float64],
    candidates: Sequence[float],
) -> float:
    """Return the candidate that best predicts each training context's shift from the other training contexts.

    The error is the mean over contexts and dimensions of (predict(C_-i, S_-i, c_i, candidate) - s_i)^2. Equal errors
    (up to 1e-9 of the smallest) go to the candidate listed first; with two contexts all are equal, because one context
    is left to predict from.

    Parameters
    ----------
    predict
        Takes profiles, shifts, the target profile and a candidate; returns the target's shift.
    profiles, shifts
        One row a training context.
    candidates
        From the most to the least smoothing.
    """
    if len(profiles) < 3:
        return candidates[0]
    others = [np.arange(len(profiles)) != i for i in range(len(profiles))]
    errors = [
        np.mean(
            [
                np.mean((predict(profiles[rest], shifts[rest], profile, candidate) - shift) ** 2)
                for rest, profile, shift in zip(others, profiles, shifts, strict=True)
            ]
        )
        for candidate in candidates
    ]
    return first_best(candidates, errors)


def first_best(candidates: Sequence[T], errors: Sequence[float]) -> T:
    """Return the candidate with the smallest error; equal errors (up to 1e-9 of it) go to the one listed first.

    Examples
    --------
    >>> first_best([50, 15, 5], [2.0, 1.0, 1.0])
    15
    """
    bound = min(errors) * (1 + 1e-9)
    return next(candidate for candidate, error in zip(candidates, errors, strict=True) if error <= bound)


def fit_pca(X: Matrix, n_components: int) -> PcaBasis:
    """Return the leading principal axes of the rows of X (cells, genes), without ever making X dense.

    Up to 1,000 genes exact, by the eigenvectors of the covariance; beyond, by Lanczos iteration from a fixed start.
    At most min(cells - 1, genes) axes exist; asking for more gives those.
    """
    rows = sparse.csr_matrix(X, dtype=np.float64)
    exact = rows.shape[1] <= _EXACT_GENES
    most = min(rows.shape[0] - 1, rows.shape[1] if exact else rows.shape[1] - 1)
    solver = "covariance_eigh" if exact else "arpack"
    pca = PCA(min(n_components, most), svd_solver=solver, random_state=0).fit(rows)
    return PcaBasis(pca.components_.astype(np.float32), pca.mean_.astype(np.float32))

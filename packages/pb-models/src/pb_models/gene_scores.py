"""Which genes a latent shift moves: a linear surrogate of the decoder, scored along the shift."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Decoder = Callable[[NDArray[np.float64]], NDArray[np.floating[Any]]]

__all__ = ["GeneScores", "Surrogate", "fit_surrogate", "gene_scores"]

NEAREST = 1e-6  # least cosine distance: a point that lies exactly along the shift would weigh infinitely much


class Surrogate(NamedTuple):
    """A linear decoder x = intercept + W z: `weights` (genes, latent), `intercept` (genes,)."""

    weights: NDArray[np.float64]
    intercept: NDArray[np.float64]


class GeneScores(NamedTuple):
    """A signed score for every gene (genes,), and the surrogate's R2 on points it was not fitted on."""

    scores: NDArray[np.float64]
    r2: float


def gene_scores(
    decode: Decoder,
    box: NDArray[np.floating],
    delta: NDArray[np.floating],
    *,
    n_points: int = 100_000,
    n_test_points: int = 20_000,
    penalty: float = 1.0,
    seed: int = 0,
    block: int = 2048,
) -> GeneScores:
    """Score genes by what a latent shift does to them: W' delta, W' being the surrogate's columns at unit norm.

    The decoder is replaced by a ridge regression on points drawn uniformly from a box, weighted by 1 / cosine distance
    to the shift. In a hundred dimensions nearly all points are far from any cell and the weights nearly equal, so the
    R2 says how much the scores are worth; the published example has 0.60.

    Parameters
    ----------
    decode
        From latent positions (cells, latent) to expression (cells, genes).
    box
        Lowest and highest coordinate of the training cells, (2, latent).
    delta
        The shift, (latent,).
    n_points, n_test_points
        Points to fit on, and fresh ones for the R2 (uniform mean over the genes that vary).
    penalty
        Of the ridge; the intercept is not penalised.
    block
        Points decoded at once: points times genes are never held whole.

    Returns
    -------
    GeneScores
        Largest for the genes that the shift raises most; the R2 is NaN where no gene varies, and the scores then mean
        nothing.

    References
    ----------
    Kana et al., Patterns 2023 (scVIDR).
    """
    random = np.random.default_rng(seed)
    surrogate = fit_surrogate(decode, _points(box, n_points, block, random), delta, penalty=penalty)
    norms = np.linalg.norm(surrogate.weights, axis=0)
    unit = np.divide(surrogate.weights, norms, out=np.zeros_like(surrogate.weights), where=norms > 0)
    r2 = _r2(surrogate, decode, _points(box, n_test_points, block, random))
    return GeneScores(unit @ np.asarray(delta, dtype=np.float64), r2)


def fit_surrogate(
    decode: Decoder, blocks: Iterator[NDArray[np.float64]], delta: NDArray[np.floating], *, penalty: float = 1.0
) -> Surrogate:
    """Fit min_{W, b} sum_m w_m |decode(z_m) - W z_m - b|^2 + penalty |W|^2, w_m = 1 / cosine distance of z_m to delta.

    Only the weighted sums of z, y, z z' and z y' are kept, so memory does not grow with the number of points.
    """
    total, sums = 0.0, [np.zeros(())] * 4
    for z in blocks:
        y = np.asarray(decode(z), dtype=np.float64)
        weight = _weights(z, delta)
        weighted = weight[:, None] * z
        sums = [
            old + new for old, new in zip(sums, (weight @ z, weight @ y, weighted.T @ z, weighted.T @ y), strict=True)
        ]
        total += float(weight.sum())
    z_sum, y_sum, zz, zy = sums
    z_mean, y_mean = z_sum / total, y_sum / total
    gram = zz - total * np.outer(z_mean, z_mean) + penalty * np.eye(len(z_mean))
    slopes = np.linalg.solve(gram, zy - total * np.outer(z_mean, y_mean))  # (latent, genes)
    return Surrogate(np.asarray(slopes.T, dtype=np.float64), y_mean - z_mean @ slopes)


def _weights(z: NDArray[np.float64], delta: NDArray[np.floating]) -> NDArray[np.float64]:
    cosine = z @ delta / np.maximum(np.linalg.norm(z, axis=1) * np.linalg.norm(delta), np.finfo(np.float64).tiny)
    return np.asarray(1 / np.maximum(1 - cosine, NEAREST))


def _points(
    box: NDArray[np.floating], n: int, block: int, random: np.random.Generator
) -> Iterator[NDArray[np.float64]]:
    low, high = np.asarray(box, dtype=np.float64)
    for start in range(0, n, block):
        yield random.uniform(low, high, (min(block, n - start), len(low)))


def _r2(surrogate: Surrogate, decode: Decoder, blocks: Iterator[NDArray[np.float64]]) -> float:
    """Return the mean over genes of 1 - SSE / SST; genes that do not vary have no R2 and are left out."""
    n, sums = 0, [np.zeros(())] * 3
    for z in blocks:
        y = np.asarray(decode(z), dtype=np.float64) - surrogate.intercept
        new = (y.sum(axis=0), np.square(y).sum(axis=0), np.square(y - z @ surrogate.weights.T).sum(axis=0))
        sums = [old + part for old, part in zip(sums, new, strict=True)]
        n += len(z)
    total, squares, error = sums
    spread = squares - total**2 / n
    varies = spread > np.finfo(np.float64).eps * squares
    return float(np.mean(1 - error[varies] / spread[varies])) if varies.any() else float("nan")

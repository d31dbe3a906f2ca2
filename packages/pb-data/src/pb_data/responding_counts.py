"""Real counts changed by a known factor, with the noise that counts of the new mean would have."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["GeneRates", "change_counts", "gene_rates", "respond"]


class GeneRates(NamedTuple):
    """What the control cells of one context say of their genes.

    Parameters
    ----------
    mean
        Mean counts, (genes,).
    size
        Total counts over the mean total, (cells,); its mean is 1.
    spread
        Part of a gene's variance, beyond cell size, that is not Poisson noise, (genes,), from 0 to below 1. For
        gamma-Poisson counts of mean m and shape a this is m / (m + a).
    """

    mean: NDArray[np.float64]
    size: NDArray[np.float64]
    spread: NDArray[np.float64]


def gene_rates(counts: sparse.csr_matrix) -> GeneRates:
    """Estimate mean, cell size and spread from the control cells of one context (cells, genes), by moments.

    spread = V / (V + m), V = max(0, mean of (x - size m)^2 over cells, minus m).

    Examples
    --------
    >>> rates = gene_rates(sparse.csr_matrix([[0.0, 3.0], [2.0, 1.0]]))
    >>> rates.mean.tolist(), rates.size.tolist(), rates.spread.tolist()
    ([1.0, 2.0], [1.0, 1.0], [0.0, 0.0])
    """
    exact = counts.astype(np.float64)
    mean = np.asarray(exact.mean(axis=0)).ravel()
    totals = np.asarray(exact.sum(axis=1)).ravel()
    size = totals / totals.mean()
    squares = np.asarray(exact.multiply(exact).mean(axis=0)).ravel()
    crossed = exact.T @ size / size.size
    excess = np.maximum(squares - 2 * mean * crossed + mean**2 * (size**2).mean() - mean, 0)
    spread = np.divide(excess, excess + mean, out=np.zeros_like(mean), where=mean > 0)
    return GeneRates(mean, size, spread)


def respond(
    counts: NDArray[np.int64],
    factor: NDArray[np.float64],
    rates: GeneRates,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Change counts (cells, genes) so that each gene's mean is its factor times the control mean, with real noise.

    Below 1, counts are thinned: y ~ Binomial(x, f). Poisson counts of any mixture of rates become Poisson counts of the
    same mixture, scaled by f, so nothing is assumed.

    Above 1, counts are added: y = x + Poisson((f - 1) r), with a rate r of the cell (in counts) drawn from
    Gamma(shape q / w, scale w), q = w x + (1 - w) s m, where m is the mean, s the cell's size and w the spread. If
    counts are gamma-Poisson and cells equally large, that is the rate's exact distribution given x, so y is
    gamma-Poisson with mean f m and the shape of the control counts. Whatever the counts, over the control cells that
    the rates were estimated from, x and s m have mean m, hence q and r have, and y has mean f m exactly.

    A cell without a count of the gene may get some, and cells above the mean tend to stay there.
    """
    thinned = rng.binomial(counts, np.minimum(factor, 1))
    expected = rates.spread * counts + (1 - rates.spread) * np.outer(rates.size, rates.mean)
    spread = np.broadcast_to(rates.spread, expected.shape)
    safe = np.where(spread > 0, spread, 1.0)
    rate = np.where(spread > 0, rng.gamma(expected / safe, safe), expected)
    changed: NDArray[np.int64] = thinned + rng.poisson(np.maximum(factor - 1, 0) * rate)
    return changed


def change_counts(
    counts: sparse.csr_matrix, factor: NDArray[np.float64], rates: GeneRates, rng: np.random.Generator
) -> sparse.csr_matrix:
    """Apply `respond` to the genes whose factor is not 1; the others keep their counts and stay sparse.

    `rates.size` is that of the given cells.
    """
    n_genes = counts.shape[1]
    changed = np.flatnonzero(factor != 1)
    block = counts[:, changed].toarray().astype(np.int64)
    own = GeneRates(rates.mean[changed], rates.size, rates.spread[changed])
    new = sparse.csr_matrix(respond(block, factor[changed], own, rng).astype(np.float32))
    place = sparse.csr_matrix(
        (np.ones(changed.size, np.float32), changed, np.arange(changed.size + 1)), (changed.size, n_genes)
    )
    kept = counts @ sparse.diags((factor == 1).astype(np.float32))
    result = sparse.csr_matrix(kept + new @ place)
    result.eliminate_zeros()
    result.sort_indices()
    return result

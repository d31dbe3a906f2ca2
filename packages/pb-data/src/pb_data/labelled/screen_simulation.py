"""A screen's cells with a known truth: what folds over cells leak, and what expression says of an outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import sparse
from scipy.special import ndtri

from pb_data.labelled.screen import Screen, fixed_test_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ScreenSettings", "simulate_screen"]

CONTROL = "NTC"


@dataclass(frozen=True)
class ScreenSettings:
    """What is simulated.

    Parameters
    ----------
    n_genes, cells_per_gene
        Perturbed genes with an outcome, and cells of each.
    n_control
        Cells of the control NTC, which has no outcome.
    n_measured
        Genes measured; each perturbed gene changes `n_signature` of them.
    signature
        Standard deviation of the log fold by which a perturbed gene changes its signature, whatever its outcome.
    signal
        Log fold, for each unit of a gene's outcome on the normal scale, by which it changes the genes of the outcome's
        programme, which all perturbed genes share; 0: expression knows of an outcome only whose cell it is.
    extremes
        Part of the genes with p <= .05, and part with p >= .95, of each outcome.
    depth
        Mean counts of a cell.
    seed
        Decides everything drawn.

    Raises
    ------
    ValueError
        Where a number is out of range.
    """

    n_genes: int = 40
    cells_per_gene: int = 30
    n_control: int = 60
    n_measured: int = 300
    n_signature: int = 20
    signature: float = 1.0
    signal: float = 0.0
    extremes: float = 0.3
    depth: float = 2000.0
    seed: int = 0

    def __post_init__(self) -> None:
        bounds = {
            "n_genes": (2, np.inf),
            "cells_per_gene": (1, np.inf),
            "n_control": (0, np.inf),
            "n_measured": (4, np.inf),
            "n_signature": (0, self.n_measured),
            "signature": (0, np.inf),
            "signal": (0, np.inf),
            "extremes": (0, 0.5),
            "depth": (1, np.inf),
        }
        for name, (low, high) in bounds.items():
            if not low <= (value := getattr(self, name)) <= high:
                msg = f"{name} is {value}; give a number from {low:g} to {high:g}"
                raise ValueError(msg)


class Outcomes(NamedTuple):
    """Outcomes of the perturbed genes, (genes, 2): on the normal scale, and as p-values."""

    normal: NDArray[np.float64]
    p_values: NDArray[np.float64]


def simulate_screen(settings: ScreenSettings | None = None) -> Screen:
    """Simulate perturbed cells of the Akana layout; `write_screen` writes them.

    Counts are Poisson with mean depth * share_j * exp(signature_gj + signal * sum_t z_gt * programme_tj), renormalised
    to the depth, for measured gene j of a cell of perturbed gene g; expression is log1p per 10,000. The outcomes z are
    drawn without looking at the signatures, and all cells of a gene share them. So with `signal=0` a model scored on
    new cells of seen genes can know an outcome by recognising the gene, and one scored on unseen genes can only guess;
    with a signal both can know it. Half of the cells are flagged as co-culture, which changes nothing.

    Examples
    --------
    >>> screen = simulate_screen(ScreenSettings(n_genes=5, cells_per_gene=4, n_control=3, n_measured=30))
    >>> screen.expression.shape, int((screen.p_values == -1).all(axis=1).sum())
    ((23, 30), 3)
    """
    settings = settings or ScreenSettings()
    rng = np.random.default_rng(settings.seed)
    outcomes = draw_outcomes(settings, rng)
    log_folds = draw_log_folds(settings, outcomes, rng)
    sizes = [settings.cells_per_gene] * settings.n_genes + [settings.n_control]
    gene = rng.permutation(np.repeat(np.arange(settings.n_genes + 1), sizes))
    counts = draw_counts(settings, log_folds, gene, rng)
    totals = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    width = len(str(settings.n_genes))
    names = np.array([*(f"G{n + 1:0{width}d}" for n in range(settings.n_genes)), CONTROL])
    return Screen(
        sparse.csr_matrix(np.log1p(counts * (1e4 / totals)).astype(np.float32)),
        np.array([f"measured {n + 1}" for n in range(settings.n_measured)]),
        rng.random(len(gene)) < 0.5,
        names[gene],
        np.vstack([outcomes.p_values, [-1.0, -1.0]])[gene],
        fixed_test_rows(names[gene], [CONTROL] if settings.n_control else [], 0.1, settings.seed),
    )


def draw_outcomes(settings: ScreenSettings, rng: np.random.Generator) -> Outcomes:
    """Draw two independent outcomes for each gene, with exact numbers of extreme p-values."""
    order = rng.random((settings.n_genes, 2)).argsort(axis=0)
    uniform = (order + 0.5) / settings.n_genes
    edges = np.array([0, settings.extremes, 1 - settings.extremes, 1])
    p_values = np.column_stack([np.interp(column, edges, [0, 0.05, 0.95, 1]) for column in uniform.T])
    return Outcomes(ndtri(uniform), p_values)


def draw_log_folds(settings: ScreenSettings, outcomes: Outcomes, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the log folds (perturbed genes and the control, measured genes)."""
    folds = np.zeros((settings.n_genes + 1, settings.n_measured))
    changed = rng.random((settings.n_genes, settings.n_measured)).argsort(axis=1)[:, : settings.n_signature]
    values = rng.normal(scale=settings.signature, size=changed.shape)
    np.put_along_axis(folds[:-1], changed, values, axis=1)
    programmes = np.where(rng.random((2, settings.n_measured)) < 0.1, rng.choice([-1.0, 1.0], settings.n_measured), 0)
    folds[:-1] += settings.signal * outcomes.normal @ programmes
    return folds


def draw_counts(
    settings: ScreenSettings, log_folds: NDArray[np.float64], gene: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw Poisson counts (cells, measured genes)."""
    means = rng.gamma(1.0, size=settings.n_measured) * np.exp(log_folds)
    means *= settings.depth / means.sum(axis=1, keepdims=True)
    return rng.poisson(means[gene])

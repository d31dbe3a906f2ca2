"""Dose responses of genes: what to simulate, the Hill equation, and the drawn truth."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from pb_data.keys import Keys

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["KEYS", "Responses", "SimulationSettings", "draw_responses", "hill_factor"]

KEYS = Keys(
    context="cell_type",
    perturbation="perturbation",
    control="control",
    scale="counts",
    dose="dose",
    separator="+",
)


@dataclass(frozen=True)
class SimulationSettings:
    """What to simulate.

    Parameters
    ----------
    n_contexts
        Number of cell types, those with most control cells first.
    doses
        Doses at which every perturbation and combination is measured, above 0.
    n_perturbations
        Number of single perturbations, `drug1`, `drug2`, ...
    n_combinations
        Number of pairs, each part at the same dose.
    n_interacting
        How many of the pairs, the last ones, interact; the others add their log factors. None: one, if there is a pair.
    interaction
        k: an interacting pair's log factor is (1 + k) times the sum of its parts'; -1 annuls it.
    n_cells
        Cells of each context, perturbation and dose.
    n_controls
        Control cells of each context.
    n_genes
        Genes kept, those with the highest mean in control cells.
    n_responding
        Genes that respond to each perturbation.
    max_log2_fold
        Largest log2 fold change at full effect, up or down; the smallest is 1.
    hill
        Exponent of the dose response.

    Raises
    ------
    ValueError
        Where a number is too small, or more pairs, interactions or responding genes are asked for than there can be.
    """

    n_contexts: int = 4
    doses: tuple[float, ...] = (0.1, 1.0, 10.0)
    n_perturbations: int = 3
    n_combinations: int = 2
    n_interacting: int | None = None
    interaction: float = 0.5
    n_cells: int = 30
    n_controls: int = 100
    n_genes: int = 2000
    n_responding: int = 100
    max_log2_fold: float = 3.0
    hill: float = 1.5
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"n_contexts": 1, "n_perturbations": 1, "n_cells": 2, "n_controls": 2, "n_genes": 1, "n_responding": 1}
        for name, bound in {**least, "n_combinations": 0, "n_interacting": 0, "max_log2_fold": 1, "seed": 0}.items():
            if (value := getattr(self, name)) is not None and not value >= bound:
                msg = f"{name} is {value}; give at least {bound}"
                raise ValueError(msg)
        pairs = self.n_perturbations * (self.n_perturbations - 1) // 2
        most = {"n_combinations": pairs, "n_interacting": self.n_combinations, "n_responding": self.n_genes}
        for name, bound in most.items():
            if (value := getattr(self, name)) is not None and value > bound:
                msg = f"{name} is {value}, but there can be no more than {bound} of them here"
                raise ValueError(msg)
        doses = np.array(self.doses, dtype=np.float64)
        if not doses.size or not (np.isfinite(doses) & (doses > 0)).all() or np.unique(doses).size < doses.size:
            msg = f"doses are {self.doses}; give different finite numbers above 0, such as 0.1, 1, 10"
            raise ValueError(msg)
        if not (np.isfinite(self.hill) and self.hill > 0 and np.isfinite(self.interaction)):
            msg = f"hill is {self.hill} and interaction {self.interaction}; give a number above 0, and any number"
            raise ValueError(msg)

    @property
    def interacting_pairs(self) -> int:
        """How many pairs interact."""
        return min(1, self.n_combinations) if self.n_interacting is None else self.n_interacting

    @property
    def n_groups(self) -> int:
        """Groups of perturbed cells in each context."""
        return (self.n_perturbations + self.n_combinations) * len(self.doses)


def hill_factor(
    dose: float, *, fold: ArrayLike, efficacy: ArrayLike, ec50: ArrayLike, exponent: float
) -> NDArray[np.float64]:
    """Return the factor on a gene's mean at a dose, of the shape that the arguments broadcast to.

    f(d) = 1 + (fold - 1) E d^h / (d^h + EC50^h) (Hill 1910): 1 at dose 0, half the effect at the EC50, and
    1 + (fold - 1) E at high doses.

    Parameters
    ----------
    fold
        Factor at full efficacy and saturating dose.
    efficacy
        E, the part of the full effect that is reached, from 0 to 1.
    ec50
        Dose of half the effect, in the unit of the dose.
    exponent
        h, how steep the response is.

    Examples
    --------
    >>> hill_factor(2.0, fold=[5.0, 0.5], efficacy=1.0, ec50=2.0, exponent=1.5).tolist()
    [3.0, 0.75]
    """
    powered = np.float64(dose) ** exponent
    occupied = np.asarray(efficacy) * powered / (powered + np.asarray(ec50, dtype=np.float64) ** exponent)
    factor: NDArray[np.float64] = 1 + (np.asarray(fold, dtype=np.float64) - 1) * occupied
    return factor


@dataclass(frozen=True)
class Responses:
    """The drawn truth.

    Parameters
    ----------
    fold
        Factor of each gene at full effect, 1 where it does not respond, (perturbations, genes).
    ec50, efficacy
        Dose of half the effect, and the part of the effect that is reached, (contexts, perturbations).
    pairs
        Numbers of the perturbations that are combined.
    """

    settings: SimulationSettings
    fold: NDArray[np.float64]
    ec50: NDArray[np.float64]
    efficacy: NDArray[np.float64]
    pairs: list[tuple[int, int]]

    @property
    def labels(self) -> dict[str, tuple[int, ...]]:
        """Label -> numbers of its parts; single perturbations first."""
        singles = {f"drug{index + 1}": (index,) for index in range(self.settings.n_perturbations)}
        return singles | {f"drug{a + 1}{KEYS.separator}drug{b + 1}": (a, b) for a, b in self.pairs}

    @property
    def interactions(self) -> dict[str, float]:
        """Label of each pair -> its interaction, 0 where log factors add."""
        additive = self.settings.n_combinations - self.settings.interacting_pairs
        names = list(self.labels)[self.settings.n_perturbations :]
        return {name: self.settings.interaction if index >= additive else 0.0 for index, name in enumerate(names)}

    def factor(self, context: int, label: str, dose: float) -> NDArray[np.float64]:
        """Return the factor on each gene's control mean, (genes,): (1 + k) times the sum of the parts' log factors."""
        factor = np.ones(self.fold.shape[1])
        for part in self.labels[label]:
            factor *= hill_factor(
                dose,
                fold=self.fold[part],
                efficacy=self.efficacy[context, part],
                ec50=self.ec50[context, part],
                exponent=self.settings.hill,
            )
        powered: NDArray[np.float64] = factor ** (1 + self.interactions.get(label, 0.0))
        return powered

    @property
    def conditions(self) -> list[tuple[str, float]]:
        """Each label with each dose, the control first."""
        doses = sorted(self.settings.doses)
        return [(KEYS.control, KEYS.control_dose), *((label, dose) for label in self.labels for dose in doses)]


def draw_responses(settings: SimulationSettings, n_contexts: int) -> Responses:
    """Draw which genes respond and by what fold, and potency and efficacy of each context."""
    rng = np.random.default_rng([settings.seed, 0])
    shape = (settings.n_perturbations, settings.n_genes)
    responding = np.argsort(rng.random(shape), axis=1) < settings.n_responding
    log2_fold = rng.uniform(1, settings.max_log2_fold, shape) * rng.choice([-1, 1], shape)
    middle = np.mean(np.log10(settings.doses))
    potency = middle + rng.uniform(-0.5, 0.5, shape[:1]) + rng.uniform(-0.5, 0.5, (n_contexts, *shape[:1]))
    pairs = list(combinations(range(settings.n_perturbations), 2))
    chosen = np.sort(rng.permutation(len(pairs))[: settings.n_combinations])
    return Responses(
        settings=settings,
        fold=np.where(responding, 2.0**log2_fold, 1.0),
        ec50=10.0**potency,
        efficacy=rng.uniform(0.5, 1.0, potency.shape),
        pairs=[pairs[index] for index in chosen],
    )

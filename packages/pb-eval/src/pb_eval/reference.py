"""What predictions are held against: true and control cells of one held-out unit, each statistic computed once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from pb_eval import differential
from pb_eval.context import vector
from pb_eval.deltas import shift
from pb_eval.distances import median_distance
from pb_eval.folds import log_fold
from pb_eval.genes import rank_up_regulated
from pb_eval.matrix import Matrix, Moments, as_matrix, linear_means, moments
from pb_eval.means import resampled_means
from pb_eval.ordering import kept_blocks
from pb_eval.threads import once

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from numpy.typing import NDArray

    from pb_eval.context import OtherUnit
    from pb_eval.ordering import Block
    from pb_eval.spaces import Basis

__all__ = ["Cells", "Reference"]

T = TypeVar("T")


class Cells:
    """One group of cells and its statistics, each computed on first use.

    Parameters
    ----------
    matrix
        ``(cells, genes)``, log1p, as :func:`pb_eval.matrix.as_matrix` returns it.
    control
        Measured control cells that shifts and tests are taken against; None for the control itself.
    basis
        Principal components of the training cells.
    seed
        Of the resampled means.
    """

    def __init__(
        self, matrix: Matrix, *, control: Cells | None = None, basis: Basis | None = None, seed: int = 0
    ) -> None:
        self.matrix = matrix
        self.basis = basis
        self.seed = seed
        self._control = control
        self._remembered: dict[Hashable, Any] = {}

    def remember(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Return what several metrics share, computed once."""
        if key not in self._remembered:
            self._remembered[key] = compute()
        remembered: T = self._remembered[key]
        return remembered

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return int(self.matrix.shape[0])

    @property
    def control(self) -> Cells:
        """Control cells that this group is compared with (the control itself: with itself)."""
        return self if self._control is None else self._control

    @once
    def moments(self) -> Moments:
        """Mean and variance of each gene."""
        return moments(self.matrix)

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean of each gene, ``(genes,)``."""
        return self.moments.mean

    @once
    def shift(self) -> NDArray[np.float64]:
        """Mean less the control's mean, ``(genes,)``."""
        return shift(self.mean, self.control.mean)

    @property
    def ordered(self) -> list[Callable[[], Block]] | None:
        """The cells and those of control in order, gene by gene, where memory can keep them."""
        return self.remember("ordered", lambda: kept_blocks(self.matrix, self.control.matrix))

    @once
    def rank_sums(self) -> differential.RankSums:
        """Mann-Whitney statistics against control."""
        return differential.rank_sums(self.matrix, self.control.matrix, self.ordered)

    @once
    def wilcoxon(self) -> differential.DifferentialTest:
        """Wilcoxon rank-sum test against control, corrected for ties."""
        return differential.wilcoxon(self.rank_sums)

    @once
    def t_test(self) -> differential.DifferentialTest:
        """Welch's t-test against control."""
        return differential.t_test(self.moments, self.control.moments)

    @once
    def significant(self) -> NDArray[np.intp]:
        """Columns of the genes that differ from control (Wilcoxon, Benjamini-Hochberg FDR < 0.05)."""
        return np.flatnonzero(self.wilcoxon.adjusted < 0.05)

    @once
    def linear_mean(self) -> NDArray[np.float64]:
        """Mean of each gene before log1p, ``(genes,)``."""
        return linear_means(self.matrix)

    @once
    def log_fold(self) -> NDArray[np.float64]:
        """Log2 fold change of the mean before log1p against control, ``(genes,)``."""
        return log_fold(self.linear_mean, self.control.linear_mean)

    @once
    def coordinates(self) -> NDArray[np.float64]:
        """Coordinates in the training cells' principal components, ``(cells, components)``."""
        if self.basis is None:
            msg = "a distance in PCA space needs a basis of training cells: give Reference(basis=fit_basis(training))."
            raise ValueError(msg)
        return self.basis.transform(self.matrix)

    @once
    def resampled_means(self) -> NDArray[np.float64]:
        """Means of 100 draws of 80 % of the cells, ``(100, genes)``."""
        return resampled_means(self.matrix, seed=self.seed)


class Reference:
    """True and measured control cells of one held-out unit; reused for every model that predicts it.

    Parameters
    ----------
    truth
        Measured perturbed cells, ``(cells, genes)``, log1p, dense or CSR.
    control
        Measured control cells of the same context, ``(cells, genes)``, log1p; no model's predicted controls.
    genes
        Names of the columns, unique.
    basis
        Principal components of the training cells; None leaves out the metrics that need them.
    seed
        Of the resampled means and of the draw that equals group sizes.
    training_shift
        Mean shift of the training contexts under the same perturbation, ``(genes,)``; None leaves out the residuals.
        :func:`pb_eval.context.training_response` gives it and the weights.
    weights
        Of the genes, not negative, from data that is not scored, ``(genes,)``; None leaves out the weighted metrics.
    others
        Truths of the units that a prediction could be mistaken for, by name (:func:`pb_eval.context.other_unit`); None
        or none leaves out the discrimination scores.
    targets
        Genes that the perturbation targets, left out where units are told apart; those that are not among the genes
        do not count.

    Raises
    ------
    ValueError
        In one sentence: other numbers of genes, duplicated names, empty groups, NaN or infinite values.

    Examples
    --------
    >>> control, truth = np.zeros((3, 2)), np.array([[2.0, 0.0], [3.0, 0.0]])
    >>> Reference(truth, control, ["ISG15", "CD3D"]).truth.shift
    array([2.5, 0. ])
    """

    def __init__(
        self,
        truth: Any,
        control: Any,
        genes: Sequence[str],
        basis: Basis | None = None,
        seed: int = 0,
        *,
        training_shift: Any = None,
        weights: Any = None,
        others: Mapping[str, OtherUnit] | None = None,
        targets: Sequence[str] = (),
    ) -> None:
        self.genes = [str(gene) for gene in genes]
        self.basis = basis
        self.seed = seed
        _check_genes(self.genes, basis)
        n_genes = len(self.genes)
        self.training_shift = None if training_shift is None else vector(training_shift, "training_shift", n_genes)
        self.weights = None if weights is None else _checked_weights(weights, n_genes)
        self.others = _checked_others(others, n_genes) if others else None
        self.targets = tuple(targets)
        self.control = Cells(as_matrix(control, "control", len(self.genes)), basis=basis, seed=seed)
        self.truth = self.cells(truth, "truth")

    def cells(self, matrix: Any, name: str = "prediction") -> Cells:
        """Check a group of cells and set it beside this unit's control.

        Parameters
        ----------
        matrix
            ``(cells, genes)``, log1p, genes in this reference's order; cells that this returned stay as they are.
        name
            What the cells are, for messages.

        Raises
        ------
        ValueError
            As :func:`pb_eval.matrix.as_matrix`.
        """
        if isinstance(matrix, Cells):
            return matrix
        checked = as_matrix(matrix, name, len(self.genes))
        return Cells(checked, control=self.control, basis=self.basis, seed=self.seed)

    def columns(self, names: Sequence[str]) -> NDArray[np.intp]:
        """Columns of the genes of these names; others are passed over."""
        return np.flatnonzero(np.isin(self.genes, list(names)))

    def up_regulated(self, cells: Cells, k: int) -> NDArray[np.intp]:
        """Columns of the up to ``k`` genes of a group with the highest Welch t score above 0."""
        score = cells.t_test.score
        top = rank_up_regulated(score, cells.shift, self.genes)[:k]
        return top[(score[top] > 0) & (cells.shift[top] > 0)]

    def top_genes(self, k: int) -> NDArray[np.intp]:
        """Columns of the ``k`` genes with the highest Wilcoxon score in truth (all genes where there are fewer).

        Scores are taken without tie correction, as scanpy does, which orders genes as the AUROC does.
        """
        return self._truth_ranking[:k]

    @property
    def significant(self) -> NDArray[np.intp]:
        """Columns of the genes that differ between truth and control (Wilcoxon, FDR < 0.05)."""
        return self.truth.significant

    @once
    def scale(self) -> float:
        """Median distance between measured cells in PCA space, which no prediction can change."""
        return median_distance([self.truth.coordinates, self.control.coordinates], self.seed)

    @once
    def _truth_ranking(self) -> NDArray[np.intp]:
        return rank_up_regulated(self.truth.rank_sums.auroc, self.truth.shift, self.genes)


def _checked_weights(weights: Any, n_genes: int) -> NDArray[np.float64]:
    """Refuse weights that average nothing."""
    checked = vector(weights, "weights", n_genes)
    if (checked < 0).any() or not checked.any():
        msg = f"weights go from {checked.min():g} to {checked.max():g}, expected none below 0 and some above."
        raise ValueError(msg)
    return checked


def _checked_others(others: Mapping[str, OtherUnit], n_genes: int) -> dict[str, OtherUnit]:
    """Refuse other units of other genes."""
    return {
        name: unit._replace(
            mean=vector(unit.mean, f"mean of {name}", n_genes), shift=vector(unit.shift, f"shift of {name}", n_genes)
        )
        for name, unit in others.items()
    }


def _check_genes(genes: Sequence[str], basis: Basis | None) -> None:
    """Refuse duplicated names and a basis of other genes."""
    repeated = [gene for gene, count in Counter(genes).items() if count > 1]
    if repeated:
        msg = f"{len(repeated)} gene names are given more than once (first: {repeated[0]!r}): make them unique."
        raise ValueError(msg)
    if basis is not None and basis.n_genes != len(genes):
        msg = (
            f"the basis was fitted on {basis.n_genes} genes, the reference has {len(genes)}: fit it on the same genes."
        )
        raise ValueError(msg)

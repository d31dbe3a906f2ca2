"""A baseline that predicts an unseen perturbation's shift by ridge regression on what is known of its parts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from pb_models.baselines import BaselineSettings
from pb_models.pca_shifts import PENALTIES
from pb_models.perturbation_shifts import PerturbationBaseline
from pb_models.shifts import first_best

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pb_models.cells import TrainingData
    from pb_models.perturbation_shifts import ContextMeans, Parts
    from pb_models.settings import Settings

__all__ = ["Design", "RidgePerturbation", "RidgePerturbationSettings", "gene_loadings", "press", "smoother"]


@dataclass(frozen=True, kw_only=True)
class RidgePerturbationSettings(BaselineSettings):
    """`n_components` principal axes as gene covariates, and the two penalties.

    `part_penalty` is that of the parts' own effects, `gene_penalty` that of the map from loadings to shifts; None
    chooses by leave-one-perturbation-out in training.
    """

    n_components: int = 10
    part_penalty: float | None = None
    gene_penalty: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least("n_components", 1)
        self.at_least("part_penalty", 0, strictly=True)
        self.at_least("gene_penalty", 0, strictly=True)


class Design(NamedTuple):
    """Covariates of n perturbations: `shared` (n, 1 + k), number of parts and summed loadings; `parts` (n, parts)."""

    shared: NDArray[np.float64]
    parts: NDArray[np.float64]


class _Precision(NamedTuple):
    """A = (1 + lambda_u) (U U^T + lambda_u I)^-1 by its eigenvectors (n, n) and eigenvalues (n,)."""

    vectors: NDArray[np.float64]
    values: NDArray[np.float64]

    def __matmul__(self, array: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(self.vectors @ (self.values[:, None] * (self.vectors.T @ array)))


def gene_loadings(pseudobulks: NDArray[np.float64], n_components: int) -> NDArray[np.float64]:
    """Return each gene's scores on the leading principal axes of pseudobulks (m, genes), genes being the observations.

    With M^T the (genes, m) matrix, every pseudobulk centred over genes, and V its leading right singular vectors, they
    are M^T V, (genes, k); axes without variance are left out. This is G in equation 1 of Ahlmann-Eltze et al.
    (Nat Methods 2025).

    Examples
    --------
    >>> abs(gene_loadings(np.array([[0.0, 2.0, 4.0], [1.0, 1.0, 1.0]]), 10)).tolist()
    [[2.0], [0.0], [2.0]]
    """
    centred = pseudobulks - pseudobulks.mean(axis=1, keepdims=True)
    variances, vectors = np.linalg.eigh(centred @ centred.T)  # ascending
    kept = np.flatnonzero(variances > 1e-12 * variances[-1])[::-1][:n_components]
    return np.asarray(centred.T @ vectors[:, kept])


def _penalised(design: Design, penalty: float) -> NDArray[np.float64]:
    return np.diag([0.0] + [penalty] * (design.shared.shape[1] - 1))


def _precisions(design: Design, penalties: Sequence[float]) -> list[_Precision]:
    values, vectors = np.linalg.eigh(design.parts @ design.parts.T)
    return [_Precision(vectors, (1 + penalty) / (np.maximum(values, 0) + penalty)) for penalty in penalties]


def press(
    design: Design, shifts: NDArray[np.float64], part_penalties: Sequence[float], gene_penalties: Sequence[float]
) -> NDArray[np.float64]:
    """Return the mean squared leave-one-out error of the ridge for each pair of penalties, without refitting.

    With Z and U the shared and the parts' covariates, A = (1 + lambda_u) (U U^T + lambda_u I)^-1, D = diag(0, lambda_g,
    ...) and P = A - A Z (Z^T A Z + D)^-1 Z^T A, the residuals of the fit on all are proportional to P Y, and the one of
    perturbation i predicted from the others is (P Y)_i / P_ii (PRESS: Allen, Technometrics 1974).

    Parameters
    ----------
    design
        Covariates of at least two perturbations.
    shifts
        Y, (perturbations, genes).

    Returns
    -------
    NDArray
        Mean over perturbations and genes, (part penalties, gene penalties).

    Examples
    --------
    >>> singles = Design(np.ones((3, 1)), np.eye(3))  # each is predicted by the mean of the two others
    >>> press(singles, np.array([[0.0], [1.0], [2.0]]), [1.0], [1.0]).round(9).tolist()
    [[1.5]]
    """
    few = np.asarray(
        np.linalg.qr(shifts.T, mode="r")
    ).T  # as many columns as rows at most, the same norms of combined rows
    errors = np.empty((len(part_penalties), len(gene_penalties)))
    for i, precision in enumerate(_precisions(design, part_penalties)):
        AZ, AY = precision @ design.shared, precision @ few
        diagonal = precision.vectors**2 @ precision.values
        for j, penalty in enumerate(gene_penalties):
            shared = np.linalg.solve(design.shared.T @ AZ + _penalised(design, penalty), AZ.T)  # (1 + k, n)
            residuals = AY - AZ @ (shared @ few)
            left_out = residuals / (diagonal - np.sum(AZ * shared.T, axis=1))[:, None]
            errors[i, j] = np.sum(left_out**2) / shifts.size
    return errors


def smoother(design: Design, part_penalty: float, gene_penalty: float) -> NDArray[np.float64]:
    """Return S (1 + k + parts, n) with which the fitted coefficients are S Y and the weights of covariates x are x S.

    The rows are (Z^T A Z + D)^-1 Z^T A, then U^T P / (1 + lambda_u), in the notation of `press`.
    """
    (precision,) = _precisions(design, [part_penalty])
    AZ = precision @ design.shared
    shared = np.linalg.solve(design.shared.T @ AZ + _penalised(design, gene_penalty), AZ.T)
    parts = ((precision @ design.parts).T - (design.parts.T @ AZ) @ shared) / (1 + part_penalty)
    return np.vstack([shared, parts])


class RidgePerturbation(PerturbationBaseline):
    """Add the shift that a ridge regression on the parts predicts, s_p = sum_{j in p} (mu + u_j + W g_j).

    Over the training perturbations p, n_p the number of their parts, the fit minimises

        sum_p |s_p - n_p mu - sum_{j in p} (u_j + W g_j)|^2 + a sum_j |u_j|^2 + b a / (1 + a) |W|^2.

    mu (genes,) is not penalised; u_j (genes,) is the own effect of part j, its covariates multi-hot; g_j (k,) are the
    `gene_loadings` of the gene that part j names, less their mean over the training parts that are measured genes,
    divided by the root mean square of the norm of those. Parts that are no measured gene have g_j = 0, unseen ones
    u_j = 0: a part without either adds mu, which is the mean shift where all training perturbations are single ones.
    The pseudobulks are the mean control and perturbed cells of every training context.

    The penalties a of parts and b of genes are among 1000, 100, ..., 1e-6, the pair with the smallest `press` on each
    perturbation's shift, averaged over its contexts and doses. Equal errors go to the smaller a, then to the larger b:
    with single perturbations alone nothing tells a part's own effect from noise, so that it is believed, and what is
    predicted for unseen parts does not depend on a (hence its factor before |W|^2). Coefficients are those of the
    target's own context and dose, see `PerturbationBaseline`.

    For unseen parts and single training perturbations this is Y = G W P^T + b, equation 1 of Ahlmann-Eltze et al. (Nat
    Methods 2025), with G the identity, P the loadings of the perturbed genes and b the mean. They choose ten axes, too,
    fix the penalty at 0.1 (equation 3), project on the gene loadings, and leave out perturbations that are no measured
    gene.
    """

    name = "ridge-perturbation"
    summary = "Adds the shift that a ridge regression predicts from a perturbation's parts and their genes' loadings."
    profiles: ClassVar[Mapping[str, Settings]] = {"default": RidgePerturbationSettings()}
    settings: RidgePerturbationSettings

    def _fit_weights(self, data: TrainingData, means: Mapping[str, ContextMeans]) -> dict[str, Any]:
        pseudobulks = np.vstack([row for each in means.values() for row in (each.control, each.perturbed)])
        part_names, place = self._part_names(), {gene: i for i, gene in enumerate(data.genes)}
        genes = [part for part in part_names if part in place]
        loadings = gene_loadings(pseudobulks, self.settings.n_components)
        self._arrays["loadings"] = _standardised(loadings, [place[gene] for gene in genes])
        design = self._design(self.perturbations)
        part_penalty, gene_penalty = self._penalties(design, self._mean_shifts(means))
        self._arrays["smoother"] = smoother(design, part_penalty, gene_penalty)
        return {
            "part_penalty": part_penalty,
            "gene_penalty": gene_penalty,
            "n_components": design.shared.shape[1] - 1,
            "genes": genes,
            "no_gene": sorted(set(part_names) - set(genes)),
        }

    def _part_names(self) -> list[str]:
        return sorted({part for parts in self._seen for part in parts})

    def _design(self, perturbations: Sequence[Parts]) -> Design:
        loadings = self._arrays["loadings"]
        column = {part: i for i, part in enumerate(self._part_names())}
        gene = {name: i for i, name in enumerate(self.genes)}
        shared = np.zeros((len(perturbations), 1 + loadings.shape[1]))
        multi_hot = np.zeros((len(perturbations), len(column)))
        for i, parts in enumerate(perturbations):
            shared[i, 0] = len(parts)
            shared[i, 1:] = loadings[[gene[part] for part in parts if part in gene]].sum(axis=0)
            multi_hot[i, [column[part] for part in parts if part in column]] = 1
        return Design(shared, multi_hot)

    def _mean_shifts(self, means: Mapping[str, ContextMeans]) -> NDArray[np.float64]:
        """Return each perturbation's shift, averaged over contexts and then over doses, (perturbations, genes)."""
        totals = np.zeros((len(self._n_contexts), len(self.genes)))
        for each in means.values():
            totals[each.rows] += each.shifts
        rows = [list(doses.values()) for doses in self._seen.values()]
        return np.stack([(totals[each] / self._n_contexts[each, None]).mean(axis=0) for each in rows])

    def _penalties(self, design: Design, shifts: NDArray[np.float64]) -> tuple[float, float]:
        chosen = (self.settings.part_penalty, self.settings.gene_penalty)
        parts, genes = ([each] if each is not None else list(PENALTIES) for each in chosen)
        parts, genes = sorted(parts), genes if design.shared.shape[1] > 1 else genes[:1]
        if len(shifts) < 2:
            return parts[0], genes[0]
        return first_best(list(product(parts, genes)), press(design, shifts, parts, genes).ravel().tolist())

    def _weights(self, parts: Parts) -> NDArray[np.float64]:
        return np.ravel(np.hstack(self._design([parts])) @ self._arrays["smoother"])


def _standardised(loadings: NDArray[np.float64], rows: Sequence[int]) -> NDArray[np.float64]:
    """Return loadings less the mean of some rows, over their root mean square norm; no columns where that is zero."""
    if not len(rows):
        return loadings[:, :0]
    centred = loadings - loadings[rows].mean(axis=0)
    scale = np.sqrt(np.mean(np.sum(centred[rows] ** 2, axis=1)))
    return np.asarray(centred / scale) if scale > 1e-9 * np.abs(loadings).max(initial=0) else loadings[:, :0]

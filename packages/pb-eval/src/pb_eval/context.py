"""What the other units tell about a held-out one: the training contexts' response, and the rivals of its truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pb_eval.deltas import shift
from pb_eval.differential import t_test
from pb_eval.matrix import as_matrix, moments

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["OtherUnit", "TrainingResponse", "other_unit", "training_response", "vector"]


class TrainingResponse(NamedTuple):
    """How the training contexts respond to a perturbation.

    Attributes
    ----------
    shift
        Mean over contexts of the mean shift, ``(genes,)``.
    weights
        Of the genes, by how surely they respond, not negative, sum 1, ``(genes,)``.
    """

    shift: NDArray[np.float64]
    weights: NDArray[np.float64]


class OtherUnit(NamedTuple):
    """Truth of another unit (context or perturbation) that a prediction could be mistaken for.

    Attributes
    ----------
    mean
        Mean expression of its perturbed cells, ``(genes,)``.
    shift
        Its mean less that of its own measured control, ``(genes,)``.
    targets
        Genes that its perturbation targets.
    """

    mean: NDArray[np.float64]
    shift: NDArray[np.float64]
    targets: tuple[str, ...] = ()


def other_unit(truth: Any, control: Any, targets: Iterable[str] = ()) -> OtherUnit:
    """Summarise the measured cells of another unit.

    Parameters
    ----------
    truth, control
        Its perturbed and control cells, ``(cells, genes)``, log1p, genes in the reference's order.
    targets
        Genes that its perturbation targets.

    Raises
    ------
    ValueError
        As :func:`pb_eval.matrix.as_matrix`.

    Examples
    --------
    >>> other_unit(np.array([[2.0, 1.0]]), np.array([[0.5, 1.0]])).shift
    array([1.5, 0. ])
    """
    n_genes = np.shape(truth)[-1]
    group, base = (
        moments(as_matrix(cells, name, n_genes)).mean for cells, name in ((truth, "truth"), (control, "control"))
    )
    return OtherUnit(group, shift(group, base), tuple(targets))


def training_response(contexts: Iterable[tuple[Any, Any]]) -> TrainingResponse:
    """Mean shift and weights of genes from cells that are not scored.

    The weight of a gene follows its mean ``|t|`` (Welch's, perturbed against control, over contexts), brought to
    ``[0, 1]`` by the smallest and the largest, squared and divided by the sum. Where all are equal, so are the weights.

    These are the steps of Mejia et al. (2025), Diversity by Design, section 3.3.3. In the authors' code ``t`` is
    another: that of the very condition that is scored, against all other perturbations instead of control, with the
    variance of both groups divided by the number of perturbed cells. Here no scored cell enters, and one perturbation
    is enough.

    Parameters
    ----------
    contexts
        A pair of perturbed and control cells, ``(cells, genes)``, log1p, of each training context.

    Raises
    ------
    ValueError
        For no context, or as :func:`pb_eval.matrix.as_matrix`.

    Examples
    --------
    >>> perturbed, control = np.array([[2.0, 1.0], [3.0, 1.0]]), np.array([[0.0, 1.0], [1.0, 1.0]])
    >>> training_response([(perturbed, control)])
    TrainingResponse(shift=array([2., 0.]), weights=array([1., 0.]))
    """
    shifts, scores = [], []
    n_genes = None
    for number, (perturbed, control) in enumerate(contexts):
        n_genes = np.shape(perturbed)[-1] if n_genes is None else n_genes
        names = f"perturbed cells of context {number}", f"control cells of context {number}"
        group, base = (
            moments(as_matrix(cells, name, n_genes)) for cells, name in zip((perturbed, control), names, strict=True)
        )
        shifts.append(shift(group.mean, base.mean))
        scores.append(np.abs(t_test(group, base).score))
    if not shifts:
        msg = "there are no training contexts: give perturbed and control cells of at least one."
        raise ValueError(msg)
    return TrainingResponse(np.mean(shifts, axis=0), _weights(np.mean(scores, axis=0)))


def vector(values: Any, name: str, n_genes: int) -> NDArray[np.float64]:
    """Check one number per gene.

    Raises
    ------
    ValueError
        For another length, or NaN or infinite values.

    Examples
    --------
    >>> vector([1, 2], "weights", 2)
    array([1., 2.])
    """
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (n_genes,):
        msg = f"{name} has shape {array.shape}, expected ({n_genes},): one value per gene, in the genes' order."
        raise ValueError(msg)
    if not np.isfinite(array).all():
        msg = f"{name} has {int((~np.isfinite(array)).sum())} NaN or infinite values: mend them."
        raise ValueError(msg)
    return array


def _weights(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights that grow with the square of the score's place between the smallest and the largest."""
    finite = np.minimum(scores, np.finfo(np.float64).max / scores.size)  # groups without spread have t without bound
    low, high = finite.min(), finite.max()
    weights = ((finite - low) / (high - low)) ** 2 if high > low else np.ones_like(finite)
    return np.asarray(weights / weights.sum())

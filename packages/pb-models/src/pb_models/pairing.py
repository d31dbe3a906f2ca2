"""Pairs of control and perturbed cells of the same context, by optimal transport."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import ot
from scipy import sparse
from scipy.optimize import linear_sum_assignment

from pb_models.shifts import fit_pca

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from pb_models.cells import Matrix

    Arrays = Mapping[str, NDArray[Any]]
    Keep = Callable[[Mapping[str, Any], Callable[[], Arrays]], Arrays]

__all__ = [
    "Assignment",
    "Pairs",
    "keeping_pairs",
    "pair_controls",
    "places_in_context",
    "plan_partners",
    "transport_plan",
]

Assignment = Literal["reuse", "maximise", "minimise"]

MAX_PIVOTS = 100_000_000  # the network simplex ends by itself; POT's default of 100,000 stops it early at 2,000 cells
_MOST_REMEMBERED = 1024  # groups of cells; an entry is two short integer arrays
_remembered: dict[tuple[object, ...], Pairs] = {}
_keep: ContextVar[Keep | None] = ContextVar("keep", default=None)


class Pairs(NamedTuple):
    """Row numbers in the full matrix: `partner[i]` is the perturbed cell of the control cell `control[i]`.

    Each control cell occurs at most once, in ascending order; a perturbed cell may serve several control cells.
    """

    control: NDArray[np.int64]
    partner: NDArray[np.int64]


def pair_controls(
    X: Matrix,
    contexts: NDArray[np.str_],
    control: NDArray[np.bool_],
    perturbed: NDArray[np.bool_],
    *,
    assignment: Assignment = "reuse",
    n_components: int = 50,
    max_pivots: int = MAX_PIVOTS,
) -> Pairs:
    """Pair control cells with perturbed cells of their own context by exact optimal transport (Cao et al., 2024).

    In every context: PCA of its control and perturbed cells together, Euclidean distance (not squared) between scores,
    uniform weights, and of the optimal plan P the partners that `plan_partners` reads off it. Contexts without cells on
    both sides have no pairs. The result depends on nothing but the arguments. A context's pairs are remembered while
    the process lives and found again by the content of its cells, so that folds, seeds and models that share
    contexts solve each transport problem once.

    Parameters
    ----------
    X
        log1p expression (cells, genes), CSR or dense: training cells only.
    contexts
        Label of each cell (cells,).
    control, perturbed
        Masks over the cells (cells,): which may be paired. Cells in neither mask (of validation, of another
        perturbation) are not looked at.
    assignment
        "reuse" gives every control cell a partner; "maximise" uses each perturbed cell at most once; "minimise" is the
        reference's error, see `plan_partners`.
    n_components
        Principal axes at most.
    max_pivots
        Of the network simplex; POT warns where it was stopped before the optimum.

    Raises
    ------
    ValueError
        Where a cell is in both masks, or no context has cells on both sides.

    Examples
    --------
    >>> X = np.array([[0, 0], [9, 9], [9, 8], [0, 1]], dtype=np.float32)
    >>> first_two = np.array([True, True, False, False])
    >>> pair_controls(X, np.array(["B"] * 4), first_two, ~first_two).partner.tolist()
    [3, 2]
    """
    if (both := int((control & perturbed).sum())) > 0:
        msg = f"{both} cells are marked as control and as perturbed; a cell can only be one of them"
        raise ValueError(msg)
    shared = np.intersect1d(contexts[control], contexts[perturbed])
    if not shared.size:
        sides = [", ".join(np.unique(contexts[side])) or "none" for side in (control, perturbed)]
        msg = f"no context has both control cells ({sides[0]}) and perturbed cells ({sides[1]}); nothing can be paired"
        raise ValueError(msg)
    found = []
    for context in shared:
        rows, targets = (np.flatnonzero(side & (contexts == context)) for side in (control, perturbed))
        local = _remembered_pairs(X[rows], X[targets], assignment, n_components, max_pivots)
        found.append((rows[local.control], targets[local.partner]))
    controls, partners = (np.concatenate(side) for side in zip(*found, strict=True))
    order = np.argsort(controls)
    return Pairs(controls[order], partners[order])


@contextmanager
def keeping_pairs(keep: Keep) -> Iterator[None]:
    """Look up in a store, inside the block, pairs that this process does not remember, and put there what is solved.

    `keep(key, solve)` returns the arrays kept for a key (JSON-able: checksums of the cells and the settings), or those
    of `solve()`, which it keeps.

    Examples
    --------
    >>> kept = {}
    >>> X, control = np.array([[0.0, 0], [9, 9], [9, 8], [0, 1]]), np.array([True, True, False, False])
    >>> with keeping_pairs(lambda key, solve: kept.setdefault(str(key), solve())):
    ...     pair_controls(X, np.array(["T"] * 4), control, ~control).partner.tolist(), len(kept)
    ([3, 2], 1)
    """
    token = _keep.set(keep)
    try:
        yield
    finally:
        _keep.reset(token)


def transport_plan(
    source: Matrix, target: Matrix, *, n_components: int = 50, max_pivots: int = MAX_PIVOTS
) -> NDArray[np.float64]:
    """Return the optimal plan P (n, m) between cells (n, genes) and (m, genes): rows sum to 1/n, columns to 1/m.

    P minimises sum_ij P_ij |z_i - z_j|, z the scores on the leading principal axes of all n + m cells.
    """
    is_sparse = sparse.issparse(source)
    together = sparse.vstack([source, target], format="csr") if is_sparse else np.concatenate([source, target])
    scores = fit_pca(together, n_components).scores(together)
    n = source.shape[0]
    cost = ot.dist(scores[:n], scores[n:], metric="euclidean")  # (n, m)
    uniform = [np.full(size, 1 / size) for size in cost.shape]
    return np.asarray(ot.emd(*uniform, cost, numItermax=max_pivots))


def plan_partners(plan: NDArray[np.float64], assignment: Assignment) -> Pairs:
    """Read pairs off a transport plan P (n, m); row and column numbers of P.

    "reuse": the partner of i is argmax_j P_ij, the last one where several are equal. Else each row and column is used
    at most once, min(n, m) pairs: "maximise" takes those with the largest sum of P_ij, "minimise" those with the
    smallest. That is what scButterfly's variant without reuse does by mistake: its pairs carry no transport mass and
    are as far apart as pairs drawn at random.

    Examples
    --------
    >>> plan = np.array([[0.0, 0.5], [0.5, 0.0]])
    >>> [plan_partners(plan, how).partner.tolist() for how in ("reuse", "maximise", "minimise")]
    [[1, 0], [1, 0], [0, 1]]
    """
    if assignment == "reuse":
        last = plan.shape[1] - 1 - np.argmax(plan[:, ::-1], axis=1)
        return Pairs(np.arange(len(plan)), last)
    rows, columns = linear_sum_assignment(plan, maximize=assignment == "maximise")
    return Pairs(rows.astype(np.int64), columns.astype(np.int64))


def places_in_context(
    rows: NDArray[np.int64], contexts: NDArray[np.str_], side: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return the place of each of some rows among its own context's cells of a side, counted from 0.

    With `rows` the partners and `side` the perturbed cells, these are the local indices that the reference's multi-task
    models take for rows of the whole condition.

    Examples
    --------
    >>> contexts, side = np.array(["B", "T", "T", "B"]), np.array([True, True, True, True])
    >>> places_in_context(np.array([3, 1, 2]), contexts, side).tolist()
    [1, 0, 1]
    """
    places = np.zeros(len(contexts), dtype=np.int64)
    for context in np.unique(contexts[rows]):
        members = np.flatnonzero(side & (contexts == context))
        places[members] = np.arange(len(members))
    return places[rows]


def _remembered_pairs(
    source: Matrix, target: Matrix, assignment: Assignment, n_components: int, max_pivots: int
) -> Pairs:
    key = (_digest(source), _digest(target), assignment, n_components, max_pivots)
    if key not in _remembered:

        def solve() -> Arrays:
            plan = transport_plan(source, target, n_components=n_components, max_pivots=max_pivots)
            return plan_partners(plan, assignment)._asdict()

        settings = {"assignment": assignment, "n_components": n_components, "max_pivots": max_pivots}
        named = {"what": "pairs", "cells": [key[0].hex(), key[1].hex()], **settings}
        keep = _keep.get()
        found = solve() if keep is None else keep(named, solve)
        while len(_remembered) >= _MOST_REMEMBERED:
            del _remembered[next(iter(_remembered))]
        _remembered[key] = Pairs(**found)
    return _remembered[key]


def _digest(X: Matrix) -> bytes:
    """Return a checksum of a matrix's content and layout."""
    arrays = [np.ascontiguousarray(X)] if isinstance(X, np.ndarray) else [X.indptr, X.indices, X.data]
    checksum = hashlib.sha256(repr([X.shape, *(array.dtype.str for array in arrays)]).encode())
    for array in arrays:
        checksum.update(array.data)
    return checksum.digest()

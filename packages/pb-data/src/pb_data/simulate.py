"""Dose-response and combination data with a known truth, made from real control cells."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pb_data.dose_response import KEYS, Responses, SimulationSettings, draw_responses
from pb_data.hashing import canonical_json
from pb_data.keys import Keys, label_array
from pb_data.nearest import nearest
from pb_data.responding_counts import GeneRates, change_counts, gene_rates

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray
    from scipy import sparse

__all__ = ["Simulation", "SimulationSettings", "noiseless_mean", "simulate"]

SLOT = "simulation"  # what of the truth lies in uns


class Simulation(NamedTuple):
    """Simulated cells, raw counts with the truth in them, and the names of their columns."""

    adata: AnnData
    keys: Keys


class Pool(NamedTuple):
    """The real control cells of one context."""

    context: str
    counts: sparse.csr_matrix
    cells: NDArray[np.str_]
    rates: GeneRates


def simulate(settings: SimulationSettings | None = None) -> Simulation:
    """Simulate cells from the embedded control cells of Kang 2018.

    Each perturbation changes `n_responding` genes of its own by folds that all contexts share; how much of the effect
    is reached (efficacy, 0.5 to 1) and at which dose (EC50, within a decade of the middle dose) differs by context.
    Factors are applied to real counts (`pb_data.responding_counts.respond`). No control cell is used twice: those that
    become perturbed cells are not among the controls, and `obs["source_cell"]` names the one a cell was made from.

    The truth lies in the data: `varm["expected_counts"]` (genes, conditions) is the factor times the mean of all real
    control cells of the context, which is the exact expectation over the draw of cells and the noise; the rows of
    `uns["simulation"]["conditions"]` name its columns, and `noiseless_mean` reads it. What it was made of lies in
    `varm["fold"]` (genes, perturbations), `uns["simulation"]["responses"]` (EC50, efficacy) and `["interactions"]`.

    Raises
    ------
    ValueError
        Where a context has too few control cells, or there are fewer contexts or genes than asked for.

    Examples
    --------
    >>> small = SimulationSettings(n_contexts=2, n_cells=5, n_controls=10, n_genes=50, n_responding=5)
    >>> simulate(small).adata.shape
    (170, 50)
    """
    from pandas import Index, concat

    settings = settings or SimulationSettings()
    pools, genes = control_pools(settings)
    responses = draw_responses(settings, len(pools))
    rng = np.random.default_rng([settings.seed, 1])
    blocks = [block for number, pool in enumerate(pools) for block in draw_context(pool, number, responses, rng)]
    obs = concat([cells for cells, _ in blocks], ignore_index=True).astype({"cell_type": "category"})
    obs = obs.astype({"perturbation": "category"}).set_index(Index([f"cell{row}" for row in range(len(obs))]))
    return Simulation(with_truth(obs, [counts for _, counts in blocks], genes, pools, responses), KEYS)


def control_pools(settings: SimulationSettings) -> tuple[list[Pool], pd.Index]:
    """Return the control cells of each context, cut to the genes of highest mean over contexts, and those genes."""
    from pb_data.datasets.registry import load

    data = load("pbmc")
    control = data.adata[data.keys.is_control(data.adata.obs)]
    labels = label_array(control.obs, data.keys.context)
    names, sizes = np.unique(labels, return_counts=True)
    if settings.n_contexts > names.size or settings.n_genes > control.n_vars:
        msg = (
            f"{settings.n_contexts} contexts and {settings.n_genes} genes are asked for, but the embedded cells have "
            f"{names.size} and {control.n_vars}"
        )
        raise ValueError(msg)
    chosen = np.argsort(-sizes, kind="stable")[: settings.n_contexts]
    require_cells(settings, {str(names[index]): int(sizes[index]) for index in chosen})
    rows = [np.flatnonzero(labels == names[index]) for index in sorted(chosen)]
    means = np.mean([np.asarray(control.X[row].mean(axis=0)).ravel() for row in rows], axis=0)
    genes = np.sort(np.argsort(-means, kind="stable")[: settings.n_genes])
    cells = control.obs_names.to_numpy().astype(str)
    pools = []
    for row in rows:
        counts = control.X[row][:, genes].tocsr()
        pools.append(Pool(str(labels[row[0]]), counts, cells[row], gene_rates(counts)))
    return pools, control.var_names[genes]


def require_cells(settings: SimulationSettings, sizes: dict[str, int]) -> None:
    """Raise where a context has fewer control cells than it takes, since none is used twice."""
    needed = settings.n_controls + settings.n_groups * settings.n_cells
    fewest = min(sizes, key=lambda name: sizes[name])
    if sizes[fewest] < needed:
        msg = (
            f"{settings.n_controls} controls and {settings.n_groups} groups of {settings.n_cells} perturbed cells take "
            f"{needed} real control cells of each context, and {fewest!r} has {sizes[fewest]}; ask for fewer contexts, "
            "cells, controls, doses, perturbations or combinations"
        )
        raise ValueError(msg)


def draw_context(
    pool: Pool, number: int, responses: Responses, rng: np.random.Generator
) -> list[tuple[pd.DataFrame, sparse.csr_matrix]]:
    """Draw the cells of one context, condition by condition: obs and counts."""
    import pandas as pd

    settings, order, start = responses.settings, rng.permutation(pool.cells.size), 0
    drawn = []
    for label, dose in responses.conditions:
        n_cells = settings.n_controls if label == KEYS.control else settings.n_cells
        rows, start = np.sort(order[start : start + n_cells]), start + n_cells
        counts = pool.counts[rows]
        if label != KEYS.control:
            rates = pool.rates._replace(size=pool.rates.size[rows])
            counts = change_counts(counts, responses.factor(number, label, dose), rates, rng)
        columns = {"cell_type": pool.context, "perturbation": label, "dose": dose, "source_cell": pool.cells[rows]}
        drawn.append((pd.DataFrame(columns), counts))
    return drawn


def with_truth(
    obs: pd.DataFrame, counts: list[sparse.csr_matrix], genes: pd.Index, pools: list[Pool], responses: Responses
) -> AnnData:
    """Join the cells and write the truth into them."""
    import pandas as pd
    from anndata import AnnData
    from scipy import sparse

    measured = [(n, *condition) for n in range(len(pools)) for condition in responses.conditions]
    expected = [
        pools[n].rates.mean * (1 if label == KEYS.control else responses.factor(n, label, dose))
        for n, label, dose in measured
    ]
    singles = [label for label in responses.labels if label not in responses.interactions]
    strengths = [
        (pool.context, name, responses.ec50[n, part], responses.efficacy[n, part])
        for n, pool in enumerate(pools)
        for part, name in enumerate(singles)
    ]
    truth: dict[str, Any] = {
        "settings": canonical_json(asdict(responses.settings)),
        "conditions": table([(pools[n].context, *rest) for n, *rest in measured], ["context", "perturbation", "dose"]),
        "responses": table(strengths, ["context", "perturbation", "ec50", "efficacy"]),
        "interactions": responses.interactions,
    }
    adata = AnnData(sparse.csr_matrix(sparse.vstack(counts)), obs=obs, var=pd.DataFrame(index=genes))
    adata.varm["expected_counts"] = np.column_stack(expected)
    adata.varm["fold"] = pd.DataFrame(responses.fold.T, index=genes, columns=singles)
    adata.uns[SLOT] = truth
    return adata


def table(rows: list[Any], columns: list[str]) -> pd.DataFrame:
    """Return rows as a table whose row names are texts, as `.h5ad` wants them."""
    import pandas as pd

    frame = pd.DataFrame(rows, columns=columns)
    return frame.set_index(frame.index.astype(str))


def noiseless_mean(adata: AnnData, context: str, perturbation: str, dose: float) -> NDArray[np.float64]:
    """Return the expected counts of simulated cells of one condition, (genes,), on the genes that `adata` still has.

    At dose 0 and for the control label that is the context's control mean. Parts of a pair may come in any order.

    Raises
    ------
    ValueError
        Where the data were not simulated, or no such condition was.

    Examples
    --------
    >>> small = SimulationSettings(n_contexts=1, doses=(1.0,), n_cells=5, n_controls=10, n_genes=50, n_responding=5)
    >>> adata, _ = simulate(small)
    >>> control = noiseless_mean(adata, "CD4 T cells", "control", 0.0)
    >>> int((noiseless_mean(adata, "CD4 T cells", "drug1", 1.0) != control).sum())
    5
    """
    if SLOT not in adata.uns or "expected_counts" not in adata.varm:
        msg = f"the data hold no known truth (uns[{SLOT!r}], varm['expected_counts']); only simulated data do"
        raise ValueError(msg)
    if perturbation == KEYS.control or dose == KEYS.control_dose:
        perturbation, dose = KEYS.control, KEYS.control_dose
    known = adata.uns[SLOT]["conditions"]
    parts = np.array([KEYS.parts(label) == KEYS.parts(perturbation) for label in known["perturbation"]])
    found = np.flatnonzero(parts & (known["context"] == context).to_numpy() & (known["dose"] == dose).to_numpy())
    if not found.size:
        asked = f"{perturbation} at {dose:.15g} in {context}"
        labels = [
            f"{label} at {d:.15g} in {c}" for c, label, d in known[["context", "perturbation", "dose"]].to_numpy()
        ]
        msg = f"{asked!r} was not simulated{nearest(asked, labels)} ({len(labels)} conditions were)"
        raise ValueError(msg)
    expected: NDArray[np.float64] = np.asarray(adata.varm["expected_counts"])[:, found[0]]
    return expected.copy()

"""Knocked-out targets of single cells and the effect of knocking them out (Papalexi 2021), embedded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from pb_data.labelled.cards import LabelledCard, LabelledData, LabelledDataset
from pb_data.nearest import nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

    from pb_data.labelled.cards import Task

__all__ = ["PAPALEXI", "RESOURCE", "Outcome", "read_papalexi"]

RESOURCE = Path(__file__).parent / "resources" / "papalexi2021.h5"
CONTROL = "non-targeting"
DEPTH = 1e4  # counts a cell is brought to

Outcome = Literal["effect", "expression"]
Groups = Literal["gene", "guide"]


def read_papalexi(
    _files: list[Path], task: Task, *, outcome: Outcome = "effect", gene: str = "PSMB9", groups: Groups = "gene"
) -> LabelledData:
    """Read log1p expression per 10,000 counts of the whole library (20,729 cells; 299 genes) and what to predict.

    Classification: which of 26 targets was knocked out, the non-targeting guides being one. Regression, of a gene that
    is then no feature:

    - `effect`: mean log1p expression of the gene in all cells of the target minus that in non-targeting cells; all
      cells of a target share it, as they share the outcome of a screen.
    - `expression`: the gene's log1p expression in the cell itself.

    Parameters
    ----------
    gene
        Gene of the outcome; PSMB9 answers to interferon gamma, whose pathway many of the targets are parts of.
    groups
        What a group is: the target gene, or one of the 107 guides (for folds that show new guides of seen targets).

    Raises
    ------
    ValueError
        Where a choice is unknown or the gene is none of the 299.
    """
    from pb_data.datasets.embedded import read_embedded

    require_option("outcome", outcome, get_args(Outcome))
    require_option("groups", groups, get_args(Groups))
    counts, obs, names = read_embedded(RESOURCE)
    expression = log_normalised(counts, obs["response_n_umis"].astype(float).to_numpy(dtype=np.float64))
    target, guide = (obs[column].astype(str).to_numpy(dtype=object) for column in ("target", "grna"))
    cells = LabelledData(
        X=expression,
        y=np.zeros((len(target), 0)),
        targets=(),
        classes=(),
        features=tuple(names),
        groups=target if groups == "gene" else guide,
        test=None,
        task=task,
        name="papalexi",
        source={},
        unscaled=np.zeros(len(names), dtype=np.bool_),
        group_name=groups,
    )
    return with_classes(cells, target) if task == "classification" else with_outcome(cells, target, outcome, gene)


def with_classes(cells: LabelledData, target: NDArray[np.object_]) -> LabelledData:
    """Label each cell with its target."""
    classes, codes = np.unique(target.astype(str), return_inverse=True)
    return cells._replace(y=codes.astype(np.int64)[:, None], targets=("target",), classes=(tuple(map(str, classes)),))


def with_outcome(cells: LabelledData, target: NDArray[np.object_], outcome: Outcome, gene: str) -> LabelledData:
    """Label each cell with an outcome on a gene, and take the gene from the features."""
    if gene not in cells.features:
        msg = f"option gene of 'papalexi' is {gene!r}, which is none of its 299 genes{nearest(gene, cells.features)}"
        raise ValueError(msg)
    others = np.array(cells.features, dtype=object) != gene
    expression = cells.X[:, np.flatnonzero(~others)].toarray()[:, 0]
    y = expression if outcome == "expression" else knock_down_effects(expression, target)
    name = f"{outcome} of {gene}" if outcome == "expression" else f"effect on {gene}"
    return cells._replace(
        X=cells.X[:, np.flatnonzero(others)],
        y=y[:, None],
        targets=(name,),
        features=tuple(feature for feature in cells.features if feature != gene),
        unscaled=cells.unscaled[others],
    )


def require_option(option: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise where a value is not among the choices."""
    if value not in choices:
        msg = f"option {option} of 'papalexi' is {value!r}{nearest(value, choices)} (choose from: {', '.join(choices)})"
        raise ValueError(msg)


def log_normalised(counts: sparse.csr_matrix, library: NDArray[np.floating[Any]]) -> sparse.csr_matrix:
    """Return log(1 + 10,000 counts / library size), float32 CSR."""
    normalised = counts.astype(np.float64)
    normalised.data = np.log1p(normalised.data * np.repeat(DEPTH / library, np.diff(counts.indptr)))
    return normalised.astype(np.float32)


def knock_down_effects(expression: NDArray[np.float32], target: NDArray[np.object_]) -> NDArray[np.float32]:
    """Return, for each cell, its target's mean expression minus the non-targeting cells'."""
    names, code = np.unique(target.astype(str), return_inverse=True)
    means = np.bincount(code, weights=expression) / np.bincount(code)
    effects: NDArray[np.float32] = (means - means[names == CONTROL])[code].astype(np.float32)
    return effects


PAPALEXI = LabelledDataset(
    card=LabelledCard(
        name="papalexi",
        title="THP-1 cells with one of 25 genes knocked out, or none: which one, or with what effect on PSMB9",
        tasks=("classification", "regression"),
        citation="Papalexi et al., Characterizing the molecular regulation of inhibitory immune checkpoints with "
        "multimodal single-cell screens, Nature Genetics 53, 322-331 (2021), doi:10.1038/s41588-021-00778-2",
        licence="NCBI places no restriction on the use of GEO data; its submitters may hold rights in them.",
        origin="GEO GSE153056 (ECCITE-seq), raw counts cut to 299 genes",
        embedded=True,
        sha256="a1ffb62ff0e918c1ba23e08213ce7a9f9257109d1c86cf5daae680c1cb2b5317",
        n_samples=20729,
        n_features=299,
        groups="target genes, or guides (option groups=guide)",
        note="Counts are normalised with the library size over all genes. PSMB9 was chosen as outcome because ridge "
        "regression predicts it from the other 298 genes: of the effect's variance .41 is explained in folds over "
        "cells and .39 to .44 over genes (6 seeds), of a cell's own expression .43 and .42 to .46. The effect is "
        "measured on all cells, those held out included, as a screen measures it. Targets have 48 (SPI1) to 2,386 "
        "(non-targeting) cells.",
    ),
    read=read_papalexi,
)

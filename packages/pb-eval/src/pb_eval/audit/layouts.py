"""The same cells in another layout, which no value may depend on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from pb_eval.audit.material import with_cells
from pb_eval.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from pb_eval.audit.material import Material

__all__ = ["cells_permuted", "genes_reordered", "single_precision", "stored_sparse"]


def genes_reordered(material: Material) -> tuple[Any, Reference]:
    """Give the genes another order, in everything that has one."""
    unit = material.reference
    order = material.generator.permutation(len(unit.genes))
    others = {
        name: other._replace(mean=other.mean[order], shift=other.shift[order])
        for name, other in (unit.others or {}).items()
    }
    reference = Reference(
        unit.truth.matrix[:, order],
        unit.control.matrix[:, order],
        [unit.genes[column] for column in order],
        unit.basis and replace(unit.basis, components=unit.basis.components[:, order], mean=unit.basis.mean[order]),
        unit.seed,
        training_shift=None if unit.training_shift is None else unit.training_shift[order],
        weights=None if unit.weights is None else unit.weights[order],
        others=others,
        targets=unit.targets,
    )
    return material.honest[:, order], reference


def cells_permuted(material: Material) -> tuple[Any, Reference]:
    """Give the predicted cells another order."""
    return material.generator.permutation(material.honest), material.reference


def stored_sparse(material: Material) -> tuple[Any, Reference]:
    """Store all groups as CSR."""
    return _stored(material, sparse.csr_matrix)


def single_precision(material: Material) -> tuple[Any, Reference]:
    """Store all groups in float32."""
    return _stored(material, lambda cells: cells.astype(np.float32))


def _stored(material: Material, layout: Callable[[Any], Any]) -> tuple[Any, Reference]:
    """Store all groups in another way."""
    unit = material.reference
    reference = with_cells(unit, layout(unit.truth.matrix), layout(unit.control.matrix))
    return layout(material.honest), reference

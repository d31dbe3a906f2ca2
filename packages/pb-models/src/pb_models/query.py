"""What is asked of a fitted model, and whether it can be answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pb_data.nearest import nearest

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData
    from numpy.typing import NDArray

    from pb_models.base import Model
    from pb_models.cells import Matrix

__all__ = ["Query", "check_control", "check_genes", "check_perturbation", "resolve_dose"]


class Query(NamedTuple):
    """What is asked of a fitted model: control cells' log1p expression `X` (cells, genes), and where to move them."""

    X: Matrix
    perturbation: str
    dose: float | None
    contexts: NDArray[np.str_] | None


def check_genes(model: Model, cells: AnnData) -> None:
    """Refuse cells whose genes are not the model's, in the same order."""
    given = [str(gene) for gene in cells.var_names]
    if given == model.genes:
        return
    known = set(given)
    if missing := [gene for gene in model.genes if gene not in known]:
        first = ", ".join(missing[:3])
        msg = f"{len(missing)} of the {len(model.genes)} genes {model.name} was fitted on are missing (first: {first})"
        raise ValueError(msg)
    kind = "in another order" if len(given) == len(model.genes) else f"among {len(given) - len(model.genes)} others"
    msg = f"the genes {model.name} was fitted on are given {kind}; pass control[:, model.genes]"
    raise ValueError(msg)


def check_control(model: Model, control: AnnData) -> None:
    """Refuse cells that nothing can be predicted from: of other genes, none at all, or perturbed ones."""
    check_genes(model, control)
    keys = model.keys
    if control.n_obs == 0:
        msg = "there is no control cell to predict from; check the context and the split"
        raise ValueError(msg)
    if keys.perturbation in control.obs and (n := int((~keys.is_control(control.obs)).sum())):
        msg = f"{n} of {control.n_obs} cells are not labelled {keys.control!r}; predict takes control cells only"
        raise ValueError(msg)


def check_perturbation(model: Model, perturbation: str) -> None:
    """Refuse a perturbation that the model has no answer to."""
    parts = model.keys.parts(perturbation)
    if perturbation in model.doses or (model.unseen_perturbations and parts and all(parts)):
        return
    if model.unseen_perturbations:
        msg = f"{perturbation!r} names no perturbation: it is the control label, or a part of it is blank"
        raise ValueError(msg)
    hint = nearest(perturbation, model.doses)
    msg = f"{model.name} has not seen the perturbation {perturbation!r}{hint} (seen: {', '.join(model.doses)})"
    raise ValueError(msg)


def resolve_dose(model: Model, perturbation: str, dose: float | None) -> float | None:
    """Return the dose that is meant; refuse one that is not said, or that the model has no answer to."""
    seen = model.seen_doses(perturbation)
    if dose is None and len(seen) > 1:
        who = "was seen" if perturbation in model.doses else "is new; others were seen"
        msg = f"{perturbation!r} {who} at the doses {seen}; name one with dose=..."
        raise ValueError(msg)
    if dose is None:
        return seen[0] if seen else None
    if seen and not model.multi_dose and dose not in seen:
        msg = f"{model.name} was fitted on dose {seen[0]} of {perturbation!r} and cannot predict dose {dose}"
        raise ValueError(msg)
    return float(dose)

"""What predictions of a held-out unit are scored against: its truth and controls, and what other units show."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from anndata import AnnData
from pb_data import Keys, label_array
from pb_eval import Basis, OtherUnit, Reference, TrainingResponse, fit_basis, other_unit, split_half, training_response
from pb_eval.conditions import Condition

from pb_cli.shared import ALONE, Arrays, Shared

__all__ = ["Condition", "ceilings", "references"]


class Groups:
    """Preprocessed cells by condition, and the control cells of each context."""

    def __init__(self, cells: AnnData, keys: Keys) -> None:
        self.keys = keys
        self._X = cells.X
        control = keys.is_control(cells.obs)
        contexts = label_array(cells.obs, keys.context)
        self._controls = {str(name): np.flatnonzero(control & (contexts == name)) for name in np.unique(contexts)}
        columns = [keys.context, keys.perturbation] + ([keys.dose] if keys.dose else [])
        grouped = cells.obs[~control].groupby(columns, observed=True, sort=True).indices
        perturbed = np.flatnonzero(~control)
        self._rows = {_condition(label): np.sort(perturbed[rows]) for label, rows in grouped.items()}

    @property
    def conditions(self) -> list[Condition]:
        """The measured conditions, sorted."""
        return list(self._rows)

    @property
    def paired(self) -> list[Condition]:
        """The measured conditions of contexts with control cells, sorted."""
        return [condition for condition in self._rows if self._controls[condition.context].size]

    def both(self, condition: Condition) -> tuple[Any, Any]:
        """Return the perturbed cells of a condition and the control cells of its context."""
        return self._X[self._rows[condition]], self.controls(condition.context)

    def controls(self, context: str) -> Any:
        """Return the control cells of a context."""
        return self._X[self._controls[context]]


def references(
    truth: AnnData, control: AnnData, training: AnnData, keys: Keys, unseen: str, basis: Basis | None = None
) -> dict[Condition, Reference]:
    """Collect truth and measured control of every held-out condition, in the PCA of the training cells.

    Beside them stands what training shows of other units: the response of other contexts to the same condition, and
    the conditions that a prediction could be mistaken for, those that differ in what the split calls `unseen`.
    """
    basis, seen, asked = basis or fit_basis(training.X), Groups(training, keys), Groups(truth, keys)
    measured, genes = Groups(control, keys), [str(name) for name in truth.var_names]

    @cache
    def rival(condition: Condition) -> OtherUnit:
        return other_unit(*seen.both(condition), targets=targets(condition, keys))

    def reference(condition: Condition) -> Reference:
        response = response_elsewhere(condition, seen)
        alike = [other for other in seen.paired if is_rival(other, condition, unseen)]
        return Reference(
            asked.both(condition)[0],
            measured.controls(condition.context),
            genes=genes,
            basis=basis,
            training_shift=None if response is None else response.shift,
            weights=None if response is None else response.weights,
            others={", ".join(map(str, other)): rival(other) for other in alike},
            targets=targets(condition, keys),
        )

    return {condition: reference(condition) for condition in asked.conditions}


def ceilings(
    reference: Reference,
    key: Mapping[str, Any] | None = None,
    shared: Shared = ALONE,
    metrics: tuple[str, ...] | None = None,
) -> dict[str, float]:
    """Return what a replicate of a condition scores, by metric; the reference's truth remembers it.

    `key` names unit and condition for the other tasks of a run, which share it.
    """

    def halve() -> Arrays:
        found = split_half(reference, metrics)
        return {"metric": np.array(list(found)), "value": np.array([ceiling.value for ceiling in found.values()])}

    found = reference.truth.remember(
        ("ceilings", metrics), lambda: shared.arrays({"what": "ceilings", **(key or {})}, halve)
    )
    return dict(zip(found["metric"].tolist(), found["value"].tolist(), strict=True))


def response_elsewhere(condition: Condition, seen: Groups) -> TrainingResponse | None:
    """Return how other training contexts respond to a condition, or None where none shows it."""
    pairs = [
        seen.both(other) for other in seen.paired if other[1:] == condition[1:] and other.context != condition.context
    ]
    return training_response(pairs) if pairs else None


def is_rival(other: Condition, condition: Condition, unseen: str) -> bool:
    """Whether two conditions differ in what a split holds out, and in nothing else."""
    differ = [name for name in condition._fields if getattr(other, name) != getattr(condition, name)]
    return differ == [unseen if unseen in condition._fields else "context"]


def targets(condition: Condition, keys: Keys) -> tuple[str, ...]:
    """Name what a perturbation may target: its parts, of which those that are genes count."""
    return keys.parts(condition.perturbation)


def _condition(label: tuple[Any, ...]) -> Condition:
    """Name a group of cells."""
    return Condition(str(label[0]), str(label[1]), float(label[2]) if len(label) > 2 else None)

"""Baselines for perturbations and combinations that were not seen: they add a weighted sum of the seen ones' shifts."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pb_models.baselines import Baseline, dense
from pb_models.doses import dose_shares

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from pb_models.base import Progress
    from pb_models.cells import Matrix, TrainingData

__all__ = ["Additive", "Condition", "ContextMeans", "PerturbationBaseline", "PerturbedMean", "condition_means"]

Parts = tuple[str, ...]


class Condition(NamedTuple):
    """The sorted parts of a perturbation, and its dose (None in data without doses)."""

    parts: Parts
    dose: float | None


class ContextMeans(NamedTuple):
    """Mean cells of one context: `control` (genes,), and `perturbed` (m, genes) of the conditions `rows` (m,)."""

    control: NDArray[np.float64]
    rows: NDArray[np.int64]
    perturbed: NDArray[np.float64]

    @property
    def shifts(self) -> NDArray[np.float64]:
        """Mean perturbed minus mean control expression, (m, genes)."""
        return self.perturbed - self.control


def _conditions(doses: Mapping[str, Sequence[float]], parts: Mapping[str, Parts]) -> list[Condition]:
    """Return the sorted conditions; labels with the same parts, such as A+B and B+A, are one."""
    without: list[float | None] = [None]
    return sorted({Condition(parts[label], dose) for label, seen in doses.items() for dose in (seen or without)})


def _condition_of_cells(
    data: TrainingData, cells: NDArray[np.int64], conditions: Sequence[Condition]
) -> NDArray[np.int64]:
    labels, label = np.unique(data.perturbations[cells], return_inverse=True)
    values, value = np.unique(np.zeros(len(cells)) if data.doses is None else data.doses[cells], return_inverse=True)
    pairs, pair = np.unique(label * len(values) + value, return_inverse=True)
    row = {condition: i for i, condition in enumerate(conditions)}
    dose = [None if data.doses is None else float(each) for each in values]
    named = ((str(labels[each // len(values)]), dose[each % len(values)]) for each in pairs)
    return np.array([row[Condition(data.parts[name], at)] for name, at in named], dtype=np.int64)[pair]


def condition_means(data: TrainingData, conditions: Sequence[Condition]) -> dict[str, ContextMeans]:
    """Return the mean cells of every context that has both control and perturbed cells.

    A context that has only controls is passed over in silence; one that has only perturbed cells is named in a warning.

    Raises
    ------
    ValueError
        Where no context has both.
    """
    cells = np.flatnonzero(~data.control)
    condition, context = _condition_of_cells(data, cells, conditions), data.contexts[cells]
    treated, controlled = ({str(name) for name in set(data.contexts[side])} for side in (~data.control, data.control))
    if lonely := sorted(treated - controlled):
        warnings.warn(f"no control cells in {', '.join(lonely)}: left out of the shifts", stacklevel=2)
    if not treated & controlled:
        msg = (
            f"no context has both control and perturbed cells (control: {sorted(controlled)}, perturbed: "
            f"{sorted(treated)}); a shift needs at least one such context"
        )
        raise ValueError(msg)
    found = {}
    for name in sorted(treated & controlled):
        here, rows = cells[context == name], condition[context == name]
        present = np.unique(rows)
        perturbed = np.stack([data.mean(here[rows == row]) for row in present])
        found[name] = ContextMeans(data.mean(data.rows(name)), present, perturbed)
    return found


class PerturbationBaseline(Baseline):
    """A baseline that adds sum_p w_p s_p(c, d), a weighted sum of the training perturbations' shifts.

    s_p(c, d) is the shift of perturbation p at dose d in the target's own context c where it was measured there, else
    the unweighted mean over the training contexts where it was; at doses p was not seen at, `dose_shares` mixes those
    it was seen at. A subclass gives the weights w, which depend on the parts asked for alone. Labels that name the same
    parts are one perturbation. State is kept as `shifts/<context>` and `rows/<context>`, the conditions' numbers.
    """

    unseen_perturbations = True
    made_for = "perturbations"

    @abstractmethod
    def _fit_weights(self, data: TrainingData, means: Mapping[str, ContextMeans]) -> dict[str, Any]:
        """Fit what the weights depend on; return what is worth recording."""

    @abstractmethod
    def _weights(self, parts: Parts) -> NDArray[np.float64]:
        """Return the weight of every training perturbation, in the order of `perturbations`, (perturbations,)."""

    def _fit(self, data: TrainingData, *, seed: int, device: str, progress: Progress | None) -> dict[str, Any]:
        del seed, device, progress
        conditions = _conditions(self.doses, data.parts)
        means = condition_means(data, conditions)
        self._arrays = {f"rows/{context}": each.rows for context, each in means.items()}
        self._arrays |= {f"shifts/{context}": each.shifts.astype(np.float32) for context, each in means.items()}
        self._index(conditions)
        return {"contexts": list(means), "n_perturbations": len(self._seen), **self._fit_weights(data, means)}

    def _restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        super()._restore(state)
        self._index(_conditions(self.doses, {label: self.keys.parts(label) for label in self.doses}))

    def _index(self, conditions: Sequence[Condition]) -> None:
        rows = [array for name, array in self._arrays.items() if name.startswith("rows/")]
        self._n_contexts = np.bincount(np.concatenate(rows), minlength=len(conditions))
        self._seen: dict[Parts, dict[float | None, int]] = {}
        for row in np.flatnonzero(self._n_contexts).tolist():
            self._seen.setdefault(conditions[row].parts, {})[conditions[row].dose] = row

    @property
    def perturbations(self) -> list[Parts]:
        """Parts of every training perturbation whose shift was measured."""
        return list(self._seen)

    def _predict_at(
        self, X: Matrix, perturbation: str, dose: float | None, context: str | None
    ) -> NDArray[np.floating]:
        weights = self._weights(self.keys.parts(perturbation))
        return dense(X) + self._shift(weights, dose, context).astype(np.float32)

    def _shift(self, weights: NDArray[np.float64], dose: float | None, context: str | None) -> NDArray[np.float64]:
        """Return sum_p w_p s_p(c, d), (genes,)."""
        left = self._condition_weights(weights, dose)
        shift = np.zeros(len(self.genes))
        if context is not None and f"rows/{context}" in self._arrays:
            own = self._arrays[f"rows/{context}"]
            shift += left[own] @ self._arrays[f"shifts/{context}"]
            left[own] = 0
        left /= np.maximum(self._n_contexts, 1)
        for name in (name for name in self._arrays if name.startswith("rows/") and left[self._arrays[name]].any()):
            shift += left[self._arrays[name]] @ self._arrays[f"shifts/{name.removeprefix('rows/')}"]
        return shift

    def _condition_weights(self, weights: NDArray[np.float64], dose: float | None) -> NDArray[np.float64]:
        """Return the weight of every condition: that of its perturbation times the share of its dose."""
        result = np.zeros(len(self._n_contexts))
        for rows, weight in zip(self._seen.values(), weights, strict=True):
            for near, share in self._shares(rows, dose).items():
                result[rows[near]] += weight * share
        return result

    def _shares(self, rows: Mapping[float | None, int], dose: float | None) -> dict[float | None, float]:
        seen = [each for each in rows if each is not None]
        if dose is None or not seen:
            return dict.fromkeys(rows, 1.0)
        shares = dose_shares(dose, seen, control_dose=self.keys.control_dose)
        return {near: share for near, share in shares.items() if near in rows}  # control cells do not shift


def _mean_over(chosen: Iterable[bool]) -> NDArray[np.float64]:
    flags = np.array(list(chosen), dtype=np.float64)
    return np.asarray(flags / flags.sum())


class PerturbedMean(PerturbationBaseline):
    """Add the unweighted mean shift of the training perturbations, whichever perturbation is asked for.

    w_p = 1/n for the n training perturbations with as many parts as the one asked for (all of them, where none has as
    many), so that combinations, which shift further, are compared with combinations. The "mean" of Ahlmann-Eltze et al.
    (Nat Methods 2025, b of equation 1) and, for one context, the perturbed mean of Vinas Torne et al. (Systema, Nat
    Biotechnol 2025), who average over combinations and single ones alike: what all perturbations have in common.
    """

    name = "perturbed-mean"
    summary = "Adds the mean shift of the training perturbations, whichever perturbation is asked for."

    def _fit_weights(self, data: TrainingData, means: Mapping[str, ContextMeans]) -> dict[str, Any]:
        del data, means
        return {}

    def _weights(self, parts: Parts) -> NDArray[np.float64]:
        alike = [len(each) == len(parts) for each in self._seen]
        return _mean_over(alike if any(alike) else [True] * len(alike))


class Additive(PerturbationBaseline):
    """Add the shifts of a combination's parts, s_a + s_b, as each has alone.

    Equation 2 of Ahlmann-Eltze et al. (Nat Methods 2025).

    A part that was never seen alone adds the unweighted mean shift of the single training perturbations, so that an
    unseen single perturbation is predicted as by `perturbed-mean`, a seen one by its own shift. Combinations in the
    training data are not used.
    """

    name = "additive"
    summary = "Adds the shifts that the parts of a combination have alone; an unseen part adds the mean of them."

    def _fit_weights(self, data: TrainingData, means: Mapping[str, ContextMeans]) -> dict[str, Any]:
        del data, means
        single = {part for parts in self._seen if len(parts) == 1 for part in parts}
        if not single:
            first = ", ".join("+".join(parts) for parts in self.perturbations[:3])
            msg = f"additive needs single perturbations, but the training cells hold only combinations (first: {first})"
            raise ValueError(msg)
        return {
            "single": sorted(single),
            "never_single": sorted({part for each in self._seen for part in each} - single),
        }

    def _weights(self, parts: Parts) -> NDArray[np.float64]:
        mean = _mean_over(len(each) == 1 for each in self._seen)
        known = [part for part in parts if (part,) in self._seen]
        own = np.array([float(len(each) == 1 and each[0] in known) for each in self._seen])
        return own + (len(parts) - len(known)) * mean

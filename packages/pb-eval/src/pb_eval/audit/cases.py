"""The audit's cases: what is predicted, and what a sound metric makes of it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pb_eval.audit import layouts

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pb_eval.audit.material import Material
    from pb_eval.reference import Reference

__all__ = ["CASES", "Case", "get_case"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One thing that is predicted, or done to a prediction or to how it is stored.

    Attributes
    ----------
    name
        As the registry and the tables write it.
    words
        What is predicted.
    expected
        What a sound metric gives: the ``same`` value to rounding, ``not better`` than the rival's, or ``worse``.
    rival
        The prediction that it is compared with: ``honest`` (half the response) or ``duplicate`` (the other half of the
        true cells).
    stage
        Makes the prediction, ``(cells, genes)``, and what it is scored against; None where the unit lacks what that
        needs.
    source
        Who described it, empty where nobody has to.
    """

    name: str
    words: str
    expected: Literal["same", "not better", "worse"]
    rival: Literal["honest", "duplicate"] = "honest"
    stage: Callable[[Material], tuple[Any, Reference] | None]
    source: str = ""


def get_case(name: str) -> Case:
    """Look a case up by its name.

    Raises
    ------
    ValueError
        For an unknown name, with the nearest ones.

    Examples
    --------
    >>> get_case("control_copy").expected
    'worse'
    """
    for case in CASES:
        if case.name == name:
            return case
    names = [case.name for case in CASES]
    near = difflib.get_close_matches(name, names, n=2)
    msg = f"unknown audit case {name!r}: {f'did you mean {near[0]}?' if near else 'there is ' + ', '.join(names) + '.'}"
    raise ValueError(msg)


def _predicted(
    predict: Callable[[Material], NDArray[np.float64] | None],
) -> Callable[[Material], tuple[Any, Reference] | None]:
    """Score what a function predicts against the material's own reference."""

    def stage(material: Material) -> tuple[Any, Reference] | None:
        prediction = predict(material)
        return None if prediction is None else (prediction, material.reference)

    return stage


def _layout(name: str, words: str, stage: Callable[[Material], tuple[Any, Reference]]) -> Case:
    """Entry of a layout, which changes no value."""
    return Case(name=name, words=words, expected="same", stage=stage)


def _cheat(name: str, words: str, predict: Callable[[Material], NDArray[np.float64] | None], **fields: Any) -> Case:
    """Entry of a prediction that deserves less than its rival."""
    return Case(name=name, words=words, stage=_predicted(predict), **({"expected": "worse"} | fields))


def _mean_response(material: Material) -> NDArray[np.float64] | None:
    response = material.reference.training_shift
    return None if response is None else material.inputs + response


def _shuffled_labels(material: Material) -> NDArray[np.float64] | None:
    others = material.reference.others
    return None if not others else material.inputs + others[str(material.generator.choice(sorted(others)))].shift


def _spread(cells: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    """Cells ``factor`` times as far from their mean."""
    centre = cells.mean(axis=0)
    return np.asarray(centre + factor * (cells - centre))


def _exaggerated(material: Material) -> NDArray[np.float64]:
    """Six times the honest shift, half the true one: the error is four times as large and has the other sign."""
    shift = material.honest.mean(axis=0) - material.reference.control.mean
    return np.asarray(material.honest + 5.0 * shift)


CASES = (
    _layout("genes_reordered", "genes in another order, in all groups", layouts.genes_reordered),
    _layout("cells_permuted", "predicted cells in another order", layouts.cells_permuted),
    _layout("sparse", "all groups stored as CSR instead of dense", layouts.stored_sparse),
    _layout("float32", "all groups stored in single precision", layouts.single_precision),
    _cheat(
        "duplicated_cells",
        "each cell given four times",
        lambda material: np.tile(material.honest, (4, 1)),
        expected="not better",
        source="significance grows with the number of cells",
    ),
    _cheat("constant_prediction", "one number for all", lambda m: np.full_like(m.inputs, m.inputs.mean())),
    _cheat(
        "control_copy",
        "control cells as they are",
        lambda material: material.inputs,
        source="Ahlmann-Eltze et al. (2025)",
    ),
    _cheat(
        "mean_response",
        "control cells moved by the mean shift of the training contexts",
        _mean_response,
        rival="duplicate",
        source="Ahlmann-Eltze et al. (2025); Mejia et al. (2025)",
    ),
    _cheat(
        "shuffled_labels",
        "control cells moved by the mean shift of another unit",
        _shuffled_labels,
        rival="duplicate",
        source="Wu et al. (2024)",
    ),
    _cheat(
        "inflated_variance",
        "cells three times as far from their mean",
        lambda material: _spread(material.honest, 3.0),
        expected="not better",
        source="participants of the Virtual Cell Challenge 2025; Heidari et al. (2026)",
    ),
    _cheat(
        "no_spread",
        "the mean cell, repeated",
        lambda material: _spread(material.honest, 0.0),
        expected="not better",
        source="Wu et al. (2024), mode collapse",
    ),
    _cheat(
        "exaggerated_response",
        "three times the true response instead of half of it",
        _exaggerated,
        source="participants of the Virtual Cell Challenge 2025",
    ),
    _cheat(
        "log1p_twice",
        "log1p of what is log1p already",
        lambda material: np.log1p(np.maximum(material.honest, 0.0)),
        source="participants of the Virtual Cell Challenge 2025",
    ),
    _cheat("rescaled", "every value four times as large", lambda material: 4.0 * material.honest),
)

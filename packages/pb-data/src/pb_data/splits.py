"""Which cells train, validate, are predicted from, and are the truth, with the claim such a division supports."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from pb_data.hashing import canonical_json, text_sha256
from pb_data.keys import label_array
from pb_data.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData
    from numpy.typing import NDArray

    from pb_data.datasets.cards import PerturbationData

__all__ = [
    "SPLITS",
    "ControlPolicy",
    "Controls",
    "Split",
    "contexts",
    "get_split",
    "make_split",
    "resolve_context",
    "split_names",
]

ControlPolicy = Literal["train+input", "input-only"]
Controls = Literal["shared", "disjoint"]

SPLITS: dict[str, str] = {
    "leave-context-out": "pb_data.holdout:leave_context_out",
    "random": "pb_data.holdout:random_half",
}

PARTS = ("train", "validation", "input_control", "reference_control", "truth")


@dataclass(frozen=True, eq=False)
class Split:
    """Sorted row numbers of a data set, and what a score on them says.

    Parameters
    ----------
    held_out
        The unit whose perturbed cells are predicted.
    claim
        What a good score supports, in words.
    parameters
        Everything that decided the division, JSON-able.
    source
        The data set's recipe without its path (`PerturbationData.source`).
    train, validation
        Cells a model is fitted on, and those of them set aside for early stopping.
    input_control
        Control cells of the held-out unit to predict from; they may be training cells too.
    reference_control
        Control cells a metric compares with.
    truth
        Perturbed cells to predict; nothing is ever fitted on them. Perturbations (and doses) that the fitted cells do
        not show are left out, and named in the parameter `dropped_conditions`.

    Raises
    ------
    ValueError
        Where row numbers are not sorted and unique, no cell trains or none is truth, or parts overlap that must not:
        train and validation; truth and anything else; with disjoint controls, reference and input or fitted cells.
    """

    name: str
    dataset: str
    held_out: str
    claim: str
    parameters: dict[str, Any]
    source: dict[str, Any]
    train: NDArray[np.int64] = field(repr=False)
    validation: NDArray[np.int64] = field(repr=False)
    input_control: NDArray[np.int64] = field(repr=False)
    reference_control: NDArray[np.int64] = field(repr=False)
    truth: NDArray[np.int64] = field(repr=False)

    def __post_init__(self) -> None:
        for part in PARTS:
            cells = np.array(getattr(self, part), dtype=np.int64)  # its own copy, closed below
            if cells.ndim != 1 or (np.diff(cells) <= 0).any() or (cells[:1] < 0).any():
                msg = f"the rows of {part} have to be sorted, unique and not negative"
                raise ValueError(msg)
            cells.flags.writeable = False
            object.__setattr__(self, part, cells)
        for part in ("train", "input_control", "reference_control", "truth"):
            if getattr(self, part).size == 0:
                msg = f"split {self.name!r} with {self.held_out!r} held out has no {part} cells"
                raise ValueError(msg)
        for one, other in self._forbidden_overlaps():
            shared = np.intersect1d(getattr(self, one), getattr(self, other), assume_unique=True)
            if shared.size:
                msg = (
                    f"{shared.size} cells are in both {one} and {other} (row {shared[0]} first), which must be disjoint"
                )
                raise ValueError(msg)

    def _forbidden_overlaps(self) -> list[tuple[str, str]]:
        pairs = [("train", "validation"), *((part, "truth") for part in PARTS[:-1])]
        if self.parameters.get("controls") == "disjoint":
            pairs += [(part, "reference_control") for part in ("train", "validation", "input_control")]
        return pairs

    @property
    def hash(self) -> str:
        """SHA-256 over every field, the data set's checksum included, in hex; the same on every platform."""
        return text_sha256(canonical_json(self.to_dict()))

    @property
    def counts(self) -> dict[str, int]:
        """Number of cells of each part."""
        return {part: int(getattr(self, part).size) for part in PARTS}

    def training(self, adata: AnnData) -> tuple[AnnData, NDArray[np.bool_]]:
        """Return the cells to fit on, in the order of the data (a view), and a mask of those for validation.

        Raises
        ------
        ValueError
            Where the data have another number of cells than those that were split.
        """
        if adata.n_obs != (n_cells := self.parameters.get("n_cells", adata.n_obs)):
            msg = f"the split was drawn from {n_cells} cells of {self.dataset!r}, not {adata.n_obs}; give those cells"
            raise ValueError(msg)
        cells = np.union1d(self.train, self.validation)
        return adata[cells], np.isin(cells, self.validation, assume_unique=True)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-able values."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value.tolist() if name in PARTS else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> Split:
        """Rebuild a split from `to_dict`."""
        values: dict[str, Any] = dict(d)
        values.update({part: np.array(d[part], dtype=np.int64) for part in PARTS})
        return cls(**values)


def split_names() -> list[str]:
    """Return the names of all splits.

    Examples
    --------
    >>> split_names()
    ['leave-context-out', 'random']
    """
    return list(SPLITS)


def get_split(name: str) -> Callable[..., Split]:
    """Return the function that draws a split; the first line of its docstring says what it supports.

    Raises
    ------
    ValueError
        Where no split has this name.
    """
    if name not in SPLITS:
        msg = f"there is no split {name!r}{nearest(name, SPLITS)} (choose from: {', '.join(SPLITS)})"
        raise ValueError(msg)
    module, _, attribute = SPLITS[name].partition(":")
    function: Callable[..., Split] = getattr(import_module(module), attribute)
    return function


def make_split(
    name: str,
    data: PerturbationData,
    *,
    held_out: str,
    seed: int = 0,
    validation_fraction: float = 0.1,
    target_controls: ControlPolicy = "train+input",
    controls: Controls = "shared",
) -> Split:
    """Draw a split.

    Parameters
    ----------
    held_out
        Name of the unit to hold out; for contexts, its index in the sorted `contexts` is accepted too.
    validation_fraction
        Part of the cells to fit on that is set aside for early stopping, drawn evenly over (context, perturbation).
    target_controls
        Whether the held-out unit's own control cells are fitted on too, or are only predicted from.
    controls
        Whether metrics compare with the very control cells predicted from, or with the other half of them.

    Raises
    ------
    ValueError
        Where a name or a choice is unknown, the fraction is out of [0, 1), or the data cannot be divided so.

    Examples
    --------
    >>> from pb_data import load
    >>> split = make_split("leave-context-out", load("pbmc"), held_out="B cells")
    >>> split.claim
    "unseen context, seen perturbation: the perturbed cells of 'B cells' were held out, its control cells were not"
    """
    require_choice("target_controls", target_controls, get_args(ControlPolicy))
    require_choice("controls", controls, get_args(Controls))
    if not 0 <= validation_fraction < 1:
        msg = f"validation_fraction is {validation_fraction}; give a number from 0 to below 1"
        raise ValueError(msg)
    return get_split(name)(
        data,
        held_out=held_out,
        seed=seed,
        validation_fraction=validation_fraction,
        target_controls=target_controls,
        controls=controls,
    )


def require_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise where a value is not among the choices."""
    if value not in choices:
        msg = f"{option} is {value!r}{nearest(value, choices)} (choose from: {', '.join(choices)})"
        raise ValueError(msg)


def contexts(data: PerturbationData) -> list[str]:
    """Return the sorted contexts with both control and perturbed cells: those that can be held out.

    Examples
    --------
    >>> from pb_data import load
    >>> contexts(load("pbmc"))[:2]
    ['B cells', 'CD14+ Monocytes']
    """
    labels = label_array(data.adata.obs, data.keys.context)
    control = data.keys.is_control(data.adata.obs)
    return sorted({str(name) for name in labels[control]} & {str(name) for name in labels[~control]})


def resolve_context(data: PerturbationData, name_or_index: str | int) -> str:
    """Return a context's name, given its name or its index into the sorted `contexts`.

    Raises
    ------
    ValueError
        Where there is no such context, or it lacks control or perturbed cells.

    Examples
    --------
    >>> from pb_data import load
    >>> resolve_context(load("pbmc"), "4")
    'Dendritic cells'
    """
    known, text = contexts(data), str(name_or_index)
    if text in known:
        return text
    if text.isdecimal() and int(text) < len(known):
        return known[int(text)]
    labels = label_array(data.adata.obs, data.keys.context)
    if text in labels:
        side = "perturbed" if data.keys.is_control(data.adata.obs)[labels == text].all() else "control"
        msg = f"context {text!r} of {data.name!r} has no {side} cells and cannot be held out"
        raise ValueError(msg)
    listed = ", ".join(f"{index} {name}" for index, name in enumerate(known)) or "none has control and perturbed cells"
    msg = f"data set {data.name!r} has no context {text!r}{nearest(text, known)} (contexts: {listed})"
    raise ValueError(msg)

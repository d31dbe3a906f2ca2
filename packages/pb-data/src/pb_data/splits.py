"""Which cells train, validate, are predicted from, and are the truth, with the claim such a division supports."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from pb_data.hashing import canonical_json, text_sha256
from pb_data.named import look_up
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
    "SplitRule",
    "get_split",
    "make_split",
    "split_names",
]

ControlPolicy = Literal["train+input", "input-only"]
Controls = Literal["shared", "disjoint"]
Unseen = Literal["context", "dose", "perturbation", "nothing"]

SPLITS: dict[str, str] = {
    "leave-context-out": "pb_data.holdout:LEAVE_CONTEXT_OUT",
    "leave-dose-out": "pb_data.holdout_doses:LEAVE_DOSE_OUT",
    "leave-perturbation-out": "pb_data.holdout_perturbations:LEAVE_PERTURBATION_OUT",
    "leave-combination-out": "pb_data.holdout_perturbations:LEAVE_COMBINATION_OUT",
    "leave-combination-out-1": "pb_data.holdout_perturbations:LEAVE_COMBINATION_OUT_1",
    "leave-combination-out-0": "pb_data.holdout_perturbations:LEAVE_COMBINATION_OUT_0",
    "random": "pb_data.holdout:RANDOM",
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
        Control cells, of the contexts in the truth, to predict from; they may be training cells too.
    reference_control
        Control cells a metric compares with.
    truth
        Perturbed cells to predict; nothing is ever fitted on them. Where contexts are held out, perturbations (and
        doses) that the fitted cells do not show are left out, and named in the parameter `dropped_conditions`.

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


class SplitRule(NamedTuple):
    """How a split is drawn, which units of some data it can hold out (sorted), and what training does not show."""

    draw: Callable[..., Split]
    units: Callable[[PerturbationData], list[str]]
    unseen: Unseen

    @property
    def summary(self) -> str:
        """What the split supports, in one line."""
        return (self.draw.__doc__ or "").partition("\n")[0]


def split_names() -> list[str]:
    """Return the names of all splits.

    Examples
    --------
    >>> "leave-context-out" in split_names()
    True
    """
    return list(SPLITS)


def get_split(name: str) -> SplitRule:
    """Return how a split is drawn and what it can hold out.

    Raises
    ------
    ValueError
        Where no split has this name.
    """
    rule: SplitRule = look_up("there is no split", name, SPLITS)
    return rule


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
        Name of the unit to hold out, or its index in the sorted `split_units`.
    validation_fraction
        Part of the cells to fit on that is set aside for early stopping, drawn evenly over (context, perturbation).
    target_controls
        Whether the control cells of the truth's contexts are fitted on too, or are only predicted from.
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
    return get_split(name).draw(
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

"""What labelled data are, and what is known of a set before it is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LabelledCard", "LabelledData", "LabelledDataset", "Task"]

Task = Literal["regression", "classification"]


class LabelledData(NamedTuple):
    """Samples (cells or rows) with the labels to predict from them.

    Parameters
    ----------
    X
        Features, float32 (samples, features), dense or CSR.
    y
        Labels (samples, targets): float32 with NaN where there is none, or int64 class numbers with -1 where there is
        none.
    targets
        Names of the targets.
    classes
        Names of each target's classes, in the order of their numbers; empty for regression.
    features
        Names of the features.
    groups
        What each sample belongs to and must not be torn from, as text: its perturbed gene, or `group_name`.
    test
        Mask (samples) of the fixed test rows that the set was published with.
    source
        JSON-able recipe that `load_labelled_source` reads: `dataset` (a registered name, or `file`), `name`, `task`,
        `path`, `sha256` and `options`.
    unscaled
        Mask (features) of those that are never standardised, such as a co-culture flag.
    group_name
        What a group is.
    thresholds
        Cut points, from low to high, that turn a regression's values into the classes of the classification task
        (`classes_of`); empty where there are none.
    """

    X: Any
    y: NDArray[Any]
    targets: tuple[str, ...]
    classes: tuple[tuple[str, ...], ...]
    features: tuple[str, ...]
    groups: NDArray[np.object_] | None
    test: NDArray[np.bool_] | None
    task: Task
    name: str
    source: dict[str, Any]
    unscaled: NDArray[np.bool_]
    group_name: str = "gene"
    thresholds: tuple[float, ...] = ()


@dataclass(frozen=True)
class LabelledCard:
    """Where a labelled set comes from, what can be predicted in it, and under which terms it may be used.

    Parameters
    ----------
    tasks
        What it has labels for, the usual one first.
    groups
        What its groups are, in words; empty where it has none.
    sha256
        Of the content, where the set is embedded.
    file_names
        What the files are called where they were published; empty where the set is embedded.
    """

    name: str
    title: str
    tasks: tuple[Task, ...]
    citation: str
    licence: str
    origin: str
    embedded: bool = False
    sha256: str | None = None
    file_names: tuple[str, ...] = ()
    n_samples: int | None = None
    n_features: int | None = None
    groups: str = ""
    note: str = ""


class LabelledDataset(NamedTuple):
    """A card, how to find the files behind a path, and how to read them.

    `files(path)` returns the files whose checksums the recipe holds (none where embedded); `read(files, task,
    **options)` returns the data, whose `source` is filled in by `load_labelled`.
    """

    card: LabelledCard
    read: Callable[..., LabelledData]
    files: Callable[[Path], list[Path]] | None = None

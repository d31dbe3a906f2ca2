"""Wrong labels on purpose, to see how a loss bears them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from pb_data.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["CONFUSABLE", "NoiseKind", "confusable_classes", "corrupt_labels"]

NoiseKind = Literal["uniform", "class-dependent"]

CONFUSABLE: dict[str, tuple[tuple[str, str], ...]] = {
    "letter": tuple((a, b) for a, b in ("BD", "CG", "EF", "HN", "IL", "KX", "MW", "OQ", "PR", "UV")),
    "vowel": (("0", "1"), ("2", "3"), ("4", "5"), ("6", "7"), ("8", "9")),
}


def confusable_classes(name: str, classes: Sequence[str]) -> list[tuple[int, int]] | None:
    """Return the pairs of class numbers that look alike in a data set; None where none are known.

    Examples
    --------
    >>> confusable_classes("letter", "ABCD")
    [(1, 3)]
    """
    if name not in CONFUSABLE:
        return None
    number = {each: k for k, each in enumerate(classes)}
    return [(number[a], number[b]) for a, b in CONFUSABLE[name] if a in number and b in number]


def corrupt_labels(
    y: NDArray[np.int64],
    n_classes: int,
    *,
    kind: NoiseKind,
    rate: float,
    seed: int,
    pairs: Sequence[tuple[int, int]] | None = None,
) -> NDArray[np.int64]:
    r"""Return labels of which each is replaced with probability xi, independently; -1 stays.

    - `uniform`: by a class drawn from all K, the true one included, as in the paper's code; a label is wrong with
      probability xi (1 - 1/K).
    - `class-dependent`: by the class it is confused with, the other one of its pair; classes in no pair stay. Without
      `pairs`, class c becomes c + 1 mod K.

    Parameters
    ----------
    y
        Class numbers (samples,) or (samples, targets); every target is corrupted on its own.
    rate
        The paper's xi, 0 to 1.
    pairs
        Class numbers that are taken for each other (`confusable_classes`).

    Raises
    ------
    ValueError
        Where the rate is out of [0, 1], the kind is unknown, a class number is out of range or in two pairs.

    Notes
    -----
    Zhu et al., Label distributionally robust losses for multi-class classification, ICML 2023, arXiv:2112.14869.

    Examples
    --------
    >>> corrupt_labels(np.array([0, 1, 2, -1]), 3, kind="class-dependent", rate=1.0, seed=0).tolist()
    [1, 2, 0, -1]
    """
    if kind not in (kinds := get_args(NoiseKind)):
        msg = f"kind is {kind!r}{nearest(kind, kinds)} (choose from: {', '.join(kinds)})"
        raise ValueError(msg)
    if not 0 <= rate <= 1:
        msg = f"the rate of wrong labels is {rate}; give a number from 0 to 1"
        raise ValueError(msg)
    if n_classes < 2 or y.min(initial=0) < -1 or y.max(initial=0) >= n_classes:
        msg = f"labels go from {y.min()} to {y.max()}; with {n_classes} classes they have to be -1 to {n_classes - 1}"
        raise ValueError(msg)
    rng = np.random.default_rng(seed)
    replaced = (rng.random(y.shape) < rate) & (y >= 0)
    new = rng.integers(n_classes, size=y.shape) if kind == "uniform" else confused_with(n_classes, pairs)[y]
    return np.where(replaced, new, y)


def confused_with(n_classes: int, pairs: Sequence[tuple[int, int]] | None) -> NDArray[np.int64]:
    """Return the class that each class is taken for."""
    if pairs is None:
        return np.roll(np.arange(n_classes), -1)
    members = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    if len(np.unique(members)) < members.size or members.min(initial=0) < 0 or members.max(initial=0) >= n_classes:
        msg = f"pairs are {list(pairs)}; give each class of 0 to {n_classes - 1} at most once"
        raise ValueError(msg)
    partner = np.arange(n_classes)
    partner[members] = members[:, ::-1]
    return partner

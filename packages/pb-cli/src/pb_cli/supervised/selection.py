"""Which epoch and which setting each fold takes, decided by its validation rows alone."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Choice", "select"]


class Choice(NamedTuple):
    """A run and its epoch (from 1), chosen for one measure in one fold; run -1 where every run diverged at once."""

    fold: int
    measure: str
    run: int
    epoch: int
    validation: float


def select(
    validation: NDArray[np.floating], names: list[str], higher: list[bool], *, one_setting: bool = False
) -> list[Choice]:
    """Choose for every measure and fold the best validation value over all runs and epochs, the first of several equal.

    Parameters
    ----------
    validation
        Values (folds, runs, epochs, measures); NaN where a run has diverged, which is never chosen.
    one_setting
        Take the same run in every fold, the one with the best mean over folds of its best value; the epoch stays the
        fold's own.
    """
    choices = []
    for place, name in enumerate(names):
        merit = validation[..., place] * (1 if higher[place] else -1)
        merit = np.where(np.isnan(merit), -np.inf, merit)
        of_run = merit.max(axis=2)
        common = int(of_run.mean(axis=0).argmax())
        for fold in range(len(merit)):
            run = common if one_setting else int(of_run[fold].argmax())
            epoch = int(merit[fold, run].argmax())
            found = bool(np.isfinite(merit[fold, run, epoch]))
            value = float(validation[fold, run, epoch, place]) if found else np.nan
            choices.append(Choice(fold, name, run if found else -1, epoch + 1 if found else 0, value))
    return choices

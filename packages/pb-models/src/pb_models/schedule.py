"""How long a network is trained, what became of it epoch by epoch, and which weights are kept."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

__all__ = ["Course", "History", "Schedule"]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long to train, on batches of what size, and which weights to keep.

    `patience` counts epochs without a strictly lower monitor (None: never stop early), or, where `ties_improve`, an
    equal one. `keep` "best-if-stopped" is the best where patience ran out, else the last. A last batch of fewer cells
    than `smallest_batch` is left out, because batch normalisation needs more than one. The monitor counts only after
    `settling_steps` optimiser steps, the time the running statistics of batch normalisation need, or after a tenth of
    the planned steps where that is sooner, so that a short training has a best epoch, too.
    """

    max_epochs: int
    batch_size: int
    patience: int | None = None
    keep: Literal["last", "best", "best-if-stopped"] = "last"
    smallest_batch: int = 2
    settling_steps: int = 0
    ties_improve: bool = False


@dataclass
class History:
    """Loss and monitor by epoch; `best_epoch` counts from 1 and is None where nothing was watched."""

    loss: list[float] = field(default_factory=list)
    monitor: list[float] = field(default_factory=list)
    best_epoch: int | None = None
    stopped_early: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the history as a JSON-able dict, with the number of epochs run."""
        return {"epochs": len(self.loss), **asdict(self)}


class Course:
    """The course of one network's training: its history, the weights of its best epoch, whether patience ran out."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule, self.history = schedule, History()
        self._best = math.inf
        self._best_state: dict[str, Tensor] = {}

    def note(
        self, loss: float, watched: float | None, n_batches: int, state: Callable[[], Mapping[str, Tensor]]
    ) -> None:
        """Enter an epoch of some number of batches; `state` is asked for the network's weights where they are best."""
        self.history.loss.append(loss)
        if watched is not None:
            self.history.monitor.append(watched)
            if self._is_best(watched, n_batches):
                self._best, self.history.best_epoch = watched, self.epoch
                if self.schedule.keep != "last":
                    self._best_state = {name: value.detach().clone() for name, value in state().items()}
        patience, best_epoch = self.schedule.patience, self.history.best_epoch
        self.history.stopped_early = bool(best_epoch and patience and self.epoch - best_epoch >= patience)

    def state_dict(self) -> dict[str, Any]:
        """Return history, best value and best weights."""
        return {"history": asdict(self.history), "best": self._best, "best_state": self._best_state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another course stood."""
        self.history = History(**state["history"])
        self._best, self._best_state = state["best"], state["best_state"]

    def outcome(self) -> dict[str, Any]:
        """Return what is to be known when it is over: the history."""
        return asdict(self.history)

    def take_outcome(self, outcome: Mapping[str, Any]) -> None:
        """Be over, with the history of another course."""
        self.history = History(**outcome)

    @property
    def epoch(self) -> int:
        """How many epochs were entered."""
        return len(self.history.loss)

    @property
    def kept(self) -> dict[str, Tensor]:
        """The weights to go back to; empty where the last epoch's are to be kept."""
        return self._best_state if self.schedule.keep == "best" or self.history.stopped_early else {}

    def _is_best(self, watched: float, n_batches: int) -> bool:
        schedule = self.schedule
        better = watched < self._best or (schedule.ties_improve and watched == self._best)
        settling = min(schedule.settling_steps, schedule.max_epochs * n_batches / 10)
        return better and self.epoch * n_batches > settling

"""The training loop of `training.train` for the members of a stack: one pass, and for each its own course.

As there, the loop knows nothing about models: `step(rows)` does one optimiser step of all members, on a batch of each,
and returns loss terms of shape (members,); `monitor()` returns a number for each. Members come out as if trained one by
one, but for rounding.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from pb_models.base import TrainingStep
from pb_models.finite import check_finite, check_monitor
from pb_models.schedule import Course, History
from pb_models.training import draw_batches, run_batches

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from pb_models.base import Progress
    from pb_models.resumable import Resumable
    from pb_models.schedule import Schedule
    from pb_models.stacked import Stack
    from pb_models.training import Cells

__all__ = ["mean_by_member", "take_by_member", "train_members"]


def train_members(
    stack: Stack[Any],
    rows: Sequence[Tensor],
    schedule: Schedule,
    *,
    step: Callable[[Tensor], Mapping[str, Tensor]],
    optimisers: Sequence[torch.optim.Optimizer],
    monitor: Callable[[], Sequence[float]] | None = None,
    seeds: Sequence[int],
    names: Sequence[str] | None = None,
    progress: Progress | None = None,
    resumable: Resumable | None = None,
) -> list[History]:
    """Train the members of a stack and leave their networks in evaluation mode, with last or best weights each.

    Parameters
    ----------
    stack
        A member whose patience runs out is taken out of it, and its network given its weights; see `Stack.numbers`.
    rows
        Row numbers to train on, (n,), of every member; each shuffles its own by its own seed. Members may have
        different numbers of rows where these make the same batches.
    schedule
        Of every member alike; patience and weights to keep are each one's own.
    step
        One optimiser step on rows (members, batch), in the order of `stack.numbers`; returns detached terms (members,),
        the first being the loss per cell.
    optimisers
        Those that `step` uses, on parameters of the stack; their moments leave with a member. Adam with a tiny `eps`
        (1e-8) moves a weight that has no gradient but rounding, such as a bias before batch normalisation, wherever
        rounding points: such weights then differ from those of networks trained alone.
    monitor
        What early stopping watches, lower is better, in the order of `stack.numbers`.
    seeds
        Of the batch orders.
    names
        What to call members in errors.
    progress
        Called once an epoch with the mean loss and monitor of the members still in training.
    resumable
        Stops the training of all members after an epoch, and lets it go on; see `training.train`.

    Raises
    ------
    ValueError
        Where members' batches are of different sizes.
    DivergedError
        Where a term or monitor is NaN or infinite; names the member, too. No network is changed by a failed epoch, but
        those of members that had stopped before.
    PausedError
        Where `resumable` was asked to stop.
    """
    names = names or [f"member {number}" for number in stack.numbers]
    _require_equal_batches([len(own) for own in rows], schedule, names)
    members = _Members(stack, schedule, seeds)
    if resumable is not None:
        device = next(stack.body.parameters()).device
        if resumable.enter(members, optimisers, networks=stack.networks, device=device):
            return members.histories
    behind, start = members.epoch, time.perf_counter()
    for epoch in range(behind + 1, schedule.max_epochs + 1):
        batches = members.draw(rows)
        losses = _epoch(stack, batches, step, epoch, names)
        watched = _watch(stack, monitor, epoch, names) if monitor else None
        members.note(losses, watched, len(batches))
        if progress is not None:
            left = (time.perf_counter() - start) / (epoch - behind) * (schedule.max_epochs - epoch)
            mean = None if watched is None else float(np.mean(watched))
            progress(TrainingStep(epoch, schedule.max_epochs, float(np.mean(losses)), mean, left))
        members.release(optimisers, everybody=epoch == schedule.max_epochs)
        if not stack.numbers:
            break
        if resumable is not None:
            resumable.pause_if_asked()
    if resumable is not None:
        resumable.leave()
    return members.histories


class _Members:
    """The courses and batch orders of a stack's members, from first to last: a phase, see `resumable.Phase`."""

    def __init__(self, stack: Stack[Any], schedule: Schedule, seeds: Sequence[int]) -> None:
        self.stack, self.schedule = stack, schedule
        self.courses = [Course(schedule) for _ in seeds]
        self.orders = [torch.Generator().manual_seed(seed) for seed in seeds]

    @property
    def epoch(self) -> int:
        """How many epochs the longest course has."""
        return max(course.epoch for course in self.courses)

    @property
    def histories(self) -> list[History]:
        """The history of each member."""
        return [course.history for course in self.courses]

    def draw(self, rows: Sequence[Tensor]) -> list[Tensor]:
        """Draw the batches (members, batch) of an epoch, for members in training."""
        numbers = self.stack.numbers
        drawn = [draw_batches(rows[number], self.schedule, self.orders[number]) for number in numbers]
        return [torch.stack(together) for together in zip(*drawn, strict=True)]

    def note(self, losses: Sequence[float], watched: Sequence[float] | None, n_batches: int) -> None:
        """Enter an epoch of members in training."""
        for place, number in enumerate(self.stack.numbers):
            value = None if watched is None else watched[place]
            self.courses[number].note(losses[place], value, n_batches, partial(self.stack.state, place))

    def release(self, optimisers: Sequence[torch.optim.Optimizer], *, everybody: bool) -> None:
        """Give the networks of members that have stopped their weights, and take those members out of the stack."""
        staying = []
        for place, number in enumerate(self.stack.numbers):
            course, network = self.courses[number], self.stack.networks[number]
            if course.history.stopped_early or everybody:
                network.load_state_dict(course.kept or self.stack.state(place))
                network.eval()
            else:
                staying.append(place)
        if len(staying) < len(self.stack.numbers):
            self.stack.keep(staying, *optimisers)

    def state_dict(self) -> dict[str, Any]:
        """Return who is in training, with what weights, courses and generators."""
        return {
            "numbers": self.stack.numbers,
            "weights": self.stack.body.state_dict(),
            "courses": [course.state_dict() for course in self.courses],
            "generators": [generator.get_state() for generator in self._generators],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the members of another stack stood."""
        self._keep(state["numbers"])
        self.stack.body.load_state_dict(state["weights"])
        for course, own in zip(self.courses, state["courses"], strict=True):
            course.load_state_dict(own)
        for generator, own in zip(self._generators, state["generators"], strict=True):
            generator.set_state(own)

    def outcome(self) -> dict[str, Any]:
        """Return the histories."""
        return {"histories": [asdict(history) for history in self.histories]}

    def take_outcome(self, outcome: Mapping[str, Any]) -> None:
        """Be over, with the histories of another stack's members."""
        for course, history in zip(self.courses, outcome["histories"], strict=True):
            course.history = History(**history)
        self._keep([])

    @property
    def _generators(self) -> list[torch.Generator]:
        return [*self.orders, *self.stack.noise.generators]

    def _keep(self, numbers: Sequence[int]) -> None:
        """Leave only some members of a new stack in training; nothing is known of the optimisers yet."""
        for number in set(self.stack.numbers) - set(numbers):
            self.stack.networks[number].eval()
        self.stack.keep(numbers)


def take_by_member(cells: Sequence[Cells], numbers: Sequence[int], rows: Tensor) -> Tensor:
    """Return each member's rows (members, batch) of its own cells, (members, batch, genes)."""
    if all(own is cells[0] for own in cells):
        taken = cells[0].take(rows.flatten())
        return taken.view(*rows.shape, taken.shape[1])
    return torch.stack([cells[number].take(own) for number, own in zip(numbers, rows, strict=True)])


def mean_by_member(
    stack: Stack[Any], rows: Sequence[Tensor], measure: Callable[[Tensor], Tensor], *, block: int
) -> list[float]:
    """Return each member's mean, over its rows (n,), of what `measure` gives for rows (members, block).

    Where members have different numbers of rows, the shorter ones are filled up with row 0, which does not count, and
    for which no random number is drawn.
    """
    own = [rows[number] for number in stack.numbers]
    totals = np.zeros(len(own))
    for start in range(0, max(map(len, own)), block):
        parts = [part[start : start + block] for part in own]
        lengths = [len(part) for part in parts]
        filled = torch.stack([functional.pad(part, (0, max(lengths) - len(part))) for part in parts])
        with stack.noise.of_lengths(lengths):
            values = measure(filled)
        real = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)
        totals += values.where(real.to(values.device), 0).sum(dim=1).double().cpu().numpy()
    return [float(total / len(part)) for total, part in zip(totals, own, strict=True)]


def _require_equal_batches(counts: Sequence[int], schedule: Schedule, names: Sequence[str]) -> None:
    sizes = [_batch_sizes(n, schedule) for n in counts]
    for name, n, size in zip(names, counts, sizes, strict=True):
        if size != sizes[0]:
            both = [f"{full} batches of {schedule.batch_size} and one of {rest}" for full, rest in (sizes[0], size)]
            msg = (
                f"{names[0]} and {name} have {counts[0]} and {n} training rows, which make {both[0]}, and {both[1]}; "
                "members are trained together on batches of equal sizes: leave incomplete batches out "
                "(smallest_batch = batch_size), make the numbers of rows equal, or train them one by one"
            )
            raise ValueError(msg)


def _batch_sizes(n: int, schedule: Schedule) -> tuple[int, int]:
    """Return the number of full batches and the size of the last one, 0 where it is left out or full."""
    full, rest = divmod(n, schedule.batch_size)
    return full, rest if rest >= schedule.smallest_batch else 0


def _epoch(
    stack: Stack[Any],
    batches: Sequence[Tensor],
    step: Callable[[Tensor], Mapping[str, Tensor]],
    epoch: int,
    names: Sequence[str],
) -> list[float]:
    """Run one epoch and return every member's mean loss per cell."""

    def check(values: Tensor, terms: list[str], first_batch: int) -> None:
        finite = torch.isfinite(values)
        if not bool(finite.all()):
            place = int((~finite).any(dim=1).nonzero()[0, 1])
            who = f"{names[stack.numbers[place]]}: "
            check_finite(values[:, :, place], terms, epoch, first_batch, who=who)

    stack.train()
    losses = run_batches(batches, step, check)
    means = np.average(losses.tolist(), axis=0, weights=[batch.shape[1] for batch in batches])
    return [float(mean) for mean in means]


def _watch(stack: Stack[Any], monitor: Callable[[], Sequence[float]], epoch: int, names: Sequence[str]) -> list[float]:
    stack.eval()
    with torch.no_grad():
        values = monitor()
    return [
        check_monitor(value, epoch, who=f"{names[number]}: ")
        for number, value in zip(stack.numbers, values, strict=True)
    ]

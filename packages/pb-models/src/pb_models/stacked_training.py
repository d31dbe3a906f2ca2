"""The training loop of `training.train` for the members of a stack: one pass, and for each its own course.

As there, the loop knows nothing about models: `step(rows)` does one optimiser step of all members, on a batch of each,
and returns loss terms of shape (members,); `monitor()` returns a number for each. Members come out as if trained one by
one, but for rounding.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from pb_models.base import TrainingStep
from pb_models.schedule import Course
from pb_models.training import check_finite, check_monitor, draw_batches, run_batches

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from pb_models.base import Progress
    from pb_models.schedule import History, Schedule
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

    Raises
    ------
    ValueError
        Where members' batches are of different sizes.
    DivergedError
        Where a term or monitor is NaN or infinite; names the member, too. No network is changed by a failed epoch, but
        those of members that had stopped before.
    """
    names = names or [f"member {number}" for number in stack.numbers]
    _require_equal_batches([len(own) for own in rows], schedule, names)
    courses = [Course(schedule) for _ in rows]
    orders = [torch.Generator().manual_seed(seed) for seed in seeds]
    start = time.perf_counter()
    for epoch in range(1, schedule.max_epochs + 1):
        drawn = [draw_batches(rows[number], schedule, orders[number]) for number in stack.numbers]
        batches = [torch.stack(together) for together in zip(*drawn, strict=True)]
        losses = _epoch(stack, batches, step, epoch, names)
        watched = _watch(stack, monitor, epoch, names) if monitor else None
        for place, number in enumerate(stack.numbers):
            value = None if watched is None else watched[place]
            courses[number].note(losses[place], value, len(batches), partial(stack.state, place))
        if progress is not None:
            left = (time.perf_counter() - start) / epoch * (schedule.max_epochs - epoch)
            mean = None if watched is None else float(np.mean(watched))
            progress(TrainingStep(epoch, schedule.max_epochs, float(np.mean(losses)), mean, left))
        _release(stack, courses, optimisers, everybody=epoch == schedule.max_epochs)
        if not stack.numbers:
            break
    return [course.history for course in courses]


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


def _release(
    stack: Stack[Any], courses: Sequence[Course], optimisers: Sequence[torch.optim.Optimizer], *, everybody: bool
) -> None:
    """Give the networks of members that have stopped their weights, and take those members out of the stack."""
    staying = []
    for place, number in enumerate(stack.numbers):
        course, network = courses[number], stack.networks[number]
        if course.history.stopped_early or everybody:
            network.load_state_dict(course.kept or stack.state(place))
            network.eval()
        else:
            staying.append(place)
    if len(staying) < len(stack.numbers):
        stack.keep(staying, *optimisers)

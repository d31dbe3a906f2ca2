"""A training loop for small networks: minibatches by index, no synchronisation per step, early stopping.

The loop knows nothing about models: `step(rows)` does one optimiser step on some rows and returns its loss terms,
`monitor()` returns what early stopping watches. Networks with several optimisers or phases bring their own `step`, and
their own batches where they draw cells in another way than each once an epoch.
"""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import sparse

from pb_models.base import TrainingStep
from pb_models.finite import DivergedError, check_finite, check_monitor
from pb_models.resumable import TorchGenerators
from pb_models.schedule import Course, History, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from pb_models.base import Progress
    from pb_models.cells import Matrix
    from pb_models.resumable import Resumable, Stateful

__all__ = [
    "Cells",
    "DivergedError",
    "History",
    "Schedule",
    "check_finite",
    "check_monitor",
    "descend",
    "draw_batches",
    "random_split",
    "resolve_device",
    "run_batches",
    "seeded",
    "train",
]


class Cells:
    """Expression by row index on a device: a dense float32 tensor where it fits, else rows made dense batch by batch.

    On a GPU the dense matrix fits where it takes at most half of the free memory. On the CPU a CSR matrix stays CSR:
    making 128 rows of 7,000 genes dense takes as long as copying them out of a dense matrix (0.25 ms measured), and the
    memory is saved.
    """

    def __init__(self, X: Matrix, device: torch.device) -> None:
        self.device = device
        self.n, self.n_genes = X.shape
        self._host = X
        self._resident: Tensor | None = None
        if device.type == "cpu" and not sparse.issparse(X):
            self._resident = torch.from_numpy(X)
        elif device.type == "cuda" and 8 * self.n * self.n_genes <= torch.cuda.mem_get_info(device)[0]:
            self._resident = torch.empty((self.n, self.n_genes), device=device)
            for start in range(0, self.n, 4096):
                self._resident[start : start + 4096] = self._dense(slice(start, start + 4096))

    def index(self, rows: NDArray[np.integer[Any]]) -> Tensor:
        """Return row numbers as the index tensor that `take` wants."""
        where = "cpu" if self._resident is None else self.device
        return torch.as_tensor(np.asarray(rows, dtype=np.int64), device=where)

    def take(self, rows: Tensor) -> Tensor:
        """Return the rows as a dense float32 tensor on the device, (rows, genes)."""
        if self._resident is not None:
            return self._resident.index_select(0, rows)
        return self._dense(rows.numpy()).to(self.device, non_blocking=True)

    def _dense(self, rows: NDArray[np.int64] | slice) -> Tensor:
        part = self._host[rows]
        return torch.from_numpy(part if isinstance(part, np.ndarray) else part.toarray())


def resolve_device(device: str) -> torch.device:
    """Return the torch device; "auto" is the first GPU where there is one, else the CPU.

    Raises
    ------
    ValueError
        Where the name is no device, or no GPU is there to be used.

    Examples
    --------
    >>> resolve_device("cpu")
    device(type='cpu')
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
    except RuntimeError as error:
        msg = f"{device!r} is no device; use 'auto', 'cpu', 'cuda' or 'cuda:N'"
        raise ValueError(msg) from error
    if found.type == "cuda" and not torch.cuda.is_available():
        msg = f"{device!r} was asked for, but torch {torch.__version__} sees no GPU; use device='cpu' or 'auto'"
        raise ValueError(msg)
    return torch.device("cuda", found.index or 0) if found.type == "cuda" else found


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch inside the block (weights, dropout, sampling) and leave the caller's random state as it was."""
    gpus = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        torch.default_generator.manual_seed(seed)
        if gpus:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def random_split(n: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split cells at random into 90 % training and 10 % validation, not stratified; return the two index arrays.

    n_train = ceil(0.9 n); the first n - n_train entries of RandomState(seed)'s permutation are the validation cells.
    This is scvi-tools' split, kept for profiles that follow it.

    Examples
    --------
    >>> train, validation = random_split(11, seed=0)
    >>> len(train), len(validation)
    (10, 1)
    """
    n_validation = n - math.ceil(0.9 * n)
    order = np.random.RandomState(seed).permutation(n)  # the generator of the split reproduced here
    return order[n_validation:], order[:n_validation]


def train(
    network: nn.Module,
    rows: Tensor | Callable[[], list[Tensor]],
    schedule: Schedule,
    *,
    step: Callable[[Tensor], Mapping[str, Tensor]],
    monitor: Callable[[], float] | None = None,
    seed: int,
    progress: Progress | None = None,
    resumable: Resumable | None = None,
    parts: Sequence[Stateful] = (),
) -> History:
    """Train a network epoch by epoch and leave it in evaluation mode, with the last or the best epoch's weights.

    Parameters
    ----------
    network
        Switched to training mode for steps and to evaluation mode for the monitor; its state is what is kept.
    rows
        Row numbers to train on (n,), shuffled anew each epoch; or what draws the batches of one epoch, a list of row
        numbers of any shape, and then the schedule's batch sizes are not looked at.
    schedule
        Epochs, batch size, patience, weights to keep.
    step
        One optimiser step on the given rows (batch,); returns detached scalar terms, the first being the loss per cell.
    monitor
        What early stopping watches, lower is better.
    seed
        Of the batch order; everything else random belongs inside `seeded`.
    progress
        Called once an epoch; `seconds_left` supposes that all epochs are run.
    resumable
        Stops the training after an epoch, and lets it go on; what draws batches is then called again for the epochs
        that are behind, and has to draw the same.
    parts
        All that changes while training besides the network and torch's generators: optimisers, counters.

    Raises
    ------
    DivergedError
        Where a term or the monitor is NaN or infinite; names epoch, batch and term. On the CPU every step is checked,
        on a GPU every epoch, since each check would wait for the device.
    PausedError
        Where `resumable` was asked to stop.
    """
    course, draw = Course(schedule), _draws(rows, schedule, seed)
    if resumable is not None:
        device = next(network.parameters()).device
        if resumable.enter(course, [*parts, TorchGenerators(device)], networks=[network], device=device):
            network.eval()
            return course.history
    behind, start = course.epoch, time.perf_counter()
    for _ in range(behind):
        draw()
    for epoch in range(behind + 1, schedule.max_epochs + 1):
        batches = draw()
        loss = _epoch(network, batches, step, epoch)
        watched = _watch(network, monitor, epoch) if monitor else None
        course.note(loss, watched, len(batches), network.state_dict)
        if progress is not None:
            left = (time.perf_counter() - start) / (epoch - behind) * (schedule.max_epochs - epoch)
            progress(TrainingStep(epoch, schedule.max_epochs, loss, watched, left))
        if course.history.stopped_early:
            break
        if resumable is not None and epoch < schedule.max_epochs:
            resumable.pause_if_asked()
    if course.kept:
        network.load_state_dict(course.kept)
    network.eval()
    if resumable is not None:
        resumable.leave()
    return course.history


def _draws(rows: Tensor | Callable[[], list[Tensor]], schedule: Schedule, seed: int) -> Callable[[], list[Tensor]]:
    """Return what draws the batches of one epoch after the other."""
    if not isinstance(rows, torch.Tensor):
        return rows
    order = torch.Generator().manual_seed(seed)
    return lambda: draw_batches(rows, schedule, order)


def descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """Do one optimiser step down the gradient of a loss."""
    optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    optimiser.step()


def draw_batches(rows: Tensor, schedule: Schedule, order: torch.Generator) -> list[Tensor]:
    """Shuffle row numbers (n,) and cut them into batches, without a last one that is too small.

    Raises
    ------
    ValueError
        Where there are too few rows for one batch.
    """
    shuffled = rows[torch.randperm(len(rows), generator=order).to(rows.device)]
    batches = list(torch.split(shuffled, schedule.batch_size))
    if len(batches[-1]) < schedule.smallest_batch:
        batches.pop()
    if not batches:
        msg = f"{len(rows)} training cells are too few: a batch needs at least {schedule.smallest_batch}"
        raise ValueError(msg)
    return batches


def run_batches(
    batches: Sequence[Tensor],
    step: Callable[[Tensor], Mapping[str, Tensor]],
    check: Callable[[Tensor, list[str], int], None],
) -> Tensor:
    """Do a step on each batch in turn and return the losses, (batches,) or, of several networks, (batches, members).

    The terms of a step, each a scalar or (members,), stay on the device until they are checked, at every step on the
    CPU and once on a GPU: `check` gets those of some batches, (batches, terms, ...), their names, and the number of the
    first of these batches, counted from 1.
    """
    history: list[Tensor] = []
    checked = 0
    for number, batch in enumerate(batches, 1):
        terms = step(batch)
        history.append(torch.stack(list(terms.values())))
        if history[-1].device.type == "cpu" or number == len(batches):
            check(torch.stack(history[checked:]), list(terms), checked + 1)
            checked = number
    return torch.stack(history)[:, 0]


def _epoch(
    network: nn.Module, batches: list[Tensor], step: Callable[[Tensor], Mapping[str, Tensor]], epoch: int
) -> float:
    """Run one epoch and return its mean loss per cell."""
    network.train()
    losses = run_batches(batches, step, lambda values, names, first: check_finite(values, names, epoch, first))
    return float(np.average(losses.tolist(), weights=[len(batch) for batch in batches]))


def _watch(network: nn.Module, monitor: Callable[[], float], epoch: int) -> float:
    network.eval()
    with torch.no_grad():
        return check_monitor(monitor(), epoch)

"""Time the training epochs of every model against their bare matrix products and optimiser steps, phase by phase.

    OMP_NUM_THREADS=1 python benchmarks/models_epoch.py [--out FILE.md] [MODEL[:PROFILE] ...]

An epoch is what lies between two calls of the progress callback of `fit`, on a sparse matrix: drawing and densifying
batches, forward, loss, backward, optimiser, checks for divergence, the monitor on validation cells (10 % of all) and
the copy of the best weights. A first fit notes every matrix product and optimiser step as torch runs them. A second
one is timed; after each epoch the products noted for it are done again, in memory that is already there and shared as
it was, and its optimiser steps on weights of the same shapes, fused. Epochs and products thus alternate; each phase's
first epoch is left out. Times are CPU seconds of the process (wall-clock with more than one thread), and the least of
each side are compared, since other processes can only lengthen them.

The products are those of all passes, forward and backward, and of the monitor. For the critics of scPreGAN that
includes the power iterations of spectral normalisation and, in version "wgan-div", the second derivative of the
gradient penalty, which the published algorithm asks for. Nothing is counted that is done by element: normalisation,
activations, dropout, losses. Lines "all" are the sum of an epoch of each phase. Exits with 1 where one of them exceeds
the goal, or the line of a model of one phase; single phases may exceed it, such as that of a discriminator by itself,
which works on stored codes and has next to no products.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import torch
from fits import MODELS, phases, settings_of, synthetic
from pb_models.registry import create
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from collections.abc import Callable

    from pb_models.base import TrainingStep
    from torch import Tensor

GOAL = 2.0
VALIDATION = 0.1
LEFT_AND_RIGHT = {  # where the factors stand among the arguments
    torch.ops.aten.mm.default: slice(0, 2),
    torch.ops.aten.mv.default: slice(0, 2),
    torch.ops.aten.addmm.default: slice(1, 3),
    torch.ops.aten.bmm.default: slice(0, 2),
}


class Place(NamedTuple):
    """Where a matrix lay: its memory's address, and shape, strides and offset in it."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    @classmethod
    def of(cls, x: Tensor) -> Self:
        """Return where a tensor lies."""
        return cls(x.untyped_storage().data_ptr(), tuple(x.shape), x.stride(), x.storage_offset())

    @property
    def end(self) -> int:
        """How many numbers the memory has to hold."""
        return 1 + self.offset + sum((n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True))


def now() -> float:
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


class Bare(NamedTuple):
    """Seconds of an epoch's bare products and of its optimiser steps."""

    products: float
    optimisers: float


class Product(NamedTuple):
    """The places of a matrix product's factors and of its result."""

    left: Place
    right: Place
    out: Place


class Recorder(TorchDispatchMode):
    """Notes, epoch by epoch, the matrix products and the optimiser steps in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[list[Product | torch.optim.Optimizer]] = []
        self._done: list[Product | torch.optim.Optimizer] = []
        self._twins: dict[tuple[int, ...], tuple[torch.optim.Optimizer, ...]] = {}

    def __enter__(self) -> Self:
        self._hook = register_optimizer_step_post_hook(self._note_step)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._hook.remove()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and note it where it is a matrix product."""
        result = func(*args, **(kwargs or {}))
        if func in LEFT_AND_RIGHT:
            self._done.append(Product(*map(Place.of, (*args[LEFT_AND_RIGHT[func]], result))))
        return result

    def end_epoch(self, _: TrainingStep) -> None:
        """Take up what was noted."""
        self.epochs.append(self._done)
        self._done = []

    def _note_step(self, optimiser: torch.optim.Optimizer, *_: Any) -> None:
        self._done.append(self._twin(optimiser))

    def _twin(self, optimiser: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Return an optimiser of its own for copies of the weights that have a gradient."""
        stepped = [[w for w in group["params"] if w.grad is not None] for group in optimiser.param_groups]
        key = (id(optimiser), *(id(weight) for weights in stepped for weight in weights))
        if key not in self._twins:
            self._twins[key] = (_copied(optimiser, stepped), optimiser)  # kept, so that its id stays its own
        return self._twins[key][0]


def _copied(optimiser: torch.optim.Optimizer, stepped: list[list[Tensor]]) -> torch.optim.Optimizer:
    groups = []
    for group, weights in zip(optimiser.param_groups, stepped, strict=True):
        copies = [torch.empty_like(weight).normal_().requires_grad_() for weight in weights]
        for copy in copies:
            copy.grad = torch.randn_like(copy)
        options = {name: group[name] for name in ("lr", "betas", "eps", "weight_decay") if name in group}
        groups.append({"params": copies, **options})
    return type(optimiser)(groups, fused=True)


class Stopwatch:
    """Times each epoch, then what was noted for it, done bare."""

    def __init__(self, epochs: list[list[Product | torch.optim.Optimizer]]) -> None:
        self.times: list[tuple[float, Bare]] = []
        self._epochs = epochs
        self._factors, self._results = Memory(), Memory()
        self._start = now()

    def end_epoch(self, _: TrainingStep) -> None:
        """Take an epoch's time and that of its bare products."""
        whole = now() - self._start
        with torch.no_grad():
            actions = [self._action(each) for each in self._epochs[len(self.times)]]
        self.times.append((whole, _run(actions)))
        self._start = now()

    def _action(self, what: Product | torch.optim.Optimizer) -> tuple[bool, Callable[[], object]]:
        """Return whether it is a product, and what does it."""
        if not isinstance(what, Product):
            return False, what.step
        left, right, out = self._factors.at(what.left), self._factors.at(what.right), self._results.at(what.out)
        return True, lambda: torch.matmul(left, right, out=out)


class Memory:
    """Gives matrices with random values; those that shared memory share it again."""

    def __init__(self) -> None:
        self._blocks: dict[int, Tensor] = {}

    def at(self, place: Place) -> Tensor:
        """Return the matrix of a place."""
        block = self._blocks.get(place.address, torch.empty(0))
        if len(block) < place.end:
            block = self._blocks[place.address] = torch.randn(place.end)
        return block.as_strided(place.shape, place.strides, place.offset)


def _run(actions: list[tuple[bool, Callable[[], object]]]) -> Bare:
    seconds = {True: 0.0, False: 0.0}
    with torch.no_grad():
        for is_product, action in actions:
            start = now()
            action()
            seconds[is_product] += now() - start
    return Bare(seconds[True], seconds[False])


class Row(NamedTuple):
    """A line of the table: a phase of a model and its least seconds an epoch."""

    model: str
    phase: str
    epoch: float
    bare: Bare

    @property
    def ratio(self) -> float:
        """How many times as long as its bare products and steps the epoch takes."""
        return self.epoch / sum(self.bare)

    def __str__(self) -> str:
        milliseconds = " | ".join(f"{1000 * seconds:.0f}" for seconds in (self.epoch, *self.bare))
        return f"| {self.model} | {self.phase} | {milliseconds} | {self.ratio:.2f} |"


def measure(model: str, options: argparse.Namespace) -> list[Row]:
    """Fit a model twice, noting and timing, and return the least times of each phase."""
    adata, keys = synthetic(options.cells, options.genes, dosed=model.startswith("scvidr-multi"))
    validation = np.random.default_rng(0).random(options.cells) < VALIDATION
    settings = settings_of(model, options.epochs, options.cells // 256, options.batch_size)

    def fit(progress: Callable[[TrainingStep], None]) -> dict[str, Any]:
        chosen = create(model, **settings)
        return chosen.fit(adata, keys=keys, validation=validation, device="cpu", progress=progress).fit_record

    with Recorder() as recorder:
        record = fit(recorder.end_epoch)
    watch = Stopwatch(recorder.epochs)
    fit(watch.end_epoch)
    rows, first = [], 0
    for phase, n_epochs in phases(record).items():
        times = watch.times[first + 1 : first + n_epochs]
        bare = min((each for _, each in times), key=sum)
        rows.append(Row(model, phase, min(whole for whole, _ in times), bare))
        first += n_epochs
    if len(rows) > 1:
        bare = Bare(*(sum(side) for side in zip(*(row.bare for row in rows), strict=True)))
        rows.append(Row(model, "all", sum(row.epoch for row in rows), bare))
    return rows


def compare(options: argparse.Namespace) -> bool:
    """Print the table of ratios; return whether all reach the goal."""
    rows: list[Row] = []
    head = "| model | phase | epoch ms | products ms | optimisers ms | ratio |\n|---|---|---|---|---|---|"
    print(head)
    for model in options.models:
        for row in measure(model, options):
            rows.append(row)
            print(row, flush=True)
    title = (
        f"torch {torch.__version__}, {torch.get_num_threads()} thread, {options.cells} cells of {options.genes} genes, "
        f"the least of {options.epochs - 1} epochs; goal: at most {options.goal}.\n\n"
    )
    print(f"\n{title.strip()}")
    if options.out is not None:
        options.out.write_text(title + "\n".join([head, *map(str, rows)]) + "\n")
    whole = {row.model: row.ratio for row in rows}  # a model's last line
    return max(whole.values()) <= options.goal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL[:PROFILE]", help="(default: every trained model)")
    parser.add_argument("--threads", type=int, default=1, help="(default: 1)")
    parser.add_argument("--cells", type=int, default=768, help="(default: 768)")
    parser.add_argument("--genes", type=int, default=2000, help="(default: 2000)")
    parser.add_argument("--epochs", type=int, default=5, help="of each phase, the first not counted (default: 5)")
    parser.add_argument("--batch-size", type=int, help="(default: each model's own)")
    parser.add_argument("--goal", type=float, default=GOAL, help=f"(default: {GOAL})")
    parser.add_argument("--out", type=Path, help="write the table there, too")
    options = parser.parse_args()
    options.models = options.models or MODELS
    torch.set_num_threads(options.threads)
    raise SystemExit(not compare(options))


if __name__ == "__main__":
    main()

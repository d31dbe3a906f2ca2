"""Time training networks one by one against training them together, as one stacked network: the ratio, in one run.

    python benchmarks/ensemble.py

Three networks: a perceptron for tables (50 features, two hidden layers of 128) and scGen's autoencoder at 500 and 2,000
genes, with 3 and 10 members, on the CPU and, where there is one, on a GPU. Both sides go through the real training
loops, drawing of batches and monitor included, and the stacked side stacks its networks and gives them their weights
back, which a real fit, of 2,800 steps, does once, too. They run in turns; the ratio is that of the shortest times,
above 1 where training together is faster. Times are CPU seconds of one thread, or on a GPU seconds that pass. Before
that, members trained both ways are compared: the run ends with status 1 where a weight differs by more than a
thousandth of the largest of its name.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from pb_models.blocks import perceptron
from pb_models.noise import continued
from pb_models.scgen import ScGen
from pb_models.stacked import stack
from pb_models.stacked_training import mean_by_member, take_by_member, train_members
from pb_models.training import Cells, Schedule, descend, seeded, train
from pb_models.vae_training import TrainingRows, train_vae, train_vaes
from scipy import sparse
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

MEMBERS = (3, 10)
VALIDATION = 0.1
TOLERANCE = 1e-3


class Case(Protocol):
    """A kind of network, and how it is trained alone and together."""

    name: str

    def new(self) -> nn.Module:
        """Build a network."""
        ...

    def alone(self, network: nn.Module, seed: int) -> None:
        """Train one network."""
        ...

    def together(self, networks: list[nn.Module], generators: list[torch.Generator]) -> None:
        """Train several."""
        ...


class Table:
    """Regression of one number on 50 features: 900 rows in batches of 64, four epochs."""

    name = "perceptron, 50 features"

    def __init__(self, device: torch.device) -> None:
        random = np.random.default_rng(0)
        X = random.normal(size=(1000, 50)).astype(np.float32)
        self.device, self.cells, self.y = device, Cells(X, device), torch.tensor(X[:, 0] * X[:, 1], device=device)
        self.rows, self.watched = (self.cells.index(part) for part in np.split(np.arange(1000), [900]))
        self.schedule = Schedule(max_epochs=4, batch_size=64)

    def new(self) -> nn.Module:
        """Build a network."""
        return nn.Sequential(perceptron([50, 128, 128], dropout=0.2), nn.Linear(128, 1)).to(self.device)

    def adam(self, network: nn.Module) -> torch.optim.Adam:
        """Build Adam with an eps that keeps rounding small: a bias before batch normalisation has no other gradient."""
        return torch.optim.Adam(network.parameters(), eps=1e-3, fused=True)

    def alone(self, network: nn.Module, seed: int) -> None:
        """Train one network."""
        optimiser = self.adam(network)

        def errors(rows: Tensor) -> Tensor:
            return (network(self.cells.take(rows)).squeeze(-1) - self.y[rows]).square()

        def step(rows: Tensor) -> dict[str, Tensor]:
            loss = errors(rows).mean()
            descend(optimiser, loss)
            return {"loss": loss.detach()}

        def monitor() -> float:
            return float(errors(self.watched).mean())

        train(network, self.rows, self.schedule, step=step, monitor=monitor, seed=seed)

    def together(self, networks: list[nn.Module], generators: list[torch.Generator]) -> None:
        """Train several."""
        members, seeds = stack(networks, generators), range(len(networks))
        optimiser = self.adam(members)

        def errors(rows: Tensor) -> Tensor:
            x = take_by_member([self.cells], members.numbers, rows)
            return (members(x).squeeze(-1) - self.y[rows]).square()

        def step(rows: Tensor) -> dict[str, Tensor]:
            losses = errors(rows).mean(dim=1)
            descend(optimiser, losses.sum())
            return {"loss": losses.detach()}

        monitor = partial(mean_by_member, members, [self.watched] * len(networks), errors, block=2048)
        rows, optimisers = [self.rows] * len(networks), [optimiser]
        train_members(members, rows, self.schedule, step=step, optimisers=optimisers, monitor=monitor, seeds=seeds)


class Autoencoder:
    """scGen's autoencoder: one epoch of some batches of 32 sparse cells."""

    def __init__(self, n_genes: int, n_batches: int, device: torch.device) -> None:
        self.name, self.n_genes, self.device = f"autoencoder, {n_genes:,} genes", n_genes, device
        self.model = ScGen()
        self.settings = self.model.settings.replace(max_epochs=1, keep="last")
        n_training = n_batches * self.settings.batch_size
        n_cells = round(n_training / (1 - VALIDATION))
        X = sparse.random_array((n_cells, n_genes), density=0.08, format="csr", dtype=np.float32, rng=0)
        self.cells, self.rows = Cells(X, device), TrainingRows(*np.split(np.arange(n_cells), [n_training]))

    def new(self) -> nn.Module:
        """Build a network."""
        return self.model.new_network(self.n_genes).to(self.device)

    def alone(self, network: nn.Module, seed: int) -> None:
        """Train one network."""
        train_vae(network, self.cells, *self.rows, self.settings, seed, None)

    def together(self, networks: list[nn.Module], generators: list[torch.Generator]) -> None:
        """Train several."""
        n = len(networks)
        names = [f"seed {seed}" for seed in range(n)]
        rows = [self.rows] * n
        train_vaes(stack(networks, generators), [self.cells] * n, rows, self.settings, range(n), names, None)


def started(case: Case, seed: int, device: torch.device) -> tuple[nn.Module, torch.Generator]:
    with seeded(seed, device):
        return case.new(), continued(device)


def difference(case: Case, n_members: int, device: torch.device) -> float:
    """Train both ways; return the largest difference of a weight, as a share of the largest weight of its name."""
    networks, generators = zip(*(started(case, seed, device) for seed in range(n_members)), strict=True)
    case.together(list(networks), list(generators))
    shares = []
    for seed, network in enumerate(networks):
        with seeded(seed, device):
            alone = case.new()
            case.alone(alone, seed)
        theirs = network.state_dict()
        for name, value in alone.state_dict().items():
            shares.append(float((value - theirs[name]).abs().max() / value.abs().max().clamp(min=1e-9)))
    return max(shares)


def seconds(action: Callable[[], object], device: torch.device) -> float:
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    start = clock()
    action()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - start


def compare(case: Case, n_members: int, device: torch.device, repeats: int) -> bool:
    share = difference(case, n_members, device)
    networks, generators = map(list, zip(*(started(case, seed, device) for seed in range(n_members)), strict=True))

    def alone() -> None:
        for seed, network in enumerate(networks):
            case.alone(network, seed)

    sides = alone, partial(case.together, networks, generators)
    times = np.array([[seconds(side, device) for side in sides] for _ in range(repeats)]).min(axis=0)
    ratio = times[0] / times[1]
    words = "faster together" if ratio > 1.1 else "no gain" if ratio > 0.9 else "slower together"
    print(f"{device.type}  {case.name:25s} {n_members:3d} members: one by one {1000 * times[0]:6.0f} ms", end=", ")
    print(
        f"together {1000 * times[1]:6.0f} ms, ratio {ratio:5.2f} ({words}); weights differ by {share:.0e}", flush=True
    )
    return share <= TOLERANCE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="(default: 3)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    devices = [torch.device("cpu"), *([torch.device("cuda", 0)] if torch.cuda.is_available() else [])]
    good = [
        compare(case, n_members, device, options.repeats)
        for device in devices
        for case in (Table(device), Autoencoder(500, 12, device), Autoencoder(2000, 12, device))
        for n_members in MEMBERS
    ]
    if len(devices) == 1:
        print("no GPU here: only the CPU was timed")
    raise SystemExit(not all(good))


if __name__ == "__main__":
    main()

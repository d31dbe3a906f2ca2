"""One small held-out unit, shared by the tests of metrics."""

from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from pb_eval import OtherUnit, other_unit


class Unit(NamedTuple):
    """Cells of one held-out unit and the training cells of its basis, all ``(cells, genes)``."""

    prediction: NDArray[np.float32]
    truth: NDArray[np.float32]
    control: NDArray[np.float32]
    training: NDArray[np.float32]
    genes: list[str]
    training_shift: NDArray[np.float64]
    weights: NDArray[np.float64]
    others: dict[str, OtherUnit]

    @property
    def extras(self):
        """What a reference is told of the other units."""
        return {"training_shift": self.training_shift, "weights": self.weights, "others": self.others}


def _draw(rng: np.random.Generator, rates: NDArray[np.float64], n_cells: int) -> NDArray[np.float32]:
    """Log1p counts; gene 0 is never seen, gene 1 is the same in every cell."""
    depth = rng.uniform(0.7, 1.4, (n_cells, 1))
    cells = np.log1p(rng.poisson(rates * depth)).astype(np.float32)
    cells[:, 0], cells[:, 1] = 0.0, 1.5
    return cells


@pytest.fixture(scope="session")
def unit() -> Unit:
    """Draw 40 predicted, 35 true, 45 control and 120 training cells of 260 genes, half of which go up."""
    rng = np.random.default_rng(7)
    n_genes = 260
    rates = rng.gamma(0.8, 1.0, n_genes)
    up = np.where(np.arange(n_genes) % 2 == 0, rng.uniform(1.5, 8.0, n_genes), rng.uniform(0.3, 1.1, n_genes))
    wrong = rng.lognormal(0.0, 0.5, n_genes)
    elsewhere = np.random.default_rng(8)
    others = {}
    for number, confused in enumerate((0.5, 0.9, -0.4, -0.1, -0.7, -1.0)):
        moved = rates * up * wrong**confused * elsewhere.lognormal(0.0, 0.2, n_genes)
        others[f"unit {number}"] = other_unit(_draw(elsewhere, moved, 30), _draw(elsewhere, rates, 30))
    return Unit(
        prediction=_draw(rng, rates * up * wrong, 40),
        truth=_draw(rng, rates * up, 35),
        control=_draw(rng, rates, 45),
        training=_draw(rng, rates * rng.lognormal(0.0, 0.3, n_genes), 120),
        genes=[f"GENE{i:03d}" for i in rng.permutation(n_genes)],
        training_shift=np.log1p(rates * up) - np.log1p(rates) + rng.normal(0, 0.1, n_genes),
        weights=rng.gamma(0.5, 1.0, n_genes),
        others=others,
    )

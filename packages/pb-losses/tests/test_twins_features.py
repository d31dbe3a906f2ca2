"""Each loss on features against its slow twin, written from the formula with plain loops over Python floats."""

import math
import runpy
from itertools import product
from pathlib import Path

import pb_losses
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

shared = runpy.run_path(str(Path(__file__).with_name("shared.py")))
flatten = shared["flatten"]
mean = shared["mean"]


def label_distance(a, b):
    return sum(abs(u - v) for u, v in zip(flatten(a), flatten(b), strict=True))


def rnc(z, y, temperature=2.0):
    n, total = len(z), 0.0
    for i, j in product(range(n), repeat=2):
        if i != j:
            far_ones = [k for k in range(n) if k != i and label_distance(y[i], y[k]) >= label_distance(y[i], y[j])]
            near = -math.dist(z[i], z[j]) / temperature
            total += math.log(sum(math.exp(-math.dist(z[i], z[k]) / temperature) for k in far_ones)) - near
    return total / max(1, n * (n - 1))


def unit(v):
    length = max(math.hypot(*v), 1e-12)
    return [u / length for u in v]


def cosine(a, b):
    return sum(u * v for u, v in zip(unit(a), unit(b), strict=True))


def conr(z, y, p, window=1.0, temperature=0.07, exponent=0.01, weight=1.0, reference_compatible=False):
    n, total = len(z), 0.0
    n_targets = len(flatten(y[0]))
    for i in range(n):
        others = [j for j in range(n) if j != i]
        far_by = {j: label_distance(y[i], y[j]) / n_targets for j in others}
        positive = [j for j in others if far_by[j] <= window]
        negative = [j for j in others if far_by[j] > window and label_distance(p[i], p[j]) / n_targets <= window]
        if positive and negative:
            s = {j: cosine(z[i], z[j]) / temperature for j in others}
            below = sum(math.exp(s[j]) for j in positive)
            below += sum(weight * math.exp(exponent * far_by[j]) * math.exp(s[j]) for j in negative)
            below += n - len(positive) if reference_compatible else 0
            total -= mean(math.log(math.exp(s[j]) / below) for j in positive)
    return total / n


def ranks(x):
    """Descending, from 1/n, ties by position."""
    order = sorted(range(len(x)), key=lambda k: -x[k])
    return [(order.index(k) + 1) / len(x) for k in range(len(x))]


def ranksim(z, y):
    total = 0.0
    for i in range(len(z)):
        of_features = ranks([cosine(z[i], v) for v in z])
        of_labels = ranks([-label_distance(y[i], v) for v in y])
        total += mean((a - b) ** 2 for a, b in zip(of_features, of_labels, strict=True))
    return total


TWINS = {
    "rnc": rnc,
    "conr": conr,
    "ranksim": ranksim,
}

GRID = {
    "rnc": [{"temperature": 0.5}, {"temperature": 4.0}],
    "conr": [
        {"window": 0.5, "temperature": 0.5, "exponent": 0.3, "weight": 2.0},
        {"reference_compatible": True, "temperature": 1.0},
        {"reference_compatible": True},
    ],
}


def test_every_loss_has_a_twin():
    assert set(TWINS) == {name for name in pb_losses.LOSSES if pb_losses.loss_info(name).kind == "features"}


test_equals_its_twin = shared["twin_test"](
    TWINS, GRID, without_ties=["ranksim"]
)  # the ties of ranksim have their own test


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_ranksim_with_equal_labels_ranks_one_sample_of_each(seed, problem):
    z, y = problem("ranksim", seed, 6, "random").inputs
    y = (y / 2).round()
    groups = [[i for i in range(6) if y[i] == label] for label in y.unique()]
    possible = []
    for chosen in product(*groups):
        rows = sorted(chosen)
        possible.append(ranksim([z[i].tolist() for i in rows], [y[i].tolist() for i in rows]))
    seen = [float(pb_losses.ranksim(z, y, generator=torch.Generator().manual_seed(k))) for k in range(5)]
    assert all(min(abs(value - p) for p in possible) < 1e-10 for value in seen)
    assert seen[0] == float(pb_losses.ranksim(z, y, generator=torch.Generator().manual_seed(0)))


def test_ranksim_draws_representatives_evenly():
    z = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.7, 0.6], [0.9, 0.1]], dtype=torch.float64)
    y = torch.tensor([0.0, 0.0, 1.0, 2.0])  # rows 0 and 1 share a label; only row 0 is out of order
    generator = torch.Generator().manual_seed(0)
    chosen = [pb_losses.ranksim(z, y, generator=generator, reduction="none")[0] > 1e-3 for _ in range(200)]
    assert 70 < sum(chosen) < 130  # of 200 fair draws, outside with a probability of 3e-5

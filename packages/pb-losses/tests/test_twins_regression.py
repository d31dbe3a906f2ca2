"""Each regression loss against its slow twin, written from the formula with plain loops over Python floats."""

import math
import runpy
from pathlib import Path

import pb_losses
import torch

shared = runpy.run_path(str(Path(__file__).with_name("shared.py")))
flatten = shared["flatten"]
mean = shared["mean"]


def columns(x):
    return list(zip(*x, strict=True)) if isinstance(x[0], list) else [tuple(x)]


def errors(p, y):
    return [abs(a - b) for a, b in zip(flatten(p), flatten(y), strict=True)]


def mae(p, y):
    return mean(errors(p, y))


def mse(p, y):
    return mean(e * e for e in errors(p, y))


def huber(p, y, delta=1.0):
    return mean(e * e / 2 if e <= delta else delta * (e - delta / 2) for e in errors(p, y))


def focal(power):
    def loss(p, y, beta=0.2, gamma=1.0):
        return mean(e**power * (2 / (1 + math.exp(-beta * e)) - 1) ** gamma for e in errors(p, y))

    return loss


def wmse(p, y, weights):
    total = [
        (w * (a - b) ** 2, w) for ps, ys in zip(p, y, strict=True) for a, b, w in zip(ps, ys, weights, strict=True)
    ]
    return sum(e for e, _ in total) / sum(w for _, w in total)


def deviation(x):
    m = mean(x)
    floor = max(1e-7, 10 * 2.0**-52 * abs(m))
    sd = math.sqrt(mean((v - m) ** 2 for v in x))
    return max(sd, floor), sd > floor


def terms(p, y):
    """Direction, value, magnitude of one target; None where the batch does not define them."""
    e = [a - b for a, b in zip(p, y, strict=True)]
    (sp, _), (sy, varies) = deviation(p), deviation(y)
    z = [(a - mean(p)) / sp - (b - mean(y)) / sy for a, b in zip(p, y, strict=True)]
    direction = mean(v * v for v in z) / 2 if varies else None
    magnitude = mean((a - b) ** 2 for a in e for b in e) / 2 if len(e) > 1 else None
    return direction, mean(abs(v) for v in e), magnitude


def power_mean(values, alpha, form):
    values = [v + 1e-7 for v in values if v is not None]
    power = mean(v ** (1 / alpha) for v in values) ** alpha
    return power if form == "exp" else math.log(power)


def far(p, y, alpha=1.0, form="log", per_target=False):
    each = [terms(a, b) for a, b in zip(columns(p), columns(y), strict=True)]
    if per_target:
        return mean(power_mean(values, alpha, form) for values in each)
    pooled = [[v for v in values if v is not None] for values in zip(*each, strict=True)]
    return power_mean([mean(values) if values else None for values in pooled], alpha, form)


def mae_pearson(p, y):
    values = []
    for a, b in zip(columns(p), columns(y), strict=True):
        direction, value, _ = terms(a, b)
        weight = (direction or 0.0) / 2
        values.append((1 - weight) * value + weight * (direction or 0.0))
    return mean(values)


TWINS = {
    "mae": mae,
    "mse": mse,
    "wmse": wmse,
    "huber": huber,
    "focal-mae": focal(1),
    "focal-mse": focal(2),
    "far": far,
    "gar": far,
    "mae+pearson": mae_pearson,
}

GRID = {
    "huber": [{"delta": 0.25}, {"delta": 4.0}],
    "focal-mae": [{"beta": 4.0, "gamma": 0.5}, {"gamma": 0.0}, {"gamma": 2.0}],
    "focal-mse": [{"beta": 4.0, "gamma": 0.5}, {"gamma": 0.0}, {"gamma": 2.0}],
    "far": [
        *({"alpha": alpha, "form": form} for alpha in (0.1, 0.5, 2.0, 10.0) for form in ("log", "exp")),
        {"per_target": True},
        {"per_target": True, "alpha": 10.0},
    ],
}


def test_every_loss_has_a_twin():
    assert set(TWINS) == {name for name in pb_losses.LOSSES if pb_losses.loss_info(name).kind == "regression"}


test_equals_its_twin = shared["twin_test"](TWINS, GRID)


def test_far_as_the_authors_compute_it(problem):
    """z-scores with n - 1, and half the variance; their formula, with the constant that their code drops."""
    p, y = problem("far", 3, 7, "random", 3).inputs
    e = p - y
    z = (p - p.mean(0)) / p.std(0) - (y - y.mean(0)) / y.std(0)
    published = torch.stack([z.square().mean() / 2, e.abs().mean(), (e - e.mean(0)).square().mean() / 2]) + 1e-7
    for alpha in (0.1, 1.0, 10.0):
        expected = alpha * ((published ** (1 / alpha)).mean()).log()
        assert torch.allclose(pb_losses.far(p, y, alpha=alpha, reference_compatible=True), expected, rtol=1e-10)

"""Each classification loss against its slow twin, written from the formula for a row of logits f and its label c."""

import math
import runpy
from pathlib import Path

import pb_losses

shared = runpy.run_path(str(Path(__file__).with_name("shared.py")))
mean = shared["mean"]

LOG_ZERO = math.log(1e-4)


def softmax(f):
    top = max(f)
    e = [math.exp(v - top) for v in f]
    return [v / sum(e) for v in e]


def ce(f, c):
    return -math.log(softmax(f)[c])


def rce(f, c, log_zero=LOG_ZERO):
    return -sum(p * (0.0 if k == c else log_zero) for k, p in enumerate(softmax(f)))


def sce(f, c, balance=0.5, log_zero=-4.0):
    return (1 - balance) * ce(f, c) + balance * rce(f, c, log_zero)


def gce(f, c, q=0.7, truncation=0.0):
    return (1 - max(softmax(f)[c], truncation) ** q) / q


def nce(f, c):
    return math.log(softmax(f)[c]) / sum(math.log(p) for p in softmax(f))


def js(f, c, label_weight=0.5):
    w, total = label_weight, 0.0
    for k, p in enumerate(softmax(f)):
        y = float(k == c)
        m = w * y + (1 - w) * p
        total += w * (y * math.log(y / m) if y else 0.0) + (1 - w) * p * math.log(p / m)
    return total / (-(1 - w) * math.log(1 - w))


def mae_cls(f, c):
    return sum(abs((k == c) - p) for k, p in enumerate(softmax(f)))


def brier(f, c):
    return sum(((k == c) - p) ** 2 for k, p in enumerate(softmax(f)))


def agce(f, c, a=3.0, q=1.5):
    return ((a + 1) ** q - (a + softmax(f)[c]) ** q) / q


def aul(f, c, a=6.0, q=1.5):
    return ((a - softmax(f)[c]) ** q - (a - 1) ** q) / q


def rll(f, c, a=1.0):
    p = softmax(f)
    return -math.log(a + p[c]) + mean(math.log(a + p[j]) for j in range(len(f)) if j != c)


def apl(f, c, passive="rce", alpha=5.0, beta=5.0):
    return alpha * nce(f, c) + beta * {"rce": rce, "agce": agce, "aul": aul}[passive](f, c)


def gaps(f, c, margin):
    return [(0.0 if k == c else margin) + v - f[c] for k, v in enumerate(f)]


def cs(f, c, margin=1.0):
    return max(max(0.0, q) for q in gaps(f, c, margin))


def ww(f, c, margin=1.0):
    return sum(max(0.0, q) for q in gaps(f, c, margin)) / len(f)


def ldr(f, c, temperature=1.0, margin=0.1):
    return temperature * math.log(mean(math.exp(q / temperature) for q in gaps(f, c, margin)))


def ldr_softplus(f, c, temperature=1.0, margin=0.1):
    g = [math.log1p(math.exp(v)) for v in f]
    return ldr([len(f) * v / sum(g) for v in g], c, temperature, margin)


def aldr(f, c, temperature=1.0, alpha=2.0, margin=0.1):
    """The objective at the root of its derivative, by 200 halvings of the bracket."""
    q, k = gaps(f, c, margin), len(f)
    low, high = temperature * (1 - 1 / alpha), temperature
    for _ in range(200):
        middle = (low + high) / 2
        p = softmax([v / middle for v in q])
        slope = -sum(v * math.log(v * k) for v in p) - alpha * math.log(k) / temperature * (middle - temperature)
        low, high = (middle, high) if slope > 0 else (low, middle)
    return ldr(f, c, low, margin) - alpha * math.log(k) / (2 * temperature) * (low - temperature) ** 2


def over_rows(loss):
    def of_batch(f, c, **parameters):
        if isinstance(c[0], list):
            return mean(
                loss(row, k, **parameters)
                for rows, ks in zip(f, c, strict=True)
                for row, k in zip(rows, ks, strict=True)
            )
        return mean(loss(row, k, **parameters) for row, k in zip(f, c, strict=True))

    return of_batch


TWINS = {
    "ce": over_rows(ce),
    "rce": over_rows(rce),
    "sce": over_rows(sce),
    "gce": over_rows(gce),
    "nce": over_rows(nce),
    "js": over_rows(js),
    "mae-cls": over_rows(mae_cls),
    "brier": over_rows(brier),
    "agce": over_rows(agce),
    "aul": over_rows(aul),
    "rll": over_rows(rll),
    "apl": over_rows(apl),
    "cs": over_rows(cs),
    "ww": over_rows(ww),
    "ldr": over_rows(ldr),
    "ldr-softplus": over_rows(ldr_softplus),
    "aldr": over_rows(aldr),
}

GRID = {
    "rce": [{"log_zero": -2.0}],
    "sce": [{"balance": 0.05}, {"balance": 1.0}],
    "gce": [{"q": 0.05}, {"q": 1.0}, {"truncation": 0.3}],
    "js": [{"label_weight": 0.1}, {"label_weight": 0.9}],
    "agce": [{"a": 0.5, "q": 0.5}],
    "aul": [{"a": 1.5, "q": 0.5}],
    "rll": [{"a": 0.1}, {"a": 10.0}],
    "apl": [{"passive": "agce", "alpha": 0.1, "beta": 9.9}, {"passive": "aul"}],
    "cs": [{"margin": 0.1}, {"margin": 0.0}],
    "ww": [{"margin": 0.1}, {"margin": 0.0}],
    "ldr": [{"temperature": 0.1}, {"temperature": 10.0, "margin": 2.0}, {"margin": 0.0}],
    "ldr-softplus": [{"temperature": 0.1}, {"temperature": 10.0, "margin": 2.0}],
    "aldr": [{"temperature": 0.1}, {"temperature": 10.0}, {"alpha": 100.0, "margin": 1.0}],
}


def test_every_loss_has_a_twin():
    assert set(TWINS) == {name for name in pb_losses.LOSSES if pb_losses.loss_info(name).kind == "classification"}


test_equals_its_twin = shared["twin_test"](TWINS, GRID)

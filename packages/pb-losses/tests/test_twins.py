"""Each loss against its slow twin, written from the formula with plain loops over Python floats."""

import math
from itertools import product

import pb_losses
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

LOG_ZERO = math.log(1e-4)


# regression ----------------------------------------------------------------------------------------------------------


def flat(x):
    return [v for row in x for v in flat(row)] if isinstance(x, list) else [x]


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def columns(x):
    return list(zip(*x, strict=True)) if isinstance(x[0], list) else [tuple(x)]


def errors(p, y):
    return [abs(a - b) for a, b in zip(flat(p), flat(y), strict=True)]


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


# features ------------------------------------------------------------------------------------------------------------


def label_distance(a, b):
    return sum(abs(u - v) for u, v in zip(flat(a), flat(b), strict=True))


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
    n_targets = len(flat(y[0]))
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


# classification: one row of logits f and its label c -----------------------------------------------------------------


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
    "mae": mae,
    "mse": mse,
    "wmse": wmse,
    "huber": huber,
    "focal-mae": focal(1),
    "focal-mse": focal(2),
    "far": far,
    "gar": far,
    "mae+pearson": mae_pearson,
    "rnc": rnc,
    "conr": conr,
    "ranksim": ranksim,
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
    "huber": [{"delta": 0.25}, {"delta": 4.0}],
    "focal-mae": [{"beta": 4.0, "gamma": 0.5}, {"gamma": 0.0}, {"gamma": 2.0}],
    "focal-mse": [{"beta": 4.0, "gamma": 0.5}, {"gamma": 0.0}, {"gamma": 2.0}],
    "far": [
        *({"alpha": alpha, "form": form} for alpha in (0.1, 0.5, 2.0, 10.0) for form in ("log", "exp")),
        {"per_target": True},
        {"per_target": True, "alpha": 10.0},
    ],
    "rnc": [{"temperature": 0.5}, {"temperature": 4.0}],
    "conr": [
        {"window": 0.5, "temperature": 0.5, "exponent": 0.3, "weight": 2.0},
        {"reference_compatible": True, "temperature": 1.0},
        {"reference_compatible": True},
    ],
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
    assert set(TWINS) == set(pb_losses.LOSSES)


@pytest.mark.parametrize(
    ("name", "parameters"), [(name, parameters) for name in TWINS for parameters in [{}, *GRID.get(name, [])]]
)
@given(data=st.data())
@settings(max_examples=15, deadline=None, derandomize=True)
def test_equals_its_twin(name, parameters, data, problem, styles):
    style = data.draw(
        st.sampled_from(styles if name != "ranksim" else ("random",))
    )  # ties of RankSim have their own test
    drawn = problem(
        name,
        data.draw(st.integers(0, 10**6)),
        data.draw(st.integers(1, 7)),
        style,
        data.draw(st.sampled_from([None, 1, 3])),
        **parameters,
    )
    twin = TWINS[name](
        *(x.tolist() for x in drawn.inputs),
        **{k: v.tolist() if k == "weights" else v for k, v in drawn.settings.items()},
    )
    assert float(drawn.value()) == pytest.approx(twin, rel=1e-10, abs=1e-10)


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
    z = torch.eye(3, dtype=torch.float64)
    y = torch.tensor([0.0, 0.0, 1.0])
    generator = torch.Generator().manual_seed(0)
    chosen = [pb_losses.ranksim(z, y, generator=generator, reduction="none") for _ in range(50)]
    assert all(losses.shape == (3,) for losses in chosen)


def test_far_as_the_authors_compute_it(problem):
    """z-scores with n - 1, and half the variance; their formula, with the constant that their code drops."""
    p, y = problem("far", 3, 7, "random", 3).inputs
    e = p - y
    z = (p - p.mean(0)) / p.std(0) - (y - y.mean(0)) / y.std(0)
    published = torch.stack([z.square().mean() / 2, e.abs().mean(), (e - e.mean(0)).square().mean() / 2]) + 1e-7
    for alpha in (0.1, 1.0, 10.0):
        expected = alpha * ((published ** (1 / alpha)).mean()).log()
        assert torch.allclose(pb_losses.far(p, y, alpha=alpha, reference_compatible=True), expected, rtol=1e-10)

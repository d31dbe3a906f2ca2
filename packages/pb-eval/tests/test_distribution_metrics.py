"""Metrics of distributions equal their slow twins, over cells drawn and projected by the definition."""

import math

import numpy as np
import pytest
from pb_eval import METRICS, Reference, evaluate, fit_basis
from scipy import sparse, stats
from scipy.optimize import linear_sum_assignment
from scipy.special import logsumexp

LAYOUTS = {"dense float32": np.asarray, "Fortran order": np.asfortranarray, "CSR matrix": sparse.csr_matrix}
SIZE = 35  # the smallest of the three groups


class Groups:
    """True, predicted and control cells of equal number, as expression and as coordinates."""

    def __init__(self, unit):
        self.basis = fit_basis(unit.training, n_components=8)
        self.whole = unit
        self.top = sorted(range(len(unit.genes)), key=lambda gene: -auroc(unit, gene))[:100]
        self.truth, self.prediction, self.control = (
            self.cut(cells.astype(np.float64)) for cells in (unit.truth, unit.prediction, unit.control)
        )

    def cut(self, cells):
        if len(cells) == SIZE:
            return cells
        return cells[sorted(np.random.RandomState(0).choice(len(cells), size=SIZE, replace=False))]

    def project(self, cells):
        return [[float((row - self.basis.mean) @ axis) for axis in self.basis.components] for row in cells]

    @property
    def scale(self):
        measured = np.concatenate([self.whole.truth, self.whole.control]).astype(np.float64)
        cells = self.project(measured)
        return np.median([math.dist(a, b) for i, a in enumerate(cells) for b in cells[:i]])


def auroc(unit, gene):
    return stats.mannwhitneyu(unit.truth[:, gene], unit.control[:, gene]).statistic


def energy(x, y, power, groups):
    def total(a, b):
        return sum(math.dist(p, q) ** power for p in a for q in b)

    n = len(x)
    return 2 * total(x, y) / n**2 - total(x, x) / (n * (n - 1)) - total(y, y) / (n * (n - 1))


def mmd(x, y, kernel):
    n = len(x)
    within = [sum(kernel(a, b) for i, a in enumerate(g) for j, b in enumerate(g) if i != j) for g in (x, y)]
    return sum(within) / (n * (n - 1)) - 2 * sum(kernel(a, b) for a in x for b in y) / n**2


def entropic(x, y, epsilon):
    cost = np.array([[math.dist(a, b) ** 2 for b in y] for a in x])
    f, g = np.zeros(len(x)), np.zeros(len(y))
    for _ in range(400):
        f = -epsilon * logsumexp((g - cost) / epsilon, b=1 / len(y), axis=1)
        g = -epsilon * logsumexp((f - cost.T) / epsilon, b=1 / len(x), axis=1)
    return f.mean() + g.mean()


def sinkhorn(x, y, groups):
    epsilon = groups.scale**2 / 2
    return entropic(x, y, epsilon) - entropic(x, x, epsilon) / 2 - entropic(y, y, epsilon) / 2


def assignment(x, y, power):
    cost = np.array([[math.dist(a, b) ** power for b in y] for a in x])
    return (cost[linear_sum_assignment(cost)].sum() / len(x)) ** (1 / power)


def sliced(x, y, groups):
    total = 0.0
    for direction in np.random.RandomState(0).standard_normal((200, 8)):
        unit = direction / math.sqrt(sum(value**2 for value in direction))
        first, second = (sorted(float(np.dot(cell, unit)) for cell in group) for group in (x, y))
        total += sum((a - b) ** 2 for a, b in zip(first, second, strict=True)) / len(x)
    return math.sqrt(total / 200)


def genewise(x, y, groups):
    return np.mean([stats.wasserstein_distance(x[:, gene], y[:, gene]) for gene in range(x.shape[1])])


def correlations(x, y, groups):
    standard = []
    for group in (x, y):
        columns = [group[:, gene] - group[:, gene].mean() for gene in groups.top]
        standard.append([c / np.linalg.norm(c) if np.linalg.norm(c) > 1e-9 else c * 0 for c in columns])
    squares = [
        (standard[0][i] @ standard[0][j] - standard[1][i] @ standard[1][j]) ** 2 for i in range(100) for j in range(i)
    ]
    return math.sqrt(np.mean(squares))


TWINS = {
    "edistance": lambda x, y, groups: energy(x, y, 1, groups),
    "edistance_squared": lambda x, y, groups: energy(x, y, 2, groups),
    "mmd_rbf": lambda x, y, groups: mmd(
        x, y, lambda a, b, s=groups.scale: math.exp(-(math.dist(a, b) ** 2) / (2 * s**2))
    ),
    "mmd_linear": lambda x, y, groups: mmd(x, y, np.dot),
    "sinkhorn": sinkhorn,
    "wasserstein1": lambda x, y, groups: assignment(x, y, 1),
    "wasserstein2": lambda x, y, groups: assignment(x, y, 2),
    "sliced_wasserstein": sliced,
    "mean_pairwise": lambda x, y, groups: np.mean([math.dist(a, b) for a in x for b in y]),
    "euclidean": lambda x, y, groups: math.dist(np.mean(x, axis=0), np.mean(y, axis=0)),
    "gene_wasserstein": genewise,
    "correlation_distance": correlations,
}


@pytest.fixture(scope="module")
def expected(unit):
    groups = Groups(unit)
    values = {"variance_ratio": variance_ratio(unit)}
    for name, twin in TWINS.items():
        cells = groups.truth, groups.prediction, groups.control
        truth, prediction, control = cells if METRICS[name].space == "log1p" else map(groups.project, cells)
        values[name] = twin(truth, prediction, groups)
        values[f"{name}_relative"] = values[name] / twin(control, truth, groups)
        values[f"{name}_over_shift"] = values[name] / twin(control, prediction, groups)
    return values


def variance_ratio(unit):
    ratios = []
    for gene in range(len(unit.genes)):
        truth, predicted = (cells[:, gene].astype(np.float64) for cells in (unit.truth, unit.prediction))
        if len(set(truth)) > 1:
            ratios.append(predicted.var(ddof=1) / truth.var(ddof=1))
    ratios, middle = sorted(ratios), len(ratios) // 2
    return ratios[middle] if len(ratios) % 2 else (ratios[middle - 1] + ratios[middle]) / 2


def test_every_metric_has_a_twin(expected):
    assert set(expected) == {name for name, metric in METRICS.items() if metric.family == "distributions"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_metrics_equal_their_twins(layout, unit, expected):
    arrange = LAYOUTS[layout]
    basis = fit_basis(unit.training, n_components=8)
    reference = Reference(arrange(unit.truth), arrange(unit.control), unit.genes, basis)
    values = evaluate(arrange(unit.prediction), reference, list(expected))
    iterated = {name for name in expected if name.startswith("sinkhorn")}
    for name, value in values.items():
        assert value == pytest.approx(expected[name], rel=1e-7 if name in iterated else 1e-9), name


def test_metrics_tell_the_unit_apart(expected):
    repeated = {"edistance_squared_relative", "edistance_squared_over_shift"}  # mmd_linear's, for twice cancels
    assert len({round(value, 12) for value in expected.values()}) == len(expected) - len(repeated)


def test_a_distance_within_noise_gives_no_ratio(unit):
    reference = Reference(unit.control[::2], unit.control[1::2], unit.genes, fit_basis(unit.training))
    names = ["edistance", "edistance_relative"]
    values = evaluate(unit.prediction, reference, names)
    assert values["edistance"] > 0
    assert math.isnan(values["edistance_relative"])


def test_no_prediction_sets_its_own_bandwidth(unit):
    reference = Reference(unit.truth, unit.control, unit.genes, fit_basis(unit.training))
    before = reference.scale
    evaluate(unit.prediction * 50, reference, ["mmd_rbf"])
    assert reference.scale == before
    assert evaluate(unit.prediction * 50, reference, ["mmd_rbf"])["mmd_rbf"] > 0.5


def test_exact_transport_takes_a_thousand_cells_at_most(unit):
    rng = np.random.default_rng(0)
    truth, prediction = rng.normal(size=(2, 1100, 3))
    basis = fit_basis(rng.normal(size=(50, 3)), 2)
    reference = Reference(truth, truth, list("abc"), basis)
    kept = sorted(np.random.RandomState(0).choice(1100, size=1000, replace=False))
    small = Reference(truth[kept], truth, list("abc"), basis)
    assert evaluate(prediction, reference, ["wasserstein1"]) == evaluate(prediction[kept], small, ["wasserstein1"])

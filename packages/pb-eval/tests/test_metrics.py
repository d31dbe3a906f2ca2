"""Every metric equals its slow twin: plain loops written from the definition."""

import math

import numpy as np
import pytest
from pb_eval import METRICS, OtherUnit, Reference, evaluate, fit_basis, metric_names
from scipy import sparse, stats

LAYOUTS = {
    "dense float32": lambda cells: cells,
    "dense float64": lambda cells: cells.astype(np.float64),
    "Fortran order": np.asfortranarray,
    "CSR matrix": sparse.csr_matrix,
    "CSR array": sparse.csr_array,
    "CSC matrix": sparse.csc_matrix,
}


def mean(cells):
    return [sum(float(row[j]) for row in cells) / len(cells) for j in range(len(cells[0]))]


def variance(cells):
    centre = mean(cells)
    return [sum((float(row[j]) - centre[j]) ** 2 for row in cells) / (len(cells) - 1) for j in range(len(centre))]


def pearson(a, b):
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    covariance = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    return covariance / math.sqrt(sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b))


def exceedance(cells, control, gene):
    """U / (n m): share of pairs of cells in which the group's is higher, ties half."""
    wins = 0.0
    for x in cells[:, gene]:
        for y in control[:, gene]:
            wins += 1.0 if x > y else 0.5 if x == y else 0.0
    return wins / (len(cells) * len(control))


def ranked(cells, unit):
    """(exceedance, shift, column) of each gene, the most up-regulated first."""
    means, control_means = mean(cells), mean(unit.control)
    rows = [
        (exceedance(cells, unit.control, gene), means[gene] - control_means[gene], gene)
        for gene in range(len(unit.genes))
    ]
    return sorted(rows, key=lambda row: (-row[0], -row[1], unit.genes[row[2]]))


def top(unit, k):
    return [gene for _, _, gene in ranked(unit.truth, unit)[:k]]


def r2(unit, genes):
    truth, predicted = mean(unit.truth), mean(unit.prediction)
    return pearson([truth[g] for g in genes], [predicted[g] for g in genes]) ** 2


def resampled_r2(unit, genes):
    values = []
    for seed in range(100):
        subsets = []
        for cells in (unit.truth, unit.prediction):
            drawn = np.random.RandomState(seed).choice(len(cells), size=int(0.8 * len(cells)), replace=False)
            subsets.append(cells[drawn][:, genes].astype(np.float64).mean(axis=0))
        values.append(np.corrcoef(*subsets)[0, 1] ** 2)
    return sum(values) / len(values)


def shifts(unit):
    truth, predicted, control = mean(unit.truth), mean(unit.prediction), mean(unit.control)
    return [t - c for t, c in zip(truth, control, strict=True)], [
        p - c for p, c in zip(predicted, control, strict=True)
    ]


def cosine(a, b):
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def residuals(unit):
    """Shifts less the training contexts' shift; a gene that nobody shifts has none of its own."""
    return [
        [s - m if abs(s - m) > 1e-9 else 0.0 for s, m in zip(shift, unit.training_shift, strict=True)]
        for shift in shifts(unit)
    ]


def midranks(values):
    return [sum(v < value for v in values) + (sum(v == value for v in values) + 1) / 2 for value in values]


def same_signs(a, b):
    moved = [(x, y) for x, y in zip(a, b, strict=True) if x != 0]
    return sum(x * y > 0 for x, y in moved) / len(moved)


def r2_score(truth, prediction, weights=None):
    weights = [1.0] * len(truth) if weights is None else weights
    centre = sum(w * t for w, t in zip(weights, truth, strict=True)) / sum(weights)
    error = sum(w * (t - p) ** 2 for w, t, p in zip(weights, truth, prediction, strict=True))
    return 1 - error / sum(w * (t - centre) ** 2 for w, t in zip(weights, truth, strict=True))


def mse_mean_corrected(unit):
    truth, predicted, spread = mean(unit.truth), mean(unit.prediction), variance(unit.truth)
    terms = [(t - p) ** 2 - v / len(unit.truth) for t, p, v in zip(truth, predicted, spread, strict=True)]
    return sum(terms) / len(terms)


def overlap(unit):
    truth, predicted = lists(unit, 100)
    assert len(truth) == len(predicted) == 100
    return len(truth & predicted) / 100


def significant(cells, unit):
    pvalues = []
    for gene in range(len(unit.genes)):
        x, y = cells[:, gene], unit.control[:, gene]
        if len({*x, *y}) == 1:
            pvalues.append(1.0)
        else:
            pvalues.append(stats.mannwhitneyu(x, y, use_continuity=False, method="asymptotic").pvalue)
    adjusted = stats.false_discovery_control(pvalues)
    chosen = {gene for gene, p in enumerate(adjusted) if p < 0.05}
    assert 10 < len(chosen) < len(unit.genes)
    return chosen


def direction(unit):
    truth, predicted = shifts(unit)
    chosen = significant(unit.truth, unit)
    return sum(truth[gene] * predicted[gene] > 0 for gene in chosen) / len(chosen)


def sets(unit):
    return significant(unit.truth, unit), significant(unit.prediction, unit)


def direction_fidelity(unit):
    (truth, predicted), (true_shift, predicted_shift) = sets(unit), shifts(unit)
    agreeing = [gene for gene in truth & predicted if true_shift[gene] * predicted_shift[gene] > 0]
    return len(agreeing) / max(len(truth), len(predicted))


def evidence(unit):
    """How far from one half the exceedance of each gene is, in standard errors with ties."""
    n, m = len(unit.prediction), len(unit.control)
    values = []
    for gene in range(len(unit.genes)):
        pooled = np.concatenate([unit.prediction[:, gene], unit.control[:, gene]])
        ties = sum(float(count) ** 3 - count for count in np.unique(pooled, return_counts=True)[1])
        spread = n * m / 12 * (n + m + 1 - ties / ((n + m) * (n + m - 1)))
        centred = abs(exceedance(unit.prediction, unit.control, gene) - 0.5) * n * m
        values.append(centred / math.sqrt(spread) if spread > 0 else 0.0)
    return values


def average_precision(unit):
    """Mean over the significant genes of the precision among all genes at least as evident."""
    chosen, score = significant(unit.truth, unit), evidence(unit)
    total = 0.0
    for gene in chosen:
        above = [other for other in range(len(score)) if score[other] >= score[gene] - 1e-12]
        total += len(chosen & set(above)) / len(above)
    return total / len(chosen)


def roc_area(unit):
    chosen, score = significant(unit.truth, unit), evidence(unit)
    others = set(range(len(score))) - chosen
    wins = [1.0 if score[a] > score[b] else 0.5 if score[a] == score[b] else 0.0 for a in chosen for b in others]
    return sum(wins) / len(wins)


def folds(unit):
    def linear(group):
        return [sum(math.expm1(float(row[j])) for row in group) / len(group) for j in range(len(unit.genes))]

    control = linear(unit.control)
    chosen = sorted(significant(unit.truth, unit))
    return [
        [math.log2((means[gene] + 0.1) / (control[gene] + 0.1)) for gene in chosen]
        for means in (linear(unit.truth), linear(unit.prediction))
    ]


def overlap_significant(unit):
    truth, predicted = sets(unit)
    fold = {}
    for gene in predicted:
        means = [np.expm1(cells[:, gene].astype(np.float64)).mean() for cells in (unit.prediction, unit.control)]
        fold[gene] = abs(math.log2((means[0] + 0.1) / (means[1] + 0.1)))
    best = sorted(predicted, key=lambda gene: -fold[gene])[: len(truth)]
    return len(truth & set(best)) / len(truth)


def lists(unit, k):
    def first(cells):
        scores = []
        for gene in range(len(unit.genes)):
            x, y = cells[:, gene].astype(np.float64), unit.control[:, gene].astype(np.float64)
            if len({*x, *y}) > 1:
                scores.append((stats.ttest_ind(x, y, equal_var=False).statistic, gene))
        return {gene for score, gene in sorted(scores, reverse=True)[:k] if score > 0}

    return first(unit.truth), first(unit.prediction)


TWINS = {
    "r2_mean_all": lambda unit: r2(unit, range(len(unit.genes))),
    "r2_mean_top20": lambda unit: r2(unit, top(unit, 20)),
    "r2_mean_top100": lambda unit: r2(unit, top(unit, 100)),
    "r2_mean_all_resampled": lambda unit: resampled_r2(unit, list(range(len(unit.genes)))),
    "r2_mean_top20_resampled": lambda unit: resampled_r2(unit, top(unit, 20)),
    "r2_mean_top100_resampled": lambda unit: resampled_r2(unit, top(unit, 100)),
    "mse_mean": lambda unit: np.mean(
        [(t - p) ** 2 for t, p in zip(mean(unit.truth), mean(unit.prediction), strict=True)]
    ),
    "mae_mean": lambda unit: np.mean(
        [abs(t - p) for t, p in zip(mean(unit.truth), mean(unit.prediction), strict=True)]
    ),
    "rmse_mean": lambda unit: math.dist(mean(unit.truth), mean(unit.prediction)) / math.sqrt(len(unit.genes)),
    "r2_score_mean": lambda unit: r2_score(mean(unit.truth), mean(unit.prediction)),
    "mse_mean_corrected": mse_mean_corrected,
    "wmse_mean": lambda unit: (
        sum(w * (t - p) ** 2 for w, t, p in zip(unit.weights, mean(unit.truth), mean(unit.prediction), strict=True))
        / sum(unit.weights)
    ),
    "spearman_delta": lambda unit: pearson(*map(midranks, shifts(unit))),
    "sign_delta": lambda unit: same_signs(*shifts(unit)),
    "r2_score_delta": lambda unit: r2_score(*shifts(unit)),
    "r2_weighted_delta": lambda unit: r2_score(*shifts(unit), unit.weights),
    "pearson_residual": lambda unit: pearson(*residuals(unit)),
    "spearman_residual": lambda unit: pearson(*map(midranks, residuals(unit))),
    "cosine_residual": lambda unit: cosine(*residuals(unit)),
    "sign_residual": lambda unit: same_signs(*residuals(unit)),
    "pearson_delta": lambda unit: pearson(*shifts(unit)),
    "cosine_delta": lambda unit: cosine(*shifts(unit)),
    "overlap_top100": overlap,
    "direction_match": direction,
    "overlap_top20": lambda unit: len(set.intersection(*lists(unit, 20))) / 20,
    "jaccard_top20": lambda unit: len(set.intersection(*lists(unit, 20))) / len(set.union(*lists(unit, 20))),
    "jaccard_top100": lambda unit: len(set.intersection(*lists(unit, 100))) / len(set.union(*lists(unit, 100))),
    "precision_significant": lambda unit: len(set.intersection(*sets(unit))) / len(sets(unit)[1]),
    "recall_significant": lambda unit: len(set.intersection(*sets(unit))) / len(sets(unit)[0]),
    "jaccard_significant": lambda unit: len(set.intersection(*sets(unit))) / len(set.union(*sets(unit))),
    "overlap_significant": overlap_significant,
    "direction_fidelity": direction_fidelity,
    "auprc_significant": average_precision,
    "auroc_significant": roc_area,
    "lfc_nmae": lambda unit: (
        sum(abs(p - t) for t, p in zip(*folds(unit), strict=True)) / sum(abs(t) for t in folds(unit)[0])
    ),
    "pearson_lfc": lambda unit: pearson(*folds(unit)),
    "spearman_lfc": lambda unit: pearson(*map(midranks, folds(unit))),
}


@pytest.fixture(scope="module")
def expected(unit):
    return {name: float(twin(unit)) for name, twin in TWINS.items()}


FAMILIES = {"means", "shifts", "genes"}
UNBIASED = {"edistance", "edistance_squared", "mmd_rbf", "mmd_linear", "mse_mean_corrected"}
UNBIASED |= {f"{name}{ratio}" for name in UNBIASED for ratio in ("_relative", "_over_shift")}


def test_every_metric_has_a_twin():
    assert set(TWINS) == {name for name, metric in METRICS.items() if metric.family in FAMILIES}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_metrics_equal_their_twins(layout, unit, expected):
    arrange = LAYOUTS[layout]
    basis = fit_basis(unit.training, n_components=8)
    reference = Reference(arrange(unit.truth), arrange(unit.control), unit.genes, basis, **unit.extras)
    values = evaluate(arrange(unit.prediction), reference, list(TWINS))
    assert values == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_values_tell_the_unit_apart(expected):
    assert len(set(expected.values())) == len(expected)
    assert 0.05 < expected["overlap_top100"] < 0.95
    assert 0.05 < expected["direction_match"] < 0.999


@pytest.mark.parametrize("name", sorted(METRICS))
def test_truth_itself_scores_perfect(name, unit):
    metric = METRICS[name]
    reference = Reference(unit.truth, unit.control, unit.genes, fit_basis(unit.training), **unit.extras)
    value = evaluate(unit.truth, reference, [name])[name]
    if name in UNBIASED:  # below 0 of a group with itself by what noise adds in expectation
        assert -2.0 < value < 0.0
    elif math.isnan(metric.perfect):
        assert value > 0.0
    else:
        assert value == pytest.approx(metric.perfect, abs=1e-12)


def test_edistance_is_zero_in_expectation_for_cells_of_one_distribution():
    rng = np.random.default_rng(3)
    training = rng.normal(size=(200, 6))
    basis, genes = fit_basis(training, n_components=3), list("abcdef")
    values = []
    for _ in range(200):
        x, y = rng.normal(size=(2, 20, 6))
        values.append(evaluate(y, Reference(x, training, genes, basis), ["edistance"])["edistance"])
    error = np.std(values) / math.sqrt(len(values))
    assert abs(np.mean(values)) < 3 * error
    assert min(values) < 0 < max(values)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_values_stay_in_the_declared_range(name, unit):
    rng = np.random.default_rng(11)
    reference = Reference(unit.truth, unit.control, unit.genes, fit_basis(unit.training), **unit.extras)
    low, high = METRICS[name].range
    for cells in (unit.prediction, -unit.prediction, unit.prediction * 9, rng.permuted(unit.truth, axis=1)):
        assert low <= evaluate(cells, reference, [name])[name] <= high


def test_a_better_prediction_scores_better(unit):
    reference = Reference(unit.truth, unit.control, unit.genes, fit_basis(unit.training), **unit.extras)
    groups = unit.truth[::2], np.concatenate([unit.control, unit.prediction])
    near, far = (evaluate(cells, reference, metric_names()) for cells in groups)
    for name in metric_names():
        metric = METRICS[name]
        if metric.direction == "target":
            assert abs(near[name] - metric.perfect) < abs(far[name] - metric.perfect)
        else:
            assert (near[name] - far[name]) * (1 if metric.direction == "higher" else -1) > 0, name


@pytest.mark.parametrize("step", [1, -1])
def test_the_order_of_genes_does_not_matter_nor_that_of_cells_where_none_are_drawn(step, unit):
    rng = np.random.default_rng(5)
    order = rng.permutation(len(unit.genes))
    drawn = {name for name, metric in METRICS.items() if "draw" in metric.definition or "cut to" in metric.definition}
    names = [name for name in metric_names() if METRICS[name].space == "log1p" and (step > 0 or name not in drawn)]
    groups = (unit.prediction, unit.truth, unit.control)
    prediction, truth, control = (cells.astype(np.float64) for cells in groups)  # a PCA in double precision
    plain = evaluate(prediction, Reference(truth, control, unit.genes, **unit.extras), names)
    genes = [unit.genes[i] for i in order]
    others = {name: OtherUnit(other.mean[order], other.shift[order]) for name, other in unit.others.items()}
    extras = {"training_shift": unit.training_shift[order], "weights": unit.weights[order], "others": others}
    shuffled = Reference(truth[::step, order], control[:, order], genes, **extras)
    assert evaluate(prediction[::step, order], shuffled, names) == pytest.approx(plain, rel=1e-9)

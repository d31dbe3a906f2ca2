"""Bootstrap intervals: equal to plain loops over resamples, unbiased where the estimate is, and they cover."""

import math
from itertools import product

import numpy as np
import pytest
from pb_eval import METRICS, Basis, Metric, Reference, evaluate, fit_basis, intervals
from pb_eval.bootstrap import energy_distance_draws, mmd_linear_draws, resample_counts
from pb_eval.distances import energy_distance, mmd_linear, mmd_rbf
from pb_eval.distributions import cut
from pb_eval.resampling import Resampled, ResampledReference
from scipy import sparse, stats

DRAWS = 6
RESAMPLED = sorted(name for name, metric in METRICS.items() if metric.draws)
UNBIASED = ("edistance", "edistance_squared", "mmd_rbf", "mmd_linear")
OF_PAIRS = [name for name in RESAMPLED if name.startswith(UNBIASED)]
FIRST_ORDER = ("gene_wasserstein", "sliced_wasserstein", "sinkhorn", "wasserstein1", "wasserstein2")
OF_CELLS = [name for name in RESAMPLED if not name.startswith((*UNBIASED, *FIRST_ORDER))]
TESTED_ANEW = [name for name, metric in METRICS.items() if "resampled_genes" in metric.draws]


def made(unit, layout=np.asarray):
    groups = (layout(group) for group in (unit.truth, unit.control))
    return Reference(*groups, unit.genes, fit_basis(unit.training, 5), seed=3, **unit.extras)


def resampled(reference, prediction, draws=DRAWS):
    truth = Resampled(reference.truth, draws, stream=0)
    return Resampled(reference.cells(prediction), draws, stream=1), ResampledReference(reference, truth)


def held(reference, truth, *, anew=False):
    """A reference of other true cells that keeps the bandwidth, and the genes chosen by tests unless chosen anew."""
    other = Reference(
        truth,
        reference.control.matrix,
        reference.genes,
        reference.basis,
        seed=reference.seed,
        training_shift=reference.training_shift,
        weights=reference.weights,
        others=reference.others,
    )
    vars(other)["_truth_ranking"] = reference.top_genes(len(reference.genes))
    vars(other)["scale"] = reference.scale
    if not anew:
        vars(other.truth)["significant"] = reference.significant
    return other


def smallest(metric, unit):
    """Cells that a metric compares: groups cut to one size, of two groups or of all three."""
    if metric.function != "pb_eval.distributions:distance":
        return None
    sizes = [len(unit.prediction), len(unit.truth), len(unit.control)]
    return min(sizes if "over" in metric.arguments else sizes[:2])


def taken(group, counts):
    return np.repeat(group, counts.astype(int), axis=0)


@pytest.fixture(scope="module")
def pair(unit):
    return resampled(made(unit), unit.prediction)


@pytest.mark.parametrize("name", OF_CELLS)
def test_values_on_resamples_are_those_of_a_plain_loop(name, unit, pair):
    prediction, reference = pair
    metric, size = METRICS[name], smallest(METRICS[name], unit)
    groups = {"prediction": unit.prediction, "truth": unit.truth}
    if size is not None:
        groups = {key: cut(group, size, seed=3) for key, group in groups.items()}
    found = metric.compute_draws(prediction, reference)
    assert found.shape == (DRAWS,)
    for draw in range(DRAWS):
        cells = {
            key: taken(groups[key], stack.counts(len(groups[key]))[draw])
            for key, stack in (("prediction", prediction), ("truth", reference.truth))
        }
        twin = evaluate(cells["prediction"], held(reference, cells["truth"], anew=name in TESTED_ANEW), [name])[name]
        assert found[draw] == pytest.approx(twin, rel=1e-6, abs=1e-9, nan_ok=True)


def pair_mean(x, y, w, v, kernel, *, within):
    """Mean of a function over the pairs of different cells, each as often as both were drawn."""
    total = number = 0.0
    for i in range(len(x)):
        for j in range(len(y)):
            if not (within and i == j):
                total += w[i] * v[j] * kernel(x[i], y[j])
                number += float(w[i]) * v[j]
    return total / number


def squared(a, b):
    return sum((s - t) ** 2 for s, t in zip(a, b, strict=True))


def twin_of_pairs(name, x, y, w, v, scale):
    kernel = {
        "edistance": lambda a, b: -math.dist(a, b),
        "edistance_squared": lambda a, b: -squared(a, b),
        "mmd_rbf": lambda a, b: math.exp(-squared(a, b) / (2 * scale**2)),
        "mmd_linear": lambda a, b: -squared(a, b) / 2,
    }[name]
    within = pair_mean(x, x, w, w, kernel, within=True) + pair_mean(y, y, v, v, kernel, within=True)
    return within - 2 * pair_mean(x, y, w, v, kernel, within=False)


@pytest.mark.parametrize("name", OF_PAIRS)
def test_distances_of_resamples_are_those_of_double_loops(name, unit, pair):
    prediction, reference = pair
    metric, size = METRICS[name], smallest(METRICS[name], unit)
    found = metric.compute_draws(prediction, reference)
    x, y, z = (cut(group.coordinates, size, 3) for group in (reference.truth, prediction, reference.control))
    for draw in range(2):
        w, v = (group.counts(size)[draw].astype(float) for group in (reference.truth, prediction))
        twin = twin_of_pairs(metric.arguments["of"], x, y, w, v, reference.scale)
        if metric.arguments.get("over") == "response":
            twin /= twin_of_pairs(metric.arguments["of"], z, x, np.ones(size), w, reference.scale)
        elif metric.arguments.get("over") == "shift":
            twin /= twin_of_pairs(metric.arguments["of"], z, y, np.ones(size), v, reference.scale)
        assert found[draw] == pytest.approx(twin, rel=1e-7)


@pytest.mark.parametrize("name", RESAMPLED)
def test_sparse_cells_give_the_values_of_dense_ones(name, unit, pair):
    as_sparse = resampled(made(unit, sparse.csr_matrix), sparse.csr_matrix(unit.prediction))
    found, expected = (METRICS[name].compute_draws(*groups) for groups in (as_sparse, pair))
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", RESAMPLED)
def test_each_cell_once_gives_the_value(name, unit, monkeypatch):
    monkeypatch.setattr("pb_eval.bootstrap.resample_counts", lambda n, draws, seed: np.ones((draws, n), np.uint16))
    reference = made(unit)
    value = evaluate(unit.prediction, reference, [name])[name]
    found = METRICS[name].compute_draws(*resampled(reference, unit.prediction, 1))
    assert found == pytest.approx([value], rel=1e-6, abs=1e-9)


def all_resamples(n):
    """Every way to draw n of n cells with replacement, as counts, and its probability."""
    counts = [np.bincount(drawn, minlength=n) for drawn in product(range(n), repeat=n)]
    return np.array(counts, dtype=np.uint16)


def test_resampling_leaves_an_unbiased_distance_unbiased(monkeypatch):
    """Over all 4^4 x 4^4 equally likely resamples, bar those of one cell only, the mean is the distance itself."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 3)), rng.normal(0.5, 1, size=(4, 3))
    every = all_resamples(4)
    every = every[(every > 0).sum(axis=1) > 1]
    w, v = np.repeat(every, len(every), axis=0), np.tile(every, (len(every), 1))
    sides = iter((w, v))
    monkeypatch.setattr("pb_eval.bootstrap.resample_counts", lambda *_: next(sides))
    assert energy_distance_draws(x, y, draws=len(w)).mean() == pytest.approx(energy_distance(x, y), rel=1e-9)
    assert mmd_linear_draws(x, y, w, v).mean() == pytest.approx(mmd_linear(x, y), rel=1e-9)


def test_pairing_cells_with_their_copies_would_bias_the_distance():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(40, 5)), rng.normal(size=(40, 5))
    counts = [resample_counts(40, 200, seed).astype(int) for seed in (0, 1)]
    drawn = zip(*counts, strict=True)
    naive = [energy_distance(np.repeat(x, w, axis=0), np.repeat(y, v, axis=0)) for w, v in drawn]
    ours = energy_distance_draws(x, y, draws=200) - energy_distance(x, y)
    error = ours.std(ddof=1) / math.sqrt(200)
    assert abs(ours.mean()) < 4 * error
    assert np.mean(naive) - energy_distance(x, y) > 20 * error


def coverage(name, n_units, n_cells, moved, *, seed, response=0.0):
    """Share of units whose interval holds the mean value over all units, which stands for the expected one."""
    rng = np.random.default_rng(seed)
    genes = [str(i) for i in range(len(moved))]
    control = rng.normal(size=(n_cells, len(moved)))
    basis = Basis(np.eye(len(moved)), np.zeros(len(moved)), np.ones(len(moved)))
    values, bounds = [], []
    for unit_seed in range(n_units):
        truth = response + rng.normal(size=(n_cells, len(moved)))
        prediction = response + moved + rng.normal(size=(n_cells, len(moved)))
        reference = Reference(truth, control, genes, basis, seed=unit_seed)
        vars(reference)["scale"] = 3.0
        scores = evaluate(prediction, reference, [name])
        bounds.append(intervals(prediction, reference, scores, draws=200)[name])
        values.append(scores[name])
    low, high = np.array(bounds).T
    expected = np.mean(values)
    return np.mean((low <= expected) & (expected <= high))


def monte_carlo_bounds(share, n, alpha=1e-4):
    """Smallest and largest share of n independent intervals that cover, were each to cover with probability share."""
    return stats.binom.ppf(alpha / 2, n, share) / n, stats.binom.ppf(1 - alpha / 2, n, share) / n


@pytest.mark.parametrize("name", ["mse_mean", "mae_mean", "edistance", "mmd_rbf", "mmd_linear", *FIRST_ORDER])
def test_intervals_of_shifted_predictions_cover_as_often_as_they_say(name):
    """The bootstrap with n cells covers 95 % but for a share of order 1 / n and of the quantiles of 200 draws."""
    n_units = 200
    covered = coverage(name, n_units, 60, np.linspace(0.5, 1.0, 10), seed=5)
    least, most = monte_carlo_bounds(0.95, n_units)
    assert least <= covered <= most


OF_GENES = ["precision_significant", "recall_significant", "jaccard_significant", "direction_fidelity", "overlap_top20"]


@pytest.mark.parametrize(
    "name", ["pearson_delta", "r2_score_delta", "r2_mean_all", "variance_ratio", "sign_delta", *OF_GENES]
)
def test_intervals_of_correlations_and_ratios_cover_as_often_as_they_say(name):
    n_units, moved = 200, np.tile([0.3, -0.3, 0.1, -0.2], 8)
    covered = coverage(name, n_units, 60, moved, seed=7, response=np.linspace(-1, 1, 32))
    least, most = monte_carlo_bounds(0.95, n_units)
    assert least <= covered <= most


@pytest.mark.parametrize("name", ["mse_mean", "edistance", "mmd_linear", "gene_wasserstein", "sliced_wasserstein"])
def test_intervals_of_perfect_predictions_cover_at_least_as_often(name):
    n_units = 150
    assert coverage(name, n_units, 40, np.zeros(10), seed=6) >= monte_carlo_bounds(0.95, n_units)[0]


def test_plain_percentiles_would_miss_the_value(unit):
    reference = made(unit)
    prediction, against = resampled(reference, unit.truth, draws=50)
    value = evaluate(unit.truth, reference, ["mse_mean"])["mse_mean"]
    assert METRICS["mse_mean"].compute_draws(prediction, against).min() > value


def test_intervals_lie_about_the_value_and_within_the_range(unit):
    reference = made(unit)
    scores = evaluate(unit.prediction, reference)
    found = intervals(unit.prediction, reference, scores)
    assert list(found) == list(scores)
    for name, (low, high) in found.items():
        if not METRICS[name].draws:
            assert math.isnan(low)
            assert math.isnan(high)
        else:
            assert low <= scores[name] <= high
            assert low < high or name.startswith("discrimination")
            assert METRICS[name].range[0] <= low
            assert high <= METRICS[name].range[1]


def test_more_cells_give_narrower_intervals(unit):
    few, many = made(unit), made(unit._replace(truth=np.repeat(unit.truth, 4, axis=0)))
    widths = []
    for reference, prediction in ((few, unit.prediction), (many, np.repeat(unit.prediction, 4, axis=0))):
        low, high = intervals(prediction, reference, evaluate(prediction, reference, ["pearson_delta"]))[
            "pearson_delta"
        ]
        widths.append(high - low)
    assert 0.3 * widths[0] < widths[1] < 0.7 * widths[0]  # half as wide


def test_an_interval_depends_on_its_metric_and_seed_only(unit):
    reference = made(unit)
    scores = evaluate(unit.prediction, reference, ["mse_mean", "edistance", "pearson_delta"])
    together = intervals(unit.prediction, reference, scores)
    for name, value in scores.items():
        assert intervals(unit.prediction, made(unit), {name: value})[name] == together[name]
    checked = reference.cells(unit.prediction)
    assert intervals(checked, reference, scores) == together


@pytest.mark.parametrize("group", ["prediction", "truth"])
def test_few_cells_have_no_interval(group, unit):
    small = unit._replace(**{group: getattr(unit, group)[:9]})
    scores = evaluate(small.prediction, made(small), ["mse_mean"])
    assert all(math.isnan(bound) for bound in intervals(small.prediction, made(small), scores)["mse_mean"])
    scores = evaluate(unit.prediction, made(unit), ["mse_mean"])
    assert all(math.isnan(bound) for bound in intervals(unit.prediction, made(unit), scores, draws=0)["mse_mean"])


def test_what_is_undefined_has_no_interval(unit):
    flat = unit._replace(truth=np.full_like(unit.truth, 1.1))
    names = ["r2_mean_all", "variance_ratio"]
    found = intervals(flat.prediction, made(flat), evaluate(flat.prediction, made(flat), names))
    assert all(math.isnan(bound) for name in names for bound in found[name])
    bare = Reference(unit.truth, unit.control, unit.genes)
    found = intervals(unit.prediction, bare, evaluate(unit.prediction, bare, ["wmse_mean"]))
    assert all(math.isnan(bound) for bound in found["wmse_mean"])


def test_a_prediction_of_one_cell_repeated_has_no_error_of_its_own(unit):
    reference = made(unit)
    repeated = np.repeat(unit.prediction[:1], 50, axis=0)
    prediction, _ = resampled(reference, repeated)
    assert np.ptp(prediction.mean, axis=0).max() < 1e-12


def test_mmd_of_a_resample_keeps_the_bandwidth(unit, pair):
    prediction, reference = pair
    size = 35
    x, y = (cut(group.coordinates, size, 3) for group in (reference.truth, prediction))
    v = prediction.counts(size)[0]
    assert reference.scale == made(unit).scale
    naive = mmd_rbf(taken(x, reference.truth.counts(size)[0]), taken(y, v), reference.scale)
    assert METRICS["mmd_rbf"].compute_draws(prediction, reference)[0] < naive


def test_metrics_without_resampled_values_are_those_that_are_documented():
    without = {name for name, metric in METRICS.items() if metric.default and not metric.draws}
    assert without == {"r2_mean_all_resampled", "r2_mean_top20_resampled", "r2_mean_top100_resampled"}
    assert Metric.__dataclass_fields__["draws"].default == ""

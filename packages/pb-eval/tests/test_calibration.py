"""Ceilings from halves that share no cell, the correction for their size, and the place between floor and ceiling."""

import itertools
import math

import numpy as np
import pytest
from pb_eval import METRICS, Cells, Reference, evaluate, fit_basis, get_metric, scaled, split_half, technical_duplicate
from pb_eval.calibration import DUPLICATE, merit
from pb_eval.halves import draw_halves
from pb_eval.sampling import enlarged


@pytest.fixture
def reference(unit):
    return Reference(unit.truth, unit.control, unit.genes, fit_basis(unit.training, 5), **unit.extras)


@pytest.mark.parametrize("parts", [2, 4])
@pytest.mark.parametrize("draw", range(3))
def test_the_two_sides_share_neither_true_nor_control_cells(reference, draw, parts):
    halves = draw_halves(reference, draw, parts=parts)
    for rows, cells in ((halves.truth, reference.truth), (halves.control, reference.control)):
        assert np.intersect1d(*rows).size == 0
        assert len(rows.truth) == len(rows.duplicate) == cells.n_cells // parts
    taken = (
        (halves.reference.truth, reference.truth, halves.truth.truth),
        (halves.reference.control, reference.control, halves.control.truth),
        (halves.duplicate, reference.truth, halves.truth.duplicate),
        (halves.duplicate.control, reference.control, halves.control.duplicate),
    )
    for part, whole, rows in taken:
        np.testing.assert_array_equal(part.matrix, whole.matrix[rows])
    np.testing.assert_array_equal(halves.duplicate.shift, halves.duplicate.mean - halves.duplicate.control.mean)


def test_draws_differ_by_number_and_seed_and_quarters_lie_in_halves(reference):
    drawn = {
        (seed, draw): draw_halves(reference, draw, seed=seed).truth for seed, draw in itertools.product((0, 1), (0, 1))
    }
    assert len({tuple(rows.truth) for rows in drawn.values()}) == 4
    again, quarters = draw_halves(reference, 1), draw_halves(reference, 1, parts=4)
    np.testing.assert_array_equal(again.truth.truth, drawn[0, 1].truth)
    for side in ("truth", "duplicate"):
        assert set(getattr(quarters.control, side)) < set(getattr(again.control, side))


def test_a_unit_keeps_what_it_knows_of_others(reference):
    half = draw_halves(reference, 0).reference
    assert half.others is not None
    assert set(half.others) == set(reference.others)
    np.testing.assert_array_equal(half.weights, reference.weights)
    np.testing.assert_array_equal(half.training_shift, reference.training_shift)
    assert (half.basis, half.seed, half.targets) == (reference.basis, reference.seed, reference.targets)


def test_three_cells_have_no_halves(unit):
    few = Reference(unit.truth[:3], unit.control, unit.genes)
    with pytest.raises(ValueError, match="the unit has 3 true and 45 control cells: 4 of each are needed"):
        draw_halves(few, 0)
    ceiling = split_half(few, ["mse_mean", "overlap_top100"])
    assert all(math.isnan(number) for pair in ceiling.values() for number in pair)


def slow_half(reference, name, parts, draws):
    """Mean score of one part against the other, from plain groups of cells."""
    values = []
    for draw in range(draws):
        halves = draw_halves(reference, draw, parts=parts)
        cells, controls = reference.truth.matrix, reference.control.matrix
        known = {
            "training_shift": reference.training_shift,
            "weights": reference.weights,
            "others": reference.others,
        }
        truth = Reference(
            cells[halves.truth.truth], controls[halves.control.truth], reference.genes, reference.basis, **known
        )
        own = Cells(controls[halves.control.duplicate])
        duplicate = Cells(cells[halves.truth.duplicate], control=own, basis=reference.basis)
        values.append(get_metric(name).compute(duplicate, truth))
    values = [value for value in values if not math.isnan(value)]
    return sum(values) / len(values)


def slow_enlarged(name, half, quarter, n_cells):
    """The corrections, written out; halves and quarters of 35 cells have 17 and 8."""
    k, step = n_cells / (n_cells // 2), (n_cells // 2) / (n_cells // 4)
    if name in {"edistance", "mmd_rbf", "edistance_squared", "mmd_linear"}:
        return half
    if name in {"mse_mean", "wmse_mean", "mse_mean_corrected"}:
        return half / k
    if name in {"mae_mean", "rmse_mean", "sliced_wasserstein", "gene_wasserstein", "correlation_distance"}:
        return half / math.sqrt(k)
    if name.startswith(("pearson_", "cosine_")):
        return k * half / (1 + (k - 1) * half)
    if name.startswith("r2_mean"):
        r = math.sqrt(half)
        return (k * r / (1 + (k - 1) * r)) ** 2
    if name.startswith("r2_"):
        noise = (1 - half) / (1 + half)
        return (1 - noise / k) / (1 + noise / k)
    perfect = METRICS[name].perfect
    near, far = abs(perfect - half), abs(perfect - quarter)
    if near == 0 or far <= near:
        return half
    power = min(1.0, math.log(far / near) / math.log(step))
    return perfect + (half - perfect) * k ** (-power)


def test_every_default_metric_gets_the_ceiling_of_the_formulas(reference):
    found = split_half(reference, draws=2)
    assert set(found) == set(evaluate(reference.truth, reference))
    for name, ceiling in found.items():
        half, quarter = (slow_half(reference, name, parts, 2) for parts in (2, 4))
        assert ceiling.half == pytest.approx(half, rel=1e-12, abs=1e-12)
        assert ceiling.value == pytest.approx(slow_enlarged(name, half, quarter, 35), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_correction_never_worsens_nor_leaves_the_range(name):
    metric = METRICS[name]
    low, high = (max(metric.range[0], -5.0), min(metric.range[1], 5.0))
    for value, smaller in itertools.product(np.linspace(low, high, 11), repeat=2):
        found = enlarged(float(value), 2.0, metric, smaller=float(smaller))
        assert metric.range[0] <= found <= metric.range[1]
        if not math.isnan(metric.perfect):
            assert abs(found - metric.perfect) <= abs(value - metric.perfect) + 1e-12
        assert enlarged(float(value), 1.0, metric, smaller=float(smaller)) == pytest.approx(value, abs=1e-12)


def test_what_is_not_defined_is_not_corrected():
    for name in ("mse_mean", "overlap_top100"):
        assert math.isnan(enlarged(math.nan, 2, get_metric(name)))
    assert enlarged(0.4, 2, get_metric("overlap_top100")) == 0.4
    assert enlarged(3.0, 2, get_metric("mean_pairwise"), smaller=4.0) == 3.0
    assert enlarged(-0.2, 2, get_metric("pearson_delta")) == -0.2
    assert enlarged(-1.5, 2, get_metric("r2_score_delta")) == -1.5


def measured(rng, n_cells, n_genes=150):
    """True and control cells of one unit: an effect on a third of the genes, noise of its own size in each."""
    base = np.random.default_rng(1).gamma(2.0, 1.0, n_genes)
    effect = np.where(np.arange(n_genes) % 3 == 0, np.random.default_rng(2).normal(0, 0.6, n_genes), 0.0)
    size = np.random.default_rng(3).uniform(0.5, 2.0, n_genes)
    control = base + size * rng.normal(size=(n_cells, n_genes))
    return base + effect + size * rng.normal(size=(n_cells, n_genes)), control


CORRECTED = (
    "mse_mean",
    "mae_mean",
    "rmse_mean",
    "pearson_delta",
    "cosine_delta",
    "r2_score_delta",
    "r2_mean_top100",
    "spearman_delta",
    "gene_wasserstein",
)


def test_the_corrected_ceiling_is_what_a_second_measurement_scores():
    """Two whole measurements of one unit against each other, and what halves of the first say of that."""
    genes = [f"G{i}" for i in range(150)]
    actual, estimated, half = [], [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        truth, control = measured(rng, 80)
        other, own = measured(rng, 80)
        reference = Reference(truth, control, genes)
        actual.append(list(evaluate(Cells(other, control=Cells(own)), reference, CORRECTED).values()))
        ceilings = split_half(reference, CORRECTED).values()
        estimated.append([ceiling.value for ceiling in ceilings])
        half.append([ceiling.half for ceiling in ceilings])
    actual, estimated, half = (np.mean(values, axis=0) for values in (actual, estimated, half))
    assert (np.abs(half - actual) > 0.02).all()
    assert (np.abs(estimated - actual) < 0.1 * np.abs(half - actual)).all()


def test_a_control_on_both_sides_would_raise_the_ceiling():
    """Without any effect, shifts agree by the control they share; disjoint controls leave nothing to agree on."""
    rng = np.random.default_rng(0)
    cells = rng.normal(size=(80, 2000))
    reference = Reference(cells[:40], cells[40:], [f"G{i}" for i in range(2000)])
    halves = draw_halves(reference, 0)
    shared = halves.reference.cells(halves.duplicate.matrix)
    assert evaluate(shared, halves.reference, ["pearson_delta"])["pearson_delta"] > 0.3
    assert abs(split_half(reference, ["pearson_delta"])["pearson_delta"].half) < 0.1


def test_every_cell_alike_makes_a_perfect_replicate(unit):
    truth, control = (np.tile(cells[:1], (20, 1)) for cells in (unit.truth, unit.control))
    reference = Reference(truth, control, unit.genes)
    names = ["mse_mean", "pearson_delta", "r2_mean_all", "overlap_top20", "gene_wasserstein"]
    for name, ceiling in split_half(reference, names).items():
        assert ceiling.value == pytest.approx(METRICS[name].perfect, abs=1e-12)
        own = evaluate(truth, reference, [name])[name]
        floor = evaluate(control, reference, [name])[name]
        goal = METRICS[name].direction, METRICS[name].perfect
        assert scaled(own, floor, ceiling.value, *goal) == pytest.approx(1.0)


def test_ceilings_depend_on_seed_and_draws_only(reference):
    alone = split_half(reference, ["mse_mean"], draws=3)["mse_mean"]
    among = split_half(reference, ["pearson_delta", "mse_mean"], draws=3)["mse_mean"]
    assert alone == among
    assert alone != split_half(reference, ["mse_mean"], draws=3, seed=1)["mse_mean"]
    assert alone != split_half(reference, ["mse_mean"], draws=2)["mse_mean"]


def test_sparse_and_dense_cells_have_one_ceiling(unit):
    from scipy import sparse

    dense, csr = (
        split_half(Reference(make(unit.truth), make(unit.control), unit.genes), ["mse_mean", "recall_significant"])
        for make in (np.asarray, sparse.csr_matrix)
    )
    for name, ceiling in dense.items():
        assert csr[name] == pytest.approx(ceiling, rel=1e-9)


def test_a_duplicate_and_baselines_are_held_against_the_same_half(reference):
    seen = []

    def shifted(control):
        seen.append(control)
        return control + 0.25

    scores = technical_duplicate(reference, {"copy": lambda control: control, "shifted": shifted}, draws=3)
    assert set(scores["control"]) == {DUPLICATE, "copy", "shifted"}
    for draw in range(3):
        halves = draw_halves(reference, draw)
        np.testing.assert_array_equal(seen[draw], reference.control.matrix[halves.control.duplicate])
        expected = {
            DUPLICATE: halves.duplicate,
            "shifted": Cells(seen[draw] + 0.25, control=halves.duplicate.control, basis=reference.basis),
        }
        for name, cells in expected.items():
            rows = scores[(scores["draw"] == draw) & (scores["control"] == name)].set_index("metric")["value"]
            for metric, value in evaluate(cells, halves.reference).items():
                assert rows[metric] == pytest.approx(value, rel=1e-12, nan_ok=True)
    copied = scores[(scores["control"] == "copy") & (scores["metric"] == "pearson_delta")]["value"]
    assert (copied == 0).all()


def test_a_predictor_that_returns_other_genes_is_named(reference):
    with pytest.raises(ValueError, match="broken has 3 genes, expected 260"):
        technical_duplicate(reference, {"broken": lambda control: control[:, :3]}, ["mse_mean"])


@pytest.mark.parametrize(
    ("direction", "value", "floor", "ceiling", "expected"),
    [
        ("higher", 0.5, 0.5, 0.9, 0.0),
        ("higher", 0.9, 0.5, 0.9, 1.0),
        ("higher", 0.3, 0.5, 0.9, -0.5),
        ("higher", 1.1, 0.5, 0.9, 1.5),
        ("lower", 2.0, 2.0, 1.0, 0.0),
        ("lower", 4.0, 2.0, 1.0, -2.0),
        ("lower", 0.5, 2.0, 1.0, 1.5),
        ("target", 0.5, 2.0, 1.25, 2 / 3),
        ("target", 1.5, 2.0, 1.25, 2 / 3),
        ("target", 1.0, 2.0, 1.25, 4 / 3),
        ("higher", math.inf, 0.5, 0.9, math.inf),
        ("higher", 0.7, 0.9, 0.9, math.nan),
        ("higher", 0.7, 0.9, 0.8, math.nan),
        ("lower", 0.7, 0.1, 0.8, math.nan),
        ("target", 1.0, 0.5, 1.5, math.nan),
        ("higher", 0.7, -math.inf, 0.9, math.nan),
        ("higher", math.nan, 0.5, 0.9, math.nan),
        ("higher", 0.7, math.nan, 0.9, math.nan),
        ("higher", 0.7, 0.5, math.nan, math.nan),
        ("higher", 0.3, 0.3, 0.3 + 1e-17, math.nan),
    ],
)
def test_the_place_between_floor_and_ceiling(direction, value, floor, ceiling, expected):
    found = scaled(value, floor, ceiling, direction, 1.0)
    assert float(found) == pytest.approx(expected, nan_ok=True)


def test_places_broadcast_and_an_unknown_direction_is_an_error():
    values = np.array([[0.5], [0.9]])
    np.testing.assert_allclose(scaled(values, [0.5, 0.4], 0.9, "higher"), [[0.0, 0.2], [1.0, 1.0]])
    with pytest.raises(KeyError):
        merit(1.0, "sideways")

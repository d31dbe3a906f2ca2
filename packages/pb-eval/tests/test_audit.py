"""The audit: its cases against loops, its verdicts against made-up values, and the registry's marks."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from pb_eval import METRICS, Metric, Reference, fit_basis, other_unit, registry, training_response
from pb_eval.audit import AUDIT_COLUMNS, CASES, VERDICTS, audit, get_case, undeclared
from pb_eval.audit.material import draw
from pb_eval.audit.verdicts import FAULTS, judge
from scipy import sparse

CHEAP = ("mse_mean", "r2_mean_all", "r2_mean_all_resampled", "pearson_delta", "mean_pairwise", "recall_significant")
CHEAP += ("edistance", "classic_euclidean")


@pytest.fixture(scope="module")
def measured():
    """A unit of 90 true and 80 control cells, 60 of 150 genes of which respond, as four other contexts do in part."""
    rng = np.random.default_rng(5)
    rates = rng.gamma(1.0, 1.5, 150) + 0.05
    folds = np.where(np.arange(150) < 60, rng.uniform(2.0, 6.0, 150), 1.0)

    def cells(mean, number):
        return np.log1p(rng.poisson(mean * rng.uniform(0.7, 1.4, (number, 1)), (number, 150)))

    contexts = []
    for _ in range(4):
        own = rates * rng.lognormal(0.0, 0.4, 150)
        contexts.append((cells(own * folds ** rng.uniform(0.3, 1.2, 150), 60), cells(own, 60)))
    response = training_response(contexts)
    return Reference(
        sparse.csr_matrix(cells(rates * folds, 90)),
        sparse.csr_matrix(cells(rates, 80)),
        [f"GENE{number:03d}" for number in rng.permutation(150)],
        fit_basis(np.concatenate([group for pair in contexts for group in pair]), n_components=10),
        training_shift=response.shift,
        weights=response.weights,
        others={f"context {number}": other_unit(*pair) for number, pair in enumerate(contexts)},
    )


@pytest.fixture(scope="module")
def material(measured):
    return draw(measured, 30, seed=1)


@pytest.fixture(scope="module")
def rows(measured):
    return audit(measured, CHEAP, n_cells=40)


def predicted(name, material):
    staged = get_case(name).stage(material)
    assert staged is not None
    return staged[0]


def test_the_halves_share_no_cell_and_hold_as_many(measured, material):
    truth, control = measured.truth.matrix.toarray(), measured.control.matrix.toarray()
    for whole, halves in (
        (truth, (material.reference.truth.matrix, material.duplicate)),
        (control, (material.reference.control.matrix, material.inputs)),
    ):
        found = [{int(np.flatnonzero((np.float32(whole) == row).all(axis=1))[0]) for row in half} for half in halves]
        assert [len(rows) for rows in found] == [30, 30]
        assert not found[0] & found[1]


def test_the_honest_prediction_takes_each_value_from_one_of_both(material):
    honest, pair = material.honest, (material.duplicate, material.inputs)
    assert ((honest == pair[0]) | (honest == pair[1])).all()
    told_apart = pair[0] != pair[1]
    assert 0.45 < (honest == pair[0])[told_apart].mean() < 0.55


def test_predictions_equal_loops(material):
    honest = material.honest
    n_cells, n_genes = honest.shape
    control = material.reference.control.matrix
    for gene in range(0, n_genes, 30):
        values = [float(value) for value in honest[:, gene]]
        centre = sum(values) / n_cells
        shift = centre - sum(float(value) for value in control[:, gene]) / n_cells
        column = {case.name: predicted(case.name, material)[:, gene] for case in CASES if case.expected != "same"}
        assert column["duplicated_cells"].tolist() == values * 4
        assert column["inflated_variance"] == pytest.approx([centre + 3 * (value - centre) for value in values])
        assert column["no_spread"] == pytest.approx([centre] * n_cells)
        assert column["exaggerated_response"] == pytest.approx([value + 5 * shift for value in values])
        assert column["log1p_twice"] == pytest.approx([np.log(1 + value) for value in values])
        assert column["rescaled"] == pytest.approx([4 * value for value in values])
        inputs = material.inputs[:, gene]
        assert column["control_copy"].tolist() == inputs.tolist()
        assert column["mean_response"] == pytest.approx(inputs + material.reference.training_shift[gene])
    assert len(np.unique(predicted("constant_prediction", material))) == 1


def test_shuffled_labels_carry_another_units_shift(material):
    shift = (predicted("shuffled_labels", material) - material.inputs).mean(axis=0)
    others = material.reference.others.values()
    assert sum(np.allclose(shift, other.shift) for other in others) == 1


@pytest.mark.parametrize("lacking", ["training_shift", "others"])
def test_cases_are_left_out_where_the_unit_lacks_what_they_need(lacking, measured):
    unit = Reference(measured.truth.matrix, measured.control.matrix, measured.genes, measured.basis)
    staged = get_case("mean_response" if lacking == "training_shift" else "shuffled_labels").stage(draw(unit, 20, 0))
    assert staged is None
    assert set(audit(unit, ["mse_mean"])["case"]) == {case.name for case in CASES} - {
        "mean_response",
        "shuffled_labels",
    }


def test_layouts_hold_the_same_numbers(material):
    for case in CASES:
        if case.expected == "same":
            prediction, reference = case.stage(material)
            dense = prediction.toarray() if sparse.issparse(prediction) else prediction
            assert np.sort(dense, axis=None).tolist() == np.sort(material.honest, axis=None).tolist()
            order = [reference.genes.index(gene) for gene in material.reference.genes]
            assert reference.truth.mean[order].tolist() == pytest.approx(material.reference.truth.mean.tolist())
    assert sparse.issparse(get_case("sparse").stage(material)[1].control.matrix)
    assert get_case("float32").stage(material)[0].dtype == np.float32
    assert get_case("genes_reordered").stage(material)[1].genes != material.reference.genes


LOWER, HIGHER, TARGET = METRICS["mse_mean"], METRICS["pearson_delta"], METRICS["variance_ratio"]
RIVAL = [0.50, 0.52, 0.48]
JUDGED = [
    ("control_copy", HIGHER, [0.10, 0.12, 0.11], RIVAL, "sound"),
    ("control_copy", LOWER, [0.10, 0.12, 0.11], RIVAL, "rewards"),
    ("control_copy", HIGHER, RIVAL, RIVAL, "blind"),
    ("control_copy", HIGHER, [0.50, 0.51, 0.49], RIVAL, "unclear"),
    ("control_copy", HIGHER, [0.10, 0.12, 0.53], RIVAL, "unclear"),
    ("control_copy", HIGHER, [0.499, 0.519, 0.479], RIVAL, "unclear"),
    ("control_copy", LOWER, [np.inf] * 3, RIVAL, "sound"),
    ("control_copy", HIGHER, [np.inf] * 3, RIVAL, "rewards"),
    ("control_copy", HIGHER, RIVAL, [0.5, np.nan, 0.5], "no value"),
    ("control_copy", HIGHER, [np.nan] * 3, RIVAL, "undefined"),
    ("control_copy", TARGET, [0.9, 0.9, 0.9], RIVAL, "rewards"),
    ("control_copy", TARGET, [1.9, 1.9, 1.9], RIVAL, "sound"),
    ("inflated_variance", HIGHER, RIVAL, RIVAL, "sound"),
    ("inflated_variance", HIGHER, [0.9, 0.9, 0.91], RIVAL, "rewards"),
    ("constant_prediction", replace(LOWER, degenerate={"constant prediction": np.nan}), [np.nan] * 3, RIVAL, "sound"),
    ("constant_prediction", LOWER, [np.nan] * 3, RIVAL, "undefined"),
    ("sparse", LOWER, [0.5 + 1e-9], [0.5], "sound"),
    ("sparse", LOWER, [0.5 + 1e-5], [0.5], "moved"),
    ("sparse", LOWER, [np.nan], [np.nan], "sound"),
    ("sparse", LOWER, [np.nan], [0.5], "moved"),
]


@pytest.mark.parametrize(("case", "metric", "values", "rival", "verdict"), JUDGED)
def test_verdicts(case, metric, values, rival, verdict):
    assert judge(get_case(case), metric, np.array(values), np.array(rival)) == verdict
    assert verdict in VERDICTS


def test_every_verdict_is_tried():
    assert {verdict for *_, verdict in JUDGED} == set(VERDICTS)


def test_rows_say_what_was_compared(rows):
    assert tuple(rows.columns) == AUDIT_COLUMNS
    assert len(rows) == len(CASES) * len(CHEAP)
    rivals = rows.groupby("case")["rival"].first()
    assert set(rivals[rivals == "duplicate"].index) == {"mean_response", "shuffled_labels"}
    same = rows[(rows["case"] == "sparse") & (rows["metric"] == "mse_mean")].iloc[0]
    assert same["value"] == pytest.approx(same["rival_value"], rel=1e-9)


KNOWN = {
    ("r2_mean_all", "rescaled"): "blind",
    ("r2_mean_all_resampled", "rescaled"): "blind",
    ("r2_mean_all_resampled", "cells_permuted"): "moved",
    ("pearson_delta", "exaggerated_response"): "blind",
    ("mean_pairwise", "no_spread"): "rewards",
    ("recall_significant", "exaggerated_response"): "rewards",
    ("classic_euclidean", "exaggerated_response"): "rewards",
}


def test_simulated_cells_show_the_faults_that_follow_from_the_formulas(rows):
    found = {(row.metric, row.case): row.verdict for row in rows.itertuples()}
    assert {key: found[key] for key in KNOWN} == KNOWN
    duplicated = rows[(rows["metric"] == "recall_significant") & (rows["case"] == "duplicated_cells")].iloc[0]
    assert duplicated["value"] > duplicated["rival_value"]
    told = rows[(rows["metric"] == "mse_mean") & (rows["rival"] == "honest")]
    assert set(told["verdict"]) == {"sound"}
    assert set(rows[rows["case"].isin(["genes_reordered", "sparse", "float32"])]["verdict"]) == {"sound"}


def test_simulated_cells_show_nothing_undeclared(rows):
    found = undeclared(rows)
    assert list(zip(found["metric"], found["case"], found["verdict"], strict=True)) == []


def test_the_same_seed_gives_the_same_rows(measured):
    steps = []
    first, second, other = (
        audit(measured, ["edistance", "mse_mean"], seed, n_cells=20, progress=lambda *step: steps.append(step))
        for seed in (3, 3, 4)
    )
    assert first.equals(second)
    assert not first["value"].equals(other["value"])
    assert steps[: steps[0][1]] == [(number + 1, steps[0][1]) for number in range(steps[0][1])]
    assert len(steps) == 3 * steps[0][1]


def test_the_registry_names_cases_and_verdicts_there_are():
    names = {case.name for case in CASES}
    for metric in METRICS.values():
        assert set(metric.faults) <= names, metric.name
        assert set(metric.faults.values()) <= set(FAULTS), metric.name
    assert METRICS["mse_mean"].caveat == ""
    assert replace(
        METRICS["mse_mean"], faults={"no_spread": "rewards", "rescaled": "blind", "sparse": "blind"}
    ).caveat == ("rewards no spread; blind to rescaled, sparse")


@pytest.fixture
def plugin(monkeypatch):
    """A metric of another package that looks at the first cell only and likes large values."""
    metric = Metric(
        name="first_cell",
        function="audit_plugin_module:first_cell",
        family="means",
        direction="higher",
        range=(0.0, np.inf),
        perfect=np.nan,
        definition="mean of the first predicted cell",
    )
    module = SimpleNamespace(first_cell=lambda prediction, reference: prediction.matrix[0].mean())
    monkeypatch.setitem(sys.modules, "audit_plugin_module", module)

    def install(**fields):
        point = SimpleNamespace(name="first_cell", load=lambda: replace(metric, **fields))
        monkeypatch.setattr(registry, "entry_points", lambda *, group: [point] if group == "pb.metrics" else [])
        registry._plugins.cache_clear()

    yield install
    registry._plugins.cache_clear()


def test_metrics_of_other_packages_are_audited_the_same_way(plugin, measured):
    plugin()
    found = undeclared(audit(measured, ["first_cell", "mse_mean"], n_cells=40))
    assert set(found["metric"]) == {"first_cell"}
    verdicts = dict(zip(found["case"], found["verdict"], strict=True))
    assert verdicts["cells_permuted"] == "moved"
    assert verdicts["rescaled"] == "rewards"
    plugin(faults=verdicts)
    again = audit(measured, ["first_cell"], n_cells=40)
    assert undeclared(again).empty
    assert set(again[again["verdict"] == "rewards"]["declared"]) == {"rewards"}


def test_what_cannot_be_audited_is_refused(measured):
    small = Reference(measured.truth.matrix[:15], measured.control.matrix, measured.genes)
    with pytest.raises(ValueError, match="has 15 true and 80 control cells, expected at least 16 of each"):
        audit(small, ["mse_mean"])
    with pytest.raises(ValueError, match="n_draws is 1, expected at least 2"):
        audit(measured, ["mse_mean"], n_draws=1)
    with pytest.raises(ValueError, match="did you mean mse_mean"):
        audit(measured, ["mse_maen"])
    with pytest.raises(ValueError, match="unknown audit case 'controlcopy': did you mean control_copy"):
        get_case("controlcopy")
    with pytest.raises(ValueError, match="unknown audit case '#': there is genes_reordered, "):
        get_case("#")

"""What metrics declare is true, and reading it is cheap."""

import math
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pb_eval
import pytest
from pb_eval import (
    DEFAULT_METRICS,
    METRICS,
    Metric,
    Reference,
    catalogue,
    evaluate,
    fit_basis,
    get_metric,
    metric_names,
    registry,
)
from pb_eval.registry import default_metrics

SITUATIONS = {
    "copied control": lambda unit: (unit.control, unit.truth, unit.control),
    "constant prediction": lambda unit: (np.full_like(unit.prediction, 1.1), unit.truth, unit.control),
    "constant truth": lambda unit: (unit.prediction, np.full_like(unit.truth, 1.1), unit.control),
    "one predicted cell": lambda unit: (unit.prediction[:1], unit.truth, unit.control),
    "one true cell": lambda unit: (unit.prediction, unit.truth[:1], unit.control),
    "truth equals control": lambda unit: (unit.prediction, unit.control, unit.control),
    "no significant gene": lambda unit: (unit.prediction, unit.control[:4], unit.control),
    "no up-regulated gene": lambda unit: (unit.prediction, unit.control / 2, unit.control),
}


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("name", sorted(METRICS))
def test_degenerate_input_gives_what_is_declared(name, situation, unit):
    prediction, truth, control = SITUATIONS[situation](unit)
    reference = Reference(truth, control, unit.genes, fit_basis(unit.training, 5), **unit.extras)
    value = evaluate(prediction, reference, [name])[name]
    declared = METRICS[name].degenerate
    if situation in declared:
        assert value == pytest.approx(declared[situation], abs=0, nan_ok=True)
    else:
        assert math.isfinite(value)


def test_only_known_situations_are_declared():
    assert {situation for metric in METRICS.values() for situation in metric.degenerate} <= set(SITUATIONS)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_entries_are_complete(name):
    metric = METRICS[name]
    assert metric.name == name
    assert metric.direction in {"higher", "lower", "target"}
    assert metric.range[0] <= metric.perfect <= metric.range[1] or math.isnan(metric.perfect)
    assert metric.version >= 1
    assert metric.family
    assert metric.gene_set
    assert len(metric.definition) > 40


def test_default_metrics_come_in_order_the_headline_first():
    assert tuple(name for name in METRICS if METRICS[name].default) == DEFAULT_METRICS
    assert DEFAULT_METRICS[0] == "r2_mean_all"
    assert len({metric.name for metric in catalogue.METRICS}) == len(catalogue.METRICS)


FROZEN = {
    **dict.fromkeys(("r2_mean_all", "r2_mean_top20", "r2_mean_top100", "mse_mean", "mae_mean"), 1),
    **dict.fromkeys(("r2_mean_all_resampled", "r2_mean_top20_resampled", "r2_mean_top100_resampled"), 1),
    **dict.fromkeys(("pearson_delta", "cosine_delta", "edistance", "variance_ratio"), 1),
    **dict.fromkeys(("overlap_top100", "direction_match"), 1),
}


def test_the_first_metrics_keep_their_names_and_versions():
    assert {name: METRICS[name].version for name in FROZEN} == FROZEN
    assert set(FROZEN) <= set(DEFAULT_METRICS)


NEEDY = sorted(name for name, metric in METRICS.items() if metric.needs)


@pytest.mark.parametrize("name", NEEDY)
def test_without_what_it_needs_a_metric_is_nan_and_left_out_by_default(name, unit):
    given = {key: value for key, value in unit.extras.items() if key not in METRICS[name].needs}
    reference = Reference(unit.truth, unit.control, unit.genes, **given)
    assert math.isnan(evaluate(unit.prediction, reference, [name])[name])
    assert name not in evaluate(unit.prediction, reference)


def test_an_unknown_metric_is_answered_with_near_names():
    with pytest.raises(ValueError, match="unknown metric 'pearson_dleta': did you mean pearson_delta"):
        get_metric("pearson_dleta")
    with pytest.raises(
        ValueError, match=r"choose among r2_mean_all, .* or another of the [0-9]+ that metric_names\(\) lists"
    ):
        get_metric("###")


def plugin_metric(name, **fields):
    return Metric(
        name=name,
        function="test_plugin_module:worst_gene",
        family="means",
        direction="lower",
        range=(0.0, math.inf),
        perfect=0.0,
        definition="largest absolute difference of means",
        **fields,
    )


@pytest.fixture
def plugins(monkeypatch):
    """Two metrics of another installed package, one of them computed by default, and one with a name that is taken."""
    points = [
        SimpleNamespace(name="worst_gene", load=lambda: plugin_metric("worst_gene")),
        SimpleNamespace(name="on_demand", load=lambda: plugin_metric("on_demand", default=False)),
        SimpleNamespace(name="mse_mean", load=lambda: plugin_metric("mse_mean")),
    ]
    module = SimpleNamespace(
        worst_gene=lambda prediction, reference: np.abs(prediction.mean - reference.truth.mean).max()
    )
    monkeypatch.setattr(registry, "entry_points", lambda *, group: points if group == "pb.metrics" else [])
    monkeypatch.setitem(sys.modules, "test_plugin_module", module)
    registry._plugins.cache_clear()
    yield
    registry._plugins.cache_clear()


@pytest.mark.usefixtures("plugins")
def test_metrics_of_other_packages_come_in_by_entry_point(unit):
    worst = pytest.approx(max(abs(unit.prediction.mean(axis=0) - unit.truth.mean(axis=0))), rel=1e-5)
    reference = Reference(unit.truth, unit.control, unit.genes)
    assert {"worst_gene", "on_demand"} <= set(metric_names())
    assert evaluate(unit.prediction, reference, ["on_demand"]) == {"on_demand": worst}
    scored = evaluate(unit.prediction, reference)
    built_in = [name for name in DEFAULT_METRICS if METRICS[name].space != "pca" and not METRICS[name].needs]
    assert list(scored) == [*built_in, "worst_gene"]
    assert scored["worst_gene"] == worst
    assert default_metrics() == [*DEFAULT_METRICS, "worst_gene"]


def test_listing_metrics_imports_nothing_heavy():
    code = (
        "import sys, pb_eval; pb_eval.metric_names(); pb_eval.get_metric('edistance').definition;"
        "print(sorted({'numpy', 'scipy', 'pandas', 'anndata', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_exist():
    assert len(set(pb_eval.__all__)) == len(pb_eval.__all__)
    assert set(pb_eval.__all__) <= set(dir(pb_eval))
    for name in pb_eval.__all__:
        assert getattr(pb_eval, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = pb_eval.nonsense


def test_no_module_hides_a_public_name():
    for name in pb_eval.__all__:
        assert type(getattr(pb_eval, name)).__name__ != "module"

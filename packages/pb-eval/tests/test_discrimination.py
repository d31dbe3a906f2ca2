"""A prediction is told apart from the others as plain loops say."""

import math

import numpy as np
import pytest
from pb_eval import METRICS, OtherUnit, Reference, evaluate, other_unit
from pb_eval.discrimination import share_beaten

NAMES = sorted(name for name, metric in METRICS.items() if metric.family == "discrimination")


def apart(a, b, distance):
    if distance == "l1":
        return sum(abs(x - y) for x, y in zip(a, b, strict=True))
    if distance == "l2":
        return math.dist(a, b)
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return 1 - dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def twin(unit, metric, targets, their_targets):
    distance, of = metric.arguments["distance"], metric.arguments["of"]
    control = unit.control.mean(axis=0, dtype=np.float64) if of == "shift" else 0.0
    prediction, truth = (cells.mean(axis=0, dtype=np.float64) - control for cells in (unit.prediction, unit.truth))
    score = 0.0
    for name, other in unit.others.items():
        left_out = {*targets, *their_targets.get(name, ())}
        kept = [i for i, gene in enumerate(unit.genes) if gene not in left_out]
        own = apart(prediction[kept], truth[kept], distance)
        theirs = apart(prediction[kept], getattr(other, of)[kept], distance)
        score += 1.0 if theirs > own else 0.5 if theirs == own else 0.0
    return score / len(unit.others)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("targeted", [False, True])
def test_metrics_equal_their_twins(name, targeted, unit):
    targets = unit.genes[5:7] if targeted else ()
    theirs = {"unit 1": ("not measured", unit.genes[9]), "unit 3": tuple(unit.genes[20:22])} if targeted else {}
    others = {name: other._replace(targets=theirs.get(name, ())) for name, other in unit.others.items()}
    reference = Reference(unit.truth, unit.control, unit.genes, others=others, targets=targets)
    value = evaluate(unit.prediction, reference, [name])[name]
    assert value == twin(unit, METRICS[name], targets, theirs)
    assert 0 < value < 1


@pytest.mark.parametrize("distance", ["l1", "l2", "cosine"])
def test_ties_count_half_and_the_nearest_truth_wins(distance):
    rng = np.random.default_rng(1)
    truth = rng.normal(size=8)
    others = np.stack([truth, *rng.normal(size=(3, 8))])
    assert share_beaten(truth, truth, others[1:], distance=distance) == 1.0
    assert share_beaten(truth, truth, others, distance=distance) == (3 + 0.5) / 4
    assert share_beaten(others[2], truth, others[2:3], distance=distance) == 0.0
    assert share_beaten(truth, truth, others, np.zeros((4, 8), dtype=bool), distance) == 0.5
    assert math.isnan(share_beaten(truth, truth, others[:0], distance=distance))


def test_knowing_the_target_alone_tells_nothing_apart():
    rng = np.random.default_rng(2)
    control = rng.random((30, 6))
    genes = list("abcdef")
    shifted = {gene: control - 3 * np.eye(6)[i] for i, gene in enumerate(genes)}
    units = {gene: other_unit(cells, control, [gene]) for gene, cells in shifted.items()}
    others = {gene: unit for gene, unit in units.items() if gene != "a"}
    reference = Reference(shifted["a"], control, genes, others=others, targets=["a"])
    assert evaluate(shifted["a"], reference, ["discrimination_l2"]) == {"discrimination_l2": 0.5}
    knowing = Reference(shifted["a"], control, genes, others={g: u._replace(targets=()) for g, u in others.items()})
    assert evaluate(shifted["a"], knowing, ["discrimination_l2"]) == {"discrimination_l2": 1.0}


def test_other_units_of_other_genes_are_refused(unit):
    with pytest.raises(ValueError, match=r"shift of B cells has shape \(2,\), expected \(260,\)"):
        Reference(unit.truth, unit.control, unit.genes, others={"B cells": OtherUnit(np.ones(260), np.ones(2))})
    assert math.isnan(METRICS["discrimination_l2"].compute(*_alone(unit)))


def _alone(unit):
    reference = Reference(unit.truth, unit.control, unit.genes, others={})
    return reference.cells(unit.prediction), reference

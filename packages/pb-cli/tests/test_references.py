"""What a held-out unit is scored against, and what of other units stands beside it."""

from collections.abc import Callable

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from pb_cli.references import Condition, references
from pb_data import Keys

CONTEXTS, LABELS, DOSES = ("A", "B", "C"), ("x", "y", "x+y"), (1.0, 10.0)
KEYS = Keys("line", "gene", "ctrl", "log1p", dose="dose", separator="+")
GENES = ["x", "y", "g1", "g2"]


def level(context: str, label: str, dose: float) -> np.ndarray:
    """Planted means: control levels by context, shifts by label and dose."""
    start = np.array([1.0, 2.0, 3.0, 4.0]) * (1 + CONTEXTS.index(context))
    step = {"ctrl": 0, "x": 1, "y": 2, "x+y": 3}[label]
    return start + dose * step * np.array([1.0, 0.0, 0.0, 1.0])


def draw(conditions: list[tuple[str, str, float]], n: int = 4) -> ad.AnnData:
    """Draw cells that lie around the planted means and average to them."""
    rng = np.random.default_rng(0)
    noise = [rng.normal(size=(n, len(GENES))) for _ in conditions]
    X = np.concatenate([level(*c) + e - e.mean(0) for c, e in zip(conditions, noise, strict=True)])
    obs = pd.DataFrame([c for c in conditions for _ in range(n)], columns=["line", "gene", "dose"])
    obs.index = [f"cell{i}" for i in range(len(obs))]
    return ad.AnnData(X, obs=obs, var=pd.DataFrame(index=GENES))


@pytest.fixture
def made() -> Callable:
    """Hold the conditions out that a rule marks, and build their references."""

    def make(held: Callable[[tuple], bool], unseen: str) -> dict:
        every = [(c, label, dose) for c in CONTEXTS for label in LABELS for dose in DOSES]
        controls = draw([(context, "ctrl", 0.0) for context in CONTEXTS])
        training = ad.concat([controls, draw([c for c in every if not held(c)])], index_unique="-")
        return references(draw([c for c in every if held(c)]), controls, training, KEYS, unseen)

    return make


def names(conditions: list[tuple]) -> set[str]:
    return {", ".join(map(str, condition)) for condition in conditions}


def test_a_held_out_context_is_set_beside_the_others_under_the_same_condition(made):
    found = made(lambda c: c[0] == "A", "context")
    assert set(found) == {Condition("A", label, dose) for label in LABELS for dose in DOSES}
    reference = found["A", "y", 10.0]
    np.testing.assert_allclose(reference.truth.mean, level("A", "y", 10.0))
    np.testing.assert_allclose(reference.control.mean, level("A", "ctrl", 0.0))
    np.testing.assert_allclose(reference.training_shift, [20.0, 0.0, 0.0, 20.0], atol=1e-9)
    assert reference.weights.argsort()[-2:].tolist() in ([0, 3], [3, 0])
    assert set(reference.others) == names([("B", "y", 10.0), ("C", "y", 10.0)])


def test_a_held_out_perturbation_is_set_beside_the_others_of_its_context(made):
    found = made(lambda c: c[1] == "x", "perturbation")
    reference = found["B", "x", 1.0]
    assert reference.training_shift is None
    assert reference.weights is None
    assert set(reference.others) == names([("B", "y", 1.0), ("B", "x+y", 1.0)])
    assert reference.targets == ("x",)
    assert reference.others["B, x+y, 1.0"].targets == ("x", "y")
    np.testing.assert_allclose(reference.others["B, y, 1.0"].shift, [2.0, 0.0, 0.0, 2.0], atol=1e-9)


def test_a_held_out_dose_is_set_beside_the_others_of_its_perturbation(made):
    found = made(lambda c: c[2] == 1.0, "dose")
    assert set(found["C", "y", 1.0].others) == names([("C", "y", 10.0)])


def test_a_context_without_training_controls_tells_nothing(made):
    truth = draw([("A", "x", 1.0)])
    training = ad.concat([draw([("B", "ctrl", 0.0), ("B", "y", 1.0)]), draw([("C", "x", 1.0)])], index_unique="-")
    [reference] = references(truth, draw([("A", "ctrl", 0.0)]), training, KEYS, "context").values()
    assert reference.training_shift is None
    assert reference.others is None

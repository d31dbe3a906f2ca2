"""Wrong labels: how many, which, and what is refused."""

import numpy as np
import pytest
from pb_data import confusable_classes, corrupt_labels, labelled_card, load_labelled

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@pytest.mark.parametrize("rate", [0.3, 0.6, 0.9])
def test_uniform_noise_draws_any_class_the_true_one_too(rate: float) -> None:
    n, k = 40000, 5
    y = np.random.default_rng(0).integers(k, size=n)
    noisy = corrupt_labels(y, k, kind="uniform", rate=rate, seed=1)
    wrong = rate * (1 - 1 / k)
    assert (noisy != y).mean() == pytest.approx(wrong, abs=4 * np.sqrt(wrong * (1 - wrong) / n))
    table = np.array([[((y == a) & (noisy == b)).mean() for b in range(k)] for a in range(k)])
    np.testing.assert_allclose(table, (1 - rate) * np.eye(k) / k + rate / k**2, atol=4e-3)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_class_dependent_noise_confuses_pairs_only(rate: float) -> None:
    pairs = confusable_classes("letter", LETTERS)
    assert pairs is not None
    partner = {a: b for one, other in pairs for a, b in ((one, other), (other, one))}
    y = np.random.default_rng(0).integers(26, size=30000)
    noisy = corrupt_labels(y, 26, kind="class-dependent", rate=rate, seed=0, pairs=pairs)
    expected = np.array([partner.get(int(c), c) for c in y])
    assert ((noisy == y) | (noisy == expected)).all()
    paired = expected != y
    assert (noisy != y)[paired].mean() == pytest.approx(rate, abs=4 * np.sqrt(rate * (1 - rate) / paired.sum()))
    assert sorted(LETTERS[c] for c in set(range(26)) - set(partner)) == list("AJSTYZ")


def test_the_letters_pairs_fit_the_data() -> None:
    classes = load_labelled("letter", task="classification").classes[0]
    pairs = confusable_classes("letter", classes)
    assert pairs is not None
    assert [classes[a] + classes[b] for a, b in pairs][:3] == ["BD", "CG", "EF"]
    assert confusable_classes("wine", ("3", "4")) is None
    assert "letter" in labelled_card("letter").name


def test_without_pairs_each_class_becomes_the_next() -> None:
    y = np.arange(7)
    assert corrupt_labels(y, 7, kind="class-dependent", rate=1, seed=0).tolist() == [1, 2, 3, 4, 5, 6, 0]


@pytest.mark.parametrize("kind", ["uniform", "class-dependent"])
def test_missing_labels_stay_missing_and_no_rate_changes_nothing(kind: str) -> None:
    y = np.random.default_rng(0).integers(-1, 3, size=(500, 2))
    noisy = corrupt_labels(y, 3, kind=kind, rate=1.0, seed=0)
    np.testing.assert_array_equal(noisy == -1, y == -1)
    assert noisy.dtype == np.int64
    np.testing.assert_array_equal(corrupt_labels(y, 3, kind=kind, rate=0.0, seed=0), y)


def test_the_seed_decides() -> None:
    y = np.zeros(200, dtype=np.int64)
    draws = [corrupt_labels(y, 4, kind="uniform", rate=0.5, seed=seed).tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate": 1.5}, "rate of wrong labels is 1.5"),
        ({"kind": "unifrom"}, "kind is 'unifrom'; did you mean 'uniform'"),
        ({"n_classes": 2}, "labels go from 0 to 2; with 2 classes they have to be -1 to 1"),
        ({"kind": "class-dependent", "pairs": [(0, 1), (1, 2)]}, "each class of 0 to 2 at most once"),
        ({"kind": "class-dependent", "pairs": [(0, 3)]}, "each class of 0 to 2 at most once"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, object], message: str) -> None:
    settings = {"n_classes": 3, "kind": "uniform", "rate": 0.5, "seed": 0, **changes}
    with pytest.raises(ValueError, match=message):
        corrupt_labels(np.array([0, 1, 2]), **settings)

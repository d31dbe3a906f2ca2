import numpy as np
import pytest
import torch
from pb_models import create, fit_together, load_model
from pb_models.latent import LatentModel
from pb_models.training import Cells, DivergedError
from pb_models.vae import VARIANCE_FLOOR, Posterior, Vae

SMALL = {"n_hidden": 16, "n_latent": 4, "max_epochs": 4, "batch_size": 32}
SPECS = ["scgen", "scgen:reference", "scvidr", "scvidr-multi:reference"]
SEEDS = [1, 2, 5]


class DoubleVae(Vae):
    """The same network in float64."""

    def __init__(self, *sizes, **options):
        super().__init__(*sizes, **options)
        self.double()

    def encode(self, x):
        hidden = self.encoder(x)
        return Posterior(self.mean(hidden), self.log_variance(hidden).exp() + VARIANCE_FLOOR)


@pytest.fixture
def float64(monkeypatch):
    take = Cells.take
    monkeypatch.setattr("pb_models.latent.Vae", DoubleVae)
    monkeypatch.setattr(Cells, "take", lambda self, rows: take(self, rows).double())
    decode = DoubleVae.decode
    monkeypatch.setattr(DoubleVae, "decode", lambda self, z: decode(self, z.double()))


def both(problem, spec, seeds=SEEDS, **overrides):
    """Models fitted one by one and together."""
    options = {"keys": problem.keys, "validation": problem.validation, "device": "cpu"}
    settings = {**SMALL, **overrides}
    alone = [create(spec, **settings).fit(problem.train, seed=seed, **options) for seed in seeds]
    return alone, fit_together([create(spec, **settings) for _ in seeds], problem.train, seeds=seeds, **options)


def largest_difference(first, second):
    theirs = second._state()
    return max(float(np.abs(array - theirs[name]).max()) for name, array in first._state().items())


def records_agree(first, second, rtol):
    one, other = first.fit_record, second.fit_record
    assert set(other) - set(one) == {"together"}
    for name in ("seed", "n_cells", "epochs", "best_epoch", "stopped_early", "n_training", "n_validation", "contexts"):
        assert one[name] == other[name]
    for name in ("loss", "monitor"):
        np.testing.assert_allclose(other[name], one[name], rtol=rtol)


@pytest.mark.parametrize("spec", SPECS)
def test_seeds_are_fitted_as_one_by_one(problem, spec, float64):
    """In float64: all that is fitted, the shift included, to 1e-11; what differs is the order of summation."""
    alone, together = both(problem, spec)
    for one, other in zip(alone, together, strict=True):
        assert largest_difference(one, other) < 1e-11
        records_agree(one, other, rtol=1e-11)
    assert largest_difference(together[0], together[1]) > 0.1, "seeds are not alike"


@pytest.mark.parametrize("spec", ["scgen", "scgen:reference"])
def test_in_float32_seeds_agree_to_rounding(problem, spec):
    """Weights, statistics and latent shift are of order one, a rounding is 6e-8: 1e-5 leaves room for the 100 or so
    that add up along network and steps, and is a three-thousandth of what training moves a weight (28 steps of 0.001).
    """
    alone, together = both(problem, spec)
    for one, other in zip(alone, together, strict=True):
        assert largest_difference(one, other) < 1e-5
        records_agree(one, other, rtol=1e-5)
        expected = one.predict(problem.control, perturbation="stim").X
        np.testing.assert_allclose(other.predict(problem.control, perturbation="stim").X, expected, atol=1e-5)


@pytest.mark.parametrize(("spec", "keep"), [("scgen", "best"), ("scgen:reference", "last")])
def test_members_stop_when_their_own_patience_runs_out(problem, spec, keep, float64):
    options = {"max_epochs": 25, "learning_rate": 0.02, "patience": 2, "settling_steps": 0}
    alone, together = both(problem, spec, keep=keep, **options)
    for one, other in zip(alone, together, strict=True):
        assert largest_difference(one, other) < 1e-10
        records_agree(one, other, rtol=1e-10)
    assert len({model.fit_record["epochs"] for model in together}) > 1, "the case is made for this"


def test_half_precision_is_the_same_together(problem):
    for one, other in zip(*both(problem, "scgen", precision="bf16"), strict=True):
        records_agree(one, other, rtol=1e-3)


@pytest.mark.parametrize("monitor", ["objective", "elbo"])
def test_folds_are_fitted_as_one_by_one(problem, monitor, float64):
    """Folds of 226, 235 and 233 cells: incomplete batches are left out; they differ in cells watched, too."""
    folds = [problem.train[start:].copy() for start in (5, 0, 2)]
    folds[0] = folds[0][:-4].copy()
    masks = [problem.validation[start:] for start in (5, 0, 2)]
    masks[0] = masks[0][:-4].copy()
    masks[0][np.flatnonzero(masks[0])[:3]] = False
    settings = {**SMALL, "smallest_batch": 32, "batch_size": 32, "monitor": monitor}
    options = {"keys": problem.keys, "device": "cpu"}
    alone = [
        create("scgen", **settings).fit(fold, validation=mask, seed=3, **options)
        for fold, mask in zip(folds, masks, strict=True)
    ]
    models = [create("scgen", **settings) for _ in folds]
    together = fit_together(models, folds, validation=masks, seeds=[3, 3, 3], **options)
    for one, other in zip(alone, together, strict=True):
        assert largest_difference(one, other) < 1e-11
        records_agree(one, other, rtol=1e-11)
    for name in ("n_training", "n_validation"):
        assert len({model.fit_record[name] for model in together}) > 1, "the case is made for this"
    assert len(together[0].fit_record["monitor"]) == 4


def test_models_fitted_together_are_ordinary_ones(problem, tmp_path):
    models = [create("scgen", **SMALL) for _ in SEEDS]
    before = torch.get_rng_state()
    options = {"keys": problem.keys, "validation": problem.validation, "device": "cpu"}
    fitted = fit_together(models, problem.train, seeds=SEEDS, **options)
    assert torch.equal(torch.get_rng_state(), before), "the caller's random state is left alone"
    assert all(one is other for one, other in zip(models, fitted, strict=True))
    assert isinstance(fitted[0], LatentModel)
    fitted[1].save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert (loaded.seed, loaded.fit_record) == (2, fitted[1].fit_record)
    assert fitted[1].fit_record["together"] == 3
    expected = fitted[1].predict(problem.control, perturbation="stim").X
    np.testing.assert_array_equal(loaded.predict(problem.control, perturbation="stim").X, expected)
    steps = []
    fitted[0].fit(problem.train, progress=steps.append, **options)
    assert len(steps) == 4, "it can be fitted anew"


def test_progress_is_told_once_an_epoch_for_all(problem):
    steps, models = [], [create("scgen", **SMALL) for _ in SEEDS]
    options = {"keys": problem.keys, "validation": problem.validation, "device": "cpu", "progress": steps.append}
    fit_together(models, problem.train, seeds=SEEDS, **options)
    records = [model.fit_record for model in models]
    assert [(step.epoch, step.n_epochs) for step in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [step.loss for step in steps] == pytest.approx(np.mean([record["loss"] for record in records], axis=0))
    assert [step.monitor for step in steps] == pytest.approx(np.mean([record["monitor"] for record in records], axis=0))


def test_a_model_that_diverges_is_named_and_none_is_fitted(problem):
    broken = problem.train.copy()
    broken.X = broken.X * 1e30
    models = [create("scgen", **SMALL) for _ in range(2)]
    with pytest.raises(DivergedError, match=r"model 1 \(seed 8\): training diverged in epoch 1, batch 1: .*loss"):
        fit_together(models, [problem.train, broken], keys=problem.keys, seeds=[4, 8], device="cpu")
    with pytest.raises(RuntimeError, match="not fitted"):
        models[0].predict(problem.control, perturbation="stim")


@pytest.mark.parametrize(
    ("specs", "options", "words"),
    [
        (["mean-shift"] * 2, {}, r"mean-shift models cannot be trained together \(those that can: scgen, scvidr,"),
        (["scgen", "scvidr"], {}, "model 0 is 'scgen' and model 1 is 'scvidr'"),
        (["scgen", "scgen:reference"], {}, "models 0 and 1 differ in max_epochs"),
        (["scgen"] * 2, {"seeds": [1, 2, 3]}, "seeds has 3 entries for 2 models"),
        ([], {"seeds": []}, "there is no model to fit"),
    ],
)
def test_what_cannot_be_fitted_together_is_refused(problem, specs, options, words):
    options = {"seeds": [1, 2], **options}
    with pytest.raises(ValueError, match=words):
        fit_together([create(spec) for spec in specs], problem.train, keys=problem.keys, **options)


def test_unequal_cells_are_refused(problem):
    def together(*, times=1, **options):
        models = [create("scgen", **SMALL) for _ in range(2)]
        fit_together(models if times == 1 else models[:1] * 2, keys=problem.keys, seeds=[1, 2], **options)

    with pytest.raises(ValueError, match="models 0 and 1 have 30 and 29 genes"):
        together(train=[problem.train, problem.train[:, :29]])
    with pytest.raises(ValueError, match=r"model 0 \(seed 1\) and model 1 \(seed 2\) have 230 and 228 training rows"):
        together(train=[problem.train[:230], problem.train[:228]])
    none = np.zeros(problem.train.n_obs, dtype=bool)
    with pytest.raises(ValueError, match=r"model 1 \(seed 2\) without validation cells"):
        together(train=problem.train, validation=[problem.validation, none])
    with pytest.raises(ValueError, match="the same model is given twice"):
        together(train=problem.train, times=2)

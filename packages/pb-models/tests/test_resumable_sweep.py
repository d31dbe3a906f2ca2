"""Sweeps that are stopped and go on elsewhere end with the bits of those that were not."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pb_models import PausedError, Resumable
from pb_models.measures import regression_measures
from pb_models.mlp import MLPSettings
from pb_models.sweep import Fold, FoldSamples, FoldTraces, Run, SweepSettings, train_fold, train_folds
from scipy import sparse

NETWORK = MLPSettings(hidden=(6, 5))
SETTINGS = SweepSettings(epochs=5, batch_size=16, milestones=(2, 4))
MEASURES = regression_measures(["mae", "pearson"])
OVER = {"identity": "sweep"}


def mae(features, outputs, targets, epoch):
    return (outputs - targets).abs().mean((1, 2))


def mse(features, outputs, targets, epoch):
    return (outputs - targets).square().mean((1, 2))


def in_two_stages(features, outputs, targets, epoch):
    return features.square().mean((1, 2)) if epoch < 2 else mae(features, outputs, targets, epoch)


def noisy(features, outputs, targets, epoch):
    """Draws from torch's own generator."""
    return ((outputs - targets).abs() * torch.rand_like(targets)).mean((1, 2))


def runs_of(*objectives) -> list[Run]:
    rates = [(objective, rate) for objective in objectives for rate in (0.05, 0.01)]
    return [Run(rate, 1e-3, objective, seed) for seed, (objective, rate) in enumerate(rates)]


@pytest.fixture
def samples() -> FoldSamples:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(70, 4)).astype(np.float32)
    y = (x @ rng.normal(size=(4, 2)) + 0.1 * rng.normal(size=(70, 2))).astype(np.float32)
    return FoldSamples(x, y, np.arange(0, 45), np.arange(45, 60), np.arange(60, 70))


class StopAt:
    """Says yes once, when it has been asked so many times."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self) -> bool:
        self.left -= 1
        return self.left == 0


def sweep(samples: FoldSamples, runs: list[Run], settings: SweepSettings, resumable=None, progress=None):
    """Two folds, in blocks of three runs; the second keeps given epochs and has no test rows to choose by."""
    if resumable is not None:
        resumable.begin(lambda: OVER)
    torch.manual_seed(1)
    options = {"n_outputs": 2, "at_once": 3, "progress": progress, "resumable": resumable}
    first = train_fold(samples, runs, NETWORK, settings, MEASURES, order_seed=5, **options)
    keep = np.tile([2, 5], (len(runs), 1))
    other = samples._replace(train=samples.train[5:])
    return [first, train_fold(other, runs, NETWORK, settings, MEASURES, order_seed=6, keep=keep, **options)]


def assert_equal(ours: list[FoldTraces], theirs: list[FoldTraces]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        for name, a, b in zip(FoldTraces._fields, one, other, strict=True):
            assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes()), name


CASES = {
    "sgd": (runs_of(mae, mse), SETTINGS),
    "adam": (runs_of(mae, mse), SETTINGS.replace(optimiser="adam")),
    "stages": (runs_of(in_two_stages), SETTINGS.replace(optimiser="adam")),
    "noise": (runs_of(noisy), SETTINGS),
    "diverged": ([*runs_of(mae), Run(1e30, 0.0, mse, 0), Run(1e30, 0.0, mse, 1)], SETTINGS),
}


@pytest.mark.parametrize("case", CASES)
def test_a_sweep_stopped_anywhere_ends_as_one_that_was_not(samples, case: str, tmp_path: Path):
    """After every epoch of a block that is not its last, each time by another object, and once twice."""
    runs, settings = CASES[case]
    whole = sweep(samples, runs, settings)
    counted = StopAt(-1)
    assert_equal(sweep(samples, runs, settings, Resumable(tmp_path / "none", counted)), whole)
    places = -1 - counted.left
    assert places >= 8
    for place in range(1, places + 1):
        path = tmp_path / f"{place}"
        with pytest.raises(PausedError) as paused:
            sweep(samples, runs, settings, Resumable(path, StopAt(place)))
        if place == 1:
            with pytest.raises(PausedError) as again:
                sweep(samples, runs, settings, Resumable(path, StopAt(2)))
            assert again.value.n_epochs == paused.value.n_epochs + 2
        last = Resumable(path, lambda: False)
        assert_equal(sweep(samples, runs, settings, last), whole)
        assert last.resumed_after >= place


def test_a_sparse_sweep_goes_on(samples, tmp_path: Path):
    dense = np.where(np.random.default_rng(0).random(samples.x.shape) < 0.5, samples.x, 0).astype(np.float32)
    cells = samples._replace(x=sparse.csr_matrix(dense), shift=np.arange(4, dtype=np.float32))
    whole = sweep(cells, runs_of(mae, mse), SETTINGS)
    with pytest.raises(PausedError):
        sweep(cells, runs_of(mae, mse), SETTINGS, Resumable(tmp_path / "state", StopAt(6)))
    assert_equal(sweep(cells, runs_of(mae, mse), SETTINGS, Resumable(tmp_path / "state", lambda: False)), whole)


@pytest.mark.parametrize("case", CASES)
def test_folds_trained_together_go_on(samples, case: str, tmp_path: Path):
    runs, settings = CASES[case]
    other = samples._replace(train=samples.train[5:], y=-samples.y, test=samples.test[:4])
    folds = [Fold(samples, runs, 5), Fold(other, runs, 6)]

    def together(place: int) -> list[FoldTraces]:
        nonlocal state
        state = Resumable(tmp_path / "state", StopAt(place))
        state.begin(lambda: OVER)
        torch.manual_seed(1)
        return train_folds(folds, NETWORK, settings, MEASURES, n_outputs=2, resumable=state)

    state = None
    whole = together(-1)
    for place in (1, 2):  # after epochs 1 and 3, of the same training
        with pytest.raises(PausedError):
            together(place)
    assert_equal(together(-1), whole)
    assert state.resumed_after == 3


def test_what_is_over_is_not_trained_again_and_the_time_left_is_told_by_what_was_done_here(samples, tmp_path: Path):
    steps = {"before": [], "after": []}
    state = Resumable(tmp_path / "state", StopAt(11))
    with pytest.raises(PausedError, match="paused after epoch 13"):
        sweep(samples, runs_of(mae, mse), SETTINGS, state, steps["before"].append)
    state = Resumable(tmp_path / "state", lambda: False)
    sweep(samples, runs_of(mae, mse), SETTINGS, state, steps["after"].append)
    assert [len(told) for told in steps.values()] == [13, 7]
    assert [step.epoch for step in steps["after"]] == [3, 4, 4, 4, 4, 5, 5]
    assert state.epochs == 20
    assert steps["after"][-1].seconds_left == 0
    assert all(0 < step.seconds_left < 60 for step in steps["after"][:-1])


CODE = """
import pathlib, sys
sys.path.insert(0, {tests!r})
import numpy as np, torch
from test_resumable_sweep import CASES, FoldSamples, FoldTraces, Resumable, sweep
torch.set_num_threads({threads})
folder = pathlib.Path({folder!r})
resumable = Resumable(folder / "state", lambda: False)
given = np.load(folder / "samples.npz")
runs, settings = CASES["adam"]
traces = sweep(FoldSamples(*(given[name] for name in FoldSamples._fields[:-1])), runs, settings, resumable)
assert resumable.resumed_after == 13, resumable.resumed_after
arrays = {{f"{{number}}{{name}}": a for number, t in enumerate(traces) for name, a in t._asdict().items()}}
np.savez(folder / "after.npz", **arrays)
"""


def test_another_process_goes_on_with_a_sweep(samples, tmp_path: Path):
    runs, settings = CASES["adam"]
    whole = sweep(samples, runs, settings)
    with pytest.raises(PausedError):
        sweep(samples, runs, settings, Resumable(tmp_path / "state", StopAt(11)))
    np.savez(tmp_path / "samples.npz", **{name: value for name, value in samples._asdict().items() if name != "shift"})
    given = {"tests": str(Path(__file__).parent), "threads": torch.get_num_threads(), "folder": str(tmp_path)}
    subprocess.run([sys.executable, "-W", "error::UserWarning:pb_models", "-c", CODE.format(**given)], check=True)
    after = np.load(tmp_path / "after.npz")
    again = [FoldTraces(*(after[f"{number}{name}"] for name in FoldTraces._fields)) for number in range(2)]
    assert_equal(again, whole)

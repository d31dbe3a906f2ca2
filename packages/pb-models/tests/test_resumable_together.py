"""Models trained together that are stopped and go on elsewhere end with the bits of those that were not."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pb_models import PausedError, Resumable, create, fit_together

SMALL = {"n_hidden": 16, "n_latent": 4, "max_epochs": 3, "batch_size": 32, "settling_steps": 0, "max_steps": None}
PATIENT = SMALL | {"max_epochs": 25, "learning_rate": 0.02, "patience": 2}
SEEDS = [1, 2, 5]


class StopAt:
    """Says yes once, when it has been asked so many times."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self) -> bool:
        self.left -= 1
        return self.left == 0


def fit(problem, resumable=None, spec="scgen", seeds=SEEDS, settings=SMALL, **changes):
    options = {"keys": problem.keys, "validation": problem.validation, "seeds": seeds, "device": "cpu", **changes}
    models = [create(spec, **settings) for _ in seeds]
    return fit_together(models, options.pop("train", problem.train), **options, resumable=resumable)


def paused(problem, path: Path, place: int, **changes) -> int:
    """Stop a fit; returns the epochs that were done."""
    with pytest.raises(PausedError, match="goes on from there") as stopped:
        fit(problem, Resumable(path, StopAt(place)), **changes)
    return stopped.value.n_epochs


def assert_equal(models, others, control) -> None:
    for model, other in zip(models, others, strict=True):
        ours, theirs = model._state(), other._state()
        for name, value in ours.items():
            assert value.tobytes() == theirs[name].tobytes(), name
        records = [dict(each.fit_record) for each in (model, other)]
        for record in records:
            record.pop("seconds")
            record.pop("resumed_after", None)
        assert records[0] == records[1]
        first, second = (each.predict(control, perturbation="stim").X for each in (model, other))
        assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("spec", ["scgen", "scgen:reference", "scvidr", "scvidr-multi"])
def test_a_fit_stopped_anywhere_ends_as_one_that_was_not(problem, spec: str, tmp_path: Path):
    whole = fit(problem, spec=spec)
    for place in (1, 2):
        assert paused(problem, tmp_path / f"{place}", place, spec=spec) == place
        torch.manual_seed(place)
        before = torch.get_rng_state()
        models = fit(problem, Resumable(tmp_path / f"{place}", lambda: False), spec=spec)
        assert_equal(models, whole, problem.control)
        assert torch.equal(torch.get_rng_state(), before), "the caller's random state is left alone"
        assert [model.fit_record["resumed_after"] for model in models] == [place] * 3
        assert [model.resumable for model in models] == [None] * 3


@pytest.mark.parametrize("keep", ["best", "last"])
def test_members_that_had_stopped_by_themselves_stay_as_they_are(problem, keep: str, tmp_path: Path):
    """Stopped after the first member's patience ran out, after the second's, and before any did."""
    settings = PATIENT | {"keep": keep}
    whole = fit(problem, settings=settings)
    ends = sorted(model.fit_record["epochs"] for model in whole)
    assert ends[0] < ends[-1] < 25, "the case is made for this"
    for place in sorted({ends[0] - 1, *ends[:2]} - {ends[-1]}):
        assert paused(problem, tmp_path / f"{place}", place, settings=settings) == place
        models = fit(problem, Resumable(tmp_path / f"{place}", lambda: False), settings=settings)
        assert_equal(models, whole, problem.control)
        assert not any(model.network.training for model in models)


def test_folds_and_a_second_stop(problem, tmp_path: Path):
    """Members with cells of their own, stopped twice."""
    folds = [problem.train[start:].copy() for start in (5, 0, 2)]
    masks = [problem.validation[start:] for start in (5, 0, 2)]
    settings = SMALL | {"smallest_batch": 32, "monitor": "elbo"}
    how = {"train": folds, "validation": masks, "settings": settings, "seeds": [3, 3, 3]}
    whole = fit(problem, **how)
    assert [paused(problem, tmp_path / "state", 1, **how) for _ in range(2)] == [1, 2]
    assert_equal(fit(problem, Resumable(tmp_path / "state", lambda: False), **how), whole, problem.control)


@pytest.mark.parametrize(("changes", "what"), [({"seeds": [1, 2]}, "members"), ({"seeds": [2, 1, 5]}, "members")])
def test_the_state_of_another_group_is_not_used(problem, changes, what: str, tmp_path: Path):
    paused(problem, tmp_path / "state", 1)
    with pytest.warns(UserWarning, match=f"not used, it is of another fit: {what} differ"):
        fit(problem, Resumable(tmp_path / "state", lambda: False), **changes)


def test_one_of_a_group_does_not_take_up_the_state_of_the_group(problem, tmp_path: Path):
    paused(problem, tmp_path / "state", 1)
    options = {"keys": problem.keys, "validation": problem.validation, "seed": 1, "device": "cpu"}
    with pytest.warns(UserWarning, match="not used, it is of another fit: seed, cells, members differ"):
        create("scgen", **SMALL).fit(problem.train, resumable=Resumable(tmp_path / "state", lambda: False), **options)


CODE = """
import anndata, numpy, pathlib, torch, pb_models
from pb_data.keys import Keys
torch.set_num_threads({threads})
folder = pathlib.Path({folder!r})
train, control = (anndata.read_h5ad(folder / f"{{name}}.h5ad") for name in ("train", "control"))
resumable = pb_models.Resumable(folder / "state", lambda: False)
models = [pb_models.create("scgen", **{settings!r}) for _ in {seeds!r}]
pb_models.fit_together(models, train, keys=Keys.from_dict({keys!r}), validation=train.obs["watched"].to_numpy(),
                       seeds={seeds!r}, device="cpu", resumable=resumable)
assert resumable.resumed_after == 4
numpy.save(folder / "predicted.npy", [model.predict(control, perturbation="stim").X for model in models])
"""


def test_another_process_goes_on(problem, tmp_path: Path):
    whole = fit(problem, settings=PATIENT)
    paused(problem, tmp_path / "state", 4, settings=PATIENT)
    problem.train.obs["watched"] = problem.validation
    problem.train.write_h5ad(tmp_path / "train.h5ad")
    problem.control.write_h5ad(tmp_path / "control.h5ad")
    given = {"folder": str(tmp_path), "settings": PATIENT, "seeds": SEEDS, "keys": problem.keys.to_dict()}
    code = CODE.format(threads=torch.get_num_threads(), **given)
    subprocess.run([sys.executable, "-W", "error::UserWarning:pb_models", "-c", code], check=True)
    expected = np.stack([model.predict(problem.control, perturbation="stim").X for model in whole])
    assert np.load(tmp_path / "predicted.npy").tobytes() == expected.tobytes()

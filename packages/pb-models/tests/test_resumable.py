"""A fit that is stopped and goes on elsewhere ends with the bits of one that was not."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from anndata import AnnData
from pb_models import PausedError, Resumable, create
from pb_models.cells import TrainingData
from pb_models.resumable import data_hash
from pb_models.schedule import Schedule
from pb_models.training import train
from safetensors.numpy import load_file, save_file
from torch import nn

VAE = {"n_hidden": 16, "n_latent": 4, "max_epochs": 3, "batch_size": 32, "settling_steps": 0, "max_steps": None}
GAN = {"n_hidden": 8, "n_latent": 3, "max_epochs": 3, "steps_per_epoch": 3, "batch_size": 16}
BUTTERFLY = {"n_hidden": 12, "n_hidden_perturbed": 8, "n_latent": 6, "max_epochs": 3, "batch_size": 32}
MULTITASK = {"n_hidden": 12, "n_latent": 6, "max_epochs": 3, "batch_size": 32, "settling_steps": 0, "warmup_steps": 7}
SHARES = {"discriminator_share": 1.0, "joint_share": 1.0}


def small(spec: str) -> dict[str, object]:
    """Settings with two or three epochs in every phase."""
    if spec.startswith("mt"):
        return MULTITASK | (SHARES if "adv" in spec else {})
    return {"scpregan": GAN, "scbutterfly": BUTTERFLY | {"pretrain_epochs": 2}}.get(spec.partition(":")[0], VAE)


class StopAt:
    """Says yes once, when it has been asked so many times."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self) -> bool:
        self.left -= 1
        return self.left == 0


def fit(spec, problem, resumable=None, seed=5, progress=None, **overrides):
    model = create(spec, **(small(spec) | overrides))
    options = {"keys": problem.keys, "validation": problem.validation, "seed": seed, "device": "cpu"}
    return model.fit(problem.train, **options, progress=progress, resumable=resumable)


def state_of(model) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in model._state().items()}


def record_of(model) -> dict[str, object]:
    return {name: value for name, value in model.fit_record.items() if name not in ("seconds", "resumed_after")}


def losses_of(model) -> list[list[float]]:
    """The losses by epoch of each phase."""
    record = model.fit_record
    if "loss" in record:
        return [record["loss"]]
    parts = record.get("perturbations", {"": record}).values()
    return [history["loss"] for part in parts for history in part["phases"].values()]


def assert_equal(model, other, control) -> None:
    ours, theirs = state_of(model), state_of(other)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert value.tobytes() == theirs[name].tobytes(), name
    assert record_of(model) == record_of(other)
    for perturbation in model.doses:
        first, second = (each.predict(control, perturbation=perturbation).X for each in (model, other))
        assert first.tobytes() == second.tobytes()


DEEP = [
    "scgen",
    "scgen:reference",
    "scvidr",
    "scvidr-multi",
    "scpregan",
    "scpregan:reference",
    "scpregan:wgan-div",
    "scpregan:wgan-div-reference",
    "scbutterfly",
    "scbutterfly:reference",
    "mtae",
    "mtae:reference",
    "mtae-adv",
    "mtae-adv:reference",
    "mtae-adv-gauss",
    "mtae-ot",
    "mtae-and-ot",
    "mtvae",
    "mtvae-ot",
    "mtvae-and-ot",
]


@pytest.mark.parametrize("spec", DEEP)
def test_a_fit_stopped_anywhere_ends_as_one_that_was_not(spec, problem, tmp_path: Path):
    """Stopped after every epoch that is not a phase's last, each time by another object, and once twice."""
    whole = fit(spec, problem)
    epochs = list(map(len, losses_of(whole)))
    assert min(epochs) > 1
    for place in range(1, sum(epochs) - len(epochs) + 1):
        path = tmp_path / f"{place}"
        with pytest.raises(PausedError, match="goes on from there") as paused:
            fit(spec, problem, Resumable(path, StopAt(place)))
        assert paused.value.path == path
        if place == 1:
            with pytest.raises(PausedError) as again:
                fit(spec, problem, Resumable(path, StopAt(1)))
            assert again.value.n_epochs > paused.value.n_epochs
        torch.manual_seed(place)
        torch.rand(7)
        asked = StopAt(-1)
        last = Resumable(path, asked)
        assert_equal(fit(spec, problem, last), whole, problem.control)
        assert last.resumed_after >= place
    assert asked.left == -1  # it was stopped at the last place where it can be


def test_several_networks_one_after_the_other_go_on(problem, tmp_path: Path):
    """scbutterfly has a network for each perturbation: the finished one comes back, the second goes on."""
    train = problem.train.copy()
    train.obs["condition"] = train.obs["condition"].astype(str)
    stimulated = np.flatnonzero(train.obs["condition"] == "stim")
    train.obs.iloc[stimulated[::2], train.obs.columns.get_loc("condition")] = "other"
    both = problem._replace(train=train)
    whole = fit("scbutterfly", both)
    for place in (3, 6):
        with pytest.raises(PausedError):
            fit("scbutterfly", both, Resumable(tmp_path / f"{place}", StopAt(place)))
        assert_equal(fit("scbutterfly", both, Resumable(tmp_path / f"{place}", lambda: False)), whole, problem.control)


def test_patience_and_best_weights_outlive_a_stop(problem, tmp_path: Path):
    options = {"max_epochs": 30, "learning_rate": 0.05, "patience": 3}
    whole = fit("scgen", problem, **options)
    best = whole.fit_record["best_epoch"]
    assert whole.fit_record["stopped_early"]
    for place in (best, best + 2):
        with pytest.raises(PausedError):
            fit("scgen", problem, Resumable(tmp_path / f"{place}", StopAt(place)), **options)
        last = fit("scgen", problem, Resumable(tmp_path / f"{place}", lambda: False), **options)
        assert_equal(last, whole, problem.control)


def test_another_process_goes_on(problem, tmp_path: Path):
    whole = fit("mtae-adv", problem)
    with pytest.raises(PausedError):
        fit("mtae-adv", problem, Resumable(tmp_path / "state", StopAt(5)))
    problem.train.obs["watched"] = problem.validation
    problem.train.write_h5ad(tmp_path / "train.h5ad")
    problem.control.write_h5ad(tmp_path / "control.h5ad")
    code = f"""
import anndata, numpy, pathlib, torch, pb_models
from pb_data.keys import Keys
torch.set_num_threads({torch.get_num_threads()})
folder = pathlib.Path({str(tmp_path)!r})
train, control = (anndata.read_h5ad(folder / f"{{name}}.h5ad") for name in ("train", "control"))
resumable = pb_models.Resumable(folder / "state", lambda: False)
model = pb_models.create("mtae-adv", **{small("mtae-adv")!r})
model.fit(train, keys=Keys.from_dict({problem.keys.to_dict()!r}), validation=train.obs["watched"].to_numpy(), seed=5,
          device="cpu", resumable=resumable)
assert resumable.resumed_after == 7
numpy.save(folder / "predicted.npy", model.predict(control, perturbation="stim").X)
"""
    subprocess.run([sys.executable, "-W", "error::UserWarning:pb_models", "-c", code], check=True)
    expected = whole.predict(problem.control, perturbation="stim").X
    assert np.load(tmp_path / "predicted.npy").tobytes() == expected.tobytes()


@pytest.fixture
def paused(problem, tmp_path: Path) -> Path:
    """The state of a scgen after its first epoch."""
    with pytest.raises(PausedError):
        fit("scgen", problem, Resumable(tmp_path / "state", StopAt(1)))
    return tmp_path / "state"


def refused(paused: Path, problem, words: str, **changes: object):
    """Fit where the state cannot be used."""
    resumable = Resumable(paused, lambda: False)
    with pytest.warns(UserWarning, match=words):
        model = fit("scgen", problem, resumable, **changes)
    assert (resumable.resumed_after, resumable.seconds_before) == (0, 0.0)
    return model


@pytest.mark.parametrize(("changes", "what"), [({"n_latent": 5}, "settings"), ({"seed": 6}, "seed")])
def test_the_state_of_another_fit_is_not_used(paused, problem, changes, what):
    model = refused(paused, problem, f"not used, it is of another fit: {what} differ; training starts", **changes)
    assert_equal(model, fit("scgen", problem, **changes), problem.control)


def test_the_state_of_other_cells_is_not_used(paused, problem):
    problem.train.X.data[17] *= 1.5
    refused(paused, problem, "of another fit: cells differ")


def test_the_state_of_another_version_is_not_used(paused, problem, monkeypatch):
    monkeypatch.setattr("pb_models.resumable.package_versions", lambda: {"pb-models": "99"})
    refused(paused, problem, "of another fit: versions differ")


def test_a_broken_state_is_not_used(paused, problem):
    whole, kept = fit("scgen", problem), paused.read_bytes()
    flipped = bytearray(kept)
    flipped[-100] ^= 1
    for broken in (b"", kept[: len(kept) // 2], b"no safetensors at all", bytes(flipped)):
        paused.write_bytes(broken)
        assert_equal(refused(paused, problem, "not used, it is broken"), whole, problem.control)
    save_file({"a": np.zeros(3)}, paused)
    refused(paused, problem, "not used, it is broken")


def test_a_state_that_cannot_be_written_leaves_the_older_one(paused, problem, monkeypatch):
    before = paused.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pb_models.state_file.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        fit("scgen", problem, Resumable(paused, StopAt(1)))
    assert paused.read_bytes() == before
    assert [path.name for path in paused.parent.iterdir()] == ["state"]


def test_a_state_holds_named_tensors_and_what_it_cost(paused, problem):
    tensors = load_file(paused)
    assert {"state.networks.0.output.weight", "state.parts.0.state.0.exp_avg", "state.parts.1.cpu"} <= tensors.keys()
    resumable = Resumable(paused, lambda: False)
    model = fit("scgen", problem, resumable)
    assert 0 < resumable.seconds_before < model.fit_record["seconds"]
    assert resumable.resumed_after == model.fit_record["resumed_after"] == 1
    resumable.remove()
    assert not paused.exists()
    resumable.remove()


def test_a_baseline_is_never_asked(problem, tmp_path: Path):
    def never() -> bool:
        raise AssertionError

    model = create("mean-shift").fit(problem.train, keys=problem.keys, resumable=Resumable(tmp_path / "state", never))
    assert model.resumable is None


def test_news_of_epochs_go_on_where_they_stopped(problem, tmp_path: Path):
    before, after = [], []
    with pytest.raises(PausedError):
        fit("scbutterfly", problem, Resumable(tmp_path / "state", StopAt(3)), progress=before.append)
    fit("scbutterfly", problem, Resumable(tmp_path / "state", lambda: False), progress=after.append)
    assert [step.epoch for step in before] == [1, 2, 3, 4, 5]
    assert [step.epoch for step in after] == [6, 7]
    assert {step.n_epochs for step in before + after} == {7}
    assert min(step.seconds_left for step in after) >= 0


def test_the_hash_of_cells_knows_every_part(problem):
    def of(train: AnnData = problem.train, validation=problem.validation) -> str:
        return data_hash(TrainingData.from_anndata(train, problem.keys, validation))

    dense, other, label = (problem.train.copy() for _ in range(3))
    dense.X = dense.X.toarray()
    other.var_names = [f"{name}x" for name in other.var_names]
    label.obs["cell_type"] = label.obs["cell_type"].cat.rename_categories({"A": "Z"})
    mask = problem.validation.copy()
    mask[0] = ~mask[0]
    found = [of(), of(dense), of(other), of(label), of(validation=mask), of(validation=None)]
    assert len(set(found)) == len(found)
    assert of() == found[0]


def test_moments_and_learning_rates_come_back_to_the_bit(tmp_path: Path):
    """A rate with no short decimal form, moments of tiny size, and an infinite best value."""
    network = nn.Linear(3, 1)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.1 / 3)

    def step(rows: torch.Tensor) -> dict[str, torch.Tensor]:
        loss = (network(torch.full((len(rows), 3), 1e-20)) ** 2).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return {"loss": loss.detach()}

    def run(resumable: Resumable, epochs: int = 3) -> None:
        schedule = Schedule(max_epochs=epochs, batch_size=2)
        train(network, torch.arange(4), schedule, step=step, seed=0, resumable=resumable, parts=[optimiser])

    with pytest.raises(PausedError):
        run(Resumable(tmp_path / "state", StopAt(2)))
    kept = json.dumps(optimiser.state_dict()["param_groups"]), optimiser.state_dict()["state"][0]["exp_avg_sq"].clone()
    network, optimiser = nn.Linear(3, 1), None
    optimiser = torch.optim.Adam(network.parameters(), lr=1.0)
    seen = []
    with pytest.raises(PausedError):
        run(Resumable(tmp_path / "state", lambda: bool(seen.append(1)) or True), epochs=4)
    assert json.dumps(optimiser.state_dict()["param_groups"]) == kept[0]
    assert len(seen) == 1

import subprocess
import sys
from importlib.metadata import EntryPoint
from typing import get_args

import pb_models
import pytest
from pb_data import named
from pb_models.base import Model
from pb_models.registry import MODELS, MadeFor, ModelEntry, create, get_model, model_entries, model_names


@pytest.mark.parametrize("name", MODELS)
def test_an_entry_says_what_the_class_says(name):
    model, entry = get_model(name), MODELS[name]
    assert issubclass(model, Model)
    where = f"{model.__module__}:{model.__qualname__}"
    said = (where, model.summary, model.is_baseline, tuple(model.profiles), model.unseen_perturbations)
    assert (name, *said, model.made_for, model.can_stack) == (model.name, *entry[:-1])
    assert entry.step_cost > 0


@pytest.mark.parametrize("name", MODELS)
def test_what_is_made_for_perturbations_answers_for_unseen_ones(name):
    entry = MODELS[name]
    assert entry.made_for in get_args(MadeFor)
    assert entry.unseen_perturbations or entry.made_for == "contexts"


@pytest.mark.parametrize("name", MODELS)
def test_a_summary_is_one_sentence(name):
    summary = MODELS[name].summary
    assert summary.endswith(".")
    assert summary.count(". ") == 0


def test_the_registry_is_read_without_torch():
    code = (
        "import sys, pb_models.registry as r; r.model_entries(); sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_is_there():
    assert sorted(pb_models.__all__) == pb_models.__all__
    assert all(hasattr(pb_models, name) for name in dir(pb_models))
    with pytest.raises(AttributeError, match="no attribute 'Modle'"):
        pb_models.Modle  # noqa: B018 - the access is the test


def test_baselines_come_first():
    flags = [MODELS[name].is_baseline for name in model_names()]
    assert flags == sorted(flags, reverse=True)


@pytest.mark.parametrize(
    ("spec", "overrides", "words"),
    [
        ("scgne", {}, "did you mean 'scgen'"),
        ("zzz", {}, "choose from: control"),
        ("scgen:refrence", {}, "has no profile 'refrence' (choose from: fixed, reference)"),
        ("scgen", {"epochs": 3}, "did you mean 'max_epochs'"),
        ("scgen", {"max_epochs": 0}, "at least 1"),
        ("scgen", {"dropout": 1.0}, "dropout is 1.0"),
    ],
)
def test_wrong_names_are_answered_with_near_ones(spec, overrides, words):
    with pytest.raises(ValueError) as caught:
        create(spec, **overrides)
    assert words in str(caught.value)


def test_overrides_leave_the_profile_alone():
    model = create("scgen:reference", max_epochs=5)
    assert (model.settings.max_epochs, model.settings.batch_size) == (5, 32)
    assert get_model("scgen").profiles["reference"].max_epochs == 100
    assert create("scgen").profile == "fixed"


def test_installed_packages_add_models(monkeypatch):
    point = EntryPoint("theirs", "pb_models.scgen:ScGen", "pb.models")
    monkeypatch.setattr(named, "entry_points", lambda group: [point] if group == "pb.models" else [])
    assert model_entries()["theirs"].path == point.value
    assert get_model("theirs").name == "scgen"


def test_a_taken_name_is_refused(monkeypatch):
    point = EntryPoint("scgen", "other:Model", "pb.models")
    monkeypatch.setattr(named, "entry_points", lambda group: [point])
    with pytest.raises(ValueError, match=r"takes the name of pb_models.scgen:ScGen"):
        model_entries()


def test_an_entry_without_profiles_has_a_default_one():
    assert ModelEntry("module:Class", "Does it.").profiles == ("default",)

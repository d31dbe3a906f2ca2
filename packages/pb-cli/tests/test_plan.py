"""Experiments, plans and tasks."""

import dataclasses
from pathlib import Path

import pytest
from pb_cli.experiment import Experiment, read_experiment
from pb_cli.options import open_data, parse_settings
from pb_cli.plan import Task, read_plan, to_lines
from pb_cli.planning import expand_models, expand_units, make_plan
from pb_data import PerturbationData
from pb_models import create

KEYS = {"context": "kind", "perturbation": "condition", "control": "ctrl", "scale": "counts"}


@pytest.fixture
def data(data_file: Path) -> PerturbationData:
    return open_data(None, str(data_file), KEYS, {})


def some_task(**changes: object) -> Task:
    values = {
        "source": {"dataset": "pbmc"},
        "split": "leave-context-out",
        "split_parameters": {"held_out": "B cells"},
        "split_hash": "00",
        "preprocess": {"n_genes": 10},
        "model": "scgen",
        "profile": "fixed",
        "settings": {},
        "seed": 1,
        "dose": 0.5,
    }
    return Task(**(values | changes))


def test_the_id_depends_on_every_field():
    task = some_task()
    for field in dataclasses.fields(Task):
        value = getattr(task, field.name)
        changed = {"other": 1} if isinstance(value, dict) else value + ("x" if isinstance(value, str) else 1)
        assert some_task(**{field.name: changed}).id != task.id


def test_the_id_does_not_depend_on_the_order_of_keys():
    assert some_task(settings={"a": 1, "b": 2}).id == some_task(settings={"b": 2, "a": 1}).id


def test_a_task_without_a_dose_says_nothing_of_doses():
    task = some_task(dose=None)
    assert "dose" not in to_lines([task])
    assert task.id == "024a7bf6b7d1"  # folders begun before tasks had doses are taken up


def test_a_plan_survives_its_file(tmp_path: Path):
    tasks = [some_task(split_parameters={"held_out": name}) for name in ("a\nb", "$(rm)", "é; '\"")]
    path = tmp_path / "plan.jsonl"
    path.write_text(to_lines(tasks), encoding="utf-8")
    assert len(path.read_text(encoding="utf-8").splitlines()) == len(tasks)
    assert read_plan(path) == tasks


def test_a_changed_line_is_refused(tmp_path: Path):
    path = tmp_path / "plan.jsonl"
    path.write_text(to_lines([some_task()]).replace('"seed":1', '"seed":2'), encoding="utf-8")
    with pytest.raises(ValueError, match="was changed after planning"):
        read_plan(path)


def test_a_grid_is_contexts_times_models_times_seeds(data: PerturbationData, contexts: tuple[str, ...]):
    plan = make_plan(Experiment(models=("scgen", "control"), seeds=(1, 2, 3), baselines=False), data)
    assert len(plan.tasks) == len(contexts) * (3 + 1)
    assert {task.held_out for task in plan.tasks} == set(contexts)
    assert len({task.id for task in plan.tasks}) == len(plan.tasks)


def test_baselines_come_by_themselves_and_say_so(data: PerturbationData):
    plan = make_plan(Experiment(models=("scgen",), hold_out=("beta",)), data)
    assert "similarity-shift" in {task.model for task in plan.tasks}
    assert any("--no-baselines" in remark for remark in plan.remarks)


def test_models_expand_to_profiles_with_baselines_first():
    specs = expand_models(["scgen:reference", "scgen", "baselines"], "leave-context-out", baselines=False, remarks=[])
    assert [spec for spec in specs if not spec[2]] == [("scgen", "reference", False), ("scgen", "fixed", False)]
    assert specs[0][2]


def test_the_quick_preset_shortens_training_and_settings_win(data: PerturbationData):
    asked = Experiment(models=("scgen",), preset="quick", hold_out=("beta",), settings={"scgen": {"max_epochs": 3}})
    settings = {task.model: task.settings for task in make_plan(asked, data).tasks}
    assert (settings["scgen"]["max_epochs"], settings["scgen"]["batch_size"]) == (3, 128)


def test_a_task_holds_every_setting_so_that_a_changed_default_is_another_task(data: PerturbationData):
    [task] = make_plan(Experiment(models=("scgen",), hold_out=("beta",), baselines=False), data).tasks
    assert task.settings == create("scgen").settings.to_dict()


def test_repeated_values_count_once(data: PerturbationData):
    asked = Experiment(models=("scgen", "scgen"), hold_out=("beta", "1"), seeds=(1, 1), baselines=False)
    assert len(make_plan(asked, data).tasks) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"models": ("scgn",)}, "scgen"),
        ({"models": ("scgen:fxed",)}, "fixed"),
        ({"hold_out": ("bet",)}, "beta"),
        ({"hold_out": ("9",)}, "9"),
        ({"split": "leave-contxt-out"}, "leave-context-out"),
        ({"settings": {"scgen": {"max_epoch": 3}}, "models": ("scgen",)}, "max_epochs"),
        ({"settings": {"scgen": {}}, "models": ("control",)}, "not among the models"),
        ({"settings": {"scgne": {}}, "models": ("scgen",)}, "Did you mean scgen"),
        ({"models": ("baseline",)}, "Did you mean baselines"),
        ({"hold_out": ("alpha,bet",)}, "beta"),
        ({"hold_out": (",",)}, "','"),
    ],
)
def test_misspelt_names_are_answered_with_near_ones(data: PerturbationData, changes: dict, words: str):
    with pytest.raises(ValueError, match=words):
        make_plan(Experiment(**changes), data)


def test_an_experiment_file_is_read_and_overridden(tmp_path: Path):
    path = tmp_path / "e.toml"
    path.write_text('models = ["scgen"]\nhold-out = "all"\nseeds = [1, 2]\n[settings.scgen]\nmax_epochs = 2\n')
    asked = read_experiment(path, {"seeds": (5,)})
    assert (asked.models, asked.hold_out, asked.seeds) == (("scgen",), ("all",), (5,))
    assert asked.settings == {"scgen": {"max_epochs": 2}}


def test_tables_are_merged_name_by_name_and_hyphens_are_taken(tmp_path: Path):
    path = tmp_path / "e.toml"
    path.write_text(
        "hold-out = [0, 'beta']\n[settings.scgen]\nmax-epochs = 2\nn_latent = 5\n[settings.scvidr]\nn_latent = 7\n"
    )
    asked = read_experiment(path, {"settings": {"scgen": {"max_epochs": 3}, "mtae": {"dropout": 0.0}}})
    assert asked.settings == {
        "scgen": {"max_epochs": 3, "n_latent": 5},
        "scvidr": {"n_latent": 7},
        "mtae": {"dropout": 0.0},
    }
    assert asked.hold_out == ("0", "beta")


def test_held_out_units_may_be_listed_with_commas(data: PerturbationData, contexts: tuple[str, ...]):
    asked = Experiment(models=("control",), hold_out=("beta,alpha", "1,2"), baselines=False)
    assert [task.held_out for task in make_plan(asked, data).tasks] == ["beta", "alpha", sorted(contexts)[2]]


def test_a_name_with_a_comma_is_one_name(data: PerturbationData):
    renamed = data.adata.obs["kind"].cat.rename_categories({"alpha": "T cells, CD4"})
    data.adata.obs["kind"] = renamed
    assert expand_units(("T cells, CD4",), "leave-context-out", data) == ["T cells, CD4"]


def test_a_data_path_in_a_file_is_relative_to_the_file(tmp_path: Path):
    path = tmp_path / "e.toml"
    path.write_text('data = "cells.h5ad"\n')
    assert read_experiment(path, {}).data == str(tmp_path / "cells.h5ad")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model = 1", "models"),
        ("preset = 'quik'", "quick"),
        ("seeds = []", "seeds is empty"),
        ("a b", "not valid TOML"),
        ("data = 3", "data is 3; write a text"),
        ("seeds = ['1']", "write a whole number"),
        ("settings.scgen = 3", "table of tables"),
        ("keys = 3", "keys is 3"),
    ],
)
def test_a_wrong_experiment_file_is_refused(tmp_path: Path, text: str, words: str):
    path = tmp_path / "e.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        read_experiment(path, {})


def test_settings_are_read_like_toml():
    assert parse_settings(("scgen.max-epochs=5", "scgen.precision=bf16", "linear.alpha=0.5")) == {
        "scgen": {"max_epochs": 5, "precision": "bf16"},
        "linear": {"alpha": 0.5},
    }
    with pytest.raises(ValueError, match=r"--set scgen\.max_epochs=50"):
        parse_settings(("scgen=5",))


@pytest.mark.parametrize(
    ("split", "inside", "outside"),
    [
        ("leave-context-out", {"control", "mean-shift", "scgen"}, {"additive", "perturbed-mean"}),
        ("leave-combination-out", {"control", "additive", "ridge-perturbation"}, {"mean-shift", "scgen"}),
        ("leave-dose-out", {"control", "mean-shift", "scvidr-multi"}, {"scgen", "additive", "mtae"}),
    ],
)
def test_all_models_are_those_made_for_the_split(split: str, inside: set[str], outside: set[str]):
    named = {name for name, _, _ in expand_models(["all"], split, baselines=True, remarks=[])}
    assert inside <= named
    assert not outside & named


def test_a_named_model_without_an_answer_is_refused():
    with pytest.raises(ValueError, match="scgen does not predict perturbations it has not seen, as leave-perturbation"):
        expand_models(["scgen"], "leave-perturbation-out", baselines=True, remarks=[])
    for model in ("scgen", "mtae"):  # one learns one dose, to the other a dose is a label
        with pytest.raises(ValueError, match=f"{model} does not predict doses it has not seen"):
            expand_models([model], "leave-dose-out", baselines=True, remarks=[])

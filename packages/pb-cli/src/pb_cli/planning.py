"""An experiment becomes a plan: names are expanded, settings settled, and each combination is a task."""

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pb_cli.experiment import PRESETS, Experiment
from pb_cli.names import split_names, suggest
from pb_cli.plan import Plan, Task

if TYPE_CHECKING:
    from pb_data import PerturbationData, Split

__all__ = ["expand_models", "expand_units", "make_plan", "preprocess_settings", "split_summary", "suited_models"]

LEAKY = " But it leaks: genes and normalisation were chosen on all cells, the held-out ones included."


def make_plan(experiment: Experiment, data: "PerturbationData") -> Plan:
    """Expand an experiment on loaded data: held-out units x models x seeds, unit by unit.

    A deterministic baseline runs once per context, whatever the number of seeds. Where the data have doses, a model of
    one dose is trained once for each held-out dose, a model of all doses once.
    """
    from pb_data import make_split, restrict

    data = restrict(data, perturbations=experiment.perturbations, doses=experiment.doses)
    preprocess = preprocess_settings(experiment, data)
    remarks = [f"Preset {experiment.preset}: {PRESETS[experiment.preset].words}."]
    if experiment.n_genes is not None:
        remarks.append(f"Genes: {experiment.n_genes:,}, as asked.")
    specs = expand_models(experiment.models, experiment.split, baselines=experiment.baselines, remarks=remarks)
    _check_settings(experiment, {model for model, _, _ in specs})
    tasks, claims = [], []
    for unit in expand_units(experiment.hold_out, experiment.split, data):
        parameters = _split_parameters(experiment, unit)
        split = make_split(experiment.split, data, **parameters)
        common = {
            "source": data.source,
            "split": split.name,
            "split_parameters": parameters,
            "split_hash": split.hash,
            "preprocess": preprocess,
        }
        tasks += _tasks(experiment, specs, held_out_doses(data, split), common)
        claims.append(split.claim)
    claim = claims[0] if len(claims) == 1 else split_summary(experiment.split)
    if experiment.fit_on == "all-cells":
        claim += LEAKY
    return Plan(tasks, claim, remarks)


def _tasks(
    experiment: Experiment, specs: Iterable[tuple[str, str, bool]], doses: list[float | None], common: dict[str, Any]
) -> list[Task]:
    """Combine models, seeds and doses on one split, whose fields all tasks share."""
    from pb_models import get_model

    return [
        Task(model=model, profile=profile, settings=settings, seed=seed, dose=dose, **common)
        for model, profile, is_baseline in specs
        for settings in [model_settings(model, profile, experiment)]
        for seed in (experiment.seeds[:1] if is_baseline else experiment.seeds)
        for dose in ([None] if get_model(model).multi_dose else doses)
    ]


def _check_settings(experiment: Experiment, models: set[str]) -> None:
    """Refuse settings of models that do not run."""
    for model in experiment.settings:
        if model not in models:
            msg = f"Settings are given for {model}, which is not among the models of this run. {suggest(model, models)}"
            raise ValueError(msg)


def _split_parameters(experiment: Experiment, unit: str) -> dict[str, Any]:
    """Return what makes the split that holds a unit out."""
    return {
        "held_out": unit,
        "seed": experiment.split_seed,
        "validation_fraction": experiment.validation_fraction,
        "target_controls": experiment.target_controls,
        "controls": experiment.controls,
    }


def held_out_doses(data: "PerturbationData", split: "Split") -> list[float | None]:
    """List the doses of a split's truth, sorted; `[None]` where the data have none."""
    if data.keys.dose is None:
        return [None]
    return sorted(set(data.adata.obs[data.keys.dose].iloc[split.truth].astype(float)))


def preprocess_settings(experiment: Experiment, data: "PerturbationData") -> dict[str, Any]:
    """Settle the preprocessing: what the experiment says, else the preset, else what the data set's card says."""
    from pb_data import PreprocessSettings, card

    registered = data.source["dataset"]
    settings: dict[str, Any] = {} if registered == "file" else dict(card(registered).preprocess)
    settings["fit_on"] = experiment.fit_on
    if n_genes := experiment.n_genes or PRESETS[experiment.preset].n_genes:
        settings["n_genes"] = n_genes
    return dataclasses.asdict(PreprocessSettings(**settings))


def split_summary(name: str) -> str:
    """Give the first line of what a split says of itself."""
    from pb_data.splits import get_split

    return get_split(name).summary


def expand_models(
    names: Iterable[str], split: str, *, baselines: bool, remarks: list[str]
) -> list[tuple[str, str, bool]]:
    """Expand `all`, `baselines` and `name:profile` to (name, profile, is it a baseline), baselines first.

    `all` and `baselines` are those made for what the split holds out; a named model that cannot answer is refused.
    """
    from pb_models.registry import model_entries

    suited = suited_models(split)
    simple = [name for name in suited if model_entries()[name].is_baseline]
    groups = {"all": suited, "baselines": simple}
    known = [*groups, *model_entries()]
    for name in names:
        if name.partition(":")[0] not in known:
            msg = f"There is no model {name!r}. {suggest(name, known)}"
            raise ValueError(msg)
    asked = [spec for name in names for spec in groups.get(name, [name])]
    missing = [name for name in simple if name not in {spec.partition(":")[0] for spec in asked}]
    if baselines and missing:
        remarks.append(f"Baselines added: {', '.join(missing)} (--no-baselines leaves them out).")
        asked += missing
    specs = dict.fromkeys(_spec(name) for name in asked)
    for model, _, _ in specs:
        if reason := cannot_answer(model, split):
            msg = f"Model {model} {reason}, as {split} asks. Made for it: {', '.join(suited)}."
            raise ValueError(msg)
    return sorted(specs, key=lambda spec: not spec[2])


def suited_models(split: str) -> list[str]:
    """List the models made for what a split holds out."""
    from pb_data import get_split
    from pb_models.registry import model_entries

    kind = "perturbations" if get_split(split).unseen == "perturbation" else "contexts"
    made = [name for name, entry in model_entries().items() if entry.made_for in (kind, "any")]
    return [name for name in made if not cannot_answer(name, split)]


def cannot_answer(model: str, split: str) -> str:
    """Say why a model has no answer to what a split holds out, or nothing where it has one."""
    from pb_data import get_split
    from pb_models import get_model

    unseen = get_split(split).unseen
    if unseen == "perturbation" and not get_model(model).unseen_perturbations:
        return "does not predict perturbations it has not seen"
    if unseen == "dose" and not get_model(model).unseen_doses:
        return "does not predict doses it has not seen"
    return ""


def _spec(text: str) -> tuple[str, str, bool]:
    """Split `name:profile`, taking the model's default where no profile is given."""
    from pb_models import get_model

    name, _, profile = text.partition(":")
    model = get_model(name)
    profile = profile or next(iter(model.profiles))
    if profile not in model.profiles:
        msg = f"Model {name} has no profile {profile!r}; it has {', '.join(model.profiles)}."
        raise ValueError(msg)
    return name, profile, model.is_baseline


def expand_units(names: Iterable[str], split: str, data: "PerturbationData") -> list[str]:
    """Expand `all`, names, indices and lists of them with commas to names of what a split holds out."""
    from pb_data import split_units

    found: list[str] = []
    for name in names:
        found += split_units(split, data) if name == "all" else _units_named(name, split, data)
    return list(dict.fromkeys(found))


def _units_named(text: str, split: str, data: "PerturbationData") -> list[str]:
    """Resolve one name, which may hold commas, or a list of names."""
    from pb_data import resolve_unit

    try:
        return [resolve_unit(split, data, text)]
    except ValueError:
        parts = split_names((text,))
        if "," not in text or not parts:
            raise
    return [resolve_unit(split, data, part) for part in parts]


def model_settings(model: str, profile: str, experiment: Experiment) -> dict[str, Any]:
    """Settle all settings of a model: the profile's, shortened by the preset, then the user's."""
    from pb_models import create, get_model

    preset, own = PRESETS[experiment.preset], get_model(model).profiles[profile]
    settings: dict[str, Any] = {}
    if preset.max_epochs is not None and hasattr(own, "max_epochs"):
        settings["max_epochs"] = min(preset.max_epochs, own.max_epochs)
    if preset.batch_size is not None and hasattr(own, "batch_size"):
        settings["batch_size"] = max(preset.batch_size, own.batch_size)
    settings |= experiment.settings.get(model, {})
    return create(f"{model}:{profile}", **settings).settings.to_dict()

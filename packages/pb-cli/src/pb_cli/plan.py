"""An experiment becomes a table of tasks; a task is one line, and everything it does follows from that line."""

import dataclasses
import json
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pb_data.hashing import canonical_json, text_sha256

from pb_cli.experiment import PRESETS, Experiment
from pb_cli.names import split_names, suggest
from pb_cli.work import expected_work, training_steps

if TYPE_CHECKING:
    from pb_data import PerturbationData, Split

LEAKY = " But it leaks: genes and normalisation were chosen on all cells, the held-out ones included."

__all__ = ["Plan", "Task", "make_plan", "preprocess_settings", "read_plan", "split_summary", "to_lines"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One training and one scored prediction: a model, a split with its held-out unit, a seed.

    `dose` is the one that a model of one dose trains on and predicts, where the data have doses. `source` rebuilds the
    data set, `split` and `split_parameters` the split (whose content must hash to `split_hash`); `preprocess` and
    `settings` are complete, so that a changed default makes another task.
    """

    source: dict[str, Any]
    split: str
    split_parameters: dict[str, Any]
    split_hash: str
    preprocess: dict[str, Any]
    model: str
    profile: str
    settings: dict[str, Any]
    seed: int
    dose: float | None = None

    @cached_property
    def id(self) -> str:
        """First twelve hex digits of the SHA-256 of the line."""
        return text_sha256(canonical_json(self.to_dict()))[:12]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields of the line; a dose only where there is one."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in fields.items() if name != "dose" or value is not None}

    @property
    def held_out(self) -> str:
        """The unit whose perturbed cells are held out."""
        return str(self.split_parameters["held_out"])

    @property
    def label(self) -> str:
        """`model:profile`, which `pb_models.create` understands."""
        return f"{self.model}:{self.profile}"

    @property
    def steps(self) -> float:
        """Training steps at most; 0 for what is not trained in steps."""
        return training_steps(self.settings)

    @property
    def work(self) -> float:
        """Expected time, roughly, in units of a baseline's task."""
        return expected_work(self.model, self.steps)


@dataclass(frozen=True)
class Plan:
    """The tasks in the order in which they run, the claim of their splits, and remarks worth printing."""

    tasks: list[Task]
    claim: str
    remarks: list[str]


def make_plan(experiment: Experiment, data: "PerturbationData") -> Plan:
    """Expand an experiment on loaded data: held-out units x models x seeds, unit by unit.

    A deterministic baseline runs once per context, whatever the number of seeds. Where the data have doses, a model of
    one dose is trained once for each held-out dose, a model of all doses once.
    """
    from pb_data import make_split, restrict
    from pb_models import get_model

    data = restrict(data, perturbations=experiment.perturbations, doses=experiment.doses)
    preprocess = preprocess_settings(experiment, data)
    remarks = [f"Preset {experiment.preset}: {PRESETS[experiment.preset].words}."]
    if experiment.n_genes is not None:
        remarks.append(f"Genes: {experiment.n_genes:,}, as asked.")
    specs = expand_models(experiment.models, experiment.split, baselines=experiment.baselines, remarks=remarks)
    models = {model for model, _, _ in specs}
    for model in experiment.settings:
        if model not in models:
            msg = f"Settings are given for {model}, which is not among the models of this run. {suggest(model, models)}"
            raise ValueError(msg)
    tasks, claims = [], []
    for unit in expand_units(experiment.hold_out, experiment.split, data):
        parameters: dict[str, Any] = {
            "held_out": unit,
            "seed": experiment.split_seed,
            "validation_fraction": experiment.validation_fraction,
            "target_controls": experiment.target_controls,
            "controls": experiment.controls,
        }
        split = make_split(experiment.split, data, **parameters)
        claims.append(split.claim)
        doses, split_hash = held_out_doses(data, split), split.hash
        for model, profile, is_baseline in specs:
            settings = model_settings(model, profile, experiment)
            asked_doses: list[float | None] = [None] if get_model(model).multi_dose else doses
            tasks += [
                Task(
                    source=data.source,
                    split=split.name,
                    split_parameters=parameters,
                    split_hash=split_hash,
                    preprocess=preprocess,
                    model=model,
                    profile=profile,
                    settings=settings,
                    seed=seed,
                    dose=dose,
                )
                for seed in (experiment.seeds[:1] if is_baseline else experiment.seeds)
                for dose in asked_doses
            ]
    claim = claims[0] if len(claims) == 1 else split_summary(experiment.split)
    if experiment.fit_on == "all-cells":
        claim += LEAKY
    return Plan(tasks, claim, remarks)


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


def to_lines(tasks: Iterable[Task]) -> str:
    """Write tasks as JSON lines, `id` first."""
    return "".join(canonical_json({"id": task.id} | task.to_dict()) + "\n" for task in tasks)


def read_plan(path: Path, only: Container[str] | None = None) -> list[Task]:
    """Read the tasks of a plan, or `only` those of some ids; a line whose id does not fit its content is refused."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [_from_line(json.loads(line), path) for line in lines if only is None or _id_of(line) in only]


def _id_of(line: str) -> str:
    """Find the id of a task without reading the rest of its line: keys are sorted, and no table comes before it."""
    return line.partition('"id":"')[2].partition('"')[0]


def _from_line(record: dict[str, Any], path: Path) -> Task:
    """Rebuild one task and compare its id."""
    task_id = record.pop("id")
    task = _kind_of(record)(**record)
    if task.id != task_id:
        msg = f"{path}: the line of task {task_id} was changed after planning. Plan anew in another folder."
        raise ValueError(msg)
    return task


def _kind_of(record: Mapping[str, Any]) -> type[Task]:
    """Tell tasks apart by `kind`; those that predict perturbed cells have none."""
    if record.get("kind") != "supervised":
        return Task
    from pb_cli.supervised.task import SupervisedTask

    return SupervisedTask

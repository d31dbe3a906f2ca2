"""What a user asks of the supervised arm: one experiment, from flags or from a TOML file with a `task`."""

import dataclasses
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from pb_cli.experiment import file_values, parse_toml
from pb_cli.names import suggest

__all__ = ["SupervisedExperiment", "is_supervised", "read_supervised"]

TASKS = ("regression", "classification")
STANDARDISE = ("training-rows", "all-rows", "none")
SELECTIONS = ("per-fold", "one-setting", "nested")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SupervisedExperiment:
    """A grid: one labelled data set, losses and baselines, kinds of folds, label noise, seeds.

    `losses` are names, or `all`; `grids` holds values, or lists of values to try, by loss and parameter; every loss
    gets at least `equal_budget` settings of its own parameters, repeated where it has fewer. `hidden` is a list of
    widths or the name of one (`small`, `wide`, `reference`). `label_noise` is `none`, `uniform:RATE` or
    `class-dependent:RATE`. Learning rates fall to a tenth after each of `milestones`, in epochs (half and three
    quarters of all where none are given). `metrics` choose epochs and settings, the first ranks. `inner_folds` are
    those of `nested` selection.
    """

    task: str
    dataset: str | None = None
    data: str | None = None
    dataset_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    losses: tuple[str, ...] = ("all",)
    baselines: bool = True
    grids: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    equal_budget: int = 3
    learning_rates: tuple[float, ...] = (1e-1, 1e-2, 1e-3)
    weight_decays: tuple[float, ...] = (1e-3, 1e-4, 1e-5)
    hidden: tuple[int | str, ...] = ()
    activation: str = "elu"
    weights: str = "default"
    epochs: int = 100
    milestones: tuple[int, ...] = ()
    batch_size: int = 256
    optimiser: str = "sgd"
    folds: int = 5
    fold_kinds: tuple[str, ...] = ()
    fold_seed: int = 0
    label_noise: tuple[str, ...] = ("none",)
    noise_seed: int = 0
    seeds: tuple[int, ...] = (1,)
    standardise: str = "training-rows"
    joint: bool = False
    selection: str = "per-fold"
    inner_folds: int = 3
    metrics: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse values of another kind than the field's, unknown words, and lists that are empty or hold nonsense."""
        for name, hint in get_type_hints(type(self)).items():
            object.__setattr__(self, name, _fitted(name, getattr(self, name), hint))
        for name, choices in (("task", TASKS), ("standardise", STANDARDISE), ("selection", SELECTIONS)):
            if (value := getattr(self, name)) not in choices:
                msg = f"{_typed(name)} is {value!r}. {suggest(value, choices)}"
                raise ValueError(msg)
        if self.dataset is None and self.data is None:
            msg = "Which data? Give --dataset with a name of `pb ls labelled`, or --data with your own file."
            raise ValueError(msg)
        for name in ("losses", "learning_rates", "weight_decays", "label_noise", "seeds"):
            if not getattr(self, name):
                msg = f"{_typed(name)} is empty: an experiment needs at least one."
                raise ValueError(msg)
        if self.inner_folds < 2:
            msg = f"inner-folds is {self.inner_folds}; nested selection needs at least 2."
            raise ValueError(msg)
        for name in ("epochs", "batch_size", "equal_budget"):
            if getattr(self, name) < 1:
                msg = f"{_typed(name)} is {getattr(self, name)}; it has to be at least 1."
                raise ValueError(msg)
        if min(self.learning_rates) <= 0 or min(self.weight_decays) < 0:
            msg = "Learning rates have to be above 0, weight decays at least 0."
            raise ValueError(msg)
        if self.task == "regression" and self.label_noise != ("none",):
            msg = "Label noise replaces classes; it needs --task classification."
            raise ValueError(msg)


def is_supervised(path: Path | None, task: str | None) -> bool:
    """Whether an experiment is one of the supervised arm: a task was typed, or its file has one."""
    return task is not None or (path is not None and "task" in parse_toml(path))


def read_supervised(path: Path | None, overrides: dict[str, Any]) -> SupervisedExperiment:
    """Read a TOML file, if one is given, and let the flags that were typed override it.

    Keys are the fields of `SupervisedExperiment` with hyphens (`learning-rates = [0.1, 0.01]`, a table `[grids.far]`).
    """
    values = file_values(path, SupervisedExperiment, "supervised experiment")
    grids = values.get("grids", {})
    if not isinstance(grids, dict) or not all(isinstance(each, dict) for each in grids.values()):
        msg = f"grids is {grids!r}; it has to be a table of tables, such as [grids.far]."
        raise ValueError(msg)
    typed = overrides.get("grids", {})
    values |= overrides
    values["grids"] = {loss: grids.get(loss, {}) | typed.get(loss, {}) for loss in grids | typed}
    if "task" not in values:
        msg = "Which task? Give --task regression or --task classification."
        raise ValueError(msg)
    return SupervisedExperiment(**values)


def _fitted(name: str, value: Any, hint: Any) -> Any:
    """Return a value as its field wants it: one value stands for a list of one, a whole number for a number."""
    if get_origin(hint) is tuple:
        values = tuple(value) if isinstance(value, list | tuple) else (value,)
        return (
            tuple(dict.fromkeys(_fitted(name, each, get_args(hint)[0]) for each in values))
            if name != "hidden"
            else values
        )
    if get_origin(hint) is dict:
        if not isinstance(value, dict):
            msg = f"{_typed(name)} is {value!r}; it has to be a table of names and values."
            raise ValueError(msg)
        return value
    kinds = get_args(hint) or (hint,)
    if float in kinds and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not any(isinstance(value, kind) and not (kind is int and isinstance(value, bool)) for kind in kinds):
        words = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
        msg = f"{_typed(name)} is {value!r}; write {words.get(kinds[0], 'something else')}."
        raise ValueError(msg)
    return value


def _typed(name: str) -> str:
    """Write a field as it is typed."""
    return name.replace("_", "-")

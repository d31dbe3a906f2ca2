"""What a user asks for: one experiment, from flags or from a TOML file."""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

from pb_cli.names import suggest

__all__ = ["PRESETS", "Experiment", "Preset", "file_values", "parse_toml", "read_experiment"]


@dataclasses.dataclass(frozen=True)
class Preset:
    """How much a run costs: genes, a cap on epochs and a least batch size (None: what suits data set and model)."""

    words: str
    n_genes: int | None = None
    max_epochs: int | None = None
    batch_size: int | None = None


PRESETS = {
    "full": Preset("as many genes as suit the data set, every model with its own training"),
    "quick": Preset(
        "2,000 genes, at most 8 epochs, batches of at least 128 cells: a first look, not numbers to publish",
        n_genes=2000,
        max_epochs=8,
        batch_size=128,
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """A grid: one data set, one kind of split, some models, contexts to hold out, seeds.

    `dataset` is a registered name (pbmc where neither it nor `data` is given), `data` the path of its file or of a
    user's own; `perturbations` and `doses` keep some of them, empty keeps all. `models` are names, `name:profile`,
    `all` or `baselines`; `hold_out` are names or indices of contexts, or `all`; `settings` overrides settings by model
    name; `keys` describes a user's own file.
    """

    dataset: str | None = None
    data: str | None = None
    keys: dict[str, Any] = dataclasses.field(default_factory=dict)
    dataset_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    perturbations: tuple[str, ...] = ()
    doses: tuple[float, ...] = ()
    models: tuple[str, ...] = ("baselines",)
    baselines: bool = True
    hold_out: tuple[str, ...] = ("all",)
    seeds: tuple[int, ...] = (1,)
    preset: str = "full"
    n_genes: int | None = None
    fit_on: str = "training"
    split: str = "leave-context-out"
    split_seed: int = 0
    validation_fraction: float = 0.1
    target_controls: str = "train+input"
    controls: str = "shared"
    settings: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse an unknown preset, and a grid without models, contexts or seeds."""
        if self.preset not in PRESETS:
            msg = f"No preset {self.preset!r}. {suggest(self.preset, PRESETS)}"
            raise ValueError(msg)
        for name in sorted(_PLURAL):
            if not getattr(self, name) and name not in _MAY_BE_EMPTY:
                msg = f"{name.replace('_', '-')} is empty: an experiment needs at least one."
                raise ValueError(msg)
            object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name))))
        if self.keys and (self.dataset is not None or self.data is None):
            msg = "Keys describe your own file, but a registered data set was asked for: give data, or drop the keys."
            raise ValueError(msg)

    def check_types(self) -> None:
        """Refuse values of another kind than the field's, which a TOML file may hold."""
        for field in dataclasses.fields(self):
            kind, value = _KINDS.get(field.name, type(field.default)), getattr(self, field.name)
            values = value if isinstance(value, tuple) else (value,)
            if field.name not in _TABLES and not all(v is field.default or _is(v, kind) for v in values):
                msg = f"{field.name.replace('_', '-')} is {value!r}; write {_WORDS[kind]}."
                raise ValueError(msg)


def read_experiment(path: Path | None, overrides: dict[str, Any]) -> Experiment:
    """Read a TOML file, if one is given, and let the flags that were typed override it.

    Keys are the fields of `Experiment` (`hold-out = "all"`, `seeds = [1, 2]`, a table `[settings.scgen]`). Tables are
    merged name by name.
    """
    values = file_values(path, Experiment, "experiment")
    tables = {name: _merged(name, values.get(name, {}), overrides.get(name, {})) for name in _TABLES}
    values |= overrides | tables
    complete: dict[str, Any] = {name: _as_tuple(v) if name in _PLURAL else v for name, v in values.items()}
    if "hold_out" in complete:  # an index may be written as a number
        complete["hold_out"] = tuple(str(unit) if _is(unit, int) else unit for unit in complete["hold_out"])
    experiment = Experiment(**complete)
    experiment.check_types()
    return experiment


def file_values(path: Path | None, kind: type, noun: str) -> dict[str, Any]:
    """Read an experiment file as fields of its kind; a path of data in it starts at the file."""
    known = [field.name.replace("_", "-") for field in dataclasses.fields(kind)]
    values: dict[str, Any] = {}
    for key, value in (parse_toml(path) if path else {}).items():
        name = key.replace("_", "-")
        if name not in known:
            msg = f"{path}: no {noun} has a key {key!r}. {suggest(key, known)}"
            raise ValueError(msg)
        values[name.replace("-", "_")] = value
    if isinstance(values.get("data"), str) and path:
        values["data"] = str(path.parent / values["data"])
    return values


_PLURAL = {"perturbations", "doses", "models", "hold_out", "seeds"}
_MAY_BE_EMPTY = {"perturbations", "doses"}
_TABLES = {"keys", "dataset_options", "settings"}
_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
_KINDS: dict[str, type] = {
    "dataset": str,
    "data": str,
    "n_genes": int,
    "perturbations": str,
    "doses": float,
    "models": str,
    "hold_out": str,
    "seeds": int,
}


def _merged(name: str, table: Any, typed: dict[str, Any]) -> dict[str, Any]:
    """Put what was typed over a file's table, setting by setting; a hyphen in a name is an underscore."""
    wanted = "a table of names and values" if name != "settings" else "a table of tables, such as [settings.scgen]"
    if not isinstance(table, dict) or (name == "settings" and not all(isinstance(t, dict) for t in table.values())):
        msg = f"{name.replace('_', '-')} is {table!r}; it has to be {wanted}."
        raise ValueError(msg)
    if name == "settings":
        return {model: _underscored(table.get(model, {})) | typed.get(model, {}) for model in table | typed}
    return _underscored(table) | typed


def _underscored(table: dict[str, Any]) -> dict[str, Any]:
    """Write names as Python does."""
    return {name.replace("-", "_"): value for name, value in table.items()}


def _is(value: Any, kind: type) -> bool:
    """Whether a value is of a kind; a whole number is a number, a truth value is not."""
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _as_tuple(value: Any) -> tuple[Any, ...]:
    """Let one value stand for a list of one."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def parse_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file; a syntax error names the file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        msg = f"{path} is not valid TOML: {error}."
        raise ValueError(msg) from error

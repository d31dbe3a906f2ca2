"""Flags that several verbs share: which data, what its columns mean, how scores are made."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pb_eval.metric import DRAWS

from pb_cli.completing import complete
from pb_cli.experiment import PRESETS

if TYPE_CHECKING:
    from pb_data import PerturbationData

__all__ = [
    "KEY_FLAGS",
    "bootstrap_option",
    "condition_options",
    "data_options",
    "names_option",
    "open_data",
    "out_options",
    "out_path",
    "parse_options",
    "parse_settings",
    "split_options",
]

KEY_FLAGS = (
    "context_key",
    "perturbation_key",
    "control",
    "scale",
    "dose_key",
    "control_dose",
    "batch_key",
    "separator",
)

bootstrap_option = click.option(
    "--bootstrap",
    default=DRAWS,
    show_default=True,
    type=click.IntRange(min=0),
    help="Resamples of the cells for the interval of each score; 0: none.",
)


def data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a data set and the flags that describe a user's own file."""
    return _added(
        command,
        click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the data set."),
        click.option("--context-key", help="obs column of the contexts (cell type, species, patient)."),
        click.option("--perturbation-key", help="obs column of the perturbations."),
        click.option("--control", help="Label of control cells in the perturbation column."),
        click.option("--scale", type=click.Choice(["counts", "log1p"]), help="What X holds; it is never guessed."),
        click.option("--dose-key", help="obs column of the doses, if there are any."),
        click.option("--control-dose", type=float, help="Dose of control cells.  [default: 0]"),
        click.option("--batch-key", help="obs column of donors or batches, if there is one."),
        click.option("--separator", help="Text between the parts of a combined perturbation's label, such as +."),
    )


def condition_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags that choose conditions of the data."""
    return _added(
        command,
        click.option(
            "--perturbation", "perturbations", multiple=True, help="Keep only these perturbations.  [default: all]"
        ),
        click.option("--dose", "doses", multiple=True, help="Keep only these doses, such as 1,10.  [default: all]"),
    )


def split_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags that say what a benchmark costs, on which genes, and how it is split."""
    splits = complete("splits")
    return _added(
        command,
        click.option("--preset", type=click.Choice(list(PRESETS)), help="How much it costs.  [default: full]"),
        click.option("--n-genes", type=click.IntRange(min=1), help="Number of highly variable genes."),
        click.option("--fit-on", type=click.Choice(["training", "all-cells"]), help="Cells to fit preprocessing on."),
        click.option("--split", shell_complete=splits, help="A split of `pb ls splits`.  [default: leave-context-out]"),
        click.option("--split-seed", type=int, help="Seed of the split.  [default: 0]"),
        click.option("--target-controls", help="The held-out context's controls: train+input or input-only."),
        click.option("--controls", help="Input and reference controls: shared or disjoint."),
    )


def names_option(what: str, words: str) -> Callable[..., Any]:
    """Take names of models or metrics, in lists with commas or repeated."""
    return click.option(f"--{what}", f"{what}s", multiple=True, shell_complete=complete(f"{what}s"), help=words)


def _added(command: Callable[..., Any], *flags: Callable[..., Any]) -> Callable[..., Any]:
    """Add flags in the order in which the help is to list them."""
    for flag in reversed(flags):
        command = flag(command)
    return command


def out_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Take what is written as an argument or, like other verbs, with --out."""
    path = click.Path(path_type=Path)
    command = click.option("--out", "out_flag", type=path, help="The same as OUT.")(command)
    return click.argument("out", required=False, type=path)(command)


def out_path(flags: dict[str, Any]) -> Path:
    """Read the one place that was given.

    Raises
    ------
    UsageError
        If none or both were.
    """
    given: list[Path] = [flags[name] for name in ("out", "out_flag") if flags[name] is not None]
    if len(given) != 1:
        msg = f"OUT is given {'twice' if given else 'nowhere'}: name what to write once, as OUT or with --out."
        raise click.UsageError(msg)
    return given[0]


def keys_from_flags(flags: dict[str, Any]) -> dict[str, Any]:
    """Translate the flags to the fields of `pb_data.Keys`, leaving out those not given."""
    return {name.removesuffix("_key"): flags[name] for name in KEY_FLAGS if name in flags and flags[name] is not None}


def open_data(
    dataset: str | None, data: str | None, keys: dict[str, Any], options: dict[str, Any]
) -> "PerturbationData":
    """Load a registered data set by name (`data` is then its file), or a user's own file.

    A user's file needs its columns named, unless `pb data prepare` wrote them into it.
    """
    from pb_data import Keys, load, load_h5ad

    if dataset is not None or data is None:
        return load(dataset or "pbmc", path=data, **options)
    if not keys:
        return load_h5ad(Path(data))
    required = {"context", "perturbation", "control", "scale"} - set(keys)
    if required:
        keys = _written_keys(Path(data), required) | keys
    return load_h5ad(Path(data), Keys.from_dict(keys))


def _written_keys(path: Path, required: set[str]) -> dict[str, Any]:
    """Take what `pb data prepare` wrote into a file; where there is nothing, name the flags that are missing."""
    from pb_data import DataFileError
    from pb_data.datasets.files import existing, read_cells
    from pb_data.datasets.own import written_keys

    cells = read_cells(existing(path))
    try:
        return written_keys(cells, path).to_dict()
    except DataFileError as error:
        flags = ", ".join(f"--{flag.replace('_', '-')}" for flag in KEY_FLAGS if flag.removesuffix("_key") in required)
        msg = f"{path} needs its columns named: {flags} missing."
        raise ValueError(msg) from error


def parse_options(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Read `NAME=VALUE` pairs, the options of a data set; values are written as in TOML."""
    options = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            msg = f"--option {pair!r} was not understood; write it like --option megakaryocytes=true."
            raise ValueError(msg)
        options[name.replace("-", "_")] = _value(text)
    return options


def parse_settings(pairs: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Read `MODEL.SETTING=VALUE` pairs; values are written as in TOML, a bare word is a string."""
    settings: dict[str, dict[str, Any]] = {}
    for pair in pairs:
        target, equals, text = pair.partition("=")
        model, dot, name = target.rpartition(".")
        if not (equals and dot and model and name):
            msg = f"--set {pair!r} was not understood; write it like --set scgen.max_epochs=50."
            raise ValueError(msg)
        settings.setdefault(model, {})[name.replace("-", "_")] = _value(text)
    return settings


def _value(text: str) -> Any:
    """Read one TOML value."""
    import tomllib

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text

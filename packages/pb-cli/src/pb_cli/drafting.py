"""The text of an experiment file, commented with what was found in the data."""

import json
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pb_data import LabelledData, PerturbationData

__all__ = ["cells_draft", "choose_split", "labels_draft", "toml"]

MANY = 12  # units of a split that are not all held out unless asked
FEW = 5
LISTED = 30
WIDTH = 110
LOSSES = {"regression": ("far", "mae", "huber"), "classification": ("ce", "ldr", "gce")}


def toml(value: Any) -> str:
    """Write a text, number, truth value or list of them as TOML does.

    >>> print(toml(["B cells", 1.5, True]))
    ["B cells", 1.5, true]
    """
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def cells_draft(data: "PerturbationData", where: dict[str, Any], command: str) -> str:
    """Write an experiment on perturbed cells: where they lie, what they hold, a question and models that suit it."""
    size = f"{data.adata.n_obs:,} cells x {data.adata.n_vars:,} genes"
    split = choose_split(data)
    sections = [
        _head(command, size),
        [f"{name} = {toml(where[name])}" for name in ("dataset", "data") if name in where],
        _found(data),
        _question(data, split),
        *_models(split),
        *_tables(where),
    ]
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def _head(command: str, size: str) -> list[str]:
    return [f"# Written by `{command}` after looking at the data: {size}.", "# Run it with: pb bench THIS_FILE"]


def _question(data: "PerturbationData", split: str) -> list[str]:
    """Say what is held out; contexts are listed already."""
    from pb_data import split_units

    units = split_units(split, data)
    listed = [] if split == "leave-context-out" else _listed(f"There are {len(units)} units", units)
    held_out = "all" if len(units) <= MANY else units[:FEW]
    head = "# What is held out (`pb ls splits`), and which units: names, or all."
    return [head, f"split = {toml(split)}", *listed, f"hold-out = {toml(held_out)}"]


def _models(split: str) -> list[list[str]]:
    """Name models made for a split, how much they train, and where their settings go."""
    from pb_cli.planning import suited_models

    suited = suited_models(split)
    networks = [name for name in ("scgen",) if name in suited]
    chosen = [
        *_wrapped(f"Made for this split: {', '.join(suited)}."),
        f"models = {toml(['baselines', *networks])}",
        "seeds = [1]                # of the models; several show the spread",
    ]
    cost = [
        "# quick is a first look; numbers to quote need full, with more genes and every model's own training.",
        'preset = "quick"',
        "# n-genes = 2000",
    ]
    return [chosen, cost, *([f"# [settings.{name}]", "# max_epochs = 50"] for name in networks)]


def _tables(where: dict[str, Any]) -> list[list[str]]:
    """Write options of the data set and meanings of its columns, if there are any."""
    tables = {name: where[name] for name in ("dataset-options", "keys") if where.get(name)}
    return [
        [f"[{name}]", *(f"{key} = {toml(value)}" for key, value in table.items())] for name, table in tables.items()
    ]


def choose_split(data: "PerturbationData") -> str:
    """Choose the first split whose question the data can answer: contexts, combinations, perturbations, doses."""
    from pb_data import split_units

    for split, least in (
        ("leave-context-out", 2),
        ("leave-combination-out", 1),
        ("leave-perturbation-out", 3),
        ("leave-dose-out", 3),
    ):
        try:
            units = split_units(split, data)
        except ValueError:  # the data have no such units
            continue
        if len(units) >= least:
            return split
    return "random"


def _found(data: "PerturbationData") -> list[str]:
    """List contexts, perturbations and doses with their numbers of cells, as comments."""
    from pb_data import label_array

    keys, obs = data.keys, data.adata.obs
    control = keys.is_control(obs)
    contexts, labels = label_array(obs, keys.context), label_array(obs, keys.perturbation)
    rows = [
        f"{name}: {int((control & (contexts == name)).sum()):,} control, "
        f"{int((~control & (contexts == name)).sum()):,} perturbed"
        for name in sorted(set(contexts))
    ]
    lines = _listed(f"Contexts ({keys.context}), cells", rows)
    names = sorted(set(labels[~control]))
    lines += _listed(f"Perturbations ({keys.perturbation}), control is {toml(keys.control)}", names)
    kept = [f"perturbations = {toml(names[:FEW])}"] if len(names) > 1 else []
    if keys.dose is not None:
        doses = sorted({float(dose) for dose in obs[keys.dose][~control]})
        lines += _listed(f"Doses ({keys.dose}), control is {keys.control_dose:g}", [f"{dose:g}" for dose in doses])
        kept += [f"doses = {toml(doses[:FEW])}"]
    return lines + [f"# {line}    # keeps these only" for line in kept]


def _listed(title: str, names: Iterable[object]) -> list[str]:
    """Write a list as comments; a name with a line break is written on one line."""
    shown = [json.dumps(text, ensure_ascii=False)[1:-1].replace('\\"', '"') for text in map(str, names)]
    more = [f"and {len(shown) - LISTED} more"] if len(shown) > LISTED else []
    return [f"# {title}:", *(line for name in (*shown[:LISTED], *more) for line in _wrapped(name, "  "))]


def _wrapped(text: str, indent: str = "") -> list[str]:
    """Write one comment over several lines, breaking it between words only."""
    more = indent + "  " if indent else ""
    settings: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
    return textwrap.wrap(text, WIDTH, initial_indent=f"# {indent}", subsequent_indent=f"# {more}", **settings)


def labels_draft(data: "LabelledData", where: dict[str, Any], command: str) -> str:
    """Write an experiment that predicts labels: what can be predicted, losses that suit it, how it is validated."""
    size = f"{data.X.shape[0]:,} samples x {data.X.shape[1]:,} features"
    losses = LOSSES[data.task]
    sections = [
        _head(command, size),
        [f"{name} = {toml(where[name])}" for name in ("task", "dataset", "data") if name in where],
        [*_listed("Labels", _targets(data)), *_groups(data)],
        [
            "# Names of `pb ls losses`, or all.",
            f"losses = {toml(losses)}",
            "seeds = [1]                # of the network; several show the spread",
        ],
        _validation(data),
        *_tables(where),
        ["# Settings of a loss to try, in place of its own grid.", f"# [grids.{losses[-1]}]"],
    ]
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def _validation(data: "LabelledData") -> list[str]:
    """Say how settings are chosen, among which."""
    lines = [
        "# How it is validated: kinds of `pb ls folds`. Each fold's validation rows choose among these settings.",
        f"fold-kinds = {toml(_fold_kind(data))}",
        "folds = 5",
        "learning-rates = [0.1, 0.01, 0.001]",
        "weight-decays = [0.001, 0.0001, 0.00001]",
        "epochs = 100",
    ]
    noise = '# label-noise = ["none", "uniform:0.3"]    # labels replaced at random, but for the test rows'
    return [*lines, noise] if data.task == "classification" else lines


def _targets(data: "LabelledData") -> list[str]:
    """Describe each target: range, or classes with their numbers of samples."""
    import numpy as np

    if data.task == "regression":
        low, high = np.nanmin(data.y, axis=0), np.nanmax(data.y, axis=0)
        return [f"{name}: {a:.4g} to {b:.4g}" for name, a, b in zip(data.targets, low, high, strict=True)]
    return [
        f"{name}: " + ", ".join(f"{label} ({(column == number).sum():,})" for number, label in enumerate(classes))
        for name, classes, column in zip(data.targets, data.classes, data.y.T, strict=True)
    ]


def _groups(data: "LabelledData") -> list[str]:
    """Say how samples are grouped, and which are for testing."""
    lines = [] if data.groups is None else [f"# Groups ({data.group_name}): {len(set(data.groups)):,}."]
    return lines + ([] if data.test is None else [f"# Fixed test rows: {int(data.test.sum()):,}."])


def _fold_kind(data: "LabelledData") -> str:
    """Choose whole groups where these can be held out, strata for classes, rows at random."""
    from pb_data import make_folds

    usual = "stratified" if data.task == "classification" else "cells"
    if data.groups is None:
        return usual
    try:
        return "genes" if len(make_folds("genes", data, n_folds=5, seed=0).test) else usual
    except ValueError:  # the groups are what is predicted, or too few
        return usual

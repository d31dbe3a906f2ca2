"""Which cells of one or several files are predicted, measured and control, condition by condition.

Three layouts are read, all of them `.h5ad`:

- one file whose `obs` tells control, imputed (or predicted) and stimulated cells apart in one column;
- a predicted and a measured file with one perturbation column; control cells of the measured file, or of a third file,
  are the reference, and those a prediction brings along are not used;
- a predicted, a measured and a control file of one condition, without any such column.

Columns and labels that are not named are taken where only one fits, and `Layout.notes` says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pb_eval._checks import near
from pb_eval.artefact import ArtefactError
from pb_eval.columns import (
    Columns,
    common_column,
    control_label,
    group_column,
    group_labels,
    labels,
    numbers,
    some,
)
from pb_eval.conditions import Condition, Group, Layout, Part, by_condition, by_context
from pb_eval.usual import CONTEXTS, CONTROLS, DOSES, PERTURBATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pb_eval.cellfile import CellFile

__all__ = ["Columns", "Condition", "Group", "Layout", "Part", "arrange"]

_LEAST = 2


class _Roles(NamedTuple):
    """Rows of each role, and the perturbation's name where no column tells."""

    predicted: Part
    truth: Part
    control: Part
    name: str


def arrange(prediction: CellFile, truth: CellFile | None, control: CellFile | None, columns: Columns) -> Layout:
    """Find the cells of each condition in one, two or three files.

    Parameters
    ----------
    prediction, truth, control
        Open files; without `truth` the prediction's file holds the measured cells too, without `control` the measured
        file holds the control cells.
    columns
        Names of columns and labels; what is None is looked for.

    Raises
    ------
    ArtefactError
        In one sentence: a column or label that is missing or could be several, groups without cells.
    """
    notes: list[str] = []
    columns = _declared(columns, prediction, truth or prediction, notes)
    if truth is None:
        roles, columns = _one_file(prediction, control, columns, notes)
    else:
        roles, columns = _two_files(prediction, truth, control, columns, notes)
    for part, what in ((roles.predicted, "predicted"), (roles.truth, "measured"), (roles.control, "control")):
        if not part.rows.size:
            msg = f"{part.file.path} holds no {what} cells as its columns are read here: {_reading(columns)}."
            raise ArtefactError(msg)
    columns = _conditions_by(roles, columns, notes)
    return _matched(roles, columns, notes)


def _declared(columns: Columns, prediction: CellFile, measured: CellFile, notes: list[str]) -> Columns:
    """Take what is not said from what the files say of themselves, the measured one first."""
    found: dict[str, Any] = {}
    for name in ("context", "perturbation", "dose"):
        named = [file.declared.get(f"{name}_key") for file in (measured, prediction)]
        said = [column for column in named if column in measured.obs and column in prediction.obs]
        if getattr(columns, name) is None and said:
            found[name] = said[0]
    if columns.control is None and "control" in measured.declared:
        found["control"] = str(measured.declared["control"])
    if found:
        notes.append(f"Declared in the files: {', '.join(f'{name} {value!r}' for name, value in found.items())}.")
    return columns._replace(**found)


def _one_file(file: CellFile, control: CellFile | None, columns: Columns, notes: list[str]) -> tuple[_Roles, Columns]:
    """Tell the groups of one file apart by one column."""
    column = group_column(file, columns, notes)
    predicted, measured, base = group_labels(file, column, columns, needs_control=control is None, notes=notes)
    found = labels(file, column)
    rows = {label: np.flatnonzero(found == label) for label in (predicted, measured, base) if label is not None}
    own = Part(file, rows[base]) if control is None and base is not None else None
    controls = own or _all_control(control or file, columns._replace(control=None), notes)
    roles = _Roles(Part(file, rows[predicted]), Part(file, rows[measured]), controls, measured)
    return roles, columns._replace(group=column)


def _two_files(
    prediction: CellFile, truth: CellFile, control: CellFile | None, columns: Columns, notes: list[str]
) -> tuple[_Roles, Columns]:
    """Tell control from perturbed cells in a predicted and a measured file."""
    if columns.group is not None:
        msg = (
            f"{columns.group!r} is named as the column that tells predicted from measured cells, but the measured ones "
            "are in a file of their own: leave one of --group-key and --truth out."
        )
        raise ArtefactError(msg)
    perturbation = common_column(
        "perturbation", columns.perturbation, [truth], PERTURBATIONS, notes, holding=columns.control
    )
    if perturbation is None:
        if control is None:
            msg = (
                f"{truth.path} has no column known to hold perturbations, so control cells cannot be told: name it "
                f"with --perturbation-key, or give --control FILE (obs columns: {some(truth.obs.columns)})."
            )
            raise ArtefactError(msg)
        both = [Part(file, np.arange(file.n_cells)) for file in (prediction, truth)]
        return _Roles(both[0], both[1], _all_control(control, columns, notes), truth.path.stem), columns
    columns = columns._replace(perturbation=perturbation)
    base = control_label([truth] if control is None else [truth, control], columns, notes, needed=control is None)
    columns = columns._replace(control=base)
    is_control = _is_control(truth, columns)
    measured = Part(truth, np.flatnonzero(~is_control))
    controls = Part(truth, np.flatnonzero(is_control)) if control is None else _all_control(control, columns, notes)
    if not controls.rows.size and perturbation in prediction.obs and _is_control(prediction, columns).any():
        msg = (
            f"{truth.path} holds no control cells, and those of {prediction.path} may be a model's own: name a file of "
            "measured control cells with --control FILE."
        )
        raise ArtefactError(msg)
    names = sorted(set(labels(truth, perturbation)[measured.rows]))
    return _Roles(_predicted(prediction, columns, names, notes), measured, controls, names[0] if names else ""), columns


def _predicted(prediction: CellFile, columns: Columns, names: Sequence[str], notes: list[str]) -> Part:
    """Take the predicted cells of a file, without the control cells that it brings along."""
    column = columns.perturbation
    if column not in prediction.obs:
        if len(names) != 1:
            msg = (
                f"{prediction.path} has no column {column!r}{near(str(column), prediction.obs.columns)}, and the "
                f"measured file holds {len(names)} perturbations ({some(names)}): add the column."
            )
            raise ArtefactError(msg)
        notes.append(f"{prediction.path} has no column {column!r}: all its cells are taken to predict {names[0]!r}.")
        return Part(prediction, np.arange(prediction.n_cells))
    copied = _is_control(prediction, columns)
    if copied.any():
        notes.append(
            f"{int(copied.sum()):,} control cells of {prediction.path} are not used: the reference is measured control."
        )
    return Part(prediction, np.flatnonzero(~copied))


def _is_control(file: CellFile, columns: Columns) -> NDArray[np.bool_]:
    """Mark control cells: those with the control label, or with the control dose."""
    control: NDArray[np.bool_] = labels(file, str(columns.perturbation)) == columns.control
    if columns.dose is not None and columns.dose in file.obs:
        control |= numbers(file, columns.dose) == columns.control_dose
    return control


def _all_control(file: CellFile, columns: Columns, notes: list[str]) -> Part:
    """Take the control cells of a file of its own: all, unless it has the control label beside others."""
    column = columns.perturbation if columns.perturbation in file.obs else None
    if column is None:
        held = [name for name in file.obs.columns if str(name).casefold() in PERTURBATIONS]
        column = held[0] if len(held) == 1 else None
    if column is None:
        return Part(file, np.arange(file.n_cells))
    found = labels(file, column)
    wanted = {columns.control} if columns.control is not None else {x for x in set(found) if x.casefold() in CONTROLS}
    rows = np.flatnonzero(np.isin(found, list(wanted)))
    if not rows.size or len(rows) == file.n_cells:
        return Part(file, np.arange(file.n_cells))
    notes.append(f"{len(rows):,} of {file.n_cells:,} cells of {file.path} are control ({column} is {some(wanted)}).")
    return Part(file, rows)


def _conditions_by(roles: _Roles, columns: Columns, notes: list[str]) -> Columns:
    """Settle which columns tell conditions apart."""
    files = list({id(part.file): part.file for part in roles[:2]}.values())
    everywhere = list({id(part.file): part.file for part in roles[:3]}.values())
    taken = {columns.group, columns.perturbation} - {None}
    context = common_column("context", columns.context, everywhere, CONTEXTS, notes, taken=taken)
    dose = common_column("dose", columns.dose, files, DOSES, notes, taken=taken | {context})
    perturbation = columns.perturbation
    if perturbation is None:
        perturbation = common_column("perturbation", None, files, PERTURBATIONS, notes, taken=taken | {context, dose})
    elif any(perturbation not in file.obs for file in files):
        perturbation = None
    return columns._replace(context=context, dose=dose, perturbation=perturbation)


def _matched(roles: _Roles, columns: Columns, notes: list[str]) -> Layout:
    """Pair the predicted with the measured cells of each condition and the control cells of its context."""
    predicted, truth = (by_condition(part, columns, roles.name) for part in (roles.predicted, roles.truth))
    controls = by_context(roles.control, columns)
    measured = {
        condition: (part, controls[condition.context])
        for condition, part in truth.items()
        if condition.context in controls and min(len(part.rows), len(controls[condition.context].rows)) >= _LEAST
    }
    missing = {condition: _why_not(condition, predicted, truth, controls) for condition in predicted | truth}
    left_out = {condition: why for condition, why in missing.items() if why is not None}
    groups = [
        Group(condition, part, *measured[condition])
        for condition, part in predicted.items()
        if condition not in left_out
    ]
    if not groups:
        first, why = next(iter(left_out.items()))
        more = ", nor can any other" * (len(left_out) > 1)
        msg = (
            f"{roles.predicted.file.path}: {first.words()} has {why} and cannot be scored{more}: two cells of each "
            f"group are needed ({_reading(columns)})."
        )
        raise ArtefactError(msg)
    return Layout(groups, measured, notes + _gaps(left_out))


def _why_not(
    condition: Condition, predicted: Mapping[Any, Part], truth: Mapping[Any, Part], controls: Mapping[str, Part]
) -> str | None:
    """Say which groups of a condition have too few cells to be scored."""
    groups = {
        "predicted": predicted.get(condition),
        "measured": truth.get(condition),
        "control": controls.get(condition.context),
    }
    sizes = {what: 0 if part is None else len(part.rows) for what, part in groups.items()}
    poor = [f"{size or 'no'} {what} cell{'s' * (size == 0)}" for what, size in sizes.items() if size < _LEAST]
    return " and ".join(poor) or None


def _gaps(left_out: Mapping[Condition, str]) -> list[str]:
    """Say what is left out, a sentence a reason."""
    found = []
    for why in dict.fromkeys(left_out.values()):
        names = [condition.words() for condition, reason in left_out.items() if reason == why]
        found.append(f"Not scored, having {why}: {some(names, quoted=False)}.")
    return found


def _reading(columns: Columns) -> str:
    """Say how the columns were read."""
    named = {
        "group": columns.group,
        "context": columns.context,
        "perturbation": columns.perturbation,
        "dose": columns.dose,
        "control label": columns.control,
    }
    said = ", ".join(f"{what} {name!r}" for what, name in named.items() if name is not None)
    return f"columns and labels read: {said or 'none'}"

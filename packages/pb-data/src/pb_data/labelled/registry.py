"""Labelled data sets by name; reading this file imports neither anndata nor pandas."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pb_data.hashing import file_sha256, text_sha256
from pb_data.labelled.cards import LabelledCard, LabelledData, LabelledDataset, Task
from pb_data.named import complete_options, look_up
from pb_data.nearest import nearest
from pb_data.problems import DataFileError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

__all__ = ["LABELLED", "get_labelled", "labelled_card", "labelled_names", "load_labelled", "load_labelled_source"]

LABELLED: dict[str, str] = {
    "papalexi": "pb_data.labelled.papalexi:PAPALEXI",
    "akana": "pb_data.labelled.akana:AKANA",
    "concrete": "pb_data.labelled.tabular:CONCRETE",
    "wine": "pb_data.labelled.tabular:WINE",
    "parkinson-total": "pb_data.labelled.tabular:PARKINSON_TOTAL",
    "parkinson-motor": "pb_data.labelled.tabular:PARKINSON_MOTOR",
    "letter": "pb_data.labelled.tabular:LETTER",
}


def labelled_names() -> list[str]:
    """Return the names of all labelled data sets.

    Examples
    --------
    >>> "concrete" in labelled_names()
    True
    """
    return list(LABELLED)


def get_labelled(name: str) -> LabelledDataset:
    """Return a labelled set's card and reader.

    Raises
    ------
    ValueError
        Where no labelled set has this name; the nearest names are suggested.
    """
    dataset: LabelledDataset = look_up("there is no labelled data set", name, LABELLED)
    return dataset


def labelled_card(name: str) -> LabelledCard:
    """Return what is known of a labelled set without reading it.

    Raises
    ------
    ValueError
        Where no labelled set has this name.

    Examples
    --------
    >>> labelled_card("concrete").tasks
    ('regression',)
    """
    return get_labelled(name).card


def load_labelled(name: str, *, task: Task, path: str | PathLike[str] | None = None, **options: Any) -> LabelledData:
    """Read a registered labelled set.

    Parameters
    ----------
    path
        The file or folder, for sets that are not embedded.
    options
        The set's own options, such as `outcome` of `papalexi`.

    Raises
    ------
    ValueError
        Where the name, the task or an option is unknown to the set.
    DataFileError
        Where a file is needed and not given, cannot be read, or is another one than it should be.
    FileNotFoundError
        Where the path leads nowhere.

    Examples
    --------
    >>> data = load_labelled("concrete", task="regression")
    >>> data.X.shape, int(data.test.sum())
    ((1030, 8), 206)
    """
    dataset = get_labelled(name)
    require_task(name, task, dataset.card.tasks)
    options = complete_options(dataset.card.name, dataset.read, options)
    files = find_files(dataset, path)
    data = dataset.read(files, task, **options)
    checksum = joint_sha256(files) if files else dataset.card.sha256
    source = {
        "dataset": name,
        "name": name,
        "task": task,
        "path": None if path is None else str(Path(path).expanduser().absolute()),
        "sha256": checksum,
        "options": options,
    }
    return data._replace(source=source)


def require_task(name: str, task: str, tasks: Sequence[str]) -> None:
    """Raise where a set has no labels for a task."""
    if task not in get_args(Task):
        msg = f"task is {task!r}{nearest(task, get_args(Task))} (choose from: {', '.join(get_args(Task))})"
        raise ValueError(msg)
    if task not in tasks:
        able = [other for other in LABELLED if task in labelled_card(other).tasks]
        msg = f"data set {name!r} has labels for {' and '.join(tasks)}, not for {task}; {', '.join(able)} have"
        raise ValueError(msg)


def find_files(dataset: LabelledDataset, path: str | PathLike[str] | None) -> list[Path]:
    """Return the files behind a path; none where the set is embedded."""
    card = dataset.card
    if dataset.files is None:
        if path is not None:
            msg = f"data set {card.name!r} is embedded and takes no file; leave the path (--data) out"
            raise ValueError(msg)
        return []
    if path is None:
        msg = (
            f"data set {card.name!r} needs the files {' and '.join(card.file_names)} ({card.origin}); give their "
            f"folder with --data FOLDER, or load_labelled({card.name!r}, path=FOLDER)"
        )
        raise DataFileError(msg)
    return dataset.files(Path(path).expanduser().absolute())


def check_files_unchanged(name: str, path: str | PathLike[str], expected: str) -> None:
    """Raise a DataFileError where the files of a set, in their folder, have another joint checksum than a recipe's."""
    if (found := joint_sha256(find_files(get_labelled(name), path))) != expected:
        msg = f"{path} has changed: its sha256 is {found}, the recipe says {expected}; give the original files"
        raise DataFileError(msg)


def joint_sha256(files: Sequence[Path]) -> str:
    """Return the checksum of a file, or of several files' checksums, one a line."""
    sums = [file_sha256(file) for file in files]
    return sums[0] if len(sums) == 1 else text_sha256("\n".join(sums))


def load_labelled_source(source: dict[str, Any]) -> LabelledData:
    """Read labelled data from the recipe in `LabelledData.source`.

    Raises
    ------
    DataFileError
        Where a file is no longer the recipe's.
    ValueError
        Where this version embeds other data than the recipe's.
    FileNotFoundError
        Where a file is gone.
    """
    if source["dataset"] == "file":
        from pb_data.labelled.own import load_labelled_file

        data: LabelledData = load_labelled_file(source["path"], task=source["task"], **source["options"])
        data = data._replace(name=source["name"], source={**data.source, "name": source["name"]})
    else:
        data = load_labelled(source["dataset"], task=source["task"], path=source["path"], **source["options"])
    if (found := data.source["sha256"]) != source["sha256"]:
        if source["path"] is None:
            msg = (
                f"data set {data.name!r} of this version has sha256 {found}, the recipe says {source['sha256']}; "
                "install the version that wrote the recipe"
            )
            raise ValueError(msg)
        msg = (
            f"{source['path']} has changed: its sha256 is {found}, the recipe says {source['sha256']}; give the "
            "original file"
        )
        raise DataFileError(msg)
    return data

"""What differs between two runs beside their scores: what was asked, data, splits, versions, tasks."""

from typing import TYPE_CHECKING, Any, NamedTuple

from pb_cli.plan import Task
from pb_cli.report.material import Material

if TYPE_CHECKING:
    from pb_eval.changes import Changes

__all__ = ["Difference", "differences_of", "score_changes"]


class Difference(NamedTuple):
    """One thing that differs, and what it was and is; empty where one run does not have it."""

    what: str
    before: str
    after: str


def differences_of(before: Material, after: Material) -> list[Difference]:
    """List what differs in experiment, versions, data, splits and tasks."""
    found = [
        *_of_tables("asked", before.record["experiment"], after.record["experiment"]),
        *_of_tables("version", before.record["versions"], after.record["versions"]),
        *_of_tables("preprocessing", before.tasks[0].preprocess, after.tasks[0].preprocess),
        *_of_tables("data", _data(before), _data(after)),
        *_of_tables("split of", _splits(before), _splits(after)),
    ]
    counts = [
        ("tasks planned", len(before.tasks), len(after.tasks)),
        ("tasks done", len(before.done), len(after.done)),
    ]
    found += [Difference(what, f"{a:,}", f"{b:,}") for what, a, b in counts if a != b]
    return [*found, *_of_models(before.tasks, after.tasks)]


def _of_tables(kind: str, before: dict[str, Any], after: dict[str, Any]) -> list[Difference]:
    """Compare two tables name by name; a table within is compared by its own names."""
    found = []
    for name in dict.fromkeys([*before, *after]):
        a, b = before.get(name), after.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            found += _of_tables(f"{kind} {name}", a, b)
        elif a != b:
            found.append(Difference(f"{kind} {name}", _text(a), _text(b)))
    return found


def _text(value: Any) -> str:
    """Write a value for people."""
    if value in (None, [], {}, ()):
        return ""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _data(material: Material) -> dict[str, Any]:
    return {"name": material.dataset, "SHA-256": str(material.tasks[0].source.get("sha256") or "")[:12]}


def _splits(material: Material) -> dict[str, str]:
    """Give the beginnings of split hashes by what is held out."""
    return {task.held_out: task.split_hash[:12] for task in material.tasks}


def _of_models(before: list[Task], after: list[Task]) -> list[Difference]:
    """Compare the settings of each model, and name the models that only one run has."""
    settings = [{task.label.removesuffix(":default"): task.settings for task in tasks} for tasks in (before, after)]
    found = []
    for name in dict.fromkeys([*settings[0], *settings[1]]):
        if name in settings[0] and name in settings[1]:
            found += _of_tables(f"setting of {name}:", settings[0][name], settings[1][name])
        else:
            found.append(Difference(f"model {name}", *("planned" if name in each else "" for each in settings)))
    return found


def score_changes(before: Material, after: Material, metrics: list[str] | None, **flags: Any) -> "dict[str, Changes]":
    """Test what changed in the scores, by split; a supervised run's folds are tested as its boards test them."""
    from pb_eval.changes import changes

    found = {}
    for split in before.results["split"].unique():
        a, b = (each.results[each.results["split"] == split] for each in (before, after))
        if b.empty:
            continue
        if before.is_supervised:
            from pb_cli.supervised.scores import label_goals

            found[split] = changes(a, b, metrics, goals=label_goals(), by="context", test="paired-t", **flags)
        else:
            found[split] = changes(a, b, metrics, **flags)
    return found

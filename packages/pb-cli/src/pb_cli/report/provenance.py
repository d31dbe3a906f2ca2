"""Where a run comes from and how to repeat it: plan, hashes, versions, seeds, commands, and what is missing."""

import json
import shlex
from importlib.metadata import version
from typing import Any

from pb_cli.display import clock
from pb_cli.report.blocks import Block, Cell, Code, Column, Facts, Fold, Prose, Row, Table
from pb_cli.report.material import Material

__all__ = ["completeness", "experiment_toml", "provenance_blocks"]

_TASKS = 2000  # rows of a table of tasks


def completeness(material: Material) -> list[Block]:
    """Say how much of a run is done, and what is missing or refused, and why."""
    n, total = len(material.done), len(material.tasks)
    seeds = ", ".join(map(str, sorted({task.seed for task in material.tasks})))
    costs = material.costs.reindex(columns=["fit_seconds", "predict_seconds", "device"])
    spent = clock(float(costs["fit_seconds"].sum() + costs["predict_seconds"].sum()))
    devices = ", ".join(sorted(costs["device"].dropna().unique())) or "no device"
    head = f"{n:,} of {total:,} tasks done; seeds {seeds}; {spent} of fitting and predicting on {devices}."
    if n == total:
        return [Prose(head), *_changed(material)]
    blocks: list[Block] = [
        Prose(f"This run is not complete. {head} What is missing is left out of what follows.", "warning"),
        *_changed(material),
    ]
    states = ("missing", "failed", "refused")
    rows = [Row([Cell(model), *(_count(counts[state]) for state in states)]) for model, counts in material.gaps.items()]
    columns = [Column("model", is_number=False), *map(Column, states)]
    blocks.append(
        Fold(
            f"Tasks without results: {total - n:,}",
            [Table("Tasks without results", columns, rows), *_reasons(material)],
        )
    )
    return blocks


def _changed(material: Material) -> list[Block]:
    """Name the models that ran with other settings than their own, so that nobody takes their scores for theirs."""
    changed = material.record["experiment"].get("settings") or {}
    if not changed:
        return []
    words = "; ".join(f"{model}: {_written(settings)}" for model, settings in changed.items())
    return [Prose(f"Some models ran with other settings than their own. {words}.", "note")]


def _count(n: int) -> Cell:
    return Cell(f"{n:,}" if n else "", n)


def _reasons(material: Material) -> list[Block]:
    """Repeat why tasks failed or were refused."""
    rows = []
    for task in material.tasks:
        if task.id in material.refused:
            rows.append(Row([Cell(task.id), Cell("refused"), Cell(material.refused[task.id])]))
        elif not material.folder.is_done(task) and (folder := material.folder.failure(task)).exists():
            record = material.folder.failure_record(folder)
            rows.append(Row([Cell(task.id), Cell(record["reason"]), Cell(record["message"])]))
    if not rows:
        return []
    return [Table("Why", [Column(name, is_number=False) for name in ("task", "reason", "message")], rows)]


def provenance_blocks(material: Material, *, tasks: bool) -> list[Block]:
    """Give what is needed to check or repeat a run, with every task or without."""
    record, first = material.record, material.tasks[0]
    hosts = sorted(map(str, material.costs["host"].dropna().unique())) if "host" in material.costs else []
    facts = [
        ("data", material.dataset),
        ("SHA-256 of the data", str(first.source.get("sha256") or "not recorded")),
        ("plan", f"{len(material.tasks):,} tasks, SHA-256 {record.get('plan_sha256', 'not recorded')}"),
        ("seeds", ", ".join(map(str, sorted({task.seed for task in material.tasks})))),
        ("preprocessing", _written(first.preprocess)),
        ("hosts", ", ".join(hosts) or "not recorded"),
        ("made with", ", ".join(f"{name} {number}" for name, number in record["versions"].items())),
        ("reported with", f"pb {version('pb-cli')}"),
        *(("remark", remark) for remark in record.get("remarks", [])),
    ]
    name = material.name
    file, run = shlex.quote(f"{name}.toml"), shlex.quote(f"runs/{name}")
    commands = f"pb bench {file} --out {run}\npb report {run}\n"
    return [
        Facts(facts),
        Prose("To repeat the run, save this as the experiment file and run the commands below it:"),
        Code(f"# {name}.toml\n{experiment_toml(record['experiment'])}"),
        Code(commands),
        Fold("Splits and their hashes", [_splits(material)]),
        *([Fold("Tasks", [_tasks(material)])] if tasks else []),
    ]


def _written(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in settings.items())


def experiment_toml(experiment: dict[str, Any]) -> str:
    """Write an experiment as the file that `pb bench` reads; what is empty is left out.

    >>> print(experiment_toml({"dataset": "pbmc", "data": None, "hold_out": ["all"], "settings": {"scgen": {"x": 1}}}))
    dataset = "pbmc"
    hold-out = ["all"]
    <BLANKLINE>
    [settings.scgen]
    x = 1
    <BLANKLINE>
    """
    plain = {name: value for name, value in experiment.items() if value not in (None, {}, [], ())}
    lines = [f"{_key(name)} = {_value(value)}" for name, value in plain.items() if not isinstance(value, dict)]
    for name, table in plain.items():
        if isinstance(table, dict):
            lines += _table(_key(name), table)
    return "\n".join(lines) + "\n"


def _table(name: str, table: dict[str, Any]) -> list[str]:
    """Write a table, and the tables in it."""
    plain = {key: value for key, value in table.items() if value is not None}
    own = [f"{_bare(key)} = {_value(value)}" for key, value in plain.items() if not isinstance(value, dict)]
    lines = ["", f"[{name}]", *own] if own else []
    for key, value in plain.items():
        if isinstance(value, dict):
            lines += _table(f"{name}.{_bare(key)}", value)
    return lines


def _key(name: str) -> str:
    return name.replace("_", "-")


def _bare(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else json.dumps(key)


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _splits(material: Material) -> Table:
    """List what was held out, and the hash of each split."""
    found = dict.fromkeys((task.split, task.held_out, task.split_hash) for task in material.tasks)
    rows = [Row([Cell(text) for text in split]) for split in found]
    columns = [Column(name, is_number=False) for name in ("split", "held out", "SHA-256")]
    is_noisy = any(task.split_parameters.get("noise") for task in material.tasks)
    but = ", not the noise of labels" if is_noisy else ""
    return Table(f"A split's hash covers its cells, its parameters and the data{but}", columns, rows)


def _tasks(material: Material) -> Block:
    """List the tasks with their costs, if they are not too many for a page."""
    if len(material.tasks) > _TASKS:
        return Prose(f"{len(material.tasks):,} tasks: tasks.csv in the run folder lists them.")
    names = ("task", "status", "held_out", "dose", "model", "profile", "seed", "device")
    costs = ("fit_seconds", "predict_seconds", "peak_memory_bytes")
    table = material.costs.reindex(columns=[*names, *costs])
    rows = []
    for row in table.to_dict(orient="records"):
        texts = ["" if row[name] is None or row[name] != row[name] else str(row[name]) for name in names]
        rows.append(
            Row([*map(Cell, texts), *(_amount(row[name], 1 if "seconds" in name else 2**20) for name in costs)])
        )
    columns = [Column(name.replace("_", " "), is_number=False) for name in names]
    columns += [Column(name) for name in ("fit, s", "predict, s", "memory, MiB")]
    return Table("Every task of the plan", columns, rows, can_filter=True)


def _amount(value: float, unit: int) -> Cell:
    return Cell("", float("nan")) if value is None or value != value else Cell(f"{value / unit:,.1f}", value)

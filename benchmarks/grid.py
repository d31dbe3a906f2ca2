"""How a run folder scales: seconds to plan, look at and merge a grid of trivial tasks, and the largest folder.

python benchmarks/grid.py [TASKS ...]

Targets for 5,000 tasks: planning under 5 s, status under 2 s, collecting under 10 s. 100,000 tasks are simulated in
the same way. Planning expands a real experiment on the embedded PBMC data; results are written as a finished task
writes its scores, its costs and nothing else.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pb_cli.experiment import Experiment
from pb_cli.merging import file_record, problems_of
from pb_cli.plan import Plan, Task
from pb_cli.planning import make_plan
from pb_cli.resources import versions
from pb_cli.schedule import pack
from pb_cli.states import survey
from pb_cli.store import RunFolder
from pb_data import load
from pb_eval import RESULT_COLUMNS

T = TypeVar("T")
METRICS = ("mse_mean", "mae_mean", "pearson_delta", "cosine_delta", "edistance", "r2_mean_all", "variance_ratio")
UNITS = 7


def timed(words: str, work: Callable[[], T]) -> T:
    """Do something and print how long it took."""
    start, processor = time.perf_counter(), time.process_time()
    result = work()
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    print(f"  {words:<32}{seconds:8.2f} s{processor:8.2f} s of processor time", flush=True)
    return result


def finish(folder: RunFolder, task: Task) -> None:
    """Write what a finished task writes, without the prediction."""
    place = folder.place("tasks", task.id)
    place.mkdir(parents=True)
    unit = {"dataset": "pbmc", "split": task.split, "context": f'"{task.held_out}"', "perturbation": "stimulated"}
    unit |= {"model": task.model, "seed": task.seed, "split_hash": task.split_hash, "profile": task.profile}
    unit |= {"metric_version": 1, "value": task.seed / 7, "n_predicted": 9, "n_true": 9, "gene_set": "all"}
    rows = [unit | {"metric": metric, "space": "log1p", "ceiling": 0.5} for metric in METRICS]
    lines = [",".join(RESULT_COLUMNS)] + [",".join(str(row.get(name, "")) for name in RESULT_COLUMNS) for row in rows]
    (place / "metrics.csv").write_text("\n".join(lines) + "\n")
    costs = {"seconds": 1.0, "fit_seconds": 0.5, "predict_seconds": 0.1, "peak_memory_bytes": 2**30}
    (place / "task.json").write_text(json.dumps({"task": task.id, "files": file_record(place), "costs": costs}))


def stand(folder: RunFolder) -> None:
    """Find out all that `pb status` shows."""
    found = survey(folder, folder.read())
    assert len(found.costs) == found.counts["done"]
    assert (found.seconds_left is None) == (found.counts["done"] in (0, len(found.tasks)))


def largest_folder(path: Path) -> int:
    """Count the entries of the fullest folder."""
    return max(len(folders) + len(files) for _, folders, files in os.walk(path))


def measure(n_tasks: int, data: Any) -> None:
    """Plan, look at and merge a grid."""
    print(f"{n_tasks:,} tasks")
    seeds = tuple(range(-(-n_tasks // UNITS)))
    experiment = Experiment(models=("scgen",), baselines=False, seeds=seeds)
    with tempfile.TemporaryDirectory() as temporary:
        folder = RunFolder(Path(temporary) / "run")

        def plan() -> Sequence[Task]:
            made: Plan = make_plan(experiment, data)
            with folder.locked():
                folder.open(made.tasks, {"versions": versions()})
            return made.tasks

        tasks = timed("plan", plan)
        timed("status, nothing done", lambda: stand(folder))
        for task in tasks[::2]:
            finish(folder, task)
        timed("status, half done", lambda: stand(folder))
        timed("pack what is left, ten each", lambda: pack([[task] for task in tasks[1::2]], 10))
        for task in tasks[1::2]:
            finish(folder, task)
        timed("status, all done", lambda: stand(folder))
        refused = timed("check every result", lambda: problems_of(folder, tasks))
        timed("collect", lambda: folder.collect(tasks, leave_out=refused))
        print(f"  {'entries of the fullest folder':<32}{largest_folder(folder.path):8,}")


def main() -> None:
    data = load("pbmc")
    for n_tasks in map(int, sys.argv[1:] or ("5000", "100000")):
        measure(n_tasks, data)


if __name__ == "__main__":
    main()

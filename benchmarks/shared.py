"""What tasks of a run save where they share what one of them has fitted, in processor seconds of one held-out unit.

python benchmarks/shared.py [PRESET ...]

The embedded PBMC data, B cells held out. What is not shared, normalised cells and references, is not worth a file:
both are there in less time than the data take to load.
"""

import sys
import tempfile
import time
from pathlib import Path

from pb_cli.experiment import Experiment
from pb_cli.plan import Task
from pb_cli.planning import make_plan
from pb_cli.runner import unit_of
from pb_cli.unit import _prepare
from pb_data import load


def seconds(task: Task, folder: Path) -> tuple[float, float]:
    """Prepare the unit of a task and find its ceilings, as another process would that has loaded the data."""
    _prepare.cache_clear()
    start = time.process_time()
    unit = unit_of(task, shared=folder)
    between = time.process_time()
    for condition in unit.references:
        unit.ceilings(condition)
    return between - start, time.process_time() - between


def main() -> None:
    data = load("pbmc")
    for preset in sys.argv[1:] or ("full", "quick"):
        asked = Experiment(models=("control",), baselines=False, hold_out=("B cells",), preset=preset)
        [task] = make_plan(asked, data).tasks
        unit_of(task)  # imports and the data
        with tempfile.TemporaryDirectory() as temporary:
            for words in ("first task", "others"):
                prepare, ceilings = seconds(task, Path(temporary))
                print(f"{preset:<8}{words:<12}prepare {prepare:5.2f} s, ceilings {ceilings:5.2f} s", flush=True)
            kept = sum(path.stat().st_size for path in Path(temporary).rglob("*.npz"))
        print(f"{preset:<8}{'kept':<12}{kept / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

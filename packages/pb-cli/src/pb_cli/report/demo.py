"""A small run on embedded data, made to be reported."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["DEMO", "demo_run"]

DEMO = {
    "dataset": "pbmc",
    "models": ("control", "mean-shift", "similarity-shift", "scgen"),
    "baselines": False,
    "hold_out": ("Dendritic cells", "NK cells"),
    "seeds": (1, 2),
    "preset": "quick",
    "n_genes": 200,
    "settings": {"scgen": {"max_epochs": 4, "n_hidden": 64}},
}
"""The experiment: two contexts of the embedded blood cells, three baselines, a small scGen cut short."""


@contextmanager
def demo_run(*, quiet: bool = False) -> Iterator[Path]:
    """Make the run in a folder that is removed afterwards."""
    from pb_cli.carrying import run_missing
    from pb_cli.commands.bench import run_record
    from pb_cli.execute import Options
    from pb_cli.experiment import read_experiment
    from pb_cli.options import open_data
    from pb_cli.planning import make_plan
    from pb_cli.store import RunFolder

    asked = read_experiment(None, DEMO)
    plan = make_plan(asked, open_data(asked.dataset, asked.data, asked.keys, asked.dataset_options))
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder(Path(place) / "pb-demo")
        with folder.locked():
            folder.open(plan.tasks, run_record(asked, plan))
            run_missing(plan, folder, Options(device="cpu", save_model=False, bootstrap=0), quiet=quiet)
        yield folder.path

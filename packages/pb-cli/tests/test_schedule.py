"""Order of tasks and packing of elements by expected time."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from pb_cli.display import Display
from pb_cli.execute import Event, group_seeds
from pb_cli.plan import Task
from pb_cli.resources import versions
from pb_cli.schedule import Forecast, in_order, pack, read_forecast
from pb_cli.store import RunFolder
from pb_cli.supervised.task import SupervisedTask

TRAINED = {"max_epochs": 100, "batch_size": 50, "max_steps": 2000}


def task(seed: int, model: str = "control", unit: str = "B cells", **settings: object) -> Task:
    return Task(
        source={},
        split="s",
        split_parameters={"held_out": unit},
        split_hash=unit,
        preprocess={},
        model=model,
        profile="default",
        settings=settings or (TRAINED if model.startswith(("sc", "mt")) else {}),
        seed=seed,
    )


def alone(tasks: list[Task]) -> list[list[Task]]:
    return [[one] for one in tasks]


def test_work_follows_from_the_settings():
    assert task(1).work == 1
    assert task(1, "scgen").work == 1 + 2000 / 200
    assert task(1, "scgen", max_epochs=4, batch_size=100).work == 1 + 4 * 100 / 200
    assert task(1, "scpregan", max_epochs=4, steps_per_epoch=50, batch_size=64).work == 1 + 6 * 4 * 50 / 200
    assert task(1, "model-of-a-package-that-is-not-here", max_epochs=2, batch_size=100).work == 2
    fields = {"source": {}, "split": "s", "split_hash": "h", "preprocess": {}, "profile": "default", "seed": 1}
    fields |= {"split_parameters": {"n_folds": 5, "noise": None}}
    grid = {
        "parameters": [{}] * 3,
        "learning_rates": [0.1] * 3,
        "weight_decays": [0.1] * 3,
        "training": {"epochs": 100},
    }
    assert SupervisedTask(**fields, model="mae", settings=grid).work == 1 + 27 * 5 * 100 / 1000
    assert SupervisedTask(**fields, model="mean", settings={"metrics": ["mae"]}).work == 1


def test_what_was_measured_goes_before_what_settings_say():
    forecast, network = Forecast(), task(1, "scgen")
    assert not forecast.is_measured
    assert forecast.seconds(network) == network.work
    forecast.note(task(1), 4.0)
    forecast.note(task(2), 8.0)
    assert forecast.seconds(task(3)) == 6
    assert forecast.seconds(network) == 6 * network.work
    forecast.note(network, 10.0)
    assert forecast.seconds(task(2, "scgen")) == 10
    assert forecast.seconds(task(3, "mean-shift")) == (4 + 8 + 10) / (2 + network.work)


def test_the_time_left_is_shared_but_no_less_than_the_longest_task():
    forecast = Forecast()
    for one, seconds in ((task(1), 2.0), (task(1, "scgen"), 50.0)):
        forecast.note(one, seconds)
    assert forecast.left([(task(2), 10), (task(2, "scgen"), 2)], 1) == 120
    assert forecast.left([(task(2), 10), (task(2, "scgen"), 2)], 2) == 60
    assert forecast.left([(task(2), 10), (task(2, "scgen"), 2)], 8) == 50
    assert forecast.left([(task(2), 10), (task(2, "scgen"), 0)], 8) == 2.5


def test_here_baselines_come_first_then_the_longest():
    grid = [task(1, model, unit) for unit in "AB" for model in ("scgen", "control", "scbutterfly", "mean-shift")]
    forecast = Forecast()
    forecast.note(task(1, "scgen"), 5.0)
    forecast.note(task(1, "scbutterfly"), 9.0)
    shown = {
        jobs: [f"{one.model}{one.held_out}" for [one] in in_order(alone(grid), forecast, jobs=jobs)] for jobs in (1, 2)
    }
    quick = ["controlA", "mean-shiftA", "controlB", "mean-shiftB"]
    assert shown[2] == [*quick, "scbutterflyA", "scbutterflyB", "scgenA", "scgenB"]
    assert shown[1] == [*quick, "scgenA", "scbutterflyA", "scgenB", "scbutterflyB"]


def test_seeds_that_train_together_and_baselines_of_a_unit_stay_together():
    grid = [task(seed, model, unit) for unit in "AB" for model in ("control", "scgen") for seed in (1, 2, 3)]
    words = [[f"{one.model[0]}{one.held_out}{one.seed}" for one in element] for element in pack(group_seeds(grid), 4)]
    assert words == [["sA1", "sA2", "sA3"], ["sB1", "sB2", "sB3"], ["cA1", "cA2", "cA3"], ["cB1", "cB2", "cB3"]]
    assert sorted(one.id for [one] in pack(alone(grid), 1)) == sorted(one.id for one in grid)
    assert [one.model for [one] in pack(alone(grid), 1)] == ["scgen"] * 6 + ["control"] * 6
    assert [len(element) for element in pack(group_seeds(grid), 2)] == [3, 3, 2, 2, 1, 1]


def test_elements_take_about_the_same_time():
    """Two slow networks, four quick ones and six baselines in each of seven units, eight tasks in an element."""
    models = [("scpregan", 1), ("scpregan", 2), *(("mtae", s) for s in range(4)), *(("control", s) for s in range(6))]
    grid = [task(seed, model, unit) for unit in "ABCDEFG" for model, seed in models]
    forecast = Forecast()
    elements = pack(alone(grid), 8, forecast)
    loads = [sum(map(forecast.seconds, element)) for element in elements]
    assert sorted(one.id for element in elements for one in element) == sorted(one.id for one in grid)
    assert max(map(len, elements)) <= 8
    assert loads == sorted(loads, reverse=True)
    in_turn = [sum(map(forecast.seconds, grid[start : start + 8])) for start in range(0, len(grid), 8)]
    assert max(loads) < 0.9 * max(in_turn)
    assert np.std(loads) < 0.6 * np.std(in_turn)


def test_packing_is_near_the_best_there_is():
    """Against all packings of seven tasks into three elements with room for all: Graham's bound of 4/3 - 1/9."""
    generator = np.random.default_rng(0)
    for _ in range(5):
        times = generator.uniform(1, 10, 7)
        tasks = [task(n, "scgen", max_epochs=1, batch_size=10, other=n) for n in range(7)]
        forecast = Forecast()
        forecast.seconds = lambda one, times=times: float(times[one.seed])
        found = [sum(times[one.seed] for one in element) for element in pack(alone(tasks), 3, forecast)]
        choices = itertools.product(range(3), repeat=7)
        best = min(max(np.bincount(c, times, 3)) for c in choices if max(np.bincount(c)) <= 3)
        assert max(found) <= best * (4 / 3)
        assert len(found) == math.ceil(7 / 3)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    with run.locked():
        run.open([task(seed) for seed in range(30)], {"versions": versions()})
    return run


def test_a_few_finished_tasks_are_looked_at_and_half_written_ones_passed_over(folder: RunFolder):
    for seed in range(30):
        with folder.writing(task(seed)) as draft:
            text = json.dumps({"costs": {"fit_seconds": seed, "predict_seconds": 1}})
            (draft / "task.json").write_text(text if seed else text[:9])
    forecast = read_forecast(folder, folder.read())
    assert forecast.seconds(task(99)) == np.mean([seed + 1 for seed in range(1, 20)])
    assert not read_forecast(folder, []).is_measured


def test_progress_tells_the_time_left_by_expected_time(monkeypatch: pytest.MonkeyPatch):
    tasks, now = [task(1), task(2), task(1, "scgen")], [0.0]
    monkeypatch.setattr("pb_cli.display.time.monotonic", lambda: now[0])
    display = Display(tasks, quiet=True)
    display.handle(Event("start", tasks[0].id))
    assert display._left() == ""
    now[0] = 3.0
    display.handle(Event("done", tasks[0].id))
    assert display._left() == f"about {3 + 3 * round(tasks[2].work)} s left"
    display.handle(Event("start", tasks[1].id))
    display.handle(Event("start", tasks[2].id))
    assert display._left() == ""

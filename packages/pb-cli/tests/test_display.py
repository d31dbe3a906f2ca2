"""Progress in words."""

import pytest
from pb_cli.console import messages
from pb_cli.display import Display, clock
from pb_cli.execute import Event
from pb_cli.plan import Task
from pb_models import TrainingStep


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59, "59 s"), (60, "1 min 00 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")]
)
def test_durations(seconds: float, words: str):
    assert clock(seconds) == words


def tasks(n: int) -> list[Task]:
    common = {"source": {}, "split": "s", "split_parameters": {"held_out": "B"}, "split_hash": "", "preprocess": {}}
    return [Task(**common, model="scgen", profile="fixed", settings={}, seed=seed) for seed in range(n)]


def test_without_a_terminal_each_finished_task_is_one_line_with_the_time_left(monkeypatch: pytest.MonkeyPatch):
    grid = tasks(3)
    with messages.capture() as capture, Display(grid) as display:
        for one in grid[:2]:
            display.handle(Event("start", one.id))
            display.handle(Event("step", one.id, TrainingStep(1, 2, 0.5, None, 1.0)))
            display.handle(Event("done", one.id))
        display.handle(Event("start", grid[2].id))
        display.handle(Event("failed", grid[2].id, "ValueError: no"))
    lines = capture.get().splitlines()
    assert lines[0].startswith("1/3 scgen (fixed), B, seed 0:")
    assert "about 0 s left" in lines[0]
    assert f"failed scgen (fixed), B, seed 2 ({grid[2].id}): ValueError: no" in lines[2]
    assert display.failures == {grid[2].id: "ValueError: no"}


def test_quiet_says_nothing_but_failures():
    grid = tasks(1)
    with messages.capture() as capture, Display(grid, quiet=True) as display:
        display.handle(Event("start", grid[0].id))
        display.handle(Event("done", grid[0].id))
    assert capture.get() == ""

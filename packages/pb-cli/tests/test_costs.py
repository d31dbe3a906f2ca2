"""What tasks have cost: measured once a task, summed up once a model, shown beside the scores."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pb_cli import resources
from pb_cli.costs import cost_cells, cost_heads, cost_records, read_costs, summarise
from pb_cli.report.leaderboard import spent
from pb_eval import read_prediction

FLAGS = ("--context-key", "kind", "--perturbation-key", "condition", "--control", "ctrl", "--scale", "counts")
SMALL = ("--n-genes", "40", "--hold-out", "alpha,beta", "--bootstrap", "0", "--quiet")


def table(seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame({"model": generator.choice(["control", "scgen"], 40), "profile": "default"})
    frame["status"] = generator.choice(["done", "failed"], 40)
    for name in ("fit_seconds", "predict_seconds", "peak_memory_bytes", "n_parameters"):
        frame[name] = np.where(frame["status"] == "done", generator.integers(1, 10**6, 40), np.nan)
    frame["peak_gpu_memory_bytes"] = np.where(frame["model"] == "scgen", frame["peak_memory_bytes"] / 2, np.nan)
    frame["device_name"] = np.where(frame["model"] == "scgen", "NVIDIA H100", "A Processor")
    return frame


def test_costs_equal_a_slow_twin():
    frame = table()
    for (model, profile), cost in summarise(frame).items():
        rows = [row for row in frame.to_dict("records") if row["model"] == model and row["status"] == "done"]
        seconds = sorted(row["fit_seconds"] + row["predict_seconds"] for row in rows)
        middle = (seconds[(len(rows) - 1) // 2] + seconds[len(rows) // 2]) / 2
        fits = [row["fit_seconds"] for row in rows]
        gpu = [row["peak_gpu_memory_bytes"] for row in rows if row["model"] == "scgen"]
        assert profile == "default"
        assert (cost.n_tasks, cost.seconds) == (len(rows), middle)
        assert cost.fit_seconds == np.median(fits)
        assert np.isnan(cost.cpu_seconds)
        assert cost.peak_memory_bytes == max(row["peak_memory_bytes"] for row in rows)
        assert cost.n_parameters == max(row["n_parameters"] for row in rows)
        np.testing.assert_equal(cost.peak_gpu_memory_bytes, max(gpu, default=np.nan))
        assert cost.devices == ("NVIDIA H100" if gpu else "A Processor",)


def test_a_report_shows_the_same_costs_as_the_board():
    frame = table()
    heads, cells = spent(frame)
    assert heads == ["fit, s", "predict, s", "memory, MiB", "GPU memory, MiB", "parameters"]
    for model, cost in summarise(frame).items():
        memory = cost.peak_memory_bytes / 2**20
        assert [cell.sort for cell in cells[model][:3]] == [cost.fit_seconds, cost.predict_seconds, memory]
    assert math.isnan(cells["control", "default"][3].sort)


def test_columns_that_no_model_has_are_left_out():
    costs = summarise(table())
    assert len(cost_heads(costs)) == len(cost_cells(costs, ("scgen", "default"))) == 4
    assert cost_cells(costs, ("control", "default"))[2] == "-"
    baselines = {model: cost for model, cost in costs.items() if model[0] == "control"}
    assert len(cost_heads(baselines)) == 3
    assert cost_heads({}) == []
    assert summarise(pd.DataFrame({"status": ["missing"], "model": "control", "profile": "default"})) == {}
    assert [record["model"] for record in cost_records(baselines)] == ["control"]


def test_a_run_shows_its_costs_beside_the_scores(pb, data_file: Path):
    models = ("--model", "control,mean-shift", "--no-baselines")
    result = pb("bench", "--data", data_file, *FLAGS, *models, *SMALL, "--out", "run")
    assert result.exit_code == 0, result.output
    assert "memory" in result.stdout
    assert "times are medians over a model's tasks, memory is their largest peak" in " ".join(result.stdout.split())
    [first] = [line for line in result.stdout.splitlines() if "mean-shift" in line and "GiB" in line]
    costs = read_costs(pb.folder / "run/tasks.csv")
    cells = cost_cells(costs, ("mean-shift", "default"))
    assert [cell for cell in cells if cell in first] == cells
    assert costs["mean-shift", "default"].devices == (resources.processor_name(),)
    data = json.loads(pb("bench", "--data", data_file, *FLAGS, *models, *SMALL, "--out", "run", "--json").stdout)
    assert data["failures"] == []
    assert [(row["model"], row["n_tasks"]) for row in data["costs"]] == [("control", 2), ("mean-shift", 2)]
    info = read_prediction(next(pb.folder.glob("run/tasks/*/prediction.h5ad")))[1]
    assert (info.device, info.device_name, info.peak_gpu_memory_bytes) == ("cpu", resources.processor_name(), None)


def test_a_run_in_which_all_fails_says_so_as_data(pb, data_file: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_arguments: object, **_options: object) -> None:
        msg = "staged"
        raise ValueError(msg)

    monkeypatch.setattr("pb_models.baselines.ControlCopy._fit", refuse)
    models = ("--model", "control", "--no-baselines")
    result = pb("bench", "--data", data_file, *FLAGS, *models, *SMALL, "--out", "run", "--json")
    assert result.exit_code == 1
    data = json.loads(result.stdout)
    assert (data["rows"], data["costs"]) == ([], [])
    assert [(row["model"], row["reason"], row["message"]) for row in data["failures"]] == [
        ("control", "error", "ValueError: staged")
    ] * 2


def test_a_gpu_is_named_and_its_memory_measured_anew_for_each_task(monkeypatch: pytest.MonkeyPatch):
    """What a GPU would say; there is none where the tests run."""
    peaks = {0: 5, 1: 7}
    monkeypatch.setattr("torch.cuda.is_initialized", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.reset_peak_memory_stats", lambda number: peaks.update({number: 0}))
    monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda device: peaks[int(device.partition(":")[2] or 0)])
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: f"NVIDIA H100 ({device})")
    assert resources.device_costs("cuda:1") == {
        "device": "cuda:1",
        "device_name": "NVIDIA H100 (cuda:1)",
        "peak_gpu_memory_bytes": 7,
    }
    resources.reset_peak_memory()
    assert peaks == {0: 0, 1: 0}
    assert "peak_gpu_memory_bytes" not in resources.device_costs("cuda:0")
    assert set(resources.device_costs("cpu")) == {"device", "device_name"}

"""What is asked of a GPU, of one that is staged: there is none where the tests run."""

import pytest
import torch
from pb_models.devices import gpu_name, peak_gpu_memory, reset_peak_gpu_memory


def test_each_gpu_is_asked_for_itself_and_measured_anew(monkeypatch: pytest.MonkeyPatch):
    peaks = {"cuda:0": 5, "cuda:1": 7}
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda number: peaks.update({f"cuda:{number}": 0}))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", peaks.__getitem__)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"NVIDIA H100 ({device})")
    assert [peak_gpu_memory(device) for device in ("cpu", "cuda:0", "cuda:1")] == [0, 5, 7]
    assert [gpu_name(device) for device in ("cpu", "cuda:1")] == ["", "NVIDIA H100 (cuda:1)"]
    reset_peak_gpu_memory()
    assert peaks == {"cuda:0": 0, "cuda:1": 0}


def test_a_process_without_a_gpu_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", None)
    reset_peak_gpu_memory()

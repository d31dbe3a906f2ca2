"""What a GPU says of itself: its model, and the memory that tensors took there."""

from __future__ import annotations

import torch

__all__ = ["gpu_name", "peak_gpu_memory", "reset_peak_gpu_memory"]


def gpu_name(device: str) -> str:
    """Return the model of a GPU such as `cuda` or `cuda:1`; nothing for another device.

    Examples
    --------
    >>> gpu_name("cpu")
    ''
    """
    return str(torch.cuda.get_device_name(device)) if device.startswith("cuda") else ""


def peak_gpu_memory(device: str) -> int:
    """Return the most bytes that tensors of this process took on a GPU since the last reset; 0 for another device.

    Examples
    --------
    >>> peak_gpu_memory("cpu")
    0
    """
    return int(torch.cuda.max_memory_allocated(device)) if device.startswith("cuda") else 0


def reset_peak_gpu_memory() -> None:
    """Start a new measurement on every GPU, if this process uses any."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call] # torch gives it no types
        for number in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(number)

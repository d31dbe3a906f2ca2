"""What a task costs: peak memory of processor and GPU, time, the device it ran on."""

import platform
import resource
import sys
import time
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple, Self

__all__ = ["Clocks", "device_costs", "peak_memory", "processor_name", "reset_peak_memory", "versions"]

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_CPU = Path("/proc/cpuinfo")
_PACKAGES = ("anndata", "numpy", "pb-cli", "pb-data", "pb-eval", "pb-models", "scanpy", "scipy", "torch")


class Clocks(NamedTuple):
    """Wall time and this process's processor time, in seconds."""

    wall: float
    processor: float

    @classmethod
    def read(cls) -> Self:
        """Read both clocks."""
        return cls(time.perf_counter(), time.process_time())

    def since(self, n_tasks: int) -> dict[str, float]:
        """Say what each of `n_tasks` tasks done together has taken since."""
        now = self.read()
        wall, processor = now.wall - self.wall, now.processor - self.processor
        return {"seconds": round(wall / n_tasks, 3), "cpu_seconds": round(processor / n_tasks, 3)}


def reset_peak_memory() -> None:
    """Start a new measurement, where the kernel allows it (Linux); elsewhere the peak is the process's.

    That of a GPU starts anew where one is in use.
    """
    from pb_models.devices import reset_peak_gpu_memory

    reset_peak_gpu_memory()
    if _CLEAR.exists():
        try:
            _CLEAR.write_text("5")
        except PermissionError:
            return


def peak_memory() -> int:
    """Peak resident memory in bytes since the last reset."""
    if _STATUS.exists():
        line = next((row for row in _STATUS.read_text().splitlines() if row.startswith("VmHWM:")), None)
        if line is not None:
            return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def device_costs(device: str) -> dict[str, str | int]:
    """Say where something was computed and, on a GPU, the most bytes that tensors took there since the last reset.

    >>> sorted(device_costs("cpu"))
    ['device', 'device_name']
    """
    from pb_models.devices import gpu_name, peak_gpu_memory

    costs: dict[str, str | int] = {"device": device, "device_name": gpu_name(device) or processor_name()}
    if peak := peak_gpu_memory(device):
        costs["peak_gpu_memory_bytes"] = peak
    return costs


@cache
def processor_name() -> str:
    """Ask the kernel for the processor's model; its architecture where there is no answer."""
    lines = _CPU.read_text(encoding="utf-8").splitlines() if _CPU.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that make the numbers."""
    return {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}

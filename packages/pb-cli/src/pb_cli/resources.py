"""What a task costs: peak memory, time, the machine it ran on."""

import platform
import resource
import sys
from importlib.metadata import version
from pathlib import Path

__all__ = ["peak_memory", "reset_peak_memory", "versions"]

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_PACKAGES = ("anndata", "numpy", "pb-cli", "pb-data", "pb-eval", "pb-models", "scanpy", "scipy", "torch")


def reset_peak_memory() -> None:
    """Start a new measurement, where the kernel allows it (Linux); elsewhere the peak is the process's."""
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


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that make the numbers."""
    return {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}

"""How many threads a process may use: one number for every library in it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["cores", "limited_threads"]

VARIABLES = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")


def cores() -> int:
    """Count the cores this process may use: those of a Slurm allocation or `taskset`, not the whole machine.

    Slurm does not bind processes to cores on every cluster, so what it has granted is looked at beside.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    granted = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return min(allowed, int(granted)) if granted.isdigit() and int(granted) else allowed


@contextmanager
def limited_threads(jobs: int) -> Iterator[None]:
    """Give each of `jobs` processes started inside the block its share of the cores, unless OMP_NUM_THREADS says more.

    Numba, which scanpy uses, knows nothing of OMP_NUM_THREADS and sets OpenMP's threads back to all cores, PyTorch's
    with them; so its variable is set beside. Both count only for libraries imported afterwards.
    """
    before = {name: os.environ.get(name) for name in VARIABLES}
    threads = before["OMP_NUM_THREADS"] or str(max(1, cores() // jobs))
    os.environ.update({name: value or threads for name, value in before.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]

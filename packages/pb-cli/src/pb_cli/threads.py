"""How many threads a process may use: one number for every library in it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["cores", "limited_threads", "threads_for_pieces"]

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


@contextmanager
def threads_for_pieces() -> Iterator[None]:
    """Leave the cores to the pieces of one computation, and one thread to each product of matrices.

    Threads of a product wait for each other, those of pieces do not; and with one thread a product does not depend on
    the number of cores. It counts for libraries imported inside the block, and for what the user has not set himself.
    """
    unset = [name for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS") if name not in os.environ]
    with limited_threads(1):
        os.environ.update(dict.fromkeys(unset, "1"))
        try:
            yield
        finally:
            for name in unset:
                del os.environ[name]

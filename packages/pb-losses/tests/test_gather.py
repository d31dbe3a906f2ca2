"""Two processes with ``gather=True`` get the value and gradient of one process with the whole batch."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

WORKER = Path(__file__).with_name("gather_worker.py")
NAMES = ("far", "mae+pearson", "rnc", "rnc-views", "conr", "ranksim")

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="this torch was built without torch.distributed")


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gather")
    processes = [subprocess.Popen([sys.executable, str(WORKER), str(rank), str(folder)]) for rank in range(2)]
    assert [process.wait(timeout=240) for process in processes] == [0, 0]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.fixture(scope="module")
def one_process():
    worker = runpy.run_path(str(WORKER), run_name="worker")
    return worker["gradients"](*worker["batch"](), gather=False)


@pytest.mark.parametrize("name", [part for name in NAMES for part in (name, f"{name} gradient")])
def test_two_processes_equal_one(name, two_processes, one_process):
    for result in two_processes:
        assert torch.allclose(result[name], one_process[name], rtol=1e-12, atol=1e-14)


def test_shards_alone_do_not_equal_the_whole(one_process):
    worker = runpy.run_path(str(WORKER), run_name="worker")
    x, y, weight = worker["batch"]()
    halves = [worker["losses"](x[rows], y[rows], weight, gather=False) for rows in (slice(0, 4), slice(4, 9))]
    for name in NAMES:
        assert not torch.allclose((halves[0][name] + halves[1][name]) / 2, one_process[name], rtol=1e-3)

"""One number of threads for every library."""

import os
import subprocess
import sys

import pytest
from pb_cli.threads import cores, limited_threads, threads_for_pieces

VARIABLES = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_each_job_gets_its_share_and_the_environment_comes_back():
    with limited_threads(jobs=cores()):
        assert [os.environ[name] for name in VARIABLES] == ["1", "1"]
    assert not any(name in os.environ for name in VARIABLES)


def test_what_the_user_says_counts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with limited_threads(jobs=1):
        assert [os.environ[name] for name in VARIABLES] == ["3", "3"]
    assert os.environ["OMP_NUM_THREADS"] == "3"


def test_pieces_have_the_cores_and_products_one_thread(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "4")
    with threads_for_pieces():
        assert os.environ["OMP_NUM_THREADS"] == str(cores())
        assert os.environ["OPENBLAS_NUM_THREADS"] == "1"
        assert os.environ["MKL_NUM_THREADS"] == "4"
    assert not {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"} & set(os.environ)


def test_scanpy_does_not_take_back_torchs_threads():
    code = """
import numpy as np, torch, scipy.sparse as sp
from pb_cli.threads import limited_threads
with limited_threads(1):
    from pb_data.preprocess import normalised_dispersions
    counts = np.random.default_rng(0).poisson(0.2, (100, 50))
    normalised_dispersions(sp.csr_matrix(counts, dtype="float32"))
print(torch.get_num_threads())
"""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"

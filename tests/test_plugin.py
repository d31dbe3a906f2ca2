"""A model in a package of its own, found through its entry point: listed, created, fitted, saved, loaded."""

import os
import subprocess
import sys

import pytest

FIT_AND_LOAD = """
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from pb_data import Keys
from pb_models import create, load_model, model_names

assert "plugin-mean" in model_names(), model_names()
obs = pd.DataFrame({"cell_type": list("aabb"), "condition": ["ctrl", "drug"] * 2}, index=list("1234"))
cells = AnnData(np.arange(12, dtype=np.float32).reshape(4, 3), obs=obs)
keys = Keys(context="cell_type", perturbation="condition", control="ctrl", scale="log1p")
create("plugin-mean").fit(cells, keys=keys).save(Path(sys.argv[1]))
prediction = load_model(Path(sys.argv[1])).predict(cells[[0]].copy(), perturbation="drug")
print(prediction.X.tolist(), type(load_model(Path(sys.argv[1]))).__module__)
"""


@pytest.fixture(scope="module")
def plugin(root, tmp_path_factory):
    """A folder with the plug-in installed into it."""
    target = tmp_path_factory.mktemp("plugin")
    flags = ["--quiet", "--no-deps", "--no-build-isolation", "--target", target]
    subprocess.run([sys.executable, "-m", "pip", "install", *flags, root / "tests" / "plugin"], check=True)
    return target


def run(code, *arguments, path=""):
    environment = {**os.environ, "PYTHONPATH": str(path)}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_installed_model_does_all_that_a_built_in_one_does(plugin, tmp_path):
    result = run(FIT_AND_LOAD, tmp_path / "model", path=plugin)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split("\n")[0] == "[[6.0, 7.0, 8.0]] pb_plugin_mean"


def test_without_the_package_the_name_is_unknown():
    result = run("from pb_models import create; create('plugin-mean')")
    assert result.returncode == 1
    assert "plugin-mean" in result.stderr.splitlines()[-1]

"""The plug-in of the documentation, installed apart: found, listed, tested by its own tests, benchmarked, reported."""

import json
import os
import subprocess
import sys

import pandas as pd
import pytest


@pytest.fixture(scope="module")
def plugin(root, tmp_path_factory):
    """A folder with the plug-in installed into it."""
    target = tmp_path_factory.mktemp("plugin")
    flags = ["--quiet", "--no-deps", "--no-build-isolation", "--target", target]
    source = tmp_path_factory.mktemp("source") / "plugin-example"  # building leaves files behind
    subprocess.run(["cp", "-r", root / "docs" / "plugin-example", source], check=True)
    subprocess.run([sys.executable, "-m", "pip", "install", *flags, source], check=True)
    return target


def run(*arguments, path=None, cwd=None):
    """Run a module of Python, with the plug-in on its path."""
    paths = [str(path)] if path else []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=False)


def test_its_own_tests_pass(root, plugin):
    tests = root / "docs" / "plugin-example" / "tests"
    result = run("pytest", "-q", "-p", "no:cacheprovider", "-c", root / "pyproject.toml", tests, path=plugin)
    assert result.returncode == 0, result.stdout
    assert "3 passed" in result.stdout


def test_pb_lists_it(plugin):
    listed = json.loads(run("pb_cli", "ls", "--json", path=plugin).stdout)
    for what, name in {"models": "plugin-mean", "losses": "log-cosh", "metrics": "max_error_mean"}.items():
        assert name in {row["name"] for row in listed[what]}


def test_pb_benches_it_beside_a_baseline_and_reports_it(plugin, tmp_path):
    flags = ["--preset", "quick", "--hold-out", "0", "--no-baselines", "--bootstrap", "0", "--out", "run"]
    models = ["--dataset", "mcfaline", "--model", "control,plugin-mean"]
    result = run("pb_cli", "bench", *models, *flags, path=plugin, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "plugin-mean" in result.stdout
    rows = pd.read_csv(tmp_path / "run" / "results.csv")
    assert set(rows["model"]) == {"control", "plugin-mean"}
    own = rows[rows["metric"] == "max_error_mean"]
    assert set(own["model"]) == {"control", "plugin-mean"}
    assert own["value"].gt(0).all()

    result = run("pb_cli", "report", "run", "--units", "none", path=plugin, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    page = (tmp_path / "run" / "report.html").read_text()
    assert "plugin-mean" in page
    assert "max_error_mean" in page


def test_without_the_package_the_name_is_unknown(tmp_path):
    result = run("pb_cli", "bench", "--model", "plugin-mean", "--dry-run", cwd=tmp_path)
    assert result.returncode == 2
    assert "plugin-mean" in result.stderr

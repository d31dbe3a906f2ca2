"""One version, in VERSION; the packages, their pins and the tested versions agree with what is declared."""

import shutil
import subprocess
import sys
import tomllib
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version


@pytest.fixture(scope="module")
def version(root):
    return (root / "VERSION").read_text().strip()


@pytest.fixture(scope="module")
def tested(root):
    lines = [line for line in (root / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    return dict(line.split("==") for line in lines)


def test_version_is_normal(version):
    assert str(Version(version)) == version


def test_installed_package_has_the_version(package, version):
    assert metadata.version(package) == version


def test_sibling_pins_equal_the_version(project, version):
    pins = [Requirement(line) for line in project["dependencies"] if line.startswith("pb-")]
    assert [str(pin.specifier) for pin in pins] == [f"=={version}"] * len(pins)


def test_tested_versions_satisfy_every_declaration(root, project, tested):
    groups = tomllib.loads((root / "pyproject.toml").read_text())["dependency-groups"].values()
    tools = [line for group in groups for line in group if isinstance(line, str)]
    required = [Requirement(line) for line in (*project["dependencies"], *tools) if not line.startswith("pb-")]
    assert all(tested[canonicalize_name(each.name)] in each.specifier for each in required)


def test_tested_versions_are_sorted_and_public(tested):
    assert list(tested) == sorted(tested)
    assert not any("+" in version for version in tested.values())


def test_bump_rewrites_the_version_and_the_pins_only(root, tmp_path):
    files = [root / "VERSION", root / "scripts" / "bump.py", *root.glob("packages/*/pyproject.toml")]
    for path in files:
        copy = tmp_path / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    subprocess.run([sys.executable, tmp_path / "scripts" / "bump.py", "12.3.4"], check=True, capture_output=True)
    before = [line for path in files for line in path.read_text().splitlines()]
    after = [line for path in files for line in (tmp_path / path.relative_to(root)).read_text().splitlines()]
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) == 6
    assert all(new == old.replace((root / "VERSION").read_text().strip(), "12.3.4") for old, new in changed)


def test_bump_refuses_what_is_no_version(root):
    result = subprocess.run(
        [sys.executable, root / "scripts" / "bump.py", "next"], check=False, capture_output=True, text=True
    )
    assert result.returncode == 1
    assert "'next' was given" in result.stderr

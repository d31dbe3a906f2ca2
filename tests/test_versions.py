"""One version, in VERSION; the packages, their pins and the tested versions agree with what is declared."""

import re
import shutil
import subprocess
import sys
import tomllib
from difflib import unified_diff
from importlib import metadata
from pathlib import Path

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


def test_the_citation_file_has_the_version(root, version):
    assert f"\nversion: {version}\n" in (root / "CITATION.cff").read_text()


@pytest.fixture
def bump(root, tmp_path):
    """Run the script on a copy of the files that it may rewrite."""
    names = ["VERSION", "CITATION.cff", "CHANGELOG.md", "scripts/bump.py"]
    for path in [*map(root.joinpath, names), *root.glob("packages/*/pyproject.toml")]:
        copy = tmp_path / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)

    def run(version):
        command = [sys.executable, tmp_path / "scripts" / "bump.py", version]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    return run


def test_bump_rewrites_what_states_the_version_and_nothing_else(root, tmp_path, version, bump):
    done = bump("12.3.4")
    assert done.returncode == 0, done.stderr
    lines = {}
    for path in filter(Path.is_file, tmp_path.rglob("*")):
        name, new = str(path.relative_to(tmp_path)), path.read_text().splitlines()
        old = (root / name).read_text().splitlines()
        changed = list(unified_diff(old, new, n=0, lineterm=""))[2:]
        lines[name] = [line for line in changed if not line.startswith("@@")]
    today = r"\d{4}-\d{2}-\d{2}"
    changes = "\n".join(lines.pop("CHANGELOG.md"))
    assert re.fullmatch(rf"\+\n\+## \[12\.3\.4\] - {today}|\+## \[12\.3\.4\] - {today}\n\+", changes), changes
    removed, added, *date = (line for line in lines.pop("CITATION.cff") if not line.startswith("-date"))
    assert (removed, added) == (f"-version: {version}", "+version: 12.3.4")
    assert re.fullmatch(rf"\+date-released: {today}", "".join(date))
    rest = [line for changed in lines.values() for line in changed]
    assert len(rest) == 12
    assert sorted(line[1:].replace("12.3.4", version) for line in rest if line[0] == "+") == sorted(
        line[1:] for line in rest if line[0] == "-"
    )


def test_bump_refuses_a_version_that_has_entries(tmp_path, bump):
    assert bump("12.3.4").returncode == 0
    before = (tmp_path / "CHANGELOG.md").read_text()
    done = bump("12.3.4")
    assert (done.returncode, before) == (1, (tmp_path / "CHANGELOG.md").read_text())
    assert "has a version 12.3.4 already" in done.stderr
    assert bump("12.3.5").returncode == 0
    assert (tmp_path / "CITATION.cff").read_text().count("date-released:") == 1


def test_bump_refuses_what_is_no_version(root):
    result = subprocess.run(
        [sys.executable, root / "scripts" / "bump.py", "next"], check=False, capture_output=True, text=True
    )
    assert result.returncode == 1
    assert "'next' was given" in result.stderr

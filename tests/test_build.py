"""hatch builds a wheel and an sdist of every package, each whole; pb-losses alone pulls torch and nothing else.

That each of the five wheels stands alone in an empty environment takes minutes: .ci/run has scripts/check_wheels.py.
"""

import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from importlib import metadata

import pytest
import trove_classifiers
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


@pytest.fixture(scope="module")
def dist(root, tmp_path_factory):
    """Folder with everything that `hatch build --all` makes."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatch", "build", "--all", folder], cwd=root, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def version(root):
    return (root / "VERSION").read_text().strip()


@pytest.fixture
def stem(package, version):
    return f"{package.replace('-', '_')}-{version}"


def test_five_wheels_and_five_sdists_are_made(dist, version):
    stems = [f"pb_{name}-{version}" for name in ("cli", "data", "eval", "losses", "models")]
    expected = [stem + end for stem in stems for end in ("-py3-none-any.whl", ".tar.gz")]
    assert sorted(path.name for path in dist.iterdir()) == sorted(expected)


def test_wheel_holds_every_tracked_source_and_the_licence(root, dist, package, stem):
    source = root / "packages" / package / "src"
    tracked = subprocess.run(["git", "ls-files"], cwd=source, check=True, capture_output=True, text=True).stdout.split(
        "\n"
    )
    names = zipfile.ZipFile(dist / f"{stem}-py3-none-any.whl").namelist()
    assert {name for name in tracked if name} <= set(names)
    assert f"{stem}.dist-info/licenses/LICENSE" in names
    assert [name for name in names if name.endswith("/py.typed")] == [f"{package.replace('-', '_')}/py.typed"]
    assert not [name for name in names if "test" in name.split("/")[0]]


def test_wheel_declares_what_pyproject_declares(dist, project, stem, version):
    wheel = zipfile.ZipFile(dist / f"{stem}-py3-none-any.whl")
    declared = Parser().parsestr(wheel.read(f"{stem}.dist-info/METADATA").decode())
    assert declared["Version"] == version
    assert requirements(declared.get_all("Requires-Dist")) == requirements(project["dependencies"])


def test_twine_finds_nothing_to_mend(dist):
    command = [sys.executable, "-m", "twine", "check", "--strict", *sorted(dist.iterdir())]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ | {"NO_COLOR": "1"})
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASSED") == 10


def test_metadata_are_complete(dist, project, stem):
    wheel = zipfile.ZipFile(dist / f"{stem}-py3-none-any.whl")
    declared = Parser().parsestr(wheel.read(f"{stem}.dist-info/METADATA").decode())
    for field in ("Summary", "Author", "License-Expression", "Keywords", "Requires-Python", "Description-Content-Type"):
        assert declared[field], field
    assert declared.get_payload().startswith(f"# {declared['Name']}\n")
    classes = declared.get_all("Classifier")
    assert classes == project["classifiers"]
    assert set(classes) <= trove_classifiers.classifiers
    assert not set(classes) & trove_classifiers.deprecated_classifiers.keys()


def test_sizes_are_those_that_the_readme_states(root, dist, package, stem):
    """To a tenth of a MB, rounded up, so that a statement holds while code changes."""
    stated = re.search(rf"^\| \[{package}\].*\| ([\d.]+) MB \|$", (root / "README.md").read_text(), re.MULTILINE)
    assert stated is not None
    size = (dist / f"{stem}-py3-none-any.whl").stat().st_size / 1e6
    assert size <= float(stated[1]) < size + 0.3


def requirements(lines):
    return {(canonicalize_name(each.name), each.specifier) for each in map(Requirement, lines)}


def test_wheel_built_from_the_sdist_is_the_same(dist, stem, tmp_path):
    with tarfile.open(dist / f"{stem}.tar.gz") as archive:
        assert {f"{stem}/LICENSE", f"{stem}/README.md", f"{stem}/pyproject.toml"} <= set(archive.getnames())
    build = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path]
    subprocess.run([sys.executable, "-m", *build, dist / f"{stem}.tar.gz"], check=True)
    pair = [zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl") for folder in (dist, tmp_path)]
    first, second = ({info.filename: info.CRC for info in wheel.infolist()} for wheel in pair)
    assert first == second


def test_losses_alone_pull_torch_and_nothing_else(root, dist, version, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", tmp_path], check=True)
    python, constraints = tmp_path / "bin" / "python", root / "constraints.txt"
    install = [python, "-m", "pip", "install", "--quiet", "--constraint", constraints]
    subprocess.run([*install, dist / f"pb_losses-{version}-py3-none-any.whl"], check=True)
    listing = subprocess.run([python, "-m", "pip", "list", "--format", "json"], check=True, capture_output=True)
    installed = {canonicalize_name(each["name"]) for each in json.loads(listing.stdout)}
    assert installed - {"pip", "setuptools"} == {"pb-losses"} | (needed_by("torch") - {"setuptools"})
    subprocess.run([python, "-I", "-c", "import pb_losses; pb_losses.get_loss('mse')"], check=True)


def needed_by(name):
    """A distribution and all that it needs, as installed here."""
    found, queue = set(), [name]
    while queue:
        name = canonicalize_name(queue.pop())
        if name not in found:
            found.add(name)
            lines = [Requirement(line) for line in metadata.requires(name) or []]
            queue += [line.name for line in lines if line.marker is None or line.marker.evaluate({"extra": ""})]
    return found

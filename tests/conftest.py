"""What the tests of the whole share: where things lie, what packages declare, which programs are there."""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("pb-cli", "pb-data", "pb-eval", "pb-losses", "pb-models")


class Needs(NamedTuple):
    """What the tests of a folder need beyond Python, and how to get it."""

    what: str
    programs: Sequence[str]
    mend: str
    module: str | None = None
    root: bool = False

    def missing(self) -> list[str]:
        """List what is not there."""
        found = [name for name in self.programs if shutil.which(name) is None]
        found += [self.module] if self.module and find_spec(self.module) is None else []
        is_root = hasattr(os, "geteuid") and os.geteuid() == 0
        return found + ["root's rights"] * (self.root and not is_root)


NEEDS = {
    "browser": Needs(
        "in a real browser",
        ("chromium", "chromedriver"),
        "On Debian: apt-get install chromium chromium-driver.",
        module="selenium",
    ),
    "slurm": Needs(
        "of a real Slurm",
        ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "srun"),
        "As root on Debian: apt-get install slurm-wlm munge.",
        root=True,
    ),
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests whose programs are not there; the summary says so."""
    absent = [ROOT / "tests" / folder for folder, needs in NEEDS.items() if needs.missing()]
    left_out = [item for item in items if any(folder in item.path.parents for folder in absent)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in a sentence why tests were left out."""
    for folder, needs in NEEDS.items():
        if lacking := ", ".join(needs.missing()):
            words = f"The tests {needs.what} (tests/{folder}) were deselected: {lacking} missing. {needs.mend}"
            terminalreporter.write_line(words, yellow=True)


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def reader() -> Callable[[str, Path], subprocess.CompletedProcess[str]]:
    """Run a shell command in a folder as a page's reader would; home and installed packages lie hidden in it."""

    def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
        home, site = folder / ".home", folder / ".installed"
        home.mkdir(exist_ok=True)
        others = {
            name: value for name, value in os.environ.items() if not name.startswith(("PB_", "SLURM_", "SBATCH_"))
        }
        environment = {
            **others,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep),
            "HOME": str(home),
            "COLUMNS": "120",
            "PIP_TARGET": str(site),
            "PIP_NO_DEPS": "1",
            "PIP_NO_BUILD_ISOLATION": "0",
            "PIP_QUIET": "1",
        }
        merged: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.run(command, shell=True, cwd=folder, env=environment, check=False, **merged)

    return run


@pytest.fixture(params=PACKAGES)
def package(request: pytest.FixtureRequest) -> str:
    """Name of one distribution, such as pb-data."""
    return request.param


@pytest.fixture
def project(root: Path, package: str) -> dict[str, Any]:
    """The [project] table of that distribution."""
    return tomllib.loads((root / "packages" / package / "pyproject.toml").read_text())["project"]


@pytest.fixture
def sources(root: Path, package: str) -> list[Path]:
    """Every module of that distribution."""
    return sorted((root / "packages" / package / "src").rglob("*.py"))

"""What the tests of the whole share: where things lie, what packages declare, which programs are there."""

import os
import shutil
import tomllib
from collections.abc import Sequence
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

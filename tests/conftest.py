"""What the tests of the whole share: where the repository lies, and what each package declares."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("pb-cli", "pb-data", "pb-eval", "pb-losses", "pb-models")


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

"""Write constraints.txt: the versions, installed in this environment, of all that the packages and the tools need."""

import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
HEADER = "# Tested versions: what `python scripts/constraints.py` finds installed for the packages and the dev group."


def declared() -> list[str]:
    """List the requirements of the five packages and of the development tools."""
    read = [tomllib.loads(path.read_text()) for path in sorted(ROOT.glob("packages/*/pyproject.toml"))]
    root = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = [line for table in read for line in table["project"]["dependencies"]]
    tools = [line for group in root["dependency-groups"].values() for line in group if isinstance(line, str)]
    return [*packages, *tools, *root["build-system"]["requires"], "pip"]


def closure(requirements: list[str]) -> dict[str, str]:
    """Follow the requirements through the installed distributions: name -> version without its local part."""
    found: dict[str, str] = {}
    queue = [(Requirement(line), "") for line in requirements]
    while queue:
        requirement, extra = queue.pop()
        name = canonicalize_name(requirement.name)
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": extra})
        if not wanted or (name in found and not requirement.extras):
            continue
        found[name] = metadata.version(name).partition("+")[0]
        children = [Requirement(line) for line in metadata.requires(name) or []]
        queue += [(child, extra) for child in children for extra in ("", *requirement.extras)]
    return {name: version for name, version in sorted(found.items()) if not name.startswith("pb-")}


def main() -> None:
    lines = [f"{name}=={version}" for name, version in closure(declared()).items()]
    (ROOT / "constraints.txt").write_text("\n".join([HEADER, *lines]) + "\n")


if __name__ == "__main__":
    main()

"""Test the lower bounds: install each declared dependency in its oldest allowed version, run the suites with them.

    python scripts/oldest.py FOLDER                                # say what the bounds are, make the environment there
    python scripts/oldest.py FOLDER packages/pb-data/tests [...]   # run tests in it

What the dependencies need themselves comes in the newest version that fits; old releases warn of that, so warnings are
no errors here. Slow; run before a release.
"""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = sorted(ROOT.glob("packages/pb-*"))
READY = ".ready"  # written when everything is installed
TOOLS = ("hypothesis", "packaging", "pytest", "pytest-benchmark", "pyyaml")


def bounds() -> dict[str, str]:
    """Collect name -> oldest version that every package allows; each declared dependency has to have a bound."""
    found: dict[str, str] = {}
    for folder in PACKAGES:
        for line in tomllib.loads((folder / "pyproject.toml").read_text())["project"]["dependencies"]:
            requirement = Requirement(line)
            if requirement.name.startswith("pb-"):
                continue
            lowest = [each.version for each in requirement.specifier if each.operator == ">="]
            if len(lowest) != 1:
                sys.exit(f"oldest: {folder.name} has {line!r} without one lower bound, such as {requirement.name}>=1.0")
            name = canonicalize_name(requirement.name)
            found[name] = max(lowest[0], found.get(name, "0"), key=Version)
    return dict(sorted(found.items()))


def tools() -> list[str]:
    """Take the tested versions of what runs the tests."""
    tested = dict(re.findall(r"^(\S+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    return [f"{name}=={tested[name]}" for name in TOOLS]


def install(folder: Path) -> None:
    """Make the environment."""
    python, constraints = folder / "bin" / "python", folder / "oldest.txt"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in bounds().items()))
    members = [part for member in PACKAGES for part in ("--editable", member)]
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--constraint", constraints, *members, *tools()], check=True
    )
    subprocess.run([python, "-m", "pip", "check"], check=True)
    (folder / READY).touch()


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit("oldest: a folder for the environment is needed")
    folder = Path(sys.argv[1]).absolute()
    print(*(f"{name}=={version}" for name, version in bounds().items()), sep="\n", flush=True)
    if not (folder / READY).exists():
        install(folder)
    if tests := sys.argv[2:]:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
        command = [folder / "bin" / "python", "-m", "pytest", "-q", "-W", "default", "--benchmark-disable", *tests]
        sys.exit(subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode)


if __name__ == "__main__":
    main()

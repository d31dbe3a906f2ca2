"""Prove that each wheel stands alone and all stand together: build, install into empty environments, import, test.

    python scripts/check_wheels.py                                # all, one by one, then together
    python scripts/check_wheels.py data together                  # some
    python scripts/check_wheels.py --python python3.13 together   # on another Python

Slow (every environment is installed from nothing), therefore run by .ci/run and before a release rather than by pytest.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("losses", "data", "eval", "models", "cli")
TOGETHER = "together"
SMALL = ("--model", "control,scgen", "--no-baselines", "--hold-out", "0", "--set", "scgen.max_epochs=1")
IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if not module.name.endswith(".__main__"):
        importlib.import_module(module.name)
"""


def run(*command: str | Path, **environment: str) -> None:
    subprocess.run([str(part) for part in command], check=True, cwd=ROOT, env={**os.environ, **environment})


def empty_environment(interpreter: str, wheels: Path, folder: Path) -> tuple[Path, tuple[str | Path, ...]]:
    """Make an environment; return its Python and the command that installs wheels and tested dependencies into it."""
    run(interpreter, "-m", "venv", folder)
    python = folder / "bin" / "python"
    pip = (python, "-m", "pip", "install", "--quiet", "--find-links", wheels, "--constraint", "constraints.txt")
    return python, pip


def check(name: str, interpreter: str, wheels: Path, folder: Path) -> None:
    """Install one wheel with its declared dependencies and nothing else; import every module, run its tests."""
    start = time.perf_counter()
    python, install = empty_environment(interpreter, wheels, folder)
    wheel = next(wheels.glob(f"pb_{name}-*.whl"))
    run(*install, wheel)
    run(python, "-m", "pip", "check")
    run(python, "-I", "-c", IMPORT_ALL, f"pb_{name}")
    run(*install, "hypothesis", "pytest")
    run(python, "-m", "pytest", "-q", f"packages/pb-{name}/tests", OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")
    size, seconds = wheel.stat().st_size / 1e6, time.perf_counter() - start
    print(f"pb-{name} stands alone: {size:.1f} MB, {seconds:.0f} s", flush=True)


def check_together(interpreter: str, wheels: Path, folder: Path) -> None:
    """Install all wheels into one environment; import every module, let `pb` look at itself and run a benchmark."""
    start = time.perf_counter()
    python, install = empty_environment(interpreter, wheels, folder)
    run(*install, *sorted(wheels.glob("*.whl")))
    run(python, "-m", "pip", "check")
    for name in PACKAGES:
        run(python, "-I", "-c", IMPORT_ALL, f"pb_{name}")
    pb, out = folder / "bin" / "pb", folder / "run"
    run(pb, "ls", "models")
    run(pb, "bench", "--dataset", "mcfaline", "--preset", "quick", "--bootstrap", "0", "--out", out, *SMALL)
    print(f"all stand together: {time.perf_counter() - start:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Prove that each wheel stands alone, and all together.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(PACKAGES)}, {TOGETHER}; all by default")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the environments")
    asked = parser.parse_args()
    if unknown := {*asked.names} - {*PACKAGES, TOGETHER}:
        parser.error(f"there is no {', '.join(sorted(unknown))}; choose from {', '.join((*PACKAGES, TOGETHER))}")
    with tempfile.TemporaryDirectory() as temporary:
        wheels = Path(temporary) / "dist"
        run(sys.executable, "-m", "hatch", "build", "--all", wheels)
        for name in asked.names or (*PACKAGES, TOGETHER):
            with tempfile.TemporaryDirectory(dir=temporary) as folder:
                if name == TOGETHER:
                    check_together(asked.python, wheels, Path(folder))
                else:
                    check(name, asked.python, wheels, Path(folder))


if __name__ == "__main__":
    main()

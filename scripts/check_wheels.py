"""Prove that each wheel stands alone: build all, install one by one into empty environments, import, run its tests.

Slow (every environment is installed from nothing), therefore run by .ci/run and before a release rather than by pytest.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("losses", "data", "eval", "models", "cli")
IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if not module.name.endswith(".__main__"):
        importlib.import_module(module.name)
"""


def run(*command: str | Path, **environment: str) -> None:
    subprocess.run([str(part) for part in command], check=True, cwd=ROOT, env={**os.environ, **environment})


def check(name: str, wheels: Path, folder: Path) -> None:
    """Install one wheel with its declared dependencies and nothing else; import every module, run its tests."""
    start = time.perf_counter()
    run(sys.executable, "-m", "venv", folder)
    python, wheel = folder / "bin" / "python", next(wheels.glob(f"pb_{name}-*.whl"))
    install = (python, "-m", "pip", "install", "--quiet", "--find-links", wheels, "--constraint", "constraints.txt")
    run(*install, wheel)
    run(python, "-m", "pip", "check")
    run(python, "-I", "-c", IMPORT_ALL, f"pb_{name}")
    run(*install, "hypothesis", "pytest")
    run(python, "-m", "pytest", "-q", f"packages/pb-{name}/tests", OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")
    size, seconds = wheel.stat().st_size / 1e6, time.perf_counter() - start
    print(f"pb-{name} stands alone: {size:.1f} MB, {seconds:.0f} s", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        wheels = Path(temporary) / "dist"
        run(sys.executable, "-m", "hatch", "build", "--all", wheels)
        for name in sys.argv[1:] or PACKAGES:
            with tempfile.TemporaryDirectory(dir=temporary) as folder:
                check(name, wheels, Path(folder))


if __name__ == "__main__":
    main()

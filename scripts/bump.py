"""Set the one version: `python scripts/bump.py 0.2.0` rewrites VERSION and the pins between the packages."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSION = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")
PIN = re.compile(r'"(pb-[a-z]+)==[^"]+"')


def main() -> None:
    version = sys.argv[1] if len(sys.argv) == 2 else ""
    if not VERSION.fullmatch(version):
        sys.exit(f"bump: a version such as 0.2.0 or 0.2.0rc1 is needed, and {version!r} was given")
    (ROOT / "VERSION").write_text(version + "\n")
    for path in sorted(ROOT.glob("packages/*/pyproject.toml")):
        path.write_text(PIN.sub(rf'"\1=={version}"', path.read_text()))
    print(f"version {version}; now move the entries of CHANGELOG.md under it")


if __name__ == "__main__":
    main()

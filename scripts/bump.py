"""Set the one version: `python scripts/bump.py 0.2.0` rewrites all that states it, and dates the release.

That is VERSION, the pins between the packages, the citation file, and CHANGELOG.md, whose unreleased entries move under
the new version.
"""

import re
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSION = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")
PIN = re.compile(r'"(pb-[a-z]+)==[^"]+"')
CITED = re.compile(r"^version: .*\n(date-released: .*\n)?", re.MULTILINE)
UNRELEASED = "## [Unreleased]\n"


def main() -> None:
    version = sys.argv[1] if len(sys.argv) == 2 else ""
    if not VERSION.fullmatch(version):
        sys.exit(f"bump: a version such as 0.2.0 or 0.2.0rc1 is needed, and {version!r} was given")
    changes, citation = ROOT / "CHANGELOG.md", ROOT / "CITATION.cff"
    today = datetime.now(UTC).date().isoformat()
    if f"## [{version}]" in changes.read_text():
        sys.exit(f"bump: CHANGELOG.md has a version {version} already; give a higher one")
    rewrite(changes, re.escape(UNRELEASED), f"{UNRELEASED}\n## [{version}] - {today}\n")
    rewrite(citation, CITED, f"version: {version}\ndate-released: {today}\n")
    (ROOT / "VERSION").write_text(version + "\n")
    for path in sorted(ROOT.glob("packages/*/pyproject.toml")):
        path.write_text(PIN.sub(rf'"\1=={version}"', path.read_text()))
    print(f"version {version} of {today}: VERSION, pins, CITATION.cff and CHANGELOG.md say so")


def rewrite(path: Path, pattern: str | re.Pattern[str], text: str) -> None:
    """Replace the one place in a file that the pattern finds."""
    rewritten, found = re.subn(pattern, text, path.read_text())
    if found != 1:
        sys.exit(f"bump: {path.name} has {found} places for the version; there has to be one")
    path.write_text(rewritten)


if __name__ == "__main__":
    main()

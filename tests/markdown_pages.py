"""The Markdown pages of the repository, for tests that read them."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def pages():
    """Map the name of each page that git knows, or does not ignore, to its text."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return {name: (ROOT / name).read_text() for name in dict.fromkeys(listed) if name and (ROOT / name).exists()}

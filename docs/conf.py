"""The documentation site: every Markdown page of the repository, and the API from its docstrings."""

import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]

project = "pb"
author = "The pb developers"
copyright = author  # noqa: A001 - Sphinx's name for it
version = release = (ROOT / "VERSION").read_text().strip()

# The source folder is the repository's root, so that links between pages are the same here and on a code host.
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**", "packages/*/README.md", "experiments/*", "benchmarks/*", "slurm/*"]
exclude_patterns = ["docs/_build"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

html_theme = "furo"
html_title = f"pb {version}"
html_copy_source = False

myst_heading_anchors = 4
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
suppress_warnings = ["ref.python"]  # a word of a docstring may be the name of several fields
default_role = "code"  # `name` in a docstring is code

PAGE = re.compile(r"\]\(([^)#:]+\.md)\)")
CODE = re.compile(r"(`+.*?`+)")


def append_contents(_app: Sphinx, name: str, source: list[str]) -> None:
    """Make a hidden table of contents of each section of an index: the pages that its list or table links to."""
    if not name.endswith("/index"):
        return
    folder = Path(name).parent
    for section in re.split(r"^## ", source[0], flags=re.MULTILINE)[1:]:
        title = section.partition("\n")[0]
        pages = [(ROOT / folder / page).resolve().relative_to(ROOT).as_posix() for page in linked(section)]
        entries = "\n".join(f"/{page}" for page in pages)
        source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n{entries}\n```\n"


def linked(section: str) -> list[str]:
    """Return the pages that the items of a list and the rows of a table link to."""
    return [page for line in section.splitlines() if line.startswith(("- ", "| ")) for page in PAGE.findall(line)]


def escape_formulas(*event: Any) -> None:
    """Keep the |x|, * and trailing _ of plain formulas in a docstring from being read as markup."""
    lines: list[str] = event[-1]
    lines[:] = [line if line.lstrip().startswith((">>>", "...")) else escape(line) for line in lines]


def escape(line: str) -> str:
    """Escape what stands outside of backticks."""
    parts = CODE.split(line)
    return "".join(part if place % 2 else re.sub(r"([|*]|_\b(?!_))", r"\\\1", part) for place, part in enumerate(parts))


def setup(app: Sphinx) -> None:
    """Connect the hooks."""
    app.connect("source-read", append_contents)
    app.connect("autodoc-process-docstring", escape_formulas, priority=900)

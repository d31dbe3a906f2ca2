"""Every link of the pages leads somewhere, paths named exist, the citation file is valid."""

import re

import yaml
from markdown_pages import pages

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def anchors(page):
    """The anchors of a page's headings, as they are made by the usual renderers."""
    headings = re.findall(r"^#+ +(.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def leads_somewhere(page, link):
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    return target.exists() and (not anchor or anchor in anchors(target))


def test_every_relative_link_leads_somewhere(root):
    links = [(root / page, link) for page, text in pages().items() for link in LINK.findall(FENCE.sub("", text))]
    local = [(page, link) for page, link in links if not re.match(r"\w+:", link)]
    assert len(local) > 10
    assert [f"{page.relative_to(root)}: {link}" for page, link in local if not leads_somewhere(page, link)] == []


def test_a_dead_link_is_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One heading\n")
    assert leads_somewhere(page, "page.md#one-heading")
    assert not leads_somewhere(page, "page.md#another")
    assert not leads_somewhere(page, "nowhere.md")


def test_citation_file_is_valid(root):
    citation = yaml.safe_load((root / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()
    for reference in citation["references"]:
        assert {"type", "title", "authors", "year"} <= reference.keys()
        assert "doi" in reference or "url" in reference


def test_every_path_of_the_architecture_exists(root):
    page = (root / "docs" / "architecture.md").read_text()
    rows = re.findall(
        r"^\| (.*?) ?\| (.+) \|$", page.partition("## Where things are")[2].partition("\n## ")[0], re.MULTILINE
    )
    folder, missing = root, []
    for where, what in rows[2:]:  # after the heading and its line
        named = re.findall(r"`([^`]+)`", where)
        folder = root / named[0] if named and named[0].startswith("packages/") else folder
        inside = [folder / name for name in re.findall(r"`([\w/]+(?:\.py|/))`", what)]
        missing += [path for path in [*(root / name for name in named), *inside] if not path.exists()]
    assert len(rows) > 10
    assert missing == []

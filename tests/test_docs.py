"""Every link of the pages leads somewhere, every example prints what it says, the citation file is valid."""

import doctest
import re
import shlex
import subprocess

import click
import pytest
import yaml

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^ *(pb (?:.*\\\n)*.*)$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def pages(root):
    """Every Markdown page of the repository."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"]
    names = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.split("\0")
    return [root / name for name in names if name]


def anchors(page):
    """The anchors of a page's headings, as they are made by the usual renderers."""
    headings = re.findall(r"^#+ +(.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def leads_somewhere(page, link):
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    return target.exists() and (not anchor or anchor in anchors(target))


def test_every_relative_link_leads_somewhere(root, pages):
    links = [(page, link) for page in pages for link in LINK.findall(FENCE.sub("", page.read_text()))]
    local = [(page, link) for page, link in links if not re.match(r"\w+:", link)]
    assert len(local) > 10
    assert [f"{page.relative_to(root)}: {link}" for page, link in local if not leads_somewhere(page, link)] == []


def test_a_dead_link_is_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One heading\n")
    assert leads_somewhere(page, "page.md#one-heading")
    assert not leads_somewhere(page, "page.md#another")
    assert not leads_somewhere(page, "nowhere.md")


def test_examples_of_the_pages(pages):
    alone = [page for page in pages if "\n```console\n" not in page.read_text()]  # the others: test_walkthroughs.py
    assert [page.name for page in alone if doctest.testfile(str(page), module_relative=False).failed] == []


def words_of(block):
    """Yield the words of each `pb` command, comments and redirections left out."""
    for line in COMMAND.findall(block):
        yield shlex.split(line.replace("\\\n", " ").partition(" > ")[0], comments=True)


def parse(words):
    """Read a command line as pb would, without running it."""
    from pb_cli import app

    context = app.make_context("pb", words[1:])
    while isinstance(context.command, click.Group):
        name, command, rest = context.command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)


def test_pb_knows_every_flag_of_commands_that_are_only_shown(root, pages, tmp_path, monkeypatch):
    from pb_cli import app
    from pb_cli.console import messages
    from pb_cli.manners import walk

    monkeypatch.setattr(messages, "level", 0)
    blocks = [block for page in pages for block in SHELL.findall(page.read_text())]
    blocks += [(command.help or "").partition("Examples:")[2] for _, command in walk(app)]
    lines = [words for block in blocks for words in words_of(block)]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").symlink_to(root / "experiments")
    for name in ("runs/mine", "runs/pbmc"):
        (tmp_path / name).mkdir(parents=True)
    assert len(lines) > 90
    for words in lines:
        parse(words)


@pytest.mark.parametrize("line", ["pb bench --modle scgen", "pb bnech", "pb compare runs/before"])
def test_a_command_that_pb_does_not_know_is_seen(line):
    with pytest.raises(click.UsageError):
        parse(*words_of(line))


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

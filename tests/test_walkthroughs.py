"""Pages with examples are worked through: files are written, commands and examples run, and print what is shown.

A fenced block whose first line names a file (as in: python model.py) is that file. In a `console` block, lines that
begin with `$ ` are run by the shell in one folder for each page; what follows is their output, `...` any text. Examples
with `>>>` share their names over a page.
"""

import doctest
import re
from pathlib import Path

import pytest
from markdown_pages import pages

WORKED = re.compile(r"^```(console|python)", re.MULTILINE)
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*\n)", re.MULTILINE)
ROUGHLY = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
PAGES = {name: text for name, text in pages().items() if WORKED.search(text)}


@pytest.fixture
def shell(reader, tmp_path, monkeypatch):
    """Run one command in the page's folder, where its examples run too; return what is printed."""
    monkeypatch.chdir(tmp_path)
    return lambda command: reader(command, tmp_path).stdout


def commands(block):
    """Pairs of a command and the output shown below it."""
    parts = COMMAND.split(block)
    return list(zip(parts[1::2], parts[2::2], strict=True))


def check_commands(block, shell):
    for command, shown in commands(block):
        printed = "\n".join(line.rstrip() for line in shell(command).splitlines())
        fits = doctest.OutputChecker().check_output(shown, printed, ROUGHLY)
        assert fits, f"$ {command}prints\n{printed}\nand the page shows\n{shown}"


def check_examples(block, names, page):
    test = doctest.DocTestParser().get_doctest(block, names, page, page, 0)
    assert test.examples, f"{page}: nothing to run in\n{block}"
    failures = doctest.DocTestRunner(optionflags=ROUGHLY).run(test, clear_globs=False).failed
    names.update(test.globs)
    assert failures == 0


@pytest.mark.parametrize("page", PAGES)
def test_page(page, shell):
    names = {}
    for language, file, block in BLOCK.findall(PAGES[page]):
        if file:
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            Path(file).write_text(block)
        elif language == "console":
            check_commands(block, shell)
        elif language == "python":
            check_examples(block, names, page)


def test_there_are_pages_to_work_through():
    assert {"docs/cluster.md", "docs/how-to/a-model.md", "packages/pb-data/README.md"} <= PAGES.keys()


def test_no_example_lies_where_it_is_not_run():
    run = re.compile(r"^```(python|console).*?^```", re.MULTILINE | re.DOTALL)
    assert [name for name, text in pages().items() if re.search(r"^ *(>>>|\$) ", run.sub("", text), re.MULTILINE)] == []
    assert [name for name, text in pages().items() if re.search(r"^ +```(python|console|sh)", text, re.MULTILINE)] == []


def test_a_wrong_output_is_seen(shell):
    check_commands("$ echo one\none\n$ echo two \\\n  three\ntwo ...\n", shell)
    with pytest.raises(AssertionError, match="the page shows"):
        check_commands("$ echo one\ntwo\n", shell)
    for block in (">>> 1 + 1\n3\n", "1 + 1\n"):
        with pytest.raises(AssertionError):
            check_examples(block, {}, "page")

"""Pages with shell commands are worked through: files are written, commands and examples run, and print what is shown.

A fenced block whose first line names a file (as in: python model.py) is that file. In a `console` block, lines that
begin with `$ ` are run by the shell in one folder for each page; what follows is their output, `...` any text. Examples
with `>>>` share their names over a page.
"""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*\n)", re.MULTILINE)
ROUGHLY = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
OTHERS = {"_build", "plugin-example"}  # what Sphinx writes, and a package with a test of its own
PAGES = sorted(
    page
    for page in (ROOT / "docs").rglob("*.md")
    if "\n```console\n" in page.read_text() and not OTHERS & set(page.relative_to(ROOT).parts)
)


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """Run one command as the page's reader would; `pip install` goes into a folder of the page's own."""
    site, home = tmp_path / "installed", tmp_path / "home"
    home.mkdir()
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PB_", "SLURM_", "SBATCH_"))},
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep),
        "HOME": str(home),
        "COLUMNS": "120",
        "PIP_TARGET": str(site),
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_QUIET": "1",
    }

    def run(command):
        merged = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.run(command, shell=True, env=environment, text=True, check=False, **merged).stdout

    return run


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
    failures = doctest.DocTestRunner(optionflags=ROUGHLY).run(test, clear_globs=False).failed
    names.update(test.globs)
    assert failures == 0


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_page(page, shell):
    names = {}
    for language, file, block in BLOCK.findall(page.read_text()):
        if file:
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            Path(file).write_text(block)
        elif language == "console":
            check_commands(block, shell)
        elif language == "python":
            check_examples(block, names, page.name)


def test_there_are_pages_to_work_through():
    assert {"first-benchmark", "cluster", "a-model"} <= {page.stem for page in PAGES}


def test_a_wrong_output_is_seen(shell):
    check_commands("$ echo one\none\n$ echo two \\\n  three\ntwo ...\n", shell)
    with pytest.raises(AssertionError, match="the page shows"):
        check_commands("$ echo one\ntwo\n", shell)
    with pytest.raises(AssertionError):
        check_examples(">>> 1 + 1\n3\n", {}, "page")

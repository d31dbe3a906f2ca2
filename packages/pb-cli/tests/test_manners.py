"""What holds for every verb: examples, flags, widths, encodings, pipes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from pb_cli import app
from pb_cli.console import messages
from pb_cli.manners import walk

COMMANDS = dict(walk(app))
VERBS = {name: command for name, command in COMMANDS.items() if not isinstance(command, click.Group)}
CHEAP = [
    ["ls", "datasets"],
    ["ls", "metrics"],
    ["ls", "losses"],
    ["ls", "labelled", "--json"],
    ["data", "info", "parkinson-total"],
    ["data", "info", "nault", "--json"],
    *([*name.split()[1:], "--help"] for name in COMMANDS),
]
FLAGS = ("--context-key", "kind", "--perturbation-key", "condition", "--control", "ctrl", "--scale", "counts")
DRIVER = """
import json, sys
from pb_cli.app import app, shown_anywhere
shown_anywhere()
for arguments in json.loads(sys.argv[1]):
    print("\\x1e", flush=True)
    app(arguments, prog_name="pb", standalone_mode=False)
    sys.stdout.flush()
"""
COLOUR = re.compile(r"\x1b\[[0-9;]*(?<!\d)[349]\d")


def run_all(verbs, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run verbs one after the other in one new process with this environment."""
    command = [sys.executable, "-W", "error", "-c", DRIVER, json.dumps(verbs)]
    usual = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    return subprocess.run(command, env=usual | environment, capture_output=True, check=False)


@pytest.fixture(autouse=True)
def usual_level(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(messages, "level", 0)


def outside_examples(text: str) -> list[str]:
    """Lines of a help but for its examples, which are written to be copied."""
    head, _, rest = text.partition("  Examples:\n")
    return [*head.splitlines(), *rest.partition("\n\n")[2].splitlines()]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_has_examples_of_its_verb(pb, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "80")
    text = pb(*name.split()[1:], "--help").stdout
    examples = text.partition("  Examples:\n")[2].partition("\n\n")[0]
    assert re.search(rf"(^|\W){name} ", examples.replace("\n", " \n")), text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_narrow_terminal(pb, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "40")
    lines = outside_examples(pb(*name.split()[1:], "--help").stdout)
    assert [line for line in lines if len(line) > 40] == []


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_can_be_quiet_and_verbose(name):
    spelt = {each for parameter in VERBS[name].params for each in parameter.opts}
    assert {"-q", "--quiet", "-v", "--verbose"} <= spelt


def test_a_flag_is_of_one_kind_in_all_verbs():
    """Where two verbs share a flag, it has the same short form, and takes a value in both or in neither."""
    kinds: dict[str, set[tuple[object, ...]]] = {}
    for name, command in VERBS.items():
        for each in command.params:
            if isinstance(each, click.Option) and (name, each.opts[0]) != ("pb run", "--array"):  # names an array there
                kinds.setdefault(each.opts[0], set()).add((tuple(each.opts), each.is_flag))
    assert {flag: found for flag, found in kinds.items() if len(found) > 1} == {}
    assert kinds["--json"] == {(("--json",), True)}


def test_quiet_leaves_warnings_and_errors(pb, capsys):
    @click.command()
    def speak():
        messages.print("said")
        messages.print("warned", style="yellow")
        messages.print("failed", style="red")

    def said(*flags: str) -> str:
        app.add_command(speak)
        from pb_cli.manners import verbosity_options

        if not any(each.name == "verbose" for each in speak.params):
            verbosity_options(speak)
        try:
            app([*flags], prog_name="pb", standalone_mode=False)
        finally:
            del app.commands["speak"]
        return capsys.readouterr().err

    assert said("speak") == "said\nwarned\nfailed\n"
    assert said("-q", "speak") == said("speak", "--quiet") == "warned\nfailed\n"
    assert said("speak") == "said\nwarned\nfailed\n", "the next call is not quiet"


def test_verbose_says_where_an_error_was_raised(pb):
    plain, verbose = pb("data", "info", "pmbc"), pb("-v", "data", "info", "pmbc")
    assert plain.exit_code == verbose.exit_code == 2
    assert "Traceback" not in plain.stderr
    assert "Traceback" in verbose.stderr
    assert verbose.stderr.endswith(plain.stderr)


@pytest.mark.parametrize(
    ("encoding", "environment"),
    [
        ("ascii", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
        ("ascii", {"PYTHONIOENCODING": "ascii"}),
        ("latin-1", {"PYTHONIOENCODING": "latin-1"}),
        ("utf-8", {"PYTHONIOENCODING": "utf-8"}),
    ],
)
def test_any_encoding_shows_everything(encoding, environment):
    done = run_all(CHEAP, **environment)
    assert (done.returncode, done.stderr) == (0, b"")
    parts = done.stdout.decode(encoding).split("\x1e\n")[1:]
    assert len(parts) == len(CHEAP)
    for arguments, text in zip(CHEAP, parts, strict=True):
        assert text.strip()
        if "--json" in arguments:
            assert json.loads(text)
    listed = parts[CHEAP.index(["ls", "metrics"])]
    assert ("│" in listed) == (encoding == "utf-8")
    assert max(map(len, listed.splitlines())) == 160


def test_data_are_the_same_in_every_encoding(data_file: Path):
    verbs = [["data", "info", "--data", str(data_file), *FLAGS, "--json"], ["data", "info", "wine", "--json"]]
    told = [run_all(verbs, PYTHONIOENCODING=name).stdout.decode(name) for name in ("ascii", "utf-8")]
    parsed = [[json.loads(part) for part in text.split("\x1e\n")[1:]] for text in told]
    assert parsed[0] == parsed[1]
    assert told[0] != told[1], "something in it is not ASCII"


def test_a_narrow_terminal_gets_no_long_line():
    verbs = [arguments for arguments in CHEAP if not {"--json", "--help"} & {*arguments}]
    done = run_all(verbs, COLUMNS="40", PYTHONIOENCODING="utf-8")
    assert (done.returncode, done.stderr) == (0, b"")
    assert [line for line in done.stdout.decode().splitlines() if len(line) > 40] == []


@pytest.mark.parametrize(("told", "coloured"), [({"NO_COLOR": "1"}, False), ({}, True)])
def test_no_color_is_respected(monkeypatch, told, coloured):
    monkeypatch.delenv("NO_COLOR", raising=False)
    code = "from pb_cli.console import messages, output; [c.print('x', style='red') for c in (messages, output)]"
    environment = os.environ | {"FORCE_COLOR": "1", "TERM": "xterm-256color"} | told
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert [bool(COLOUR.search(text)) for text in (done.stdout, done.stderr)] == [coloured, coloured]


@pytest.mark.parametrize("arguments", [["ls", "metrics"], ["ls", "--json"], ["bench", "--help"]])
def test_a_closed_pipe_is_no_traceback(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pb_cli", *arguments],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writing)
    assert done.stderr == ""


def test_messages_go_to_stderr_and_data_to_stdout(pb, data_file: Path):
    result = pb("data", "validate", data_file, *FLAGS, "--json")
    assert json.loads(result.stdout) == []
    assert "no problem found" in result.stderr
    quiet = pb("data", "validate", data_file, *FLAGS, "--json", "-q")
    assert (json.loads(quiet.stdout), quiet.stderr) == ([], "")


def test_what_is_written_can_be_named_with_out_everywhere(pb):
    assert pb("data", "simulate-screen", "--out", "one", "--genes", "5").exit_code == 0
    assert pb("data", "simulate-screen", "two", "--genes", "5").exit_code == 0
    assert {path.name[:3] for path in pb.folder.iterdir()} == {"one", "two"}
    for given in (["three", "--out", "four"], []):
        result = pb("data", "simulate-screen", *given)
        assert result.exit_code == 2
        assert "name what to write once" in result.stderr


def test_help_is_quick_because_it_imports_little():
    code = (
        "import sys, pb_cli.app; print(*sorted({'torch', 'anndata', 'pandas', 'scanpy', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""

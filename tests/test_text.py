"""What is tracked is text, clean, and speaks of no particular machine."""

import re
import subprocess

import pytest

MACHINE = re.compile(r"(?<![\w.])/(work|root|home|opt|Users)/\w")
TEMPORARY = re.compile(r"(?<![\w.])/(var/)?tmp\b")


@pytest.fixture(scope="module")
def tracked(root):
    """Every file that git tracks, or would track."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.split("\0")
    return [root / name for name in names if name and (root / name).is_file()]


def text(path):
    """The content of a file, or None where it is not UTF-8 text."""
    try:
        content = path.read_bytes().decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in content else content


def test_only_embedded_data_is_not_text(root, tracked):
    binary = [path.relative_to(root) for path in tracked if text(path) is None]
    assert [path for path in binary if "resources" not in path.parts] == []


def test_no_path_of_a_machine(root, tracked):
    lines = ((path, line) for path in tracked for line in (text(path) or "").splitlines())
    assert [f"{path.relative_to(root)}: {line}" for path, line in lines if MACHINE.search(line)] == []


def test_no_fixed_temporary_folder_in_packages_and_docs(root, tracked):
    guarded = [path for path in tracked if {"src", "docs"} & set(path.relative_to(root).parts) or path.suffix == ".md"]
    lines = ((path, line) for path in guarded for line in (text(path) or "").splitlines())
    assert {"src", "docs"} <= {part for path in guarded for part in path.relative_to(root).parts}
    assert [f"{path.relative_to(root)}: {line}" for path, line in lines if TEMPORARY.search(line)] == []


def test_the_guard_against_paths_sees_them():
    assert MACHINE.search("cd " + "/".join(["", "home", "me", "pb"]))
    assert TEMPORARY.search('Path("' + "/".join(["", "tmp", "x.h5ad"]) + '")')
    assert not TEMPORARY.search("folder/tmp tmp_path")
    assert not MACHINE.search("https://example.org" + "/".join(["", "home", "page"]))


def test_lines_end_cleanly(root, tracked):
    texts = {path.relative_to(root): text(path) or "" for path in tracked if path.name != "py.typed"}
    assert [
        str(path) for path, content in texts.items() if "\r" in content or re.search(r"[ \t]$", content, re.MULTILINE)
    ] == []
    assert [str(path) for path, content in texts.items() if content and not re.search(r"[^\n]\n\Z", content)] == []

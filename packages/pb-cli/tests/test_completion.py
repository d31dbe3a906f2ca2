"""What a shell completes, by click's own mechanism and in a real bash."""

import os
import subprocess
import sys

import pytest

REPORTING = """
import sys
from pb_cli.app import main
try:
    main()
finally:
    print(*(name for name in ("torch", "anndata", "pandas", "scanpy") if name in sys.modules), file=sys.stderr)
"""


def complete(*words: str) -> list[str]:
    """Ask as bash does: what can the last word become?"""
    environment = {"_PB_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    command = [sys.executable, "-c", REPORTING]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "", "a completion has to be fast: nothing large is imported"
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("pb ben", ["bench"]),
        ("pb completion z", ["zsh"]),
        ("pb bench --mod", ["--model"]),
        ("pb bench --model mtvae-o", ["mtvae-ot"]),
        ("pb bench --model scgen,mtvae-o", ["scgen,mtvae-ot"]),
        ("pb bench --dataset conc", ["concrete"]),
        ("pb bench --loss ald", ["aldr"]),
        ("pb bench --split leave-d", ["leave-dose-out"]),
        ("pb bench --fold-kind str", ["stratified"]),
        ("pb bench --task regr", ["regression"]),
        ("pb eval audit --metric spearman_d", ["spearman_delta"]),
        ("pb eval comp", ["compare"]),
        ("pb eval prediction", ["prediction"]),  # of type file: the shell lists files
        ("pb data info mcf", ["mcfaline"]),
        ("pb init conc", ["concrete"]),
        ("pb init my", ["my"]),
    ],
)
def test_names_are_completed(typed, found):
    assert complete(*typed.split()) == found


def test_a_name_in_the_list_is_not_offered_again():
    assert "scgen,scgen" not in complete("pb", "bench", "--model", "scgen,sc")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_printed(pb, shell):
    result = pb("completion", shell)
    assert result.exit_code == 0
    assert f"_PB_COMPLETE={shell}_complete" in result.stdout


def test_an_unknown_shell_is_refused(pb):
    assert pb("completion", "tcsh").exit_code == 2


def test_a_real_bash_takes_the_script(tmp_path):
    program = tmp_path / "pb"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m pb_cli "$@"\n')
    program.chmod(0o755)
    code = """
complete() { :; }  # registering needs an interactive shell
eval "$(pb completion bash)"
COMP_WORDS=(pb bench --model mtvae-o) COMP_CWORD=3
_pb_completion pb
echo "${COMPREPLY[@]}"
"""
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", code], env=os.environ | {"PATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "mtvae-ot"

"""Imports follow the arrows of the architecture, and each arrow is declared once, in a pyproject.toml."""

import ast
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ARROWS = {
    "pb-losses": set(),
    "pb-data": set(),
    "pb-eval": set(),
    "pb-models": {"pb-data"},
    "pb-cli": {"pb-data", "pb-eval", "pb-losses", "pb-models"},
}
TORCH_ALLOWED = {"pb-losses", "pb-models", "pb-cli"}
# Declared and needed at run time, but reached through another library instead of an import of our own.
THROUGH = {("pb-eval", "pyarrow"): "pandas reads and writes Parquet with it"}
PICKLES = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}


def declared(project: dict[str, Any]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}


def modules_imported(path: Path) -> Iterator[str]:
    """Top-level names that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def distributions_imported(package: str, sources: list[Path]) -> dict[str, set[str]]:
    """Distribution names behind all imports of a package, its own and the standard library left out."""
    names = {name for path in sources for name in modules_imported(path)} - set(sys.stdlib_module_names)
    return {name: owners(name) for name in names - {package.replace("-", "_")}}


def owners(name: str) -> set[str]:
    """Distributions that hold a top-level module; siblings are installed in place, where metadata cannot see it."""
    found = (
        [name] if name.startswith("pb_") else metadata.packages_distributions().get(name, [f"unknown module {name}"])
    )
    return {canonicalize_name(each) for each in found}


def test_every_import_is_declared(package, project, sources):
    imported = distributions_imported(package, sources)
    undeclared = [name for name, found in imported.items() if not found & declared(project)]
    assert undeclared == []


def test_every_declared_dependency_is_imported(package, project, sources):
    used = set().union(*distributions_imported(package, sources).values())
    used |= {name for (owner, name) in THROUGH if owner == package}
    assert declared(project) - used == set()


def test_siblings_are_those_of_the_architecture(package, project):
    assert {name for name in declared(project) if name.startswith("pb-")} == ARROWS[package]


def test_torch_stays_out_of_the_packages_that_do_not_train(package, project):
    assert ("torch" in declared(project)) <= (package in TORCH_ALLOWED)


@pytest.mark.parametrize(
    "code", ["import pickle", "x = np.load(p, allow_pickle=True)", "torch.load(p)", "pd.read_pickle(p)"]
)
def test_the_guard_against_pickles_sees_them(code):
    assert pickles(ast.parse(code)) == [1]


def test_no_pickle_is_ever_loaded(sources):
    found = [f"{path.name}:{line}" for path in sources for line in pickles(ast.parse(path.read_text()))]
    assert found == []


def pickles(tree: ast.AST) -> list[int]:
    """Line numbers of whatever would run code out of a data file."""
    return [node.lineno for node in ast.walk(tree) if unpickles(node)]


def unpickles(node: ast.AST) -> bool:
    match node:
        case ast.Import(names=names):
            return bool(PICKLES & {alias.name.partition(".")[0] for alias in names})
        case ast.ImportFrom(module=str(module)):
            return module.partition(".")[0] in PICKLES
        case ast.Call(keywords=keywords):
            return any(is_true(word, "allow_pickle") for word in keywords)
        case ast.Attribute():
            return ast.unparse(node) in {"torch.load", "pd.read_pickle", "pandas.read_pickle"}
    return False


def is_true(word: ast.keyword, name: str) -> bool:
    return word.arg == name and not (isinstance(word.value, ast.Constant) and word.value.value is False)


def test_public_packages_are_typed(root, package):
    assert (root / "packages" / package / "src" / package.replace("-", "_") / "py.typed").is_file()

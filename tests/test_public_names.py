"""`__all__` of each package: a literal, sorted, complete, and every name in it can be had."""

import ast
import importlib
import re
import subprocess
import sys

import pytest


@pytest.fixture
def name(package):
    return package.replace("-", "_")


@pytest.fixture
def tree(root, package, name):
    return ast.parse((root / "packages" / package / "src" / name / "__init__.py").read_text())


def names_exported(tree, package):
    """Public names that an `__init__` defines or takes from its own modules, also those only a type checker sees."""
    blocks = [tree.body, *(node.body for node in tree.body if isinstance(node, ast.If))]
    for node in (node for block in blocks for node in block):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").partition(".")[0] == package):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def listed(tree):
    values = [
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    assert len(values) == 1, "one literal __all__"
    return ast.literal_eval(values[0])


def order(name):
    """Constants, classes, the rest; numbers inside names by value: what ruff's RUF022 writes."""
    kind = 0 if name.isupper() else 1 if name[0].isupper() else 2
    return kind, [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def test_all_is_sorted_without_doubles(tree):
    names = listed(tree)
    assert names == sorted(set(names), key=order)


def test_all_is_complete(tree, name):
    public = {each for each in names_exported(tree, name) if not each.startswith("_")}
    missing = public - set(listed(tree))
    assert missing == set()


def test_every_listed_name_can_be_had_and_seen(tree, name):
    module = importlib.import_module(name)
    for each in listed(tree):
        getattr(module, each)
    assert set(listed(tree)) <= set(dir(module))


def test_star_import_in_a_fresh_interpreter(tree, name):
    code = f"from {name} import *; missing = set({listed(tree)!r}) - globals().keys(); assert not missing, missing"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_a_name_that_is_not_there_is_an_attribute_error(name):
    with pytest.raises(AttributeError, match="no_such_name"):
        importlib.import_module(name).no_such_name  # noqa: B018

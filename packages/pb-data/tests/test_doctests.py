"""Every example in the docstrings says what it prints."""

import doctest
from importlib import import_module
from pkgutil import walk_packages

import pb_data
import pytest

MODULES = sorted(module.name for module in walk_packages(pb_data.__path__, "pb_data."))


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    assert doctest.testmod(import_module(name)).failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    assert sum(bool(test.examples) for name in MODULES for test in finder.find(import_module(name))) >= 20

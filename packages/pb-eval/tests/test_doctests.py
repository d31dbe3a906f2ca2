"""Every example in the package runs."""

import doctest
import importlib
import pkgutil

import numpy as np
import pb_eval
import pytest

MODULES = sorted(module.name for module in pkgutil.walk_packages(pb_eval.__path__, "pb_eval."))


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(name)
    result = doctest.testmod(module, extraglobs={"np": np})
    assert result.failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    found = [test for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples]
    assert len(found) > 20

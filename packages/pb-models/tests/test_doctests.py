import doctest
import importlib
import pkgutil

import pb_models
import pytest

MODULES = sorted(module.name for module in pkgutil.walk_packages(pb_models.__path__, "pb_models."))


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_say(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0

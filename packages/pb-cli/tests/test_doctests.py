import doctest
import importlib
import pkgutil

import pb_cli
import pytest

FOUND = sorted(module.name for module in pkgutil.walk_packages(pb_cli.__path__, "pb_cli."))
MODULES = [name for name in FOUND if not name.endswith(".__main__")]  # to import it is to run the command


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_say(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0

"""Examples of the documentation run, and none is missing."""

import doctest
import inspect
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pb_losses
import pytest

MODULES = [module.name for module in iter_modules(pb_losses.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(import_module(f"pb_losses.{name}")).failed == 0


@pytest.mark.parametrize("name", pb_losses.__all__)
def test_public_functions_have_an_example(name):
    value = getattr(pb_losses, name)
    if inspect.isfunction(value):
        assert ">>>" in value.__doc__


def test_readme():
    readme = Path(__file__).parents[1] / "README.md"
    result = doctest.testfile(str(readme), module_relative=False)
    assert result.attempted > 5
    assert result.failed == 0


def test_readme_tells_of_every_loss():
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    assert [name for name in pb_losses.LOSSES if f"| `{name}` |" not in readme] == []

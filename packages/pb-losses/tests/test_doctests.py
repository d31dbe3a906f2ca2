"""Examples of the documentation run, and none is missing."""

import doctest
import inspect
import re
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pb_losses
import pb_losses.catalogue
import pytest

README = Path(__file__).parents[1] / "README.md"
MODULES = [module.name for module in iter_modules(pb_losses.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(import_module(f"pb_losses.{name}")).failed == 0


@pytest.mark.parametrize("name", pb_losses.__all__)
def test_public_functions_have_an_example(name):
    value = getattr(pb_losses, name)
    if inspect.isfunction(value):
        assert ">>>" in value.__doc__


@pytest.mark.parametrize("name", ["get_loss", "loss_info", "gather_rows", *pb_losses.LOSSES])
def test_what_is_refused_is_told(name):
    function = {"gar": "far", "mae+pearson": "mae_pearson"}.get(name, name.replace("-", "_"))
    assert "\nRaises\n------\n" in inspect.getdoc(getattr(pb_losses, function))  # Python 3.13 takes indents off
    if name in pb_losses.LOSSES:
        cls = getattr(pb_losses, pb_losses.LOSSES[name].partition(":")[2])
        assert f"When called, as :func:`{function}`." in cls.__doc__


def test_readme():
    result = doctest.testfile(str(README), module_relative=False)
    assert result.attempted > 10
    assert result.failed == 0


def test_every_python_block_of_the_readme_runs():
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    assert [block for block in blocks if not block.startswith(">>>")] == []


def written(default):
    return f"{default:.3g}" if isinstance(default, float) else str(default)


def test_readme_tells_of_every_loss_what_the_registry_tells():
    rows = re.findall(r"^\| `(.+?)` \| (.+) \|$", README.read_text(), re.MULTILINE)
    table = {name: cells.split(" | ") for name, cells in rows if name in pb_losses.LOSSES}
    assert list(table) == list(pb_losses.catalogue.CATALOGUE)
    for name, (when, inputs, default, equation, paper) in table.items():
        info = pb_losses.loss_info(name)
        told = (when, inputs, equation.replace("\\|", "|"), paper)
        assert told == (info.summary, ", ".join(info.inputs), info.equation, info.paper)
        defaults = {
            p.name: f"{p.default:.3g}" if isinstance(p.default, float) else str(p.default) for p in info.parameters
        }
        shown = {} if default == "-" else dict(setting.split(" ") for setting in default.split(", "))
        assert shown.items() <= defaults.items()
        assert shown.keys() >= {p.name for p in info.parameters if p.grid}

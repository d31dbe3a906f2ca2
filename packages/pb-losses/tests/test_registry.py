"""The registry, what it tells, and what importing costs."""

import inspect
import subprocess
import sys
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

import pb_losses
import pytest
import torch
from pb_losses import registry
from pb_losses.catalogue import CATALOGUE

NAMES = sorted(pb_losses.LOSSES)


def test_catalogue_and_registry_name_the_same_losses():
    assert set(CATALOGUE) == set(pb_losses.LOSSES)
    assert pb_losses.loss_names() == NAMES


def test_twins_and_properties_are_declared_for_every_kind_and_family():
    """Their files declare them for these; another needs a file, or a place in one."""
    assert {info.kind for info in CATALOGUE.values()} == {"regression", "features", "classification"}
    families = {info.family for info in CATALOGUE.values() if info.kind == "classification"}
    assert families == {"entropy", "bounded", "margin", "label-robust"}


@pytest.mark.parametrize("name", NAMES)
def test_information_agrees_with_the_code(name):
    info = pb_losses.loss_info(name)
    module, _, attribute = pb_losses.LOSSES[name].partition(":")
    cls = getattr(import_module(module), attribute)
    defaults = {k: p.default for k, p in inspect.signature(cls).parameters.items() if k != "reduction"}
    told = {p.name: p.default for p in info.parameters}
    assert list(told) == list(defaults)
    assert all(told[k] == value or value is inspect.Parameter.empty for k, value in defaults.items())
    assert tuple(inspect.signature(cls.forward).parameters)[1:] == info.inputs
    assert info.summary.endswith(".")
    assert info.equation
    assert info.paper
    assert all(p.meaning for p in info.parameters)


@pytest.mark.parametrize("name", NAMES)
def test_every_value_of_a_grid_is_accepted(name, problem):
    for parameter in pb_losses.loss_info(name).parameters:
        for value in parameter.grid:
            assert problem(name, 1, 5, "random", None, **{parameter.name: value}).value().isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_module_and_function_agree(name, problem):
    drawn = problem(name)
    module = drawn.loss()
    assert isinstance(module, torch.nn.Module)
    function = getattr(pb_losses, {"gar": "far", "mae+pearson": "mae_pearson"}.get(name, name.replace("-", "_")))
    assert torch.equal(module(*drawn.inputs), function(*drawn.inputs, **drawn.settings))
    assert "reduction=" in repr(module)
    assert not list(module.parameters())


def test_names_that_do_not_exist():
    with pytest.raises(ValueError, match="Did you mean 'huber'"):
        pb_losses.get_loss("hubr")
    with pytest.raises(ValueError, match="no loss is called 'xyz'"):
        pb_losses.loss_info("xyz")
    with pytest.raises(ValueError, match="Did you mean 'temperature'"):
        pb_losses.get_loss("ldr", temprature=1.0)
    with pytest.raises(ValueError, match="needs weights"):
        pb_losses.get_loss("wmse")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        pb_losses.nothing  # noqa: B018 - reading it is the test


class Third(torch.nn.Module):
    """A loss of another package.

    With more to say.
    """

    def __init__(self, power=1.0):
        super().__init__()
        self.power = power


def test_losses_of_other_packages(monkeypatch):
    monkeypatch.setitem(sys.modules, "third", ModuleType("third"))
    sys.modules["third"].Third = Third
    monkeypatch.setattr(registry, "_plugins", lambda: {"third": "third:Third", "mae": "third:Third"})
    assert pb_losses.get_loss("third", power=2.0).power == 2.0
    assert pb_losses.loss_info("third").summary == "A loss of another package."
    assert "third" in pb_losses.loss_names()
    assert isinstance(pb_losses.get_loss("mae"), pb_losses.MAE)


def test_a_bare_module_of_another_package_has_no_settings(monkeypatch):
    monkeypatch.setattr(registry, "_plugins", lambda: {"bare": "torch.nn:Module"})
    assert type(pb_losses.get_loss("bare")).__name__ == "Module"
    with pytest.raises(ValueError, match="has no setting 'power'; it takes none"):
        pb_losses.get_loss("bare", power=2.0)


def test_public_names_are_sorted_and_exist():
    assert pb_losses.__all__ == sorted(pb_losses.__all__, key=lambda n: (not n.isupper(), not n[0].isupper(), n))
    assert set(pb_losses.__all__) <= set(dir(pb_losses))
    for module in iter_modules(pb_losses.__path__):
        import_module(f"pb_losses.{module.name}")
    assert not [name for name in pb_losses.__all__ if isinstance(getattr(pb_losses, name), ModuleType)]
    assert {cls.partition(":")[2] for cls in pb_losses.LOSSES.values()} <= set(pb_losses.__all__)


def test_reading_the_registry_does_not_import_torch():
    code = "import sys, pb_losses.registry as r; r.loss_info('rnc'), r.loss_names(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_costs_nothing_beyond_torch():
    code = """
import time, torch
start = time.process_time()  # of this process: the machine may be busy
import pb_losses
pb_losses.far, pb_losses.rnc, pb_losses.ldr
print(time.process_time() - start)
"""
    seconds = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(3)]
    assert min(seconds) < 0.05


def test_settings_are_kept_and_weights_move_with_the_module():
    loss = pb_losses.get_loss("wmse", weights=torch.ones(3))
    assert loss.double().weights.dtype == torch.float64
    assert list(loss.state_dict()) == ["weights"]
    assert pb_losses.get_loss("gar", alpha=2.0).alpha == 2.0

"""No training step looks at a value that is still on the device.

The device is torch's "meta", whose tensors have shapes and no values: whatever would wait for a GPU (item, bool, float,
cpu, numpy, tolist, a mask as an index) raises there. So do copies to the device that would wait until they are done.
`benchmarks/device_waits.py` counts waits on a GPU.
"""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from pb_models.latent import LatentModel
from pb_models.registry import create
from pb_models.training import Cells, History
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

META = torch.device("meta")
MODELS = ["scgen", "scvidr", "scvidr-multi", "scpregan", "scpregan:reference", "scpregan:wgan-div"]
MODELS += ["scbutterfly", "scbutterfly:reference"]
MODELS += ["mtae", "mtae-adv", "mtae-adv:reference", "mtae-adv-gauss", "mtae-ot", "mtae-and-ot"]
MODELS += ["mtvae", "mtvae-ot", "mtvae-and-ot"]
TRAINERS = ["vae_training", "scpregan", "butterfly_training", "multitask.training"]


class WaitingCopyError(Exception):
    """A copy to the device was asked for that returns only once it is done."""


class NoWaitingCopies(TorchDispatchMode):
    """Let tensors be copied to the device with `non_blocking` only; indices from the host are copies, too."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func is torch.ops.aten._to_copy.default:
            waits = _moves(args[0], result) and not kwargs.get("non_blocking")
        elif func is torch.ops.aten.copy_.default:
            waits = _moves(args[1], args[0]) and not (args[2:] and args[2])
        else:
            indices = args[1] if func.overloadpacket in INDEXING else []
            waits = any(_moves(index, args[0]) for index in indices if index is not None)
        if waits:
            raise WaitingCopyError(str(func))
        return result


class NoLiterals(TorchFunctionMode):
    """Let no tensor be made on the device from numbers of the host; the dispatcher does not see this."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        makes = func in LITERALS and not isinstance(args[0], torch.Tensor) and result.device == META
        if makes or (func is torch.Tensor.__getitem__ and isinstance(args[1], list | np.ndarray)):
            raise WaitingCopyError(str(func))
        return result


INDEXING = {getattr(torch.ops.aten, name) for name in ("index", "index_put", "index_put_", "_index_put_impl_")}
LITERALS = {torch.tensor, torch.as_tensor, torch.asarray}


def _moves(source, target):
    return source.device.type == "cpu" and target.device == META and source.ndim > 0  # scalars go along with the kernel


@pytest.fixture
def phases(monkeypatch):
    """Put one step in the place of each phase's training, without what the meta device lacks; count them."""
    found = []

    def one_step(network, rows, schedule, *, step, **_):
        network.train()
        with NoWaitingCopies(), NoLiterals():
            batch = rows[: schedule.batch_size] if isinstance(rows, torch.Tensor) else rows()[0]
            terms = step(batch)
        assert all(term.device == META for term in terms.values()), "terms stay on the device"
        found.append(list(terms))
        return History()

    for module in TRAINERS:
        monkeypatch.setattr(f"pb_models.{module}.train", one_step)
    monkeypatch.setattr(LatentModel, "encode", lambda self, X: np.zeros((X.shape[0], self.settings.n_latent)))
    adam = torch.optim.Adam
    monkeypatch.setattr("torch.optim.Adam", lambda weights, fused, **options: adam(weights, **options))
    monkeypatch.setattr("torch.autocast", lambda *_, **__: nullcontext())
    return found


@pytest.fixture(params=["resident", "row by row"])
def residence(request, monkeypatch):
    """Keep the cells on the device as a whole, or take them there batch by batch."""
    if request.param == "resident":
        start = Cells.__init__

        def resident(self, X, device):
            start(self, X, device)
            self._resident = torch.empty(X.shape, device=device)

        monkeypatch.setattr(Cells, "__init__", resident)


@pytest.mark.parametrize("spec", MODELS)
def test_no_step_waits_for_the_device(problem, phases, residence, spec):
    create(spec).fit(problem.train, keys=problem.keys, validation=problem.validation, device="meta")
    expected = {"scbutterfly": 3, "mtae-adv": 3, "mtae-adv-gauss": 3, "mtae-and-ot": 2, "mtvae-and-ot": 2}
    assert len(phases) == expected.get(spec.partition(":")[0], 1)


@pytest.mark.parametrize(
    "copy",
    [
        lambda cells, rows: rows.to(META),
        lambda cells, rows: torch.tensor([1.0, 2.0], device=META),
        lambda cells, rows: torch.as_tensor(rows.numpy(), device=META),
        lambda cells, rows: cells[rows],
        lambda cells, rows: cells[[0, 1]],
        lambda cells, rows: cells.index_put_((rows,), cells[:2]),
        lambda cells, rows: cells[:2].copy_(torch.ones(2, 3)),
    ],
)
def test_copies_that_wait_are_seen(copy):
    with pytest.raises(WaitingCopyError), NoWaitingCopies(), NoLiterals():
        copy(torch.empty(5, 3, device=META), torch.tensor([0, 1]))


def test_copies_that_do_not_wait_are_let_through():
    with NoWaitingCopies(), NoLiterals():
        cells = torch.empty(5, 3, device=META)
        rows = torch.tensor([0, 1]).to(META, non_blocking=True)
        (cells[rows] * torch.tensor(2.0)).copy_(torch.ones(2, 3), non_blocking=True)

"""No training step looks at a value that is still on the device.

The device is torch's "meta", whose tensors have shapes and no values: whatever would wait for a GPU (item, bool, float,
cpu, numpy, tolist, a mask as an index) raises there. Copies to the device are not seen; `benchmarks/device_waits.py`
counts them on a GPU.
"""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from pb_models.latent import LatentModel
from pb_models.registry import create
from pb_models.training import Cells, History

META = torch.device("meta")
MODELS = ["scgen", "scvidr", "scvidr-multi", "scpregan", "scpregan:reference", "scpregan:wgan-div"]
MODELS += ["scbutterfly", "scbutterfly:reference"]
MODELS += ["mtae", "mtae-adv", "mtae-adv:reference", "mtae-adv-gauss", "mtae-ot", "mtae-and-ot"]
MODELS += ["mtvae", "mtvae-ot", "mtvae-and-ot"]
TRAINERS = ["vae_training", "scpregan", "butterfly_training", "multitask.training"]


@pytest.fixture
def phases(monkeypatch):
    """Put one step in the place of each phase's training, without what the meta device lacks; count them."""
    found = []

    def one_step(network, rows, schedule, *, step, **_):
        network.train()
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

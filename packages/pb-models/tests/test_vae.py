import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from pb_models.training import seeded
from pb_models.vae import Posterior, Vae, kl_divergence, objective, reference_state
from torch import nn

CPU = torch.device("cpu")


@pytest.fixture
def network():
    with seeded(0, CPU):
        return Vae(12, n_latent=4, n_hidden=8)


@pytest.mark.parametrize(("n_genes", "n_parameters"), [(6998, 12_733_598), (5000, 9_534_800), (6619, 12_126_819)])
def test_parameter_counts(n_genes, n_parameters):
    with torch.device("meta"):
        network = Vae(n_genes)
    assert sum(weight.numel() for weight in network.parameters()) == n_parameters == 1601 * n_genes + 1_529_800


def test_blocks(network):
    for body in (network.encoder, network.decoder):
        for block in body:
            assert [type(layer) for layer in block] == [nn.Linear, nn.BatchNorm1d, nn.LeakyReLU, nn.Dropout]
            linear, norm, activation, dropout = block
            assert (norm.eps, norm.momentum, norm.affine) == (1e-3, 0.01, True)
            assert (activation.negative_slope, dropout.p, linear.bias is not None) == (0.01, 0.2, True)
    assert type(network.output) is nn.Linear, "no activation: negative expression can be decoded"


def test_initial_weights_are_torchs(network):
    """The layers are built in the order of the data's path, so torch's own draws are reproduced one by one."""
    with seeded(0, CPU):
        plain = [nn.Linear(*sizes) for sizes in [(12, 8), (8, 8), (8, 4), (8, 4), (4, 8), (8, 8), (8, 12)]]
    ours = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    for layer, expected in zip(ours, plain, strict=True):
        assert torch.equal(layer.weight, expected.weight)
        assert torch.equal(layer.bias, expected.bias)


def test_running_statistics_take_one_hundredth_of_a_batch(network):
    x = torch.arange(24.0).reshape(2, 12)
    linear, norm = network.encoder[0][0], network.encoder[0][1]
    network.train()(x)
    torch.testing.assert_close(norm.running_mean, 0.01 * linear(x).mean(dim=0).detach())


def test_evaluation_is_deterministic(network):
    network.eval()
    x = torch.rand(5, 12)
    assert torch.equal(network.encode(x).mean, network.encode(x).mean)
    assert torch.equal(network.decode(torch.ones(2, 4)), network.decode(torch.ones(2, 4)))
    assert not torch.equal(network(x)[1], network(x)[1]), "training decodes a sample"


def test_the_variance_has_a_floor(network):
    with torch.no_grad():
        network.log_variance.weight.zero_()
        network.log_variance.bias.fill_(-100.0)
    assert network.eval().encode(torch.rand(2, 12)).variance.flatten().tolist() == pytest.approx([1e-4] * 8)


def test_a_sample_has_the_posterior_s_moments():
    posterior = Posterior(torch.full((20000, 2), 3.0), torch.full((20000, 2), 4.0))
    with seeded(0, CPU):
        sample = posterior.sample()
    assert sample.mean().item() == pytest.approx(3, abs=0.05)
    assert sample.var().item() == pytest.approx(4, abs=0.1)


def loop_objective(x, reconstruction, mean, variance, kl_weight):
    total = 0.0
    for i in range(len(x)):
        squared_error = sum((a - b) ** 2 for a, b in zip(x[i], reconstruction[i], strict=True))
        kl = 0.5 * sum(m * m + v - 1 - math.log(v) for m, v in zip(mean[i], variance[i], strict=True))
        total += 0.5 * squared_error + 0.5 * kl_weight * kl
    return total / len(x)


@pytest.mark.parametrize("kl_weight", [0.0, 5e-5, 1.0])
def test_the_objective_is_the_formula(kl_weight):
    random = np.random.default_rng(0)
    x, reconstruction = random.random((2, 6, 9))
    mean, variance = random.random((2, 6, 3)) + 0.1
    posterior = Posterior(torch.tensor(mean), torch.tensor(variance))
    terms = objective(torch.tensor(x), torch.tensor(reconstruction), posterior, kl_weight=kl_weight)
    assert terms.loss.item() == pytest.approx(loop_objective(x, reconstruction, mean, variance, kl_weight), rel=1e-12)
    doubled = objective(torch.tensor(x), torch.tensor(reconstruction), posterior, kl_weight=2 * kl_weight)
    assert (doubled.loss - terms.loss).item() == pytest.approx(0.5 * kl_weight * terms.kl.item(), abs=1e-12)


def test_the_objective_does_not_depend_on_the_batch_size():
    x, reconstruction, mean = torch.rand(4, 6).double(), torch.rand(4, 6).double(), torch.rand(4, 3).double()
    posterior = Posterior(mean, mean + 1)
    once = objective(x, reconstruction, posterior, kl_weight=0.5)
    twice = objective(
        x.repeat(2, 1), reconstruction.repeat(2, 1), Posterior(*(p.repeat(2, 1) for p in posterior)), kl_weight=0.5
    )
    torch.testing.assert_close(tuple(once), tuple(twice))


def test_the_divergence_is_torchs():
    posterior = Posterior(torch.randn(5, 3), torch.rand(5, 3) + 0.1)
    normal = torch.distributions.Normal(posterior.mean, posterior.variance.sqrt())
    expected = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).sum(dim=1)
    torch.testing.assert_close(kl_divergence(posterior), expected)


class ReferenceLayers(nn.Module):
    """A fully connected body in the layout of scvi-tools: Linear, BatchNorm1d, empty slot, activation, dropout."""

    def __init__(self, sizes):
        super().__init__()
        layers = {}
        for i, (n_in, n_out) in enumerate(pairwise(sizes)):
            norm = nn.BatchNorm1d(n_out, eps=1e-3, momentum=0.01)
            layers[f"Layer {i}"] = nn.Sequential(
                nn.Linear(n_in, n_out), norm, nn.Identity(), nn.LeakyReLU(0.01), nn.Dropout(0.2)
            )
        self.fc_layers = nn.Sequential()
        for name, layer in layers.items():
            self.fc_layers.add_module(name, layer)

    def forward(self, x):
        return self.fc_layers(x)


class Reference(nn.Module):
    """The reference's module tree with its names, written from the specification's key list."""

    def __init__(self, n_genes, n_hidden, n_latent):
        super().__init__()
        self.z_encoder = nn.Module()
        self.z_encoder.encoder = ReferenceLayers([n_genes, n_hidden, n_hidden])
        self.z_encoder.mean_encoder = nn.Linear(n_hidden, n_latent)
        self.z_encoder.var_encoder = nn.Linear(n_hidden, n_latent)
        self.decoder = nn.Module()
        self.decoder.decoder = ReferenceLayers([n_latent, n_hidden, n_hidden])
        self.decoder.linear_out = nn.Linear(n_hidden, n_genes)


def test_a_reference_state_is_loaded_through_the_key_map():
    with seeded(3, CPU):
        reference, ours, x = Reference(12, 8, 4), Vae(12, n_hidden=8, n_latent=4).eval(), torch.rand(6, 12)
        for _ in range(3):
            reference.z_encoder.encoder(x)
            reference.decoder.decoder(torch.randn(6, 4))
    reference.eval()
    ours.load_state_dict(reference_state(reference.state_dict()), strict=True)
    hidden = reference.z_encoder.encoder(x)
    mean, variance = reference.z_encoder.mean_encoder(hidden), reference.z_encoder.var_encoder(hidden).exp() + 1e-4
    torch.testing.assert_close(tuple(ours.encode(x)), (mean, variance), rtol=1e-5, atol=1e-6)
    expected = reference.decoder.linear_out(reference.decoder.decoder(mean))
    torch.testing.assert_close(ours.decode(mean), expected, rtol=1e-5, atol=1e-6)


def test_foreign_weights_are_refused():
    with pytest.raises(ValueError, match=r"'decoder\.px' is no weight of a reference"):
        reference_state({"decoder.px": torch.zeros(1)})

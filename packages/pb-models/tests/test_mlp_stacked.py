"""Gradients of stacked perceptrons worked out by hand, against autograd through one network at a time."""

import numpy as np
import pytest
import torch
from pb_models.mlp import MLPSettings, build_mlp
from pb_models.mlp_stacked import StackedMLP
from scipy import sparse

SEEDS = (3, 4, 5)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def alone(settings, x, member, of_features, of_outputs):
    """Gradients of one network, weights (in, out) first and biases after, None where there is none."""
    network = build_mlp(x.shape[1], 2, settings, seed=SEEDS[member])
    features, outputs = network(x)
    given = [(features, of_features), (outputs, of_outputs)]
    total = sum((value * gradient[member]).sum() for value, gradient in given if gradient is not None)
    total.backward()
    layers = network.linear_layers()
    weights = [None if layer.weight.grad is None else layer.weight.grad.T for layer in layers]
    return [*weights, *(None if layer.bias.grad is None else layer.bias.grad.unsqueeze(0) for layer in layers)]


def agree(found, settings, x, of_features, of_outputs):
    for member in range(len(SEEDS)):
        for a, b in zip(found, alone(settings, x, member, of_features, of_outputs), strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                torch.testing.assert_close(a[member], b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("activation", ["elu", "tanh", "relu"])
@pytest.mark.parametrize("asked", ["outputs", "features", "both"])
def test_gradients_equal_those_of_each_network_alone(activation, asked):
    settings = MLPSettings(hidden=(6, 5, 4), activation=activation)
    network = StackedMLP(3, 2, settings, SEEDS)
    for n, seed in ((10, 1), (7, 2), (10, 3)):  # batches of other sizes use the same memory
        x = drawn(n, 3, seed=seed)
        of_features = drawn(3, n, 4, seed=seed + 10) if asked != "outputs" else None
        of_outputs = drawn(3, n, 2, seed=seed + 20) if asked != "features" else None
        network(x)
        agree(network.gradients(of_features, of_outputs), settings, x, of_features, of_outputs)


def test_gradients_of_a_shifted_sparse_batch_equal_those_of_the_dense_one():
    settings = MLPSettings(hidden=(6, 4))
    dense, shift = drawn(10, 8).relu_(), drawn(8, seed=1)
    network = StackedMLP(8, 2, settings, SEEDS, shift=shift.numpy())
    network(sparse.csr_matrix(dense.numpy()))
    of_outputs = drawn(3, 10, 2, seed=2)
    agree(network.gradients(None, of_outputs), settings, dense + shift, None, of_outputs)


def test_members_predict_what_they_predict_in_company():
    network, x = StackedMLP(3, 2, MLPSettings(hidden=(6, 4)), SEEDS), drawn(9, 3)
    whole = network(x)[1]
    few = network.members(torch.tensor([2, 0]))
    torch.testing.assert_close(few(x)[1], whole[[2, 0]])
    few.weights[0].zero_()
    np.testing.assert_array_equal(network(x)[1], whole)


def test_without_a_gradient_nothing_has_one():
    network = StackedMLP(3, 2, MLPSettings(hidden=(6, 4)), SEEDS)
    network(drawn(5, 3))
    assert network.gradients(None, None) == [None] * 6

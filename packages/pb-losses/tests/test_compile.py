"""``torch.compile``: one graph for each loss but RankSim, which learns the number of distinct labels as it runs."""

import pb_losses
import pytest
import torch

# torch's own tracer instantiates the Function classes, and reads the gradients of inner tensors, that it warns about
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
    pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0:RuntimeWarning"),
]

NAMES = sorted(set(pb_losses.LOSSES) - {"ranksim"})


def compiled_agrees(drawn, *, fullgraph):
    torch._dynamo.reset()
    module = drawn.loss()
    compiled = torch.compile(module, backend="eager", fullgraph=fullgraph)
    x, y = (drawn.inputs[0].clone().requires_grad_() for _ in range(2))
    value, expected = compiled(x, *drawn.inputs[1:]), module(y, *drawn.inputs[1:])
    value.backward()
    expected.backward()
    assert torch.allclose(value, expected, rtol=1e-10)
    assert torch.allclose(x.grad, y.grad, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_one_graph(name, problem):
    compiled_agrees(problem(name, 1, 9, "ties"), fullgraph=True)


@pytest.mark.parametrize("name", ["far", "ldr", "rnc", "conr", "mae"])
def test_one_graph_with_missing_targets(name, problem):
    drawn = problem(name, 1, 9, "ties")
    target = drawn.inputs[1]
    target[2] = torch.nan if target.is_floating_point() else -100
    compiled_agrees(drawn, fullgraph=True)


def test_ranksim_compiles_in_more_than_one_graph(problem):
    drawn = problem("ranksim", 1, 9)
    compiled_agrees(drawn, fullgraph=False)
    torch._dynamo.reset()
    with pytest.raises(torch._dynamo.exc.TorchDynamoException):
        torch.compile(drawn.loss(), backend="eager", fullgraph=True)(*drawn.inputs)

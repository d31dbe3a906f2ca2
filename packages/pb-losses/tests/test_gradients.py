"""Gradients against finite differences, and the two that are not derivatives against their definition."""

import pb_losses
import pytest
import torch

ALPHAS = (0.1, 0.2, 0.25, 0.4, 0.5, 0.8, 1.0, 1.25, 2.0, 2.5, 4.0, 5.0, 10.0)
OTHERS = sorted(set(pb_losses.LOSSES) - {"ranksim", "far", "gar", "mae+pearson"})


def differentiable(drawn, **settings):
    """Tell whether the gradient in the first input is that of finite differences."""
    loss = drawn.loss(**settings)
    x = drawn.inputs[0].clone().requires_grad_()
    return torch.autograd.gradcheck(lambda x: loss(x, *drawn.inputs[1:]), (x,), eps=1e-6, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("heads", [None, 2])
@pytest.mark.parametrize("name", OTHERS)
def test_gradient_is_that_of_finite_differences(name, heads, problem):
    assert differentiable(problem(name, 1, 5, "random", heads))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", ["rnc", "conr"])
def test_gradient_of_anchors_is_that_of_finite_differences(name, reduction, problem):
    assert differentiable(problem(name, 2, 7, "ties"), reduction=reduction, chunk=3)
    assert differentiable(problem(name, 2, 7, "random"), reduction=reduction, chunk=3)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("form", ["log", "exp"])
@pytest.mark.parametrize("compatible", [False, True])
def test_far_gradient_at_every_alpha(alpha, form, compatible, problem):
    settings = {"alpha": alpha, "form": form, "reference_compatible": compatible}
    assert differentiable(problem("far", 1, 5, "random", 2), **settings)
    assert differentiable(problem("far", 1, 5, "random", 2), per_target=True, **settings)


@pytest.mark.parametrize("name", ["far", "huber"])
def test_gradient_with_missing_targets_and_in_the_target(name, problem):
    drawn = problem(name, 4, 6, "random", 2)
    assert torch.autograd.gradcheck(drawn.loss(), tuple(x.clone().requires_grad_() for x in drawn.inputs))
    drawn.inputs[1][1, 0] = drawn.inputs[1][3, 1] = torch.nan
    assert differentiable(drawn)


def test_the_weight_of_mae_pearson_is_constant(problem):
    p, y = problem("mae+pearson", 5, 6, "random").inputs
    weight = (1 - torch.corrcoef(torch.stack([p, y]))[0, 1]) / 2
    p1, p2 = p.clone().requires_grad_(), p.clone().requires_grad_()
    pb_losses.mae_pearson(p1, y).backward()
    correlation = torch.corrcoef(torch.stack([p2, y]))[0, 1]
    ((1 - weight) * (p2 - y).abs().mean() + weight * (1 - correlation)).backward()
    assert torch.allclose(p1.grad, p2.grad, rtol=1e-10)


@pytest.mark.parametrize("interpolation", [0.5, 2.0])
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_ranksim_gradient_is_that_of_the_interpolation(interpolation, scale, problem):
    z, y = problem("ranksim", 2, 7).inputs
    z = z.requires_grad_()
    (scale * pb_losses.ranksim(z, y, interpolation=interpolation)).backward()

    def ranks(x):
        return torch.tensor([[1 + int((row > value).sum()) for value in row] for row in x]).double() / x.shape[1]

    unit = z.detach() / z.detach().norm(dim=1, keepdim=True)
    s = unit @ unit.T
    g = scale * 2 * (ranks(s) - ranks(-(y.unsqueeze(1) - y).abs())) / 7
    of_s = -(ranks(s) - ranks(s + interpolation * g)) / interpolation
    w = z.detach().clone().requires_grad_()
    (of_s * (torch.nn.functional.normalize(w) @ torch.nn.functional.normalize(w).T)).sum().backward()
    assert torch.allclose(z.grad, w.grad, rtol=1e-10, atol=1e-12)

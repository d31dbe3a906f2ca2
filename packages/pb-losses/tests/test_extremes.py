"""Finite values and gradients where naive code overflows, and in half precision."""

import pb_losses
import pytest
import torch

NAMES = sorted(pb_losses.LOSSES)
CLASSIFICATION = [name for name in NAMES if pb_losses.loss_info(name).kind == "classification"]
OTHERS = [name for name in NAMES if name not in CLASSIFICATION]


def finite(drawn, **settings):
    value, gradient = drawn.value_and_gradient(**settings)
    assert value.isfinite().all(), value
    assert gradient.isfinite().all(), gradient
    return value, gradient


def as_type(drawn, dtype):
    inputs = tuple(x.to(dtype) if x.is_floating_point() else x for x in drawn.inputs)
    settings = {key: x.to(dtype) if torch.is_tensor(x) else x for key, x in drawn.settings.items()}
    return drawn._replace(inputs=inputs, settings=settings)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gap", [1e4, -1e4, 89.0])
@pytest.mark.parametrize("name", CLASSIFICATION)
def test_logit_gaps(name, gap, dtype, problem):
    drawn = problem(name, 1, 6)
    f, c = drawn.inputs
    one_side = torch.zeros_like(f).scatter(1, c.unsqueeze(1), gap)
    finite(as_type(drawn._replace(inputs=(one_side, c)), dtype))
    everywhere = f.sign() * abs(gap)
    finite(as_type(drawn._replace(inputs=(everywhere, c)), dtype))
    finite(as_type(drawn._replace(inputs=(everywhere, one_side.softmax(1))), dtype))
    finite(as_type(drawn._replace(inputs=(torch.full_like(f, gap), c)), dtype))  # all alike


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", OTHERS)
def test_distances_of_1e4_collapse_and_constants(name, dtype, problem):
    drawn = problem(name, 1, 12)
    x, target, *rest = drawn.inputs
    wide, collapsed = 1e4 * x, torch.full_like(x, 3.3)
    constant = torch.full_like(target, -1.7)
    for inputs in (
        (wide, target, *rest),
        (wide, 1e4 * target, *(1e4 * p for p in rest)),
        (collapsed, target, *rest),
        (x, constant, *rest),
        (collapsed, constant, *rest),
        (torch.zeros_like(x), target, *rest),
        (x[:1], target[:1], *(p[:1] for p in rest)),
    ):
        finite(as_type(drawn._replace(inputs=inputs), dtype))


@pytest.mark.parametrize("alpha", [0.1, 1.0, 10.0])
def test_far_at_its_edges(alpha, problem):
    p, y = (x.float() for x in problem("far", 2, 32).inputs)
    drawn = problem("far", alpha=alpha)
    for prediction in (torch.full_like(y, 3.3), y, y + 1, 1e-4 * p + 3.3, 1e4 * p):
        finite(drawn._replace(inputs=(prediction, y)))
        finite(drawn._replace(inputs=(prediction, torch.full_like(y, 0.1))))
    single, _ = finite(drawn._replace(inputs=(p[:1], y[:1])))
    assert torch.allclose(single, (p[:1] - y[:1]).abs().mean().log())


def test_rnc_where_the_published_code_gives_minus_infinity():
    """Every exponential of some denominators underflows in float32: mean distance 125 at temperature 2."""
    z = 100 * torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
    y = torch.arange(8.0)
    exact = pb_losses.rnc(z.double(), y)
    assert torch.allclose(pb_losses.rnc(z, y).double(), exact, rtol=1e-6)
    far_apart = 1e4 * z  # beyond what float64 exponentials hold: by logarithms
    scaled = pb_losses.rnc(far_apart.double(), y, temperature=2e4)
    assert torch.allclose(scaled, exact)
    assert pb_losses.rnc(far_apart, y) > 1e4


@pytest.mark.parametrize(
    ("name", "setting"), [("rnc", {}), ("conr", {}), ("conr", {"weight": 3.0, "reference_compatible": True})]
)
def test_both_ways_of_summing_agree(name, setting, problem, monkeypatch):
    drawn = problem(name, 3, 20, "ties")
    value, gradient = drawn.value_and_gradient(**setting)
    for module in ("contrastive", "contrastive_regulariser"):
        monkeypatch.setattr(f"pb_losses.{module}.SAFE_EXPONENT", {torch.float64: 0.0})
    by_logarithms, gradient_by_logarithms = drawn.value_and_gradient(**setting)
    assert not torch.equal(gradient, gradient_by_logarithms)
    assert torch.allclose(value, by_logarithms, rtol=1e-12)
    assert torch.allclose(gradient, gradient_by_logarithms, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("setting", [{"temperature": 0.01}, {"exponent": 50.0}, {"weight": 1e-38}, {"weight": 1e38}])
def test_conr_where_exponentials_leave_float32(setting, problem):
    drawn = problem("conr", 1, 16)
    exact, exact_gradient = drawn.value_and_gradient(**setting)
    value, gradient = as_type(drawn, torch.float32).value_and_gradient(**setting)
    assert torch.allclose(value.double(), exact, rtol=1e-6)
    assert torch.allclose(gradient.double(), exact_gradient, rtol=1e-4, atol=1e-5 * float(exact_gradient.abs().max()))


@pytest.mark.parametrize("name", ["conr", "ranksim"])
def test_a_sample_without_length_has_similarity_0_and_no_gradient_that_is_not_finite(name, problem):
    drawn = problem(name, 1, 16)
    z, *rest = drawn.inputs
    z = z.clone()
    z[3] = 0
    finite(drawn._replace(inputs=(z, *rest)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", NAMES)
def test_half_precision_inputs_are_computed_in_float32(name, dtype, problem):
    drawn = as_type(problem(name, 1, 16), dtype)
    value, gradient = finite(drawn)
    single, single_gradient = as_type(drawn, torch.float32).value_and_gradient()
    assert value.dtype == torch.float32
    assert torch.equal(value, single)
    assert gradient.dtype == dtype
    assert torch.allclose(gradient.float(), single_gradient, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_autocast_leaves_the_loss_in_float32(name, problem):
    drawn = as_type(problem(name, 1, 16), torch.float32)
    value, gradient = drawn.value_and_gradient()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed, mixed_gradient = drawn.value_and_gradient()
    assert mixed.dtype == torch.float32
    assert torch.allclose(mixed, value)
    if name != "ranksim":  # its backward product runs in the autocast of the training loop
        assert torch.allclose(mixed_gradient, gradient, rtol=1e-4, atol=1e-6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        finite(as_type(problem(name, 1, 16), torch.bfloat16))


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_half_precision_at_large_logits(name, problem):
    for dtype in (torch.bfloat16, torch.float16):
        f, c = problem(name, 1, 8).inputs
        for logits in (1e4 * f.sign(), torch.full_like(f, -60.0), torch.zeros_like(f)):
            finite(as_type(problem(name)._replace(inputs=(logits, c)), dtype))


def test_rnc_of_duplicates_in_float32():
    """The distance of a feature to its duplicate is exactly 0, not the rounding error of a matrix product."""
    z = torch.randn(40, 16, generator=torch.Generator().manual_seed(0)) + 30
    z, y = torch.cat([z, z]), torch.rand(80, generator=torch.Generator().manual_seed(1))
    exact = z.double().requires_grad_()
    single = z.clone().requires_grad_()
    a, b = pb_losses.rnc(exact, y), pb_losses.rnc(single, y)
    a.backward()
    b.backward()
    assert torch.allclose(a.float(), b, rtol=1e-6)
    assert torch.allclose(exact.grad.float(), single.grad, rtol=1e-4, atol=1e-7)

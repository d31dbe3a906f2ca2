"""What the tests of twins and properties share; they run this file, since test modules cannot import each other."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

K = 4  # classes of the drawn problems

# for twins -----------------------------------------------------------------------------------------------------------


def flatten(x):
    return [v for row in x for v in flatten(row)] if isinstance(x, list) else [x]


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def twin_test(twins, grid, *, without_ties=()):
    """Make the test that holds every loss, at its defaults and at points of its grid, against its twin."""
    cases = [(name, parameters) for name in twins for parameters in [{}, *grid.get(name, [])]]

    @pytest.mark.parametrize(("name", "parameters"), cases)
    @given(data=st.data())
    @settings(max_examples=15, deadline=None, derandomize=True)
    def test_equals_its_twin(name, parameters, data, problem, styles):
        drawn = problem(
            name,
            data.draw(st.integers(0, 10**6)),
            data.draw(st.integers(1, 7)),
            data.draw(st.sampled_from(("random",) if name in without_ties else styles)),
            data.draw(st.sampled_from([None, 1, 3])),
            **parameters,
        )
        value, expected = float(drawn.value()), twins[name](*drawn.lists(), **drawn.numbers())
        assert value == pytest.approx(expected, rel=1e-10, abs=1e-10), (value, expected)

    return test_equals_its_twin


# for properties ------------------------------------------------------------------------------------------------------


def property_test(properties):
    """Make the test that tries every property on drawn problems; `properties` lists them by loss."""
    cases = [
        pytest.param(name, each, id=f"{name}-{each.__name__}") for name, all_ in properties.items() for each in all_
    ]

    @pytest.mark.parametrize(("name", "holds"), cases)
    @given(seed=st.integers(0, 10**6), n=st.integers(2, 8), heads=st.sampled_from([None, 1, 2]))
    @settings(max_examples=5, deadline=None, derandomize=True)
    def test_property(name, holds, seed, n, heads, problem):
        holds(problem(name, seed, n, "random", heads))

    return test_property


def close(a, b, tolerance=1e-9):
    a, b = torch.as_tensor(a, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64)
    assert torch.allclose(a, b, rtol=tolerance, atol=tolerance), (a, b)


def below(a, b):
    a, b = torch.as_tensor(a, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64)
    assert (a <= b + 1e-12).all(), (a, b)


def gradient(loss, x):
    x = x.detach().clone().requires_grad_()
    return torch.autograd.grad(loss(x), x)[0]


def order_of_samples_does_not_matter(d):
    order = torch.randperm(len(d.inputs[0]), generator=torch.Generator().manual_seed(0))
    close(d._replace(inputs=tuple(x[order] for x in d.inputs)).value(), d.value())


def not_negative(d):
    below(0, d.value(reduction="none"))


def gathering_alone_changes_nothing(d):
    close(d.value(gather=True), d.value())


# for properties of classification losses -----------------------------------------------------------------------------


def of_every_label(d, **parameters):
    """Losses of each sample for each label, (n, K)."""
    f = d.inputs[0].reshape(-1, K)
    loss = d.loss(reduction="none", **parameters)
    return torch.stack([loss(f, torch.full((len(f),), k)) for k in range(K)], 1)


def flat(d):
    """Logits (n, K), labels (n,) and the label's log-probability."""
    f, c = d.inputs[0].reshape(-1, K), d.inputs[1].reshape(-1)
    return f, c, f.log_softmax(1).gather(1, c[:, None])[:, 0]


def a_constant_added_to_the_logits_changes_nothing(d):
    f, c = d.inputs
    moved = d._replace(inputs=(f + 7.5, c))
    close(moved.value(), d.value())
    close(moved.value_and_gradient()[1], d.value_and_gradient()[1])


def a_better_label_logit_costs_less(d):
    f, c = d.inputs
    raised = f.scatter_add(-1, c.unsqueeze(-1), torch.ones_like(c.unsqueeze(-1), dtype=f.dtype))
    below(d._replace(inputs=(raised, c)).value(reduction="none"), d.value(reduction="none"))

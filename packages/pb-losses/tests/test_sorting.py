"""Sorting rows of integers and of floating-point numbers as integers, with numpy and without."""

import pytest
import torch
from pb_losses import sorting
from pb_losses.sorting import descending_order, group_sizes, ordered_bits, sorted_rows

WAYS = [False, True] if sorting._HAS_NUMPY else [False]  # numpy is no dependency of pb-losses


def drawn(dtype):
    x = torch.randn(20, 30, generator=torch.Generator().manual_seed(0), dtype=dtype).mul(3).round() / 3
    x[0, :3] = torch.tensor([0.0, -0.0, torch.inf], dtype=dtype)
    x[1, 0] = -torch.inf
    return x


@pytest.mark.parametrize("has_numpy", WAYS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_order_is_that_of_a_stable_sort(dtype, has_numpy, monkeypatch):
    monkeypatch.setattr("pb_losses.sorting._HAS_NUMPY", has_numpy)
    x = drawn(dtype)
    values, order = sorted_rows(ordered_bits(x))
    assert torch.equal(order, x.argsort(dim=1, stable=True))
    assert torch.equal(values.long(), ordered_bits(x).gather(1, order).long())
    descending = x.argsort(dim=1, stable=True, descending=True)
    assert torch.equal(sorted_rows(~ordered_bits(x))[1], descending)
    assert torch.equal(descending_order(x, torch.empty_like(descending)), descending)


def test_group_sizes_equal_counts():
    x = ordered_bits(drawn(torch.float64)).sort(1).values
    first, after = torch.searchsorted(x, x), torch.searchsorted(x, x, right=True)
    is_last = after == torch.arange(1, 31)
    assert torch.equal(group_sizes(x), torch.where(is_last, after - first, 0))
    assert group_sizes(x[:, :1]).eq(1).all()

"""Losses of many models at once against the loss of each model alone: values and gradients."""

import pytest
import torch
from pb_losses import get_loss, loss_info, loss_names
from pb_losses.members import member_loss, takes_own_batches

MEMBERS, BATCH = 3, 12
ON_NUMBERS = [name for name in loss_names() if loss_info(name).kind in ("regression", "features") and name != "wmse"]
ON_CLASSES = [name for name in loss_names() if loss_info(name).kind == "classification"]


def drawn(n_outputs, seed=0):
    rng = torch.Generator().manual_seed(seed)
    features = torch.randn(MEMBERS, BATCH, 4, generator=rng, dtype=torch.float64, requires_grad=True)
    outputs = torch.randn(MEMBERS, BATCH, n_outputs, generator=rng, dtype=torch.float64, requires_grad=True)
    return features, outputs, torch.randn(BATCH, n_outputs, generator=rng, dtype=torch.float64)


def gradients(losses, *inputs):
    weights = torch.arange(1.0, MEMBERS + 1, dtype=losses.dtype)
    return torch.autograd.grad((losses * weights).sum(), inputs, allow_unused=True)


def agree(stacked, apart, *inputs):
    torch.testing.assert_close(stacked, apart, check_dtype=False)
    for a, b in zip(gradients(stacked, *inputs), gradients(apart, *inputs), strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b)


def each_alone(name, features, outputs, targets):
    loss, inputs = get_loss(name), loss_info(name).inputs
    parts = zip(features, outputs, targets, strict=True)
    given = [{"features": z, "prediction": p, "target": y} for z, p, y in parts]
    return torch.stack([loss(*(own[each] for each in inputs)) for own in given])


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("n_targets", [1, 2])
@pytest.mark.parametrize("name", ON_NUMBERS)
def test_members_equal_each_alone(name, n_targets, missing):
    features, outputs, target = drawn(n_targets)
    if missing:
        target[:4, 0] = torch.nan
    shared = target.expand(MEMBERS, *target.shape)
    agree(member_loss(name)(features, outputs, target), each_alone(name, features, outputs, shared), features, outputs)


@pytest.mark.parametrize("name", ON_CLASSES)
def test_losses_of_classes_are_summed_over_targets(name):
    features, outputs, _ = drawn(5)
    label = torch.stack([torch.arange(BATCH) % 2, torch.arange(BATCH) % 3], dim=1)
    label[:3, 1] = -100
    loss = get_loss(name)
    apart = torch.stack([loss(p[:, :2], label[:, 0]) + loss(p[:, 2:], label[:, 1]) for p in outputs])
    agree(member_loss(name, n_classes=(2, 3))(features, outputs, label), apart, outputs)


@pytest.mark.parametrize("n_targets", [1, 2])
@pytest.mark.parametrize("name", ON_NUMBERS)
def test_members_on_batches_of_their_own_equal_each_alone(name, n_targets):
    """Targets differ, and so does which of them are missing."""
    features, outputs, _ = drawn(n_targets)
    target = torch.stack([drawn(n_targets, seed)[2] for seed in range(1, MEMBERS + 1)])
    target[0, :4, 0] = torch.nan
    target[2, 5:, -1] = torch.nan
    agree(member_loss(name)(features, outputs, target), each_alone(name, features, outputs, target), features, outputs)


@pytest.mark.parametrize("name", ON_CLASSES)
def test_members_on_labels_of_their_own_equal_each_alone(name):
    features, outputs, _ = drawn(5)
    places = torch.arange(MEMBERS * BATCH).view(MEMBERS, BATCH)
    label = torch.stack([places % 2, places % 3], dim=2)
    label[0, :3, 1] = -100
    label[1, 5:, 0] = -100
    loss = get_loss(name)
    pairs = zip(outputs, label, strict=True)
    apart = torch.stack([loss(p[:, :2], y[:, 0]) + loss(p[:, 2:], y[:, 1]) for p, y in pairs])
    agree(member_loss(name, n_classes=(2, 3))(features, outputs, label), apart, outputs)
    assert takes_own_batches(name)


@pytest.mark.parametrize("name", ON_NUMBERS)
def test_which_losses_take_batches_of_their_own_at_no_cost(name, monkeypatch):
    """Those that never call the loss member by member."""
    features, outputs, _ = drawn(1)
    calls, loss = [], get_loss(name)
    monkeypatch.setattr(type(loss), "__call__", lambda self, *given: calls.append(self) or self.forward(*given))
    member_loss(name)(features, outputs, torch.stack([drawn(1, seed)[2] for seed in range(MEMBERS)]))
    assert len(calls) == (1 if takes_own_batches(name) else MEMBERS)


def test_settings_reach_the_loss():
    features, outputs, target = drawn(1)
    stacked = member_loss("huber", delta=0.3)(features, outputs, target)
    torch.testing.assert_close(stacked[0], get_loss("huber", delta=0.3)(outputs[0], target))


def test_a_loss_of_classes_needs_their_number():
    with pytest.raises(ValueError, match="n_classes"):
        member_loss("ce")


def test_a_misspelt_loss_is_named():
    with pytest.raises(ValueError, match="huber"):
        member_loss("hubr")


@pytest.mark.parametrize(("batch", "pairs_in_cache"), [(40, 2**16), (40, 800), (300, 19200)])
@pytest.mark.parametrize("name", ["rnc", "conr", "ranksim"])
def test_members_of_pairwise_losses_equal_each_alone_in_float32(name, batch, pairs_in_cache, monkeypatch):
    """All members at a time; two, then one; so, in chunks of anchors. The first sample of a label stands for it."""
    monkeypatch.setattr("pb_losses.pairwise._PAIRS", pairs_in_cache)
    rng = torch.Generator().manual_seed(1)
    features = torch.randn(MEMBERS, batch, 4, generator=rng, requires_grad=True)
    outputs = torch.randn(MEMBERS, batch, 1, generator=rng)
    target = (batch / 8 * torch.rand(batch, 1, generator=rng)).round(decimals=1)
    labels = target.squeeze(1).tolist()
    first = sorted({y: place for place, y in reversed(list(enumerate(labels)))}.values())
    assert batch / 4 < len(first) < batch
    kept = first if name == "ranksim" else slice(None)
    loss, apart = get_loss(name), []
    for z, p in zip(features, outputs, strict=True):
        given = {"features": z[kept], "prediction": p[kept], "target": target[kept]}
        apart.append(loss(*(given[each] for each in loss_info(name).inputs)))
    stacked = member_loss(name)(features, outputs, target)
    torch.testing.assert_close(stacked, torch.stack(apart))
    for a, b in zip(gradients(stacked, features), gradients(torch.stack(apart), features), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    ("name", "setting"),
    [("rnc", {"temperature": -1.0}), ("conr", {"window": -1.0}), ("ranksim", {"interpolation": 0.0})],
)
def test_members_refuse_what_each_alone_refuses(name, setting):
    features, outputs, target = drawn(1)
    (key,) = setting
    with pytest.raises(ValueError, match=key):
        member_loss(name, **setting)(features, outputs, target)
    with pytest.raises(ValueError, match="samples"):
        member_loss(name)(features, outputs, target[:3])

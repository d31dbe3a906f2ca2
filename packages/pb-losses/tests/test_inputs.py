"""What losses accept, refuse, and leave out."""

import pb_losses
import pytest
import torch

NAMES = sorted(pb_losses.LOSSES)
KIND = {name: pb_losses.loss_info(name).kind for name in NAMES}
REGRESSION = [name for name in NAMES if KIND[name] == "regression"]
CLASSIFICATION = [name for name in NAMES if KIND[name] == "classification"]
FEATURES = [name for name in NAMES if KIND[name] == "features"]
SEPARABLE = ["mae", "mse", "huber", "focal-mae", "focal-mse", *CLASSIFICATION]
NOT_EXPECTATIONS = {"js", "brier", "mae-cls", "rce", "sce", "apl"}  # defined on probabilities themselves

BAD_SETTINGS = [
    ("huber", {"delta": 0.0}),
    ("focal-mae", {"beta": -1.0}),
    ("focal-mse", {"gamma": -1.0}),
    ("far", {"alpha": 0.0}),
    ("far", {"alpha": float("nan")}),
    ("far", {"form": "logs"}),
    ("rnc", {"temperature": -1.0}),
    ("rnc", {"chunk": 0}),
    ("rnc", {"tie_tolerance": -0.1}),
    ("conr", {"temperature": 0.0}),
    ("conr", {"window": -1.0}),
    ("ranksim", {"interpolation": 0.0}),
    ("rce", {"log_zero": 0.0}),
    ("sce", {"balance": 1.5}),
    ("gce", {"q": 1.5}),
    ("gce", {"truncation": -0.1}),
    ("js", {"label_weight": 1.0}),
    ("agce", {"a": 0.0}),
    ("aul", {"a": 1.0}),
    ("rll", {"a": -1.0}),
    ("apl", {"passive": "ce"}),
    ("cs", {"margin": -0.1}),
    ("ww", {"margin": float("inf")}),
    ("ldr", {"temperature": -1.0}),
    ("ldr-softplus", {"temperature": 0.0}),
    ("aldr", {"temperature": -1.0}),
    ("aldr", {"alpha": 1.0}),
]


@pytest.mark.parametrize(("name", "settings"), BAD_SETTINGS)
def test_refuses_bad_settings(name, settings, problem):
    with pytest.raises(ValueError, match=f"{next(iter(settings))}=.* was given"):
        problem(name, **settings).value()


@pytest.mark.parametrize("name", NAMES)
def test_refuses_an_unknown_reduction(name, problem):
    with pytest.raises(ValueError, match="Did you mean 'mean'"):
        problem(name).value(reduction="meen")


@pytest.mark.parametrize("name", NAMES)
def test_refuses_an_empty_batch_and_integers(name, problem):
    drawn = problem(name)
    loss = drawn.loss()
    with pytest.raises(ValueError, match="were given"):
        loss(*(x[:0] for x in drawn.inputs))
    with pytest.raises(ValueError, match="floating point"):
        loss(drawn.inputs[0].long(), *drawn.inputs[1:])


@pytest.mark.parametrize("name", [name for name in REGRESSION if name != "wmse"])
def test_refuses_to_broadcast(name, problem):
    p, y = problem(name).inputs
    loss = pb_losses.get_loss(name)
    for a, b in ((p.unsqueeze(1), y), (p, y.unsqueeze(1)), (p, y[:1]), (p, y[0])):
        with pytest.raises(ValueError, match="nothing is broadcast"):
            loss(a, b)


@pytest.mark.parametrize("shapes", [((4, 1), (4,)), ((4,), (4, 1)), ((4, 3), (1, 3))])
def test_wmse_refuses_to_broadcast(shapes):
    p, y = (torch.ones(shape) for shape in shapes)
    with pytest.raises(ValueError, match="nothing is broadcast"):
        pb_losses.wmse(p, y, torch.ones_like(p))


def test_far_takes_one_axis_of_targets():
    with pytest.raises(ValueError, match="batch, targets"):
        pb_losses.far(torch.ones(2, 3, 4), torch.ones(2, 3, 4))


@pytest.mark.parametrize("weights", [torch.ones(2), torch.ones(1, 3), torch.tensor(1.0)])
def test_wmse_refuses_weights_of_another_shape(weights):
    with pytest.raises(ValueError, match="weights of shape"):
        pb_losses.wmse(torch.ones(4, 3), torch.ones(4, 3), weights)


def test_wmse_refuses_negative_weights_and_takes_one_a_value():
    p, y = torch.tensor([[1.0, 3.0]]), torch.zeros(1, 2)
    with pytest.raises(ValueError, match="negative"):
        pb_losses.wmse(p, y, torch.tensor([1.0, -1.0]))
    assert pb_losses.wmse(p, y, torch.tensor([[1.0, 1.0]])) == 5.0
    assert pb_losses.wmse(p, y, torch.tensor([2.0, 1.0]), reduction="sum") == 11.0
    assert pb_losses.wmse(p, y, torch.tensor([2.0, 1.0]), reduction="none").tolist() == [[2.0, 9.0]]
    assert pb_losses.wmse(p, y, torch.zeros(2)) == 0.0


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_refuses_labels_that_do_not_fit(name, problem):
    f, c = problem(name).inputs
    loss = pb_losses.get_loss(name)
    for target in (c.unsqueeze(1), c[:-1], f.round().long(), f.softmax(-1)[:, :-1]):
        with pytest.raises(ValueError, match="class indices of shape"):
            loss(f, target)
    for wrong in (-1, 4):
        with pytest.raises(ValueError, match="0 to 3"):
            loss(f, c.clone().fill_(wrong))
    with pytest.raises(ValueError, match="whole numbers"):
        loss(f, c + 0.5)
    for probabilities in (f.softmax(-1) * 2, f.softmax(-1) - 0.5):
        with pytest.raises(ValueError, match="do not sum to 1"):
            loss(f, probabilities)
    for logits in (f[:, :1], f[0], f[0, 0]):
        with pytest.raises(ValueError, match="two classes"):
            loss(logits, c)


@pytest.mark.parametrize("name", FEATURES)
def test_refuses_features_that_do_not_fit(name, problem):
    z, y, *rest = problem(name).inputs
    loss = pb_losses.get_loss(name)
    for features, target in ((z, y[:-1]), (z, y[0]), (z, y.reshape(1, 2, 3)), (z[:, 0], y), (z[None, None], y)):
        with pytest.raises(ValueError, match="were given"):
            loss(features, target, *rest)


def test_conr_refuses_predictions_that_do_not_fit(problem):
    z, y, p = problem("conr").inputs
    for prediction in (p[:-1], p.unsqueeze(1), p[0]):
        with pytest.raises(ValueError, match="predictions of shape"):
            pb_losses.conr(z, y, prediction)


@pytest.mark.parametrize("name", FEATURES)
def test_refuses_a_label_distance_of_the_wrong_shape(name, problem):
    with pytest.raises(ValueError, match="it must return"):
        problem(name).value(label_distance=lambda a, b: a.sum(1))


@pytest.mark.parametrize("name", SEPARABLE)
def test_reductions_agree_and_missing_targets_count_for_nothing(name, problem):
    drawn = problem(name, 3, 6, "random", 2)
    x, target = drawn.inputs
    losses = drawn.value(reduction="none")
    assert losses.shape == target.shape
    assert torch.allclose(losses.mean(), drawn.value())
    assert torch.allclose(losses.sum(), drawn.value(reduction="sum"))
    missing = torch.tensor([[True, False], [False, False], [True, True]]).repeat(2, 1)
    holey = target.masked_fill(missing, torch.nan if target.is_floating_point() else -100)
    masked = drawn._replace(inputs=(x, holey))
    assert torch.allclose(masked.value(), losses[~missing].mean())
    assert torch.equal(masked.value(reduction="none"), losses.masked_fill(missing, 0.0))
    _, gradient = masked.value_and_gradient()
    assert (gradient[missing] == 0).all()
    assert (gradient[~missing] != 0).any()
    nothing, gradient = drawn._replace(inputs=(x, holey.masked_fill(~missing, holey[0, 0]))).value_and_gradient()
    assert nothing == 0
    assert (gradient == 0).all()


@pytest.mark.parametrize("name", ["far", "mae+pearson", "wmse"])
def test_missing_targets_of_batch_statistics(name, problem):
    p, y = problem(name, 3, 8, "random", 3).inputs
    loss = problem(name).loss(**({"per_target": True} if name == "far" else {}))
    y[5:] = torch.nan
    assert torch.allclose(loss(p, y), loss(p[:5], y[:5]))
    assert loss(p, torch.full_like(y, torch.nan)) == 0
    if name == "wmse":
        return
    y[:5, 0] = torch.nan  # one target is missing altogether, the others as they were
    assert torch.allclose(loss(p, y), loss(p[:5, 1:], y[:5, 1:]))
    assert loss(
        p,
        y,
    ).isfinite()


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_unlabelled_samples_take_no_part(name, reduction, problem):
    drawn = problem(name, 3, 8, "random", 2)
    whole = tuple(torch.cat([x[:3], x[:1], x[3:], x[:1]]) for x in drawn.inputs)
    whole[1][3], whole[1][9] = torch.nan, torch.tensor([1.0, torch.nan])
    value, gradient = drawn._replace(inputs=whole).value_and_gradient(reduction=reduction)
    expected, expected_gradient = drawn.value_and_gradient(reduction=reduction)
    assert torch.allclose(value, expected)
    kept = [0, 1, 2, 4, 5, 6, 7, 8]
    assert torch.allclose(gradient[kept], expected_gradient)
    assert (gradient[[3, 9]] == 0).all()


@pytest.mark.parametrize("name", FEATURES)
def test_reductions_of_anchors_agree(name, problem):
    drawn = problem(name, 3, 8)
    losses = drawn.value(reduction="none")
    assert losses.shape == (8,)
    assert torch.allclose(losses.mean(), drawn.value(reduction="mean"))
    assert torch.allclose(losses.sum(), drawn.value(reduction="sum"))


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_probabilities(name, problem):
    """One-hot is the class; others give the expected value over the label, where the loss is one of labels."""
    drawn = problem(name, 4, 6)
    f, c = drawn.inputs
    hot = torch.nn.functional.one_hot(c, 4).double()
    losses = drawn.value(reduction="none")
    assert torch.allclose(drawn._replace(inputs=(f, hot)).value(reduction="none"), losses, rtol=1e-10)
    soft = f.flip(0).softmax(-1)
    value = drawn._replace(inputs=(f, soft)).value(reduction="none")
    expected = sum(
        soft[:, k] * drawn._replace(inputs=(f, torch.full_like(c, k))).value(reduction="none") for k in range(4)
    )
    assert torch.allclose(value, expected) == (name not in NOT_EXPECTATIONS)
    partly = soft.clone()
    partly[2, 1] = torch.nan
    masked = drawn._replace(inputs=(f, partly)).value(reduction="none")
    assert torch.equal(masked[[0, 1, 3, 4, 5]], value[[0, 1, 3, 4, 5]])
    assert masked[2] == 0
    x = f.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: drawn.loss()(x, soft), (x,), atol=1e-6)


def test_losses_defined_on_probabilities():
    f, y = torch.randn(5, 4, dtype=torch.float64), torch.rand(5, 4, dtype=torch.float64).softmax(-1)
    y[0] = torch.tensor([0.5, 0.5, 0.0, 0.0])
    p = f.softmax(-1)
    m = (y + p) / 2

    def kl(a, b):
        return torch.xlogy(a, a) - torch.xlogy(a, b)

    assert torch.allclose(
        pb_losses.js(f, y), ((kl(y, m) + kl(p, m)).sum(1) / torch.log(torch.tensor(2.0, dtype=y.dtype))).mean()
    )
    assert torch.allclose(pb_losses.brier(f, y), (y - p).square().sum(1).mean())
    assert torch.allclose(pb_losses.mae_cls(f, y), (y - p).abs().sum(1).mean())
    assert torch.allclose(pb_losses.rce(f, y, log_zero=-4.0), -(p * y.log().clamp(min=-4)).sum(1).mean())
    assert torch.allclose(pb_losses.ce(f, y), torch.nn.functional.cross_entropy(f, y))


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_indices_as_floating_point_with_nan(name, problem):
    drawn = problem(name, 5, 6)
    f, c = drawn.inputs
    floating = c.double()
    assert torch.equal(drawn._replace(inputs=(f, floating)).value(), drawn.value())
    floating[2] = torch.nan
    assert torch.equal(
        drawn._replace(inputs=(f, floating)).value(), drawn._replace(inputs=(f, c.where(floating == c, -100))).value()
    )


@pytest.mark.parametrize("name", FEATURES)
def test_views_are_samples_of_the_same_label(name, problem):
    z, y, *prediction = problem(name, 6, 8).inputs
    if name == "ranksim":  # one view represents the sample: equal views make the draw not matter
        views = z.unsqueeze(1).expand(-1, 2, -1)
        assert torch.allclose(pb_losses.ranksim(views, y), pb_losses.ranksim(z, y))
        return
    loss = pb_losses.get_loss(name)
    views, label = z.reshape(4, 2, 3), y[:4]
    flat_label = label.repeat_interleave(2)
    per_view = [p.reshape(4, 2) for p in prediction]
    assert torch.allclose(loss(views, label, *per_view), loss(z, flat_label, *prediction))
    if prediction:
        per_sample = prediction[0][:4]
        assert torch.allclose(loss(views, label, per_sample), loss(z, flat_label, per_sample.repeat_interleave(2)))


@pytest.mark.parametrize("name", FEATURES)
def test_label_distance(name, problem):
    drawn = problem(name, 7, 6, "random", 2)
    scale = 2 if name == "conr" else 1  # ConR averages over targets
    own = drawn.value(label_distance=lambda a, b: torch.cdist(a, b, p=1) / scale)
    assert torch.allclose(own, drawn.value())
    assert not torch.allclose(drawn.value(label_distance=lambda a, b: (a[:, :1] - b[:, 0]).abs()), own)


def test_integer_labels_of_features(problem):
    z, y = problem("rnc", 1, 6, "ties").inputs
    assert torch.equal(pb_losses.rnc(z, y.long()), pb_losses.rnc(z, y))


def test_tie_tolerance_makes_rounded_labels_tie():
    z = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    steps = torch.tensor([0.1, 0.2, 0.3, 0.4])
    whole = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert not torch.allclose(pb_losses.rnc(z, steps), pb_losses.rnc(z, whole))
    assert torch.allclose(pb_losses.rnc(z, steps, tie_tolerance=0.01), pb_losses.rnc(z, whole))

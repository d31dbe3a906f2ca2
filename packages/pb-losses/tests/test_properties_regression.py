"""What theory says of each regression loss, declared by name and tried on drawn problems."""

import runpy
from pathlib import Path

import pb_losses
import torch
import torch.nn.functional as F
from hypothesis import assume
from pb_losses.aligned import alignment_terms

shared = runpy.run_path(str(Path(__file__).with_name("shared.py")))
close = shared["close"]
below = shared["below"]
gradient = shared["gradient"]
order_of_samples_does_not_matter = shared["order_of_samples_does_not_matter"]
not_negative = shared["not_negative"]
gathering_alone_changes_nothing = shared["gathering_alone_changes_nothing"]


def zero_at_a_perfect_fit(d):
    y = d.inputs[1]
    assert d._replace(inputs=(y, y)).value() == 0


def huber_is_delta_times_smooth_l1(d):
    for delta in (0.25, 4.0):
        close(d.value(delta=delta), delta * F.smooth_l1_loss(*d.inputs, beta=delta))


def huber_is_between_its_limits(d):
    p, y = d.inputs
    close(d.value(delta=1e6), F.mse_loss(p, y) / 2)
    close(d.value(delta=1e-12) / 1e-12, F.l1_loss(p, y))


def focal_down_weights(d):
    p, y = d.inputs
    direct = {"focal-mae": pb_losses.mae, "focal-mse": pb_losses.mse}[d.name]
    below(d.value(reduction="none"), direct(p, y, reduction="none"))
    close(d.value(gamma=0.0), direct(p, y))
    close(d.value(beta=1e9), direct(p, y))


def focal_of_a_small_error(d):
    e = 1e-5 * d.inputs[0]
    power = {"focal-mae": 2, "focal-mse": 3}[d.name]
    value = d._replace(inputs=(e, torch.zeros_like(e))).value(reduction="none", beta=0.5)
    close(value / e.abs() ** power, torch.full_like(e, 0.25), 1e-6)


def focal_gradient_is_finite_at_zero(d):
    p = d.inputs[0]
    _, grad = d._replace(inputs=(p, p)).value_and_gradient(gamma=0.5)
    assert (grad == 0).all()


def weights_are_relative(d):
    p, y = d.inputs
    close(pb_losses.wmse(p, y, 3 * d.settings["weights"]), d.value())
    close(pb_losses.wmse(p, y, torch.ones_like(p)), F.mse_loss(p, y))


def terms_are_the_textbook_statistics(d):
    p, y = (x.reshape(len(x), -1) for x in d.inputs)
    direction, value, magnitude = alignment_terms(p, y)
    close(value, (p - y).abs().mean(0))
    if len(p) > 1:
        close(magnitude, (p - y).var(0, correction=0))
        close(direction, [1 - torch.corrcoef(torch.stack([a, b]))[0, 1] for a, b in zip(p.T, y.T, strict=True)])


def far_of(terms, alpha):
    return alpha * ((terms + 1e-7) ** (1 / alpha)).mean().log()


def far_goes_from_maximum_to_geometric_mean(d):
    terms = torch.stack([term.nanmean() for term in alignment_terms(*d.inputs)]) + 1e-7
    close(d.value(alpha=1e-4), terms.max().log(), 1e-3)
    close(d.value(alpha=1e6), terms.log().mean(), 1e-3)
    close(d.value(alpha=1.0), terms.mean().log())
    values = [float(d.value(alpha=a)) for a in (0.1, 0.5, 1.0, 2.0, 10.0, 100.0)]
    assert values == sorted(values, reverse=True)


def exp_form_has_the_same_direction(d):
    for alpha in (0.2, 1.0, 10.0):
        value, grad = d.value_and_gradient(alpha=alpha, form="exp")
        log_value, log_grad = d.value_and_gradient(alpha=alpha)
        close(value.log(), log_value)
        close(grad, value * log_grad)


def terms_ignore_what_they_should(d):
    p, y = d.inputs
    direction, _, magnitude = alignment_terms(p, y)
    close(alignment_terms(3 * p - 5, y).direction, direction)
    close(alignment_terms(p, 0.5 * y + 2).direction, direction)
    close(alignment_terms(p + 4, y).magnitude, magnitude)
    close(alignment_terms(10 * p, 10 * y).magnitude, 100 * magnitude)


def geometric_mean_does_not_mind_the_unit(d):
    p, y = d.inputs
    assume(len(p) > 2)  # two points are always on a line: direction is 0, and its logarithm has no gradient to compare
    small = gradient(lambda x: pb_losses.far(x, y, alpha=1e6, eps=1e-30), p)
    large = gradient(lambda x: pb_losses.far(x, 50 * y, alpha=1e6, eps=1e-30), 50 * p)
    close(50 * large, small, 1e-3)


def pearson_leaves_the_error_of_a_line(d):
    _, y = d.inputs
    p = 2 * y + 1
    close(d._replace(inputs=(p, y)).value(), (p - y).abs().mean())


ANY = [order_of_samples_does_not_matter]
POINTWISE = [*ANY, zero_at_a_perfect_fit, not_negative]
FOCAL = [*POINTWISE, focal_down_weights, focal_of_a_small_error, focal_gradient_is_finite_at_zero]
FAR = [
    *ANY,
    terms_are_the_textbook_statistics,
    far_goes_from_maximum_to_geometric_mean,
    exp_form_has_the_same_direction,
    terms_ignore_what_they_should,
    geometric_mean_does_not_mind_the_unit,
    gathering_alone_changes_nothing,
]

PROPERTIES = {
    "mae": POINTWISE,
    "mse": POINTWISE,
    "wmse": [*POINTWISE, weights_are_relative],
    "huber": [*POINTWISE, huber_is_delta_times_smooth_l1, huber_is_between_its_limits],
    "focal-mae": FOCAL,
    "focal-mse": FOCAL,
    "far": FAR,
    "gar": FAR,
    "mae+pearson": [*ANY, not_negative, pearson_leaves_the_error_of_a_line, gathering_alone_changes_nothing],
}


def test_every_loss_declares_its_properties():
    assert set(PROPERTIES) == {name for name in pb_losses.LOSSES if pb_losses.loss_info(name).kind == "regression"}


test_property = shared["property_test"](PROPERTIES)

"""What theory says of each loss on features, declared by name and tried on drawn problems."""

import math
import runpy
from pathlib import Path

import pb_losses
import torch

shared = runpy.run_path(str(Path(__file__).with_name("shared.py")))
close = shared["close"]
below = shared["below"]
order_of_samples_does_not_matter = shared["order_of_samples_does_not_matter"]
not_negative = shared["not_negative"]
gathering_alone_changes_nothing = shared["gathering_alone_changes_nothing"]


def labels_by_pair(y):
    y = y.reshape(len(y), -1)
    return (y.unsqueeze(1) - y).abs().sum(2)


def rnc_bound(y):
    """L* = 1/(n(n-1)) sum_i sum_m n_im log n_im, n_im the number of samples at the m-th distance from i."""
    n, total = len(y), 0.0
    for i, row in enumerate(labels_by_pair(y)):
        counts = torch.cat([row[:i], row[i + 1 :]]).unique(return_counts=True)[1].tolist()
        total += sum(count * math.log(count) for count in counts)
    return total / max(1, n * (n - 1))


def rnc_is_bounded_by_its_ties(d):
    y = d.inputs[1].round()
    below(rnc_bound(y), d._replace(inputs=(d.inputs[0], y)).value())


def rnc_reaches_its_bound(d):
    """Features proportional to the label, far apart."""
    y = d.inputs[1].reshape(len(d.inputs[1]), -1)[:, 0].round()
    close(d._replace(inputs=(1e4 * y.unsqueeze(1), y)).value(), rnc_bound(y))


def rnc_ignores_moves_of_features(d):
    z, *rest = d.inputs
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=z.dtype))[0]
    close(d._replace(inputs=(z @ rotation + 3, *rest)).value(), d.value())
    close(d._replace(inputs=(5 * z, *rest)).value(temperature=10.0), d.value())


def rnc_ignores_increasing_changes_of_label_distance(d):
    z, y = d.inputs
    close(d._replace(inputs=(z, -4 * y + 0.5)).value(), d.value())
    close(d.value(label_distance=lambda a, b: torch.cdist(a, b, p=1).square()), d.value())


def rnc_of_equal_features(d):
    z, y = d.inputs
    value, grad = d._replace(inputs=(torch.ones_like(z), y)).value_and_gradient()
    distances = labels_by_pair(y)
    n = len(y)
    sizes = [
        math.log(sum(distances[i, k] >= distances[i, j] for k in range(n) if k != i))
        for i in range(n)
        for j in range(n)
        if j != i
    ]
    close(value, sum(sizes) / max(1, len(sizes)))
    assert (grad == 0).all()


def chunks_do_not_matter(d):
    value, grad = d.value_and_gradient()
    for chunk in (1, 2, 5):
        other, other_grad = d.value_and_gradient(chunk=chunk)
        close(other, value)
        close(other_grad, grad)


def one_target_is_a_flat_label(d):
    z, y, *p = (x[..., 0] if i and x.ndim == 2 else x for i, x in enumerate(d.inputs))
    columns = [x.unsqueeze(1) for x in (y, *p)]
    close(d._replace(inputs=(z, *columns)).value(), d._replace(inputs=(z, y, *p)).value())


def the_length_of_features_does_not_matter(d):
    z, *rest = d.inputs
    lengths = torch.arange(1.0, len(z) + 1, dtype=z.dtype).unsqueeze(1)
    close(d._replace(inputs=(lengths * z, *rest)).value(), d.value())


def label_shift_does_not_matter(d):
    z, y, *rest = d.inputs
    close(d._replace(inputs=(z, y - 3, *rest)).value(), d.value())


def conr_without_positives_or_negatives_is_zero(d):
    z, y, p = d.inputs
    no_positives, no_negatives, all_apart = (y, p, 0.0), (torch.zeros_like(y), p, 1.0), (y, 1e6 * y, 1e-9)
    for labels, predictions, window in (no_positives, no_negatives, all_apart):
        value, grad = d._replace(inputs=(z, labels, predictions)).value_and_gradient(window=window)
        assert value == 0
        assert (grad == 0).all()


def conr_gives_no_gradient_to_predictions(d):
    z, y, p = (x.clone().requires_grad_() for x in d.inputs)
    d.loss()(z, y, p).backward()
    assert z.grad is not None
    assert p.grad is None


def spurious_ones_add(d):
    below(d.value(reduction="none"), d.value(reduction="none", reference_compatible=True))


def ranksim_is_zero_where_orders_agree(d):
    angle = torch.linspace(0, 1.5, len(d.inputs[0]), dtype=torch.float64) ** 1.5
    y = -3 * angle
    assert d._replace(inputs=(torch.stack([angle.cos(), angle.sin()], 1), y)).value() == 0


def label_scale_does_not_matter(d):
    z, y = d.inputs
    close(d._replace(inputs=(z, 3 * y)).value(), d.value())


ANY = [order_of_samples_does_not_matter]

PROPERTIES = {
    "rnc": [
        *ANY,
        not_negative,
        rnc_is_bounded_by_its_ties,
        rnc_reaches_its_bound,
        rnc_ignores_moves_of_features,
        rnc_ignores_increasing_changes_of_label_distance,
        rnc_of_equal_features,
        chunks_do_not_matter,
        one_target_is_a_flat_label,
        gathering_alone_changes_nothing,
    ],
    "conr": [
        *ANY,
        not_negative,
        conr_without_positives_or_negatives_is_zero,
        conr_gives_no_gradient_to_predictions,
        spurious_ones_add,
        chunks_do_not_matter,
        one_target_is_a_flat_label,
        the_length_of_features_does_not_matter,
        label_shift_does_not_matter,
        gathering_alone_changes_nothing,
    ],
    "ranksim": [
        *ANY,
        not_negative,
        ranksim_is_zero_where_orders_agree,
        label_scale_does_not_matter,
        one_target_is_a_flat_label,
        the_length_of_features_does_not_matter,
        gathering_alone_changes_nothing,
    ],
}


def test_every_loss_declares_its_properties():
    assert set(PROPERTIES) == {name for name in pb_losses.LOSSES if pb_losses.loss_info(name).kind == "features"}


test_property = shared["property_test"](PROPERTIES)


def test_descending_rnc_orders_the_features():
    """Training features alone makes label order and feature order agree."""
    generator = torch.Generator().manual_seed(0)
    y = torch.rand(20, generator=generator)
    z = torch.randn(20, 4, generator=generator).requires_grad_()
    optimiser = torch.optim.Adam([z], lr=0.1)
    d = (y.unsqueeze(1) - y).abs()

    def violations():
        distance = torch.cdist(z.detach(), z.detach())
        wrong = (d.unsqueeze(2) < d.unsqueeze(1)) & (distance.unsqueeze(2) > distance.unsqueeze(1))
        return wrong.sum() / (d.unsqueeze(2) < d.unsqueeze(1)).sum()

    before = violations()
    for _ in range(300):
        optimiser.zero_grad()
        pb_losses.rnc(z, y).backward()
        optimiser.step()
    assert before > 0.3
    assert violations() < 0.01

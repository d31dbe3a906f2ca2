"""What theory says of each classification loss but the label-robust, declared by name and tried on drawn problems."""

import math
import runpy
from pathlib import Path

import pb_losses
import torch
import torch.nn.functional as F

shared = runpy.run_path(str(Path(__file__).with_name("shared.py")))
K = shared["K"]
a_better_label_logit_costs_less = shared["a_better_label_logit_costs_less"]
a_constant_added_to_the_logits_changes_nothing = shared["a_constant_added_to_the_logits_changes_nothing"]
below = shared["below"]
close = shared["close"]
flat = shared["flat"]
gradient = shared["gradient"]
not_negative = shared["not_negative"]
of_every_label = shared["of_every_label"]
order_of_samples_does_not_matter = shared["order_of_samples_does_not_matter"]


def constant_in_sum_over_labels(total):
    def property_(d):
        close(of_every_label(d).sum(1), torch.full((d.inputs[0].numel() // K,), total, dtype=torch.float64))

    return property_


def between(low, high):
    def property_(d):
        values = d.value(reduction="none")
        below(low, values)
        below(values, high)

    return property_


def ce_is_torchs(d):
    f, c, _ = flat(d)
    close(d.value(), F.cross_entropy(f, c))


def gce_goes_from_ce_to_mae(d):
    close(d.value(q=1e-9), pb_losses.ce(*d.inputs), 1e-6)
    close(d.value(q=0.0), pb_losses.ce(*d.inputs))
    close(d.value(q=1.0), pb_losses.mae_cls(*d.inputs) / 2)


def gce_sum_over_labels_is_bounded(d):
    for q in (0.05, 0.7, 0.95):
        total = of_every_label(d, q=q).sum(1)
        below((K - K ** (1 - q)) / q, total)
        below(total, (K - 1) / q)


def gce_gradient_is_that_of_ce_times_a_weight(d):
    f, c, log_p = flat(d)
    weighted = gradient(lambda x: (log_p.exp() ** 0.7 * pb_losses.ce(x, c, reduction="none")).mean(), f)
    close(gradient(lambda x: pb_losses.gce(x, c), f), weighted)


def truncated_gce_is_flat_below_k(d):
    f, c, log_p = flat(d)
    k = 0.4
    whole = pb_losses.gce(f, c, reduction="none")
    close(pb_losses.gce(f, c, truncation=k, reduction="none"), whole.clamp(max=(1 - k**0.7) / 0.7))
    grad = gradient(lambda x: pb_losses.gce(x, c, truncation=k), f)
    assert (grad[log_p.exp() < k] == 0).all()
    assert (grad[log_p.exp() > k] != 0).all()


def sce_goes_from_ce_to_rce(d):
    close(d.value(balance=0.0), pb_losses.ce(*d.inputs))
    close(d.value(balance=1.0), pb_losses.rce(*d.inputs, log_zero=-4.0))


def rce_is_mae_times_a_constant(d):
    close(d.value(log_zero=-3.0), 1.5 * pb_losses.mae_cls(*d.inputs))


def js_goes_from_ce_to_mae(d):
    close(d.value(label_weight=1e-8), pb_losses.ce(*d.inputs), 1e-5)
    rest = 1e-12
    gap = d.value(label_weight=1 - rest) - pb_losses.mae_cls(*d.inputs) / 2
    below(gap.abs() * -math.log(rest), 1 + 1 / math.e + 1e-3)


def aul_and_agce_are_mae_at_q_1(d):
    close(d.value(q=1.0), pb_losses.mae_cls(*d.inputs) / 2)


def apl_is_the_sum_of_its_parts(d):
    for passive, loss in (("rce", pb_losses.rce), ("agce", pb_losses.agce), ("aul", pb_losses.aul)):
        value = d.value(passive=passive, alpha=0.1, beta=9.9)
        close(value, 0.1 * pb_losses.nce(*d.inputs) + 9.9 * loss(*d.inputs))


def hinge_is_zero_once_the_label_wins(d):
    f, c = d.inputs
    won = f.scatter(-1, c.unsqueeze(-1), float(f.max()) + 1.5)
    assert d._replace(inputs=(won, c)).value(margin=1.0) == 0


def ww_is_torchs_multi_margin_loss(d):
    f, c, _ = flat(d)
    for margin in (0.1, 1.0, 10.0):
        close(d.value(margin=margin), F.multi_margin_loss(f, c, margin=margin))


def ww_is_below_cs(d):
    below(pb_losses.ww(*d.inputs, reduction="none"), (K - 1) / K * pb_losses.cs(*d.inputs, reduction="none"))


ANY = [order_of_samples_does_not_matter]
LABELS = [*ANY, a_constant_added_to_the_logits_changes_nothing, a_better_label_logit_costs_less]
AGCE_HIGH, AUL_HIGH = (4**1.5 - 3**1.5) / 1.5, (6**1.5 - 5**1.5) / 1.5

FAMILIES = {"entropy", "bounded", "margin"}
PROPERTIES = {
    "ce": [*LABELS, not_negative, ce_is_torchs],
    "rce": [*LABELS, constant_in_sum_over_labels(-math.log(1e-4) * (K - 1)), rce_is_mae_times_a_constant],
    "sce": [*LABELS, not_negative, sce_goes_from_ce_to_rce],
    "gce": [
        *LABELS,
        between(0, 1 / 0.7),
        gce_goes_from_ce_to_mae,
        gce_sum_over_labels_is_bounded,
        gce_gradient_is_that_of_ce_times_a_weight,
        truncated_gce_is_flat_below_k,
    ],
    "nce": [*LABELS, between(0, 1), constant_in_sum_over_labels(1.0)],
    "js": [*LABELS, between(0, 2), js_goes_from_ce_to_mae],
    "mae-cls": [*LABELS, between(0, 2), constant_in_sum_over_labels(2.0 * (K - 1))],
    "brier": [*ANY, a_constant_added_to_the_logits_changes_nothing, between(0, 2)],
    "agce": [*LABELS, between(0, AGCE_HIGH), aul_and_agce_are_mae_at_q_1],
    "aul": [*LABELS, between(0, AUL_HIGH), aul_and_agce_are_mae_at_q_1],
    "rll": [*LABELS, constant_in_sum_over_labels(0.0)],
    "apl": [*LABELS, not_negative, apl_is_the_sum_of_its_parts],
    "cs": [*LABELS, not_negative, hinge_is_zero_once_the_label_wins],
    "ww": [*LABELS, not_negative, hinge_is_zero_once_the_label_wins, ww_is_torchs_multi_margin_loss, ww_is_below_cs],
}


def test_every_loss_declares_its_properties():
    assert set(PROPERTIES) == {name for name in pb_losses.LOSSES if pb_losses.loss_info(name).family in FAMILIES}


test_property = shared["property_test"](PROPERTIES)

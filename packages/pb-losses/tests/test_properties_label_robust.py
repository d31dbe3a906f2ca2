"""What theory says of each label-robust loss, declared by name and tried on drawn problems."""

import math
import runpy
from pathlib import Path

import pb_losses
import torch
import torch.nn.functional as F
from pb_losses.margin import margins

shared = runpy.run_path(str(Path(__file__).with_name("shared.py")))
K = shared["K"]
a_better_label_logit_costs_less = shared["a_better_label_logit_costs_less"]
a_constant_added_to_the_logits_changes_nothing = shared["a_constant_added_to_the_logits_changes_nothing"]
below = shared["below"]
close = shared["close"]
flat = shared["flat"]
of_every_label = shared["of_every_label"]
order_of_samples_does_not_matter = shared["order_of_samples_does_not_matter"]


def ldr_lies_between_cs_and_cs_minus_lambda_log_k(d):
    cs = pb_losses.cs(*d.inputs, margin=0.1, reduction="none")
    for temperature in (1e-4, 0.1, 1.0, 10.0):
        value = d.value(temperature=temperature, reduction="none")
        below(value, cs)
        below(cs - temperature * math.log(K), value)


def ldr_goes_from_worst_rival_to_mean_margin(d):
    f, c, _ = flat(d)
    close(d.value(temperature=1e-9), pb_losses.cs(f, c, margin=0.1), 1e-7)
    close(d.value(temperature=1e7), margins(f, c, 0.1).mean(), 1e-5)
    close(of_every_label(d, temperature=1e7).sum(1), torch.full((len(f),), 0.1 * (K - 1), dtype=f.dtype), 1e-5)
    values = [float(d.value(temperature=t)) for t in (0.01, 0.1, 1.0, 10.0, 100.0)]
    assert values == sorted(values, reverse=True)


def ldr_is_ce_at_temperature_1(d):
    f, c, _ = flat(d)
    close(d.value(margin=0.0), F.cross_entropy(f, c) - math.log(K))
    below(-math.log(K), d.value(margin=0.0, reduction="none"))


def ldr_gradient_is_a_softmax(d):
    f, c, _ = flat(d)
    hot = F.one_hot(c, K).double()
    for parameters in ({"temperature": 0.1, "margin": 0.1}, {"temperature": 3.0, "margin": 1.0}):
        expected = ((f + parameters["margin"] * (1 - hot)) / parameters["temperature"]).softmax(1) - hot
        _, grad = d._replace(inputs=(f, c)).value_and_gradient(reduction="sum", **parameters)
        close(grad, expected)


def ldr_scales_with_everything(d):
    f, c = d.inputs
    scaled = d._replace(inputs=(3 * f, c)).value(temperature=3.0, margin=0.3)
    close(scaled, 3 * d.value())


def ldr_is_a_maximum_over_distributions(d):
    """LDR = max_p sum p q - lambda KL(p||u), reached by softmax(q / lambda)."""
    f, c, _ = flat(d)
    q, temperature = margins(f, c, 0.1), 0.7
    best = (q / temperature).softmax(1)
    value = pb_losses.ldr(f, c, temperature=temperature, reduction="none")

    def objective(p):
        return (p * q).sum(1) - temperature * (torch.xlogy(p, p) + p * math.log(K)).sum(1)

    close(objective(best), value)
    for seed in range(3):
        other = torch.rand(q.shape, generator=torch.Generator().manual_seed(seed), dtype=q.dtype)
        below(objective(other / other.sum(1, keepdim=True)), value)


def ldr_of_equal_logits(d):
    f, c = d.inputs
    expected = 0.5 * math.log((1 + (K - 1) * math.exp(0.1 / 0.5)) / K)
    close(d._replace(inputs=(0 * f, c)).value(temperature=0.5), expected)


def softplus_variant_is_ldr_of_normalised_logits(d):
    f, c = d.inputs
    g = K * F.softplus(f) / F.softplus(f).sum(-1, keepdim=True)
    close(d.value(), pb_losses.ldr(g, c))
    assert not torch.allclose(d._replace(inputs=(f + 5, c)).value(), d.value())


def softplus_variant_is_bounded(d):
    for temperature in (0.1, 1.0):
        values = d.value(temperature=temperature, reduction="none")
        below(temperature * math.log((1 + (K - 1) * math.exp((0.1 - K) / temperature)) / K), values)
        below(values, 0.1 + K)


def lambda_is_stationary_and_within_its_bracket(d):
    f, c, _ = flat(d)
    q = margins(f, c, 0.1)
    for temperature in (0.1, 1.0, 10.0):
        for alpha in (1.01, 1.5, 2.0, 10.0):
            solution = pb_losses.optimal_temperature(q, temperature, alpha)
            log_p = (q / solution[:, None]).log_softmax(1)
            kl = (log_p.exp() * log_p).sum(1) + math.log(K)
            close(solution, temperature * (1 - kl / (alpha * math.log(K))), 1e-8)
            below(temperature * (1 - 1 / alpha), solution)
            below(solution, temperature)


def aldr_is_the_maximum_over_lambda(d):
    alpha, start = 2.0, 1.0
    for temperature in torch.linspace(0.05, 1.5, 30).tolist():
        penalty = alpha * math.log(K) / (2 * start) * (temperature - start) ** 2
        below(pb_losses.ldr(*d.inputs, temperature=temperature, reduction="none") - penalty, d.value(reduction="none"))


def aldr_becomes_ldr(d):
    ldr = pb_losses.ldr(*d.inputs, reduction="none")
    gaps = [float((d.value(alpha=alpha, reduction="none") - ldr).max()) for alpha in (2.0, 100.0, 1e4)]
    assert gaps[0] > gaps[1] > gaps[2] >= 0
    assert gaps[2] < 1e-3


def lambda_does_not_depend_on_the_label_without_margin(d):
    f, c, _ = flat(d)
    solutions = [pb_losses.optimal_temperature(margins(f, torch.full_like(c, k), 0.0), 1.0, 2.0) for k in range(K)]
    for other in solutions[1:]:
        close(other, solutions[0])


ANY = [order_of_samples_does_not_matter]
LABELS = [*ANY, a_constant_added_to_the_logits_changes_nothing, a_better_label_logit_costs_less]

PROPERTIES = {
    "ldr": [
        *LABELS,
        ldr_lies_between_cs_and_cs_minus_lambda_log_k,
        ldr_goes_from_worst_rival_to_mean_margin,
        ldr_is_ce_at_temperature_1,
        ldr_gradient_is_a_softmax,
        ldr_scales_with_everything,
        ldr_is_a_maximum_over_distributions,
        ldr_of_equal_logits,
    ],
    "ldr-softplus": [*ANY, softplus_variant_is_ldr_of_normalised_logits, softplus_variant_is_bounded],
    "aldr": [
        *LABELS,
        lambda_is_stationary_and_within_its_bracket,
        aldr_is_the_maximum_over_lambda,
        aldr_becomes_ldr,
        lambda_does_not_depend_on_the_label_without_margin,
    ],
}


def test_every_loss_declares_its_properties():
    assert set(PROPERTIES) == {name for name in pb_losses.LOSSES if pb_losses.loss_info(name).family == "label-robust"}


test_property = shared["property_test"](PROPERTIES)

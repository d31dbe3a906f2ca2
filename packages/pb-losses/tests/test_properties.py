"""What theory says of each loss, declared by name and tried on drawn problems."""

import math

import pb_losses
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pb_losses.aligned import alignment_terms
from pb_losses.margin import margins

K = 4  # classes of the drawn problems


def close(a, b, tolerance=1e-9):
    a, b = torch.as_tensor(a, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64)
    assert torch.allclose(a, b, rtol=tolerance, atol=tolerance), (a, b)


def below(a, b):
    a, b = torch.as_tensor(a, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64)
    assert (a <= b + 1e-12).all(), (a, b)


def gradient(loss, x):
    x = x.detach().clone().requires_grad_()
    return torch.autograd.grad(loss(x), x)[0]


def of_every_label(d, **parameters):
    """Losses of each sample for each label, (n, K)."""
    f = d.inputs[0].reshape(-1, K)
    loss = d.loss(reduction="none", **parameters)
    return torch.stack([loss(f, torch.full((len(f),), k)) for k in range(K)], 1)


def flat(d):
    """Logits (n, K), labels (n,) and the label's log-probability."""
    f, c = d.inputs[0].reshape(-1, K), d.inputs[1].reshape(-1)
    return f, c, f.log_softmax(1).gather(1, c[:, None])[:, 0]


# of many losses ------------------------------------------------------------------------------------------------------


def order_of_samples_does_not_matter(d):
    order = torch.randperm(len(d.inputs[0]), generator=torch.Generator().manual_seed(0))
    close(d._replace(inputs=tuple(x[order] for x in d.inputs)).value(), d.value())


def zero_at_a_perfect_fit(d):
    y = d.inputs[1]
    assert d._replace(inputs=(y, y)).value() == 0


def not_negative(d):
    below(0, d.value(reduction="none"))


def a_constant_added_to_the_logits_changes_nothing(d):
    f, c = d.inputs
    moved = d._replace(inputs=(f + 7.5, c))
    close(moved.value(), d.value())
    close(moved.value_and_gradient()[1], d.value_and_gradient()[1])


def a_better_label_logit_costs_less(d):
    f, c = d.inputs
    raised = f.scatter_add(-1, c.unsqueeze(-1), torch.ones_like(c.unsqueeze(-1), dtype=f.dtype))
    below(d._replace(inputs=(raised, c)).value(reduction="none"), d.value(reduction="none"))


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


# pointwise -----------------------------------------------------------------------------------------------------------


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


# aligned -------------------------------------------------------------------------------------------------------------


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


def gathering_alone_changes_nothing(d):
    close(d.value(gather=True), d.value())


def pearson_leaves_the_error_of_a_line(d):
    _, y = d.inputs
    p = 2 * y + 1
    close(d._replace(inputs=(p, y)).value(), (p - y).abs().mean())


# features ------------------------------------------------------------------------------------------------------------


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


# classification ------------------------------------------------------------------------------------------------------


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
LABELS = [*ANY, a_constant_added_to_the_logits_changes_nothing, a_better_label_logit_costs_less]
AGCE_HIGH, AUL_HIGH = (4**1.5 - 3**1.5) / 1.5, (6**1.5 - 5**1.5) / 1.5

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
    assert set(PROPERTIES) == set(pb_losses.LOSSES)


@pytest.mark.parametrize(
    ("name", "holds"),
    [pytest.param(name, holds, id=f"{name}-{holds.__name__}") for name, all_ in PROPERTIES.items() for holds in all_],
)
@given(seed=st.integers(0, 10**6), n=st.integers(2, 8), heads=st.sampled_from([None, 1, 2]))
@settings(max_examples=5, deadline=None, derandomize=True)
def test_property(name, holds, seed, n, heads, problem):
    holds(problem(name, seed, n, "random", heads))


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

import numpy as np
import pytest
import torch
from anndata import AnnData
from pb_data.keys import Keys
from pb_models.cells import TrainingData
from pb_models.multitask.examples import (
    Examples,
    autoencoding,
    condition_numbers,
    conditions,
    leading,
    paired,
)
from pb_models.multitask.film import Film, FilmDecoder
from pb_models.multitask.network import (
    MultiTaskNetwork,
    discriminator_loss,
    fooling_loss,
    gaussian_divergence,
    reconstruction_terms,
)
from pb_models.multitask.settings import AdversarialSettings, MultiTaskSettings, TransportSettings, VariationalSettings
from pb_models.multitask.training import Contest, WarmingAdam, kl_coefficient, reconstruction_phase, soft_labels
from pb_models.pairing import pair_controls
from pb_models.registry import MODELS, create, get_model, load_model
from pb_models.training import Cells, DivergedError, seeded
from torch import nn
from torch.nn import functional

CPU = torch.device("cpu")
NAMES = [name for name in MODELS if name.startswith("mt")]
SPECS = [f"{name}:{profile}" for name in NAMES for profile in ("fixed", "reference")]
ADVERSARIAL = ["mtae-adv", "mtae-adv-gauss"]
TRANSPORT = ["mtae-ot", "mtae-and-ot", "mtvae-ot", "mtvae-and-ot"]
VARIATIONAL = ["mtvae", "mtvae-ot", "mtvae-and-ot"]
SIZES = {"n_hidden": 12, "n_latent": 6}
SMALL = {**SIZES, "max_epochs": 2, "batch_size": 32, "settling_steps": 0}


def fitted(problem, spec="mtae", seed=1, **overrides):
    model = create(spec, **{**SMALL, **overrides})
    return model.fit(problem.train, keys=problem.keys, validation=problem.validation, seed=seed, device="cpu")


def settings_of(spec, **overrides):
    return create(spec, **{**SIZES, **overrides}).settings


def network_of(spec="mtae", n_genes=7, n_conditions=3, seed=0, **overrides):
    torch.manual_seed(seed)
    return MultiTaskNetwork(n_genes, n_conditions, settings_of(spec, **overrides))


def batch(n=8, n_genes=7, n_conditions=3, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.rand(n, n_genes, generator=random), torch.arange(n) % n_conditions


def contest_of(spec="mtae-adv", n=12, seed=0, numbers=None, **overrides):
    settings = settings_of(spec, dropout=0, mask=0, **overrides)
    torch.manual_seed(seed)
    network = MultiTaskNetwork(7, 3, settings).train()
    X = np.random.default_rng(0).gamma(1.0, 1.0, (n, 7)).astype(np.float32)
    numbers = np.arange(n) % 3 if numbers is None else numbers
    examples = autoencoding(numbers, np.ones(n, dtype=bool))
    return Contest(network, Cells(X, CPU), examples, get_model(spec.partition(":")[0]).opponent, settings)


def count(module):
    return sum(weight.numel() for weight in module.parameters())


# --- the network -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_genes", "n_conditions", "n_film", "total"),
    [(6998, 2, None, 3_658_710), (5000, 9, None, 2_641_064), (5000, 9, 0, 2_637_320)],
)
def test_parameter_counts_are_the_published_ones(n_genes, n_conditions, n_film, total):
    with torch.device("meta"):
        network = MultiTaskNetwork(n_genes, n_conditions, MultiTaskSettings(n_film=n_film))
    film = 512 * (n_conditions + 1) if n_conditions == 2 or n_film == 0 else 17 * 512 + 16 * (n_conditions + 1)
    assert count(network) == total == 513 * n_genes + 67_200 + film
    if n_film is None and n_genes == 5000:
        assert (count(network.encoder), count(network.decoder.film)) == (1_313_664, 8_864)
        assert count(network.decoder) - count(network.decoder.film) == 1_318_536


def test_heads_and_discriminator_add_their_parameters():
    with torch.device("meta"):
        plain, variational, adversarial = (
            count(MultiTaskNetwork(10, 2, settings))
            for settings in (MultiTaskSettings(), VariationalSettings(), AdversarialSettings())
        )
    assert variational - plain == 33_024 == 2 * (128 * 128 + 128)
    assert adversarial - plain == 4_161 == 128 * 32 + 32 + 32 + 1


def test_layers_are_in_order():
    network = network_of("mtae-adv:reference", n_layers=2)
    names = [type(layer).__name__ for layer in network.encoder]
    assert names == ["Dropout", "Sequential", "Sequential", "Linear", "LeakyReLU"]
    block = network.encoder[1]
    assert [type(layer).__name__ for layer in block] == ["Linear", "BatchNorm1d", "LeakyReLU", "Dropout"]
    assert (network.encoder[0].p, block[3].p, network.decoder.dropout.p) == (0.2, 0.5, 0.5)
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm1d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-5, 0.1)}
    assert len(norms) == 4
    assert len(network.decoder.film) == 2, "hidden layers have FiLM, each its own generator, the output has none"
    assert [type(layer).__name__ for layer in network.discriminator] == [
        "ParametrizedLinear",
        "LeakyReLU",
        "Dropout",
        "Linear",
    ]
    assert network.discriminator[2].p == 0.1


def test_the_decoder_is_its_formula():
    torch.manual_seed(0)
    decoder = FilmDecoder([4, 5, 6], 3, dropout=0.0, n_film=0, modulation="leaky-relu").eval()
    decoder.norm[0].running_mean.uniform_(-1, 1)
    decoder.norm[0].running_var.uniform_(0.5, 2)
    z, condition = torch.randn(7, 4), torch.tensor([0, 1, 2, 0, 1, 2, 1])
    film, norm = decoder.film[0], decoder.norm[0]
    with torch.no_grad():
        out = decoder(z, condition)
        for i in range(7):
            hidden = decoder.linear[0].weight @ z[i] + decoder.linear[0].bias
            hidden = (hidden - norm.running_mean) / (norm.running_var + 1e-5).sqrt()
            gamma, beta = (leaky(head.weight[:, condition[i]] + head.bias) for head in (film.gamma, film.beta))
            expected = leaky(decoder.output.weight @ leaky(gamma * hidden + beta) + decoder.output.bias)
            torch.testing.assert_close(out[i], expected)


def leaky(x):
    return torch.where(x > 0, x, 0.01 * x)


def test_film_with_a_hidden_layer_is_its_formula():
    torch.manual_seed(0)
    film = Film(3, 4, n_hidden=2, modulation="around-one", spread=0)
    x, condition = torch.randn(5, 4), torch.tensor([0, 1, 2, 1, 0])
    torch.testing.assert_close(film(x, condition), x, rtol=0, atol=0)
    for weight in film.parameters():
        nn.init.normal_(weight)
    u = leaky(film.hidden[0].weight.T[condition] + film.hidden[0].bias)  # (cells, hidden)
    gamma, beta = (u @ head.weight.T + head.bias for head in (film.gamma, film.beta))
    torch.testing.assert_close(film(x, condition), (1 + gamma) * x + beta)


def test_film_starts_around_one_only_in_fixed_and_can_flip_signs_only_there():
    torch.manual_seed(0)
    x, condition = torch.randn(6, 12), torch.arange(6) % 3
    wide = Film(4, 1000, modulation="around-one", spread=0.25)
    gamma = wide(torch.ones(4, 1000), torch.arange(4)) - wide(torch.zeros(4, 1000), torch.arange(4))
    assert gamma.mean().item() == pytest.approx(1, abs=0.02)
    assert gamma.std().item() == pytest.approx(0.25, rel=0.05)
    fixed, reference = (network_of(f"mtae:{profile}").decoder.film[0] for profile in ("fixed", "reference"))
    for film in (fixed, reference):
        nn.init.zeros_(film.gamma.weight)
        nn.init.constant_(film.gamma.bias, -50.0)
        nn.init.zeros_(film.beta.weight)
        nn.init.zeros_(film.beta.bias)
    torch.testing.assert_close(fixed(x, condition), -49 * x)
    assert (reference(x, condition).abs() < 0.6 * x.abs()).all(), "the slope is a hundredth"


def test_the_condition_reaches_the_output_through_film_alone():
    network = network_of("mtae:reference").eval()
    x, condition = batch(n_conditions=1)
    with torch.no_grad():
        assert not torch.equal(network(x, condition), network(x, condition + 1))
        for weight in network.decoder.film.parameters():
            weight.zero_()
        assert torch.equal(network(x, condition), network(x, condition + 1))


# --- losses ----------------------------------------------------------------------------------------------------------


def test_the_reconstruction_loss_is_its_formula():
    network, (x, condition), target = network_of().eval(), batch(), torch.rand(8, 7)
    loss = reconstruction_terms(network, x, condition, target, kl_weight=9.0, sampled=True).loss.item()
    predicted = network(x, condition).tolist()
    errors = [(predicted[i][g] - target[i, g].item()) ** 2 for i in range(8) for g in range(7)]
    assert loss == pytest.approx(sum(errors) / len(errors), rel=1e-5)


def test_the_variational_loss_is_its_formula():
    network, (x, condition) = network_of("mtvae").eval(), batch()
    terms = reconstruction_terms(network, x, condition, x, kl_weight=0.3, sampled=False)
    hidden = network.encoder(x)
    mean, s = network.heads.mean(hidden), network.heads.log_variance(hidden)
    kl = sum(
        0.5 * (m**2 + np.exp(v) - 1 - v)
        for row, other in zip(mean.tolist(), s.tolist(), strict=True)
        for m, v in zip(row, other, strict=True)
    )
    error = functional.mse_loss(network.decoder(mean, condition), x).item()
    assert terms.parts["kl"].item() == pytest.approx(kl / 8, rel=1e-5)
    assert terms.loss.item() == pytest.approx(error + 0.3 * kl / 8, rel=1e-5)


def test_the_kl_is_torch_s():
    mean, s = torch.randn(2, 5, 3)
    ours = gaussian_divergence(mean, s)
    normal = torch.distributions.Normal
    theirs = torch.distributions.kl_divergence(normal(mean, (0.5 * s).exp()), normal(0.0, 1.0))
    torch.testing.assert_close(ours, theirs.sum(dim=1).mean())


def test_the_kl_weight_falls_with_the_number_of_examples():
    reference = create("mtvae:reference").settings
    assert kl_coefficient(reference, 15_000) == pytest.approx(0.004 * 32 / 15_000)
    assert kl_coefficient(create("mtae").settings, 15_000) == 0


def test_sampling_has_the_heads_deviation():
    """decode is the identity here, so that the squared error around the mean is the variance, exp(s)."""
    network = network_of("mtvae", n_genes=6).eval()
    hidden = torch.zeros(20_000, 6)
    network.encoder = nn.Identity()
    network.decoder.forward = lambda z, condition: z
    nn.init.zeros_(network.heads.mean[0].bias)
    nn.init.constant_(network.heads.log_variance[0].bias, np.log(0.25))
    condition = torch.zeros(20_000, dtype=torch.long)
    terms = reconstruction_terms(network, hidden, condition, hidden, kl_weight=0, sampled=True)
    assert terms.loss.item() == pytest.approx(0.25, rel=0.02)


def test_soft_labels_are_high_for_control_cells():
    labels = soft_labels(torch.tensor([0, 1, 2, 0]), torch.tensor([0.0, 0.0, 1.0, 1.0]))
    torch.testing.assert_close(labels, torch.tensor([0.9, 0.0, 0.1, 1.0]))
    contest = contest_of(n=600)
    control = contest.shown.condition == 0
    assert contest.labels[control].min() >= 0.9
    assert contest.labels[control].max() <= 1
    assert contest.labels[~control].max() <= 0.1


def test_the_discriminator_s_loss_is_its_formula():
    network = network_of("mtae-adv").eval()
    codes, labels = torch.randn(8, 6), torch.rand(8)
    p = network.judge(codes).sigmoid()
    slow = -sum((y * q.log() + (1 - y) * (1 - q).log()) for y, q in zip(labels, p, strict=True)) / 8
    torch.testing.assert_close(discriminator_loss(network, codes, labels, "controls"), slow)

    torch.manual_seed(3)
    gaussian = discriminator_loss(network, codes, labels, "gaussian")
    torch.manual_seed(3)
    prior = network.judge(torch.randn_like(codes)).sigmoid()
    torch.testing.assert_close(gaussian, -0.5 * prior.log().mean() - 0.5 * (1 - p).log().mean())


def test_the_fooling_loss_is_its_formula():
    network = network_of("mtae-adv").eval()
    codes, labels, perturbed = torch.randn(8, 6), torch.rand(8), torch.arange(8) % 3 != 0
    p = network.judge(codes).sigmoid()
    terms = [-((1 - labels[i]) * p[i].log() + labels[i] * (1 - p[i]).log()) for i in range(8) if perturbed[i]]
    loss, counts = fooling_loss(network, codes, labels, perturbed, "controls")
    torch.testing.assert_close(loss, torch.stack(terms).mean())
    assert counts.item() == 1
    loss, counts = fooling_loss(network, codes, labels, perturbed & False, "controls")
    assert (loss.item(), counts.item()) == (0, 0)
    loss, counts = fooling_loss(network, codes, labels, perturbed, "gaussian")
    torch.testing.assert_close(loss, -p.log().mean())
    assert counts.item() == 1


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_the_two_sides_pull_in_opposite_directions(name):
    """Finite differences: a higher logit of codes that are to fool helps the encoder and hurts the discriminator."""
    network = network_of(name).eval()
    opponent, codes = get_model(name).opponent, torch.randn(8, 6)
    labels, perturbed = torch.full((8,), 0.05), torch.ones(8, dtype=torch.bool)
    step, bias = 1e-2, network.discriminator[3].bias

    def slope(loss):
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                bias.add_(sign * step)
                torch.manual_seed(0)
                values.append(loss().item())
                bias.sub_(sign * step)
        return (values[0] - values[1]) / (2 * step)

    fooling = slope(lambda: fooling_loss(network, codes, labels, perturbed, opponent)[0])
    # of the discriminator's loss, the part of the codes: for "gaussian" the prior's part has the other sign
    seen = functional.binary_cross_entropy_with_logits
    target = labels if opponent == "controls" else torch.zeros(8)
    judged = slope(lambda: seen(network.judge(codes), target))
    assert fooling < 0 < judged
    analytic = torch.autograd.grad(fooling_loss(network, codes, labels, perturbed, opponent)[0], bias)[0].item()
    assert fooling == pytest.approx(analytic, rel=1e-2)


def test_no_gradient_of_the_discriminator_s_loss_reaches_the_encoder():
    network, (x, _) = network_of("mtae-adv"), batch()
    discriminator_loss(network, network.encoder(x), torch.rand(8), "controls").backward()
    assert all(weight.grad is None for weight in network.encoder.parameters())
    assert all(weight.grad is not None for weight in network.discriminator.parameters())


# --- steps -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("idle", "factors"), [(True, [0, 0.25, 0.5, 0.75, 1, 1]), (False, [0.25, 0.5, 0.75, 1, 1, 1])])
def test_adam_warms_up(idle, factors):
    """Adam by hand on one number: without weight decay its first steps are lr * m / (sqrt(v) + eps)."""
    weight = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    settings = MultiTaskSettings(learning_rate=0.1, warmup_steps=4, idle_first_step=idle)
    adam = WarmingAdam([weight], settings)
    value, m, v = 2.0, 0.0, 0.0
    for k, factor in enumerate(factors, 1):
        adam.descend((weight**2).sum())
        gradient = 2 * value
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        value -= factor * 0.1 * (m / (1 - 0.9**k)) / (np.sqrt(v / (1 - 0.999**k)) + 1e-8)
        assert weight.item() == pytest.approx(value, rel=1e-9)
    assert adam.optimiser.defaults["weight_decay"] == 0
    adam.restart()
    before = weight.item()
    adam.descend((weight**2).sum())
    assert (weight.item() == before) == idle


@pytest.mark.parametrize("name", VARIATIONAL)
def test_heads_are_trained_in_fixed_and_stay_as_they_start_in_reference(name):
    for profile, trained in (("fixed", True), ("reference", False)):
        network, (x, condition) = network_of(f"{name}:{profile}"), batch()
        reconstruction_terms(network, x, condition, x, kl_weight=1.0, sampled=True).loss.backward()
        assert {weight.grad is not None for weight in network.heads.parameters()} == {trained}
        assert all(weight.grad is not None for weight in network.encoder.parameters())


@pytest.mark.parametrize("profile", ["fixed", "reference"])
def test_training_moves_the_heads_only_in_fixed(problem, profile):
    model = fitted(problem, f"mtvae:{profile}", learning_rate=1e-2, max_epochs=3, warmup_steps=1)
    untrained = create(f"mtvae:{profile}", **SMALL)
    untrained.doses = model.doses
    with seeded(1, CPU):
        start = untrained.new_network(30)
    moved = {
        part: any(
            not torch.equal(a, b)
            for a, b in zip(getattr(start, part).parameters(), getattr(model.network, part).parameters(), strict=True)
        )
        for part in ("encoder", "decoder", "heads")
    }
    assert moved == {"encoder": True, "decoder": True, "heads": profile == "fixed"}


def test_the_reference_s_deviation_is_hardly_ever_below_one():
    x, _ = batch(n=200)
    low = {}
    for profile in ("fixed", "reference"):
        network = network_of(f"mtvae:{profile}").eval()
        nn.init.constant_(network.heads.log_variance[0].bias, -3.0)
        low[profile] = (0.5 * network.heads.log_variance(network.encoder(x))).exp().max().item()
    assert low["fixed"] < 0.5
    assert low["reference"] > 0.95


@pytest.mark.parametrize("name", ADVERSARIAL)
@pytest.mark.parametrize("passes", ["shared", "separate"])
def test_a_joint_step_is_a_step_of_each_side(name, passes):
    """Against both steps written out with optimisers of their own; encoder and decoder have one Adam each there."""
    options = {"passes": passes, "warmup_steps": 1, "idle_first_step": False, "learning_rate": 1e-3}
    contest, twin = (contest_of(name, **options) for _ in range(2))
    contest.network.discriminator[2].p = twin.network.discriminator[2].p = 0.0
    rows = torch.arange(12)
    torch.manual_seed(5)
    told = contest.joint_step(rows)

    network, parts = twin.network, ("encoder", "decoder", "discriminator")
    adams = {part: torch.optim.Adam(getattr(network, part).parameters(), lr=1e-3) for part in parts}
    (x, condition, _), labels = twin.shown.take(rows), twin.labels
    torch.manual_seed(5)
    codes = network.encoder(x)
    error = ((network.decoder(codes, condition) - x) ** 2).mean()
    bce = functional.binary_cross_entropy_with_logits
    if name == "mtae-adv":
        fooling = bce(network.judge(codes)[condition != 0], 1 - labels[condition != 0])
    else:
        fooling = bce(network.judge(codes), torch.ones(12))
    (0.99 * error + 0.01 * fooling).backward()
    adams["encoder"].step()
    adams["decoder"].step()
    adams["discriminator"].zero_grad()
    codes = (network.encoder(x) if passes == "separate" else codes).detach()
    if name == "mtae-adv":
        judged = bce(network.judge(codes), labels)
    else:
        drawn = network.judge(torch.cat([torch.randn_like(codes), codes]))
        judged = 0.5 * bce(drawn[:12], torch.ones(12)) + 0.5 * bce(drawn[12:], torch.zeros(12))
    judged.backward()
    adams["discriminator"].step()

    assert told["loss"].item() == pytest.approx((0.99 * error + 0.01 * fooling).item(), rel=1e-5)
    assert told["discriminator"].item() == pytest.approx(judged.item(), rel=1e-5)
    for (key, ours), theirs in zip(network.state_dict().items(), contest.network.state_dict().values(), strict=True):
        if key in ("encoder.1.0.bias", "encoder.1.1.running_mean", "decoder.linear.0.bias"):
            continue  # a bias before normalisation has no gradient but rounding, which Adam divides by itself
        torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-6, msg=lambda text, key=key: f"{key}: {text}")


def test_a_batch_of_controls_has_the_unscaled_squared_error():
    contest = contest_of(numbers=np.zeros(12, dtype=np.int64))
    x, condition, _ = contest.shown.take(torch.arange(12))
    terms = contest.joint_terms(contest.network.encoder(x), condition, x, contest.labels)
    torch.testing.assert_close(terms.loss, terms.parts["squared_error"], rtol=0, atol=0)


@pytest.mark.parametrize(("profile", "drifts"), [("fixed", False), ("reference", True)])
def test_the_encoder_s_statistics_drift_in_the_discriminator_s_phase_only_in_reference(profile, drifts):
    contest = contest_of(f"mtae-adv:{profile}", max_epochs=4, batch_size=4, warmup_steps=1, learning_rate=1e-2)
    before = {key: value.clone() for key, value in contest.network.state_dict().items()}
    contest.discriminator_phase(seed=0)
    after = contest.network.state_dict()
    changed = {key.partition(".")[0] for key in before if not torch.equal(before[key], after[key])}
    assert changed == {"discriminator", *(["encoder"] if drifts else [])}
    weights = {name for name, _ in contest.network.named_parameters() if not torch.equal(before[name], after[name])}
    assert {name.partition(".")[0] for name in weights} == {"discriminator"}


def test_the_discriminator_learns_to_tell_control_from_perturbed_codes():
    contest = contest_of(n=120, numbers=np.arange(120) % 2, max_epochs=1, discriminator_share=60.0, learning_rate=1e-2)
    with torch.no_grad():
        shifted = contest._encoded() + 3 * contest.shown.condition[:, None]
    contest._encoded = lambda: shifted
    history = contest.discriminator_phase(seed=0)
    assert history["loss"][0] > 0.5
    assert history["loss"][-1] < 0.3


# --- examples --------------------------------------------------------------------------------------------------------


@pytest.fixture
def dosed():
    """Three contexts, two doses whose shift is planted (0.5 and 2), sorted neither by context nor by condition."""
    random = np.random.default_rng(0)
    contexts = np.repeat(["T", "B", "N"], 60)
    doses = np.tile(np.repeat([0.0, 0.3, 10.0], 20), 3)
    base = {name: random.gamma(1.0, 2.0, 20) for name in ("B", "N", "T")}
    shift = np.where(np.arange(20) < 5, 1.0, 0.0)
    size = {0.0: 0.0, 0.3: 0.5, 10.0: 2.0}
    X = np.array([base[c] + size[d] * shift for c, d in zip(contexts, doses, strict=True)])
    X = (X + random.gamma(1.0, 0.1, X.shape)).astype(np.float32)
    order = random.permutation(len(X))
    obs = {"cell_type": contexts[order], "condition": np.where(doses > 0, "TCDD", "ctrl")[order], "dose": doses[order]}
    adata = AnnData(X[order], obs=obs)
    adata.obs_names = [f"cell{i}" for i in range(adata.n_obs)]
    keys = Keys(context="cell_type", perturbation="condition", control="ctrl", scale="log1p", dose="dose")
    held = (adata.obs["cell_type"] == "N") & (adata.obs["condition"] == "TCDD")
    return adata[~held].copy(), keys


def data_of(dosed):
    return TrainingData.from_anndata(*dosed)


DOSES = {"TCDD": [0.3, 10.0]}


def test_every_dose_is_a_condition(dosed):
    data = data_of(dosed)
    assert conditions(DOSES) == [("TCDD", 0.3), ("TCDD", 10.0)]
    numbers = condition_numbers(data, conditions(DOSES))
    np.testing.assert_array_equal(numbers, np.searchsorted([0.0, 0.3, 10.0], data.doses))


def test_the_leading_cells_are_the_first_of_each_context_and_condition():
    contexts = np.array(["T", "B"] * 10)
    numbers = np.array([0, 0, 1, 1] * 5)
    first = leading(contexts, numbers)
    for context in "BT":
        for number in (0, 1):
            members = np.flatnonzero((contexts == context) & (numbers == number))
            assert first[members].tolist() == [True] * 4 + [False]
    np.testing.assert_array_equal(leading(np.array(["B"]), np.array([0])), [False])


def test_partners_are_those_of_transport_in_fixed(dosed):
    data = data_of(dosed)
    numbers = condition_numbers(data, conditions(DOSES))
    everything = np.ones(len(numbers), dtype=bool)
    examples = paired(data, numbers, everything, TransportSettings())
    n_control = int(((numbers == 0) & (data.contexts != "N")).sum())
    assert len(examples.source) == 3 * n_control, "controls of paired contexts, times the conditions"
    assert (numbers[examples.source] == 0).all()
    np.testing.assert_array_equal(numbers[examples.target], examples.condition)
    np.testing.assert_array_equal(data.contexts[examples.source], data.contexts[examples.target])
    assert "N" not in data.contexts[examples.source], "the target's controls take no part"
    same = examples.condition == 0
    np.testing.assert_array_equal(examples.source[same], examples.target[same])
    for number in (1, 2):
        pairs = pair_controls(data.X, data.contexts, numbers == 0, numbers == number)
        of_dose = examples.condition == number
        assert dict(zip(examples.source[of_dose], examples.target[of_dose], strict=True)) == dict(
            zip(pairs.control, pairs.partner, strict=True)
        )


def test_partners_are_misplaced_in_reference(dosed):
    """Slow twin: local places, taken context after context, used as rows of the whole condition ordered by context."""
    data = data_of(dosed)
    numbers = condition_numbers(data, conditions(DOSES))
    everything = np.ones(len(numbers), dtype=bool)
    right = paired(data, numbers, everything, TransportSettings())
    wrong = paired(data, numbers, everything, create("mtae-ot:reference").settings)
    for k, (source, number, target) in enumerate(zip(*wrong, strict=True)):
        assert (source, number) == (right.source[k], right.condition[k])
        if number == 0:
            assert target == source
            continue
        whole = [i for c in ("B", "T") for i in range(len(numbers)) if numbers[i] == number and data.contexts[i] == c]
        own = [i for i in whole if data.contexts[i] == data.contexts[source]]
        assert target == whole[own.index(right.target[k])]
    perturbed = wrong.condition > 0
    first = data.contexts[wrong.source] == "B"
    assert set(data.contexts[wrong.target[perturbed]]) == {"B"}, "20 cells a group: all rows are of the first context"
    np.testing.assert_array_equal(wrong.target[first], right.target[first])


def test_pairs_stay_inside_the_mask(dosed):
    data = data_of(dosed)
    numbers = condition_numbers(data, conditions(DOSES))
    some = np.random.default_rng(0).random(len(numbers)) < 0.5
    for settings in (TransportSettings(), create("mtae-ot:reference").settings):
        for mask in (some, ~some):
            examples = paired(data, numbers, mask, settings)
            assert mask[examples.source].all()
            assert mask[examples.target].all()
    nothing = paired(data, numbers, np.zeros(len(numbers), dtype=bool), TransportSettings())
    assert [len(side) for side in nothing] == [0, 0, 0]


# --- the models ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", SPECS)
def test_the_same_seed_gives_the_same_weights(problem, spec, reproduced):
    reproduced(lambda: fitted(problem, spec))


def test_another_seed_gives_other_weights(problem):
    first, other = (fitted(problem, seed=seed)._state()["encoder.1.0.weight"] for seed in (1, 2))
    assert not np.array_equal(first, other)


def test_a_second_process_predicts_the_same(problem, predicted_elsewhere, tmp_path):
    models = [fitted(problem, spec) for spec in ("mtae", "mtae-adv:reference", "mtvae", "mtvae-and-ot:reference")]
    for i, (model, found) in enumerate(zip(models, predicted_elsewhere(*models), strict=True)):
        np.testing.assert_array_equal(found, model.predict(problem.control, perturbation="stim").X)
        loaded = load_model(tmp_path / f"{i}")
        described = [(each.profile, each.settings, each.fit_record) for each in (loaded, model)]
        assert described[0] == described[1]


@pytest.mark.parametrize("spec", ["mtae", "mtvae"])
def test_the_prediction_decodes_the_mean_code_under_the_condition(problem, spec, monkeypatch):
    model = fitted(problem, spec)
    x = torch.tensor(problem.control.X.toarray())
    with torch.no_grad():
        code = model.network.encoder(x)
        code = model.network.heads.mean(code) if spec == "mtvae" else code
        expected = model.network.decoder(code, torch.ones(len(x), dtype=torch.long)).numpy()
    np.testing.assert_array_equal(model.predict(problem.control, perturbation="stim").X, expected)
    monkeypatch.setattr("pb_models.multitask.model.BLOCK", 7)
    blocks = model.predict(problem.control, perturbation="stim").X
    np.testing.assert_allclose(blocks, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_one_model_answers_for_all_doses(dosed, name, tmp_path):
    train, keys = dosed
    model = create(name, **SMALL).fit(train, keys=keys, device="cpu")
    control = train[train.obs["cell_type"] == "N"].copy()
    model.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    for dose in (0.3, 10.0):
        predicted = model.predict(control, perturbation="TCDD", dose=dose)
        assert set(predicted.obs["dose"]) == {dose}
        np.testing.assert_array_equal(loaded.predict(control, perturbation="TCDD", dose=dose).X, predicted.X)
    assert model.network.decoder.film[0].hidden is not None, "several doses: the generator has a hidden layer"
    assert model.fit_record["conditions"] == [None, ["TCDD", 0.3], ["TCDD", 10.0]]
    with pytest.raises(ValueError, match="nothing is interpolated"):
        model.predict(control, perturbation="TCDD", dose=1.0)
    with pytest.raises(ValueError, match=r"seen at the doses \[0.3, 10.0\]"):
        model.predict(control, perturbation="TCDD")


def left_over(adata, keys, context, spec, **overrides):
    """Fit without the perturbed cells of "B"; the squared distance of means to a context's truth, over control's."""
    stimulated = (adata.obs["condition"] == "stim").to_numpy()
    options = {"n_hidden": 64, "n_latent": 16, "batch_size": 32, "dropout": 0.1, "mask": 0.1, "learning_rate": 3e-3}
    model = create(spec, **{**options, **overrides})
    model.fit(adata[~(stimulated & (adata.obs["cell_type"] == "B"))].copy(), keys=keys, seed=1, device="cpu")
    chosen = (adata.obs["cell_type"] == context).to_numpy()
    control, truth = adata[chosen & ~stimulated].copy(), adata[chosen & stimulated]
    predicted = model.predict(control, perturbation="stim").X.mean(axis=0)
    start, end = (np.asarray(part.X.mean(axis=0)).ravel() for part in (control, truth))
    return np.square(predicted - end).sum() / np.square(start - end).sum()


def test_a_planted_shift_is_found_in_a_new_context(cells, keys):
    """Five genes rise by two in all of eight contexts; conditions that start alike are carried by the code instead."""
    adata = cells(dict.fromkeys("ABCDEFGH", (60, 50)), n_genes=60)
    as_given = {"n_hidden": 256, "n_latent": 128, "batch_size": 64, "dropout": 0.5, "mask": 0.2, "learning_rate": 1e-3}
    spreads = (0.25, 0.0)
    left = [left_over(adata, keys, "B", "mtae", max_epochs=60, film_spread=spread, **as_given) for spread in spreads]
    assert left[0] < 0.25
    assert left[0] < 0.7 * left[1]


def test_right_partners_teach_the_shift_and_misplaced_ones_do_not(cells, keys):
    """In the last of six contexts of equal size, seen in training; misplaced targets are all of the first context."""
    adata = cells(dict.fromkeys("ABCDEF", (60, 50)))
    right = left_over(adata, keys, "F", "mtae-ot", max_epochs=12)
    misplaced = left_over(adata, keys, "F", "mtae-ot", max_epochs=12, targets="misplaced")
    assert right < 0.1
    assert misplaced > 0.5


@pytest.mark.parametrize("spec", SPECS)
def test_the_record_tells_of_every_phase(problem, spec):
    steps = []
    model = create(spec, **{**SMALL, "max_epochs": 4})
    model.fit(problem.train, keys=problem.keys, validation=problem.validation, device="cpu", progress=steps.append)
    record = model.fit_record
    assert list(record["phases"]) == list(model.phases)
    lengths = [phase["epochs"] for phase in record["phases"].values()]
    assert record["epochs"] == sum(lengths) == len(steps) == steps[-1].n_epochs
    assert [step.epoch for step in steps] == list(range(1, len(steps) + 1))
    fixed = model.profile == "fixed"
    expected = {"autoencoding": 4, "transport": 4, "discriminator": 1 if fixed else 4, "joint": 1}
    assert lengths == [expected[phase] for phase in model.phases]
    for phase in ("autoencoding", "transport"):
        if phase in record["phases"]:
            assert len(record["phases"][phase]["monitor"]) == (4 if fixed else 0)
    assert (record["device"], record["precision"]) == ("cpu", "float32")


def test_phases_are_those_of_the_reference():
    phases = {
        "mtae": ["autoencoding"],
        "mtae-adv": ["autoencoding", "discriminator", "joint"],
        "mtae-adv-gauss": ["autoencoding", "discriminator", "joint"],
        "mtae-ot": ["transport"],
        "mtae-and-ot": ["autoencoding", "transport"],
        "mtvae": ["autoencoding"],
        "mtvae-ot": ["transport"],
        "mtvae-and-ot": ["autoencoding", "transport"],
    }
    assert {name: list(get_model(name).phases) for name in NAMES} == phases
    n = 12_800
    for name in NAMES:
        s = get_model(name).profiles["reference"]
        rate, size = (6.62135564829619e-06, 32) if name in VARIATIONAL else (1e-5, 64)
        assert (s.learning_rate, s.batch_size, s.n_epochs(n), s.warmup_steps) == (rate, size, 400, 100)
        assert (s.split, s.keep, s.modulation, s.drop_last) == ("leading", "last", "leaky-relu", True)
        if name in ADVERSARIAL:
            assert (s.n_epochs(n, s.discriminator_share), s.n_epochs(n, s.joint_share)) == (400, 100)


def test_the_profiles_differ_where_the_docstrings_say():
    def differences(name):
        fixed, reference = (get_model(name).profiles[profile].to_dict() for profile in ("fixed", "reference"))
        return {key for key in fixed if fixed[key] != reference[key]}

    common = {"modulation", "learning_rate", "idle_first_step", "drop_last", "max_steps", "keep", "split"}
    transport = {"targets", "max_pivots"}
    variational = {"batch_size", "heads", "head_activation"}
    assert differences("mtae") == common
    assert differences("mtae-adv") == common | {"discriminator_share", "passes"}
    assert differences("mtae-adv-gauss") == common | {"discriminator_share", "passes", "latent_activation"}
    assert differences("mtae-ot") == differences("mtae-and-ot") == common | transport
    assert differences("mtvae") == common | variational
    assert differences("mtvae-ot") == differences("mtvae-and-ot") == common | transport | variational


def test_profiles_use_their_own_validation_cells(problem):
    fixed, reference = (fitted(problem, f"mtae:{profile}").fit_record["phases"] for profile in ("fixed", "reference"))
    assert fixed["autoencoding"]["n_validation"] == problem.validation.sum()
    groups = problem.train.obs.groupby(["cell_type", "condition"], observed=True).size()
    assert reference["autoencoding"]["n_training"] == sum(int(0.8 * size) for size in groups)
    without = create("mtae-ot", **SMALL).fit(problem.train, keys=problem.keys, device="cpu")
    record = without.fit_record["phases"]["transport"]
    assert (record["monitor"], record["n_validation"], record["n_training"]) == ([], 0, 2 * (60 + 30))


def test_the_monitor_is_the_loss_of_the_validation_cells(problem):
    for name in ("mtae", "mtvae"):
        model = fitted(problem, name, max_epochs=1)
        x = torch.tensor(problem.train.X.toarray()[problem.validation])
        stimulated = (problem.train.obs["condition"] == "stim").to_numpy()[problem.validation]
        weight = kl_coefficient(model.settings, int((~problem.validation).sum()))
        with torch.no_grad():
            condition = torch.tensor(stimulated, dtype=torch.long)
            terms = reconstruction_terms(model.network, x, condition, x, kl_weight=weight, sampled=False)
        watched = model.fit_record["phases"]["autoencoding"]["monitor"]
        assert watched == pytest.approx([terms.loss.item()], rel=1e-5)


def test_the_best_epoch_is_kept(problem):
    options = {"max_epochs": 12, "learning_rate": 0.3, "warmup_steps": 1}
    best = fitted(problem, **options)
    epoch = best.fit_record["phases"]["autoencoding"]["best_epoch"]
    assert epoch < 12, "the case is made for this"
    again = fitted(problem, **{**options, "max_epochs": epoch})
    np.testing.assert_array_equal(best._state()["encoder.1.0.weight"], again._state()["encoder.1.0.weight"])
    last = fitted(problem, keep="last", **options)
    assert not np.array_equal(best._state()["encoder.1.0.weight"], last._state()["encoder.1.0.weight"])


def test_incomplete_batches_are_left_out_in_reference(problem):
    n = problem.train.n_obs
    X = Cells(problem.train.X, CPU)
    examples = autoencoding(np.zeros(n, dtype=np.int64), np.ones(n, dtype=bool))
    seen = {}
    for drop in (True, False):
        settings = MultiTaskSettings(**SMALL | {"max_epochs": 1}, drop_last=drop)
        network = MultiTaskNetwork(30, 2, settings)
        reconstruction_phase(network, X, examples, Examples(*[np.empty(0, dtype=np.int64)] * 3), settings, seed=0)
        seen[drop] = int(network.encoder[1][1].num_batches_tracked)
    assert seen == {True: n // 32, False: -(-n // 32)}
    assert n % 32 > 2


def test_the_length_is_counted_in_steps_up_to_a_number_of_epochs(problem):
    n_batches = (~problem.validation).sum() // 32
    for limit, expected in ((1, 1), (30, -(-30 // n_batches)), (None, 9)):
        record = fitted(problem, max_epochs=9, max_steps=limit).fit_record
        assert record["epochs"] == expected


def test_sparse_and_dense_training_cells_give_the_same_model(problem):
    dense = problem.train.copy()
    dense.X = dense.X.toarray()
    for name in ("mtae-adv", "mtae-ot"):
        first, second = fitted(problem, name), fitted(problem._replace(train=dense), name)
        weights = [model._state()["decoder.output.weight"] for model in (first, second)]
        np.testing.assert_allclose(*weights, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["mtae", "mtae-adv", "mtvae-ot"])
def test_divergence_is_named(problem, name):
    with pytest.raises(DivergedError, match=r"epoch .* batch .* not finite"):
        fitted(problem, name, learning_rate=1e30, max_epochs=20, warmup_steps=1)


def test_a_condition_that_cannot_be_paired_is_refused(dosed):
    train, keys = dosed
    high = train.obs["dose"] == 10.0
    alone = train[~high | (train.obs["cell_type"] == "T")]
    alone = alone[~((alone.obs["cell_type"] == "T") & (alone.obs["condition"] == "ctrl"))].copy()
    model = create("mtae-ot", **SMALL)
    with (
        pytest.warns(UserWarning, match="no control cells in T"),
        pytest.raises(ValueError, match=r"cells of TCDD at dose 10\.0 to train on; mtae-ot cannot pair them"),
    ):
        model.fit(alone, keys=keys, device="cpu")
    create("mtae", **SMALL).fit(alone, keys=keys, device="cpu")


def test_several_perturbations_are_conditions_of_one_network(problem):
    train = problem.train.copy()
    labels = train.obs["condition"].astype(str).to_numpy()
    stimulated = np.flatnonzero(labels == "stim")
    labels[stimulated[::2]] = "other"
    train.obs["condition"] = labels
    model = fitted(problem._replace(train=train), "mtae-and-ot", max_epochs=4, learning_rate=1e-2)
    first, second = (model.predict(problem.control, perturbation=name).X for name in ("other", "stim"))
    assert not np.array_equal(first, second)


def test_settings_out_of_range_are_named():
    for name, value in (("mask", 1.0), ("batch_size", 1), ("learning_rate", 0), ("warmup_steps", 0)):
        with pytest.raises(ValueError, match=name):
            create("mtae", **{name: value})
    with pytest.raises(ValueError, match="joint_share"):
        create("mtae-adv", joint_share=0)

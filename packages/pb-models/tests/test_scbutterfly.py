import math

import numpy as np
import pytest
import torch
from anndata import AnnData
from pb_models.butterfly import (
    OTHER,
    SIDES,
    Butterfly,
    Codes,
    Translation,
    Translator,
    code_divergence,
    discrimination,
    paired_reconstruction,
    soft_labels,
)
from pb_models.butterfly_training import ButterflyTraining, EpochCount
from pb_models.pairing import Pairs
from pb_models.registry import create, load_model
from pb_models.scbutterfly import leading_split
from pb_models.training import Cells, DivergedError
from torch import nn

CPU = torch.device("cpu")
SMALL = {"n_hidden": 12, "n_hidden_perturbed": 8, "n_latent": 6, "max_epochs": 2, "batch_size": 32}
PROFILES = ["scbutterfly:fixed", "scbutterfly:reference"]


def fitted(problem, spec="scbutterfly", seed=1, **overrides):
    model = create(spec, **{**SMALL, **overrides})
    return model.fit(problem.train, keys=problem.keys, validation=problem.validation, seed=seed, device="cpu")


def tiny(n_genes=7, seed=0, **sizes):
    torch.manual_seed(seed)
    return Butterfly(n_genes, **{"n_latent": 5, "n_hidden": 6, "n_hidden_perturbed": 4, **sizes})


def x_of(n=8, n_genes=7, seed=0):
    random = torch.Generator().manual_seed(seed)
    return {side: torch.rand(n, n_genes, generator=random) for side in SIDES}


def training_of(spec="scbutterfly", n=12, n_genes=7, validation=4, **overrides):
    """A training object on n pairs: rows 0 ... n - 1 are control cells, row n + i the partner of i."""
    settings = create(spec, **{"n_latent": 5, "n_hidden": 6, "n_hidden_perturbed": 4, **overrides}).settings
    network = tiny(n_genes, dropout=settings.dropout, noise=settings.noise)
    X = np.random.default_rng(0).gamma(1.0, 1.0, (2 * n, n_genes)).astype(np.float32)
    rows = np.arange(n)
    parts = [Pairs(part, part + n) for part in (rows[validation:], rows[:validation])]
    return ButterflyTraining(network, Cells(X, CPU), *parts, settings, EpochCount(None, 1))


# --- the network -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_genes", "total"), [(6998, 5_719_306), (5000, 4_172_854)])
def test_parameter_counts_are_the_published_ones(n_genes, total):
    with torch.device("meta"):
        network = Butterfly(n_genes)
    assert sum(weight.numel() for weight in network.parameters()) == total == 774 * n_genes + 302_854
    if n_genes == 6998:
        modules = {
            "encoder.control": 1_825_408,
            "encoder.perturbed": 912_896,
            "decoder.control": 1_846_018,
            "decoder.perturbed": 933_506,
            "translator": 100_608,
            "single_translator.control": 50_304,
            "single_translator.perturbed": 50_304,
            "discriminator.control": 131,
            "discriminator.perturbed": 131,
        }
        for name, count in modules.items():
            assert sum(weight.numel() for weight in network.get_submodule(name).parameters()) == count


def described(block):
    """Layers that do something, in order, with the numbers that matter."""
    found = []
    for layer in block.modules():
        if isinstance(layer, nn.Linear):
            found.append(("linear", layer.in_features, layer.out_features))
        elif isinstance(layer, nn.BatchNorm1d):
            found.append(("norm", layer.num_features, layer.eps, layer.momentum))
        elif isinstance(layer, nn.LeakyReLU):
            found.append(("leaky", layer.negative_slope))
        elif isinstance(layer, nn.Dropout) and layer.p:
            found.append(("dropout", layer.p))
    return found


def test_layers_are_in_the_published_order():
    network = Butterfly(9)

    def layer(n_in, n_out):
        return [("linear", n_in, n_out), ("norm", n_out, 1e-5, 0.1), ("leaky", 0.01)]

    between = [("dropout", 0.1)]
    for side, width in (("control", 256), ("perturbed", 128)):
        expected = [("dropout", 0.5), *layer(9, width), *between, *layer(width, 128)]
        assert described(network.encoder[side]) == expected
        assert described(network.decoder[side]) == [*layer(128, width), *between, *layer(width, 9)]
        assert described(network.discriminator[side]) == [("linear", 128, 1), ("norm", 1, 1e-5, 0.1)]
        assert described(network.single_translator[side]) == 3 * layer(128, 128)
    assert described(network.translator) == 6 * layer(128, 128)


def test_weights_start_xavier_uniform_and_biases_as_torch_s():
    torch.manual_seed(0)
    for name, layer in Butterfly(300).named_modules():
        if isinstance(layer, nn.Linear):
            n_out, n_in = layer.weight.shape
            bound = math.sqrt(6 / (n_in + n_out))
            assert 0.9 * bound < layer.weight.abs().max() <= bound, name
            assert layer.bias.abs().max() <= 1 / math.sqrt(n_in), name


def test_input_noise_zeroes_and_rescales():
    torch.manual_seed(0)
    noise = Butterfly(2000).encoder["control"][0]
    noised = noise(torch.ones(4, 2000))
    assert set(noised.unique().tolist()) == {0.0, 2.0}
    assert noised.mean().item() == pytest.approx(1.0, abs=0.05)


def test_the_translator_by_hand():
    translator = tiny().translator.eval()
    hidden = torch.randn(6, 5)

    def block(kind, side, x):
        linear, norm = translator.get_submodule(f"{kind}.{side}.1.0"), translator.get_submodule(f"{kind}.{side}.1.1")
        y = x @ linear.weight.T + linear.bias
        y = (y - norm.running_mean) / torch.sqrt(norm.running_var + 1e-5) * norm.weight + norm.bias
        return torch.where(y > 0, y, 0.01 * y)

    mean, spread = block("mean", "control", hidden), block("log_variance", "control", hidden)
    torch.manual_seed(3)
    drawn = translator(hidden, "control", sampled=True)
    torch.manual_seed(3)
    z = mean + torch.exp(spread / 2) * torch.randn(6, 5)
    torch.testing.assert_close(drawn.mean, mean)
    torch.testing.assert_close(drawn.log_variance, spread)
    fixed = translator(hidden, "control", sampled=False)
    for side in SIDES:
        torch.testing.assert_close(drawn.codes[side], block("output", side, z))
        torch.testing.assert_close(fixed.codes[side], block("output", side, mean))


def test_the_posterior_is_hardly_ever_narrower_than_one():
    translator = Translator(16).train()
    log_variance = translator(torch.randn(500, 16), "perturbed", sampled=False).log_variance
    assert -0.06 < log_variance.min() < 0 < log_variance.max()


def test_a_prediction_is_encoded_translated_and_decoded_as_perturbed():
    network, x = tiny().eval(), x_of()["control"]
    hidden = network.encoder["control"](x)
    z = network.translator.mean["control"](hidden)
    expected = network.decoder["perturbed"](network.translator.output["perturbed"](z))
    torch.testing.assert_close(network(x), expected)


# --- the losses ------------------------------------------------------------------------------------------------------


def test_the_divergence_against_loops():
    mean, spread = torch.randn(4, 3), torch.randn(4, 3)
    total = 0.0
    for i in range(4):
        for j in range(3):
            m, s = mean[i, j].item(), spread[i, j].item()
            total += -0.5 * (1 + s - m * m - math.exp(s))
    assert code_divergence(Translation({}, mean, spread)).item() == pytest.approx(total / 12, rel=1e-5)
    assert code_divergence(Translation({}, torch.zeros(2, 3), torch.zeros(2, 3))).item() == 0


def test_the_reconstruction_has_four_terms():
    network, x = tiny().eval(), x_of()
    codes = network.codes(x, sampled=False)
    expected = 0.0
    for source in SIDES:
        hidden = network.encoder[source](x[source])
        z = network.translator.mean[source](hidden)
        for to in SIDES:
            decoded = network.decoder[to](network.translator.output[to](z))
            expected += ((decoded - x[to]) ** 2).sum().item() / x[to].numel()
    assert paired_reconstruction(network, codes, x).item() == pytest.approx(expected, rel=1e-5)


def test_soft_labels_have_the_stated_least_loss():
    """Twice the labels' mean entropy: on a fine grid of u, and with the integrals of -u ln u and -(1 - u) ln(1 - u)."""
    labels = soft_labels((torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000)
    assert ((labels <= 0.2) | (labels >= 0.8)).all()
    entropy = -(labels * labels.log() + (1 - labels) * (1 - labels).log())

    def integral(v):
        return v * v / 4 - v * v / 2 * math.log(v)

    tails = integral(0.2) + integral(1.0) - integral(0.8)
    middle = -0.3 * (0.2 * math.log(0.2) + 0.8 * math.log(0.8))
    assert 2 * entropy.mean().item() == pytest.approx(2 * 2 * (tails + middle), rel=1e-6)
    assert 2 * entropy.mean().item() == pytest.approx(0.84361, abs=5e-6)


def test_the_discriminators_see_their_own_or_the_translated_code():
    network = tiny().eval()
    codes = network.codes(x_of(), sampled=False)
    labels = torch.tensor([0.1, 0.9, 0.2, 0.8, 0.85, 0.05, 0.2, 0.95])
    expected = 0.0
    for side in SIDES:
        other = OTHER[side]
        assert other != side
        linear, norm = network.discriminator[side]
        for i, y in enumerate(labels.tolist()):
            shown = codes.encoded[side][i] if y > 0.5 else codes.translated[other].codes[side][i]
            logit = (shown @ linear.weight[0] + linear.bias[0] - norm.running_mean[0]) / math.sqrt(1 + 1e-5)
            p = 1 / (1 + math.exp(-logit.item()))
            expected += -(y * math.log(p) + (1 - y) * math.log(1 - p)) / len(labels)
    assert discrimination(network, codes, labels).item() == pytest.approx(expected, rel=1e-5)


def test_a_discriminator_without_a_clue_pays_chance():
    network = tiny().eval()
    for side in SIDES:
        nn.init.zeros_(network.discriminator[side][0].weight)
        nn.init.zeros_(network.discriminator[side][0].bias)
    labels = soft_labels(torch.rand(8))
    loss = discrimination(network, network.codes(x_of(), sampled=False), labels)
    assert loss.item() == pytest.approx(2 * math.log(2), rel=1e-6)


def test_the_discriminators_oppose_the_rest():
    """By finite differences: L falls as L_D rises, one for one, below the threshold; above it, L_D does not count."""
    training, x = training_of(), x_of()
    codes = training.network.eval().codes(x, sampled=False)

    def loss(opposed):
        return training.joint_terms(x, codes, torch.tensor(opposed, dtype=torch.float64))["loss"].item()

    assert (loss(1.2) - loss(1.0)) / 0.2 == pytest.approx(-1.0, rel=1e-4)
    assert loss(1.36) == loss(1.5) > loss(1.34)


def test_real_codes_are_opposed_too():
    """Along the gradient that L_D gives to the encoders, L_G falls as L_D rises; by finite differences in float64."""
    training = training_of(noise=0.0, dropout=0.0)
    network = training.network.double().eval()
    x = {side: value.double() for side, value in x_of().items()}
    labels = torch.full((8,), 0.9, dtype=torch.float64)
    weight = network.encoder["control"][1][0].weight

    def told_apart():
        return discrimination(network, network.codes(x, sampled=False), labels)

    (slope,) = torch.autograd.grad(told_apart(), weight)
    assert slope.abs().sum() > 0
    direction = slope / slope.norm()
    values = []
    with torch.no_grad():
        for step in (1e-5, -2e-5):
            weight += step * direction
            values.append(told_apart().item())
    assert (values[0] - values[1]) / 2e-5 == pytest.approx(slope.norm().item(), rel=1e-4)


def test_the_kl_weight_warms_up_and_is_per_gene():
    training, x = training_of(), x_of()
    codes = training.network.eval().codes(x, sampled=False)
    kl = sum(code_divergence(codes.translated[side]).item() for side in SIDES)
    found = {}
    for epoch in (0, 25, 50, 80):
        training.epoch = epoch
        terms = training.joint_terms(x, codes, torch.tensor(2.0))
        found[epoch] = (terms["loss"] - terms["reconstruction"]).item()
        assert terms["kl"].item() == pytest.approx(kl, rel=1e-5)
    expected = {0: 0.0, 25: 20 / 7 * kl, 50: 40 / 7 * kl, 80: 40 / 7 * kl}
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_pretraining_s_loss_is_its_formula():
    training = training_of(noise=0.0, dropout=0.0)
    training.epoch = 10
    reference = training_of(noise=0.0, dropout=0.0).network
    rows = torch.arange(8)
    torch.manual_seed(5)
    terms = training.alone_step(rows, "perturbed")
    x = training.cells.take(training.training["perturbed"][rows])
    torch.manual_seed(5)
    hidden = reference.encoder["perturbed"](x)
    translation = reference.single_translator["perturbed"](hidden, "perturbed", sampled=True)
    error = (reference.decoder["perturbed"](translation.codes["perturbed"]) - x).square().mean()
    expected = error + 10 / 50 * 20 / 7 * code_divergence(translation)
    torch.testing.assert_close(terms["loss"], expected.detach())


# --- the steps -------------------------------------------------------------------------------------------------------


def changed(before, network):
    after = network.state_dict()
    weights = {name for name, _ in network.named_parameters()}
    return {".".join(name.split(".")[:2]) for name in weights if not torch.equal(before[name], after[name])}


def snapshot(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_each_phase_moves_its_own_parts():
    training = training_of()
    network, rows = training.network.train(), torch.arange(8)
    for side in SIDES:
        before = snapshot(network)
        training.alone_step(rows, side)
        assert changed(before, network) == {f"{part}.{side}" for part in ("encoder", "decoder", "single_translator")}
    before = snapshot(network)
    training.joint_step(rows)
    both = {f"{part}.{side}" for part in ("encoder", "decoder", "discriminator") for side in SIDES}
    assert changed(before, network) == both | {"translator.mean", "translator.log_variance", "translator.output"}


def test_the_first_discriminator_step_by_hand():
    """w' = w - 0.005 dL_D/dw, with no momentum and the codes as they were."""
    training = training_of(noise=0.0, dropout=0.0)
    network, rows = training.network.train(), torch.arange(8)
    before = snapshot(network)
    twin = training_of(noise=0.0, dropout=0.0).network.train()
    x = {side: training.cells.take(training.training[side][rows]) for side in SIDES}
    torch.manual_seed(2)
    loss = discrimination(twin, twin.codes(x, sampled=True), soft_labels(torch.rand(8)))
    weight = twin.discriminator["perturbed"][0].weight
    (gradient,) = torch.autograd.grad(loss, weight)
    torch.manual_seed(2)
    training.joint_step(rows)
    name = "discriminator.perturbed.0.weight"
    torch.testing.assert_close(network.state_dict()[name], before[name] - 5e-3 * gradient)
    assert gradient.abs().max() > 0


def test_one_adam_equals_one_a_module():
    """Two pretraining steps and a joint one, against an Adam (lr 1e-3, eps 1e-8, no decay) for every module."""
    training, twin = (training_of(noise=0.0, dropout=0.0) for _ in range(2))
    own = {id(weight) for weight in twin.network.discriminator.parameters()}
    modules = [
        *twin.network.encoder.values(),
        *twin.network.decoder.values(),
        *twin.network.single_translator.values(),
        twin.network.translator,
    ]
    optimisers = [torch.optim.Adam(module.parameters(), lr=1e-3) for module in modules]
    assert not own & {id(weight) for optimiser in optimisers for weight in optimiser.param_groups[0]["params"]}

    class Several:
        def zero_grad(self, set_to_none):
            for optimiser in optimisers:
                optimiser.zero_grad(set_to_none=set_to_none)

        def step(self):
            for optimiser in optimisers:
                optimiser.step()

    twin.optimiser = Several()
    for each in (training, twin):
        each.network.train()
        torch.manual_seed(4)
        for side in SIDES:
            each.alone_step(torch.arange(8), side)
        each.joint_step(torch.arange(8))
    for name, value in training.network.state_dict().items():
        torch.testing.assert_close(value, twin.network.state_dict()[name], msg=name)


@pytest.mark.parametrize(("spec", "passes"), [("scbutterfly:reference", 3), ("scbutterfly:fixed", 1)])
def test_passes_through_the_encoders_a_step(spec, passes):
    training = training_of(spec)
    training.network.train()
    training.joint_step(torch.arange(8))
    counts = {
        name: int(count)
        for name, count in training.network.state_dict().items()
        if name.endswith("num_batches_tracked") and "single" not in name
    }
    for name, count in counts.items():
        part = name.split(".")[0]
        expected = {"encoder": passes, "decoder": 2, "discriminator": 2}
        if part in expected:
            assert count == expected[part], name
        else:
            blocks = 2 * passes if name.startswith("translator.output") else passes
            assert count == blocks, name


@pytest.mark.parametrize(("spec", "noisy"), [("scbutterfly:reference", True), ("scbutterfly:fixed", False)])
def test_validation_noise_is_the_reference_s(spec, noisy):
    training = training_of(spec)
    training.network.eval()
    torch.manual_seed(0)
    with torch.no_grad():
        joint = [training.joint_monitor() for _ in range(2)]
        alone = [training.alone_monitor("control") for _ in range(2)]
    assert (joint[0] != joint[1]) == noisy
    assert alone[0] == alone[1]


def test_the_monitor_is_the_reconstruction_of_the_validation_pairs(monkeypatch):
    training = training_of(validation=5)
    network = training.network.eval()
    x = {side: training.cells.take(training.validation[side]) for side in SIDES}
    with torch.no_grad():
        expected = paired_reconstruction(network, network.codes(x, sampled=False), x).item()
        alone = (network.autoencode(x["control"], "control", sampled=False)[0] - x["control"]).square().mean().item()
        monkeypatch.setattr("pb_models.butterfly_training.BLOCK", 2)
        assert training.joint_monitor() == pytest.approx(expected, rel=1e-5)
        assert training.alone_monitor("control") == pytest.approx(alone, rel=1e-5)


def test_detached_codes_have_no_graph():
    codes = tiny().codes(x_of(), sampled=True)
    bare = codes.detached()
    assert isinstance(bare, Codes)
    torch.testing.assert_close(bare.encoded["control"], codes.encoded["control"].detach())
    assert not any(code.requires_grad for code in bare.encoded.values())
    assert not any(code.requires_grad for each in bare.translated.values() for code in each.codes.values())


# --- pairs and splits ------------------------------------------------------------------------------------------------


def test_the_reference_takes_the_first_four_fifths_of_each_context():
    contexts = np.array(["A"] * 10 + ["B"] * 1 + ["C"] * 6 + ["A"] * 4 + ["B"] + ["C"] * 2)
    control = np.arange(24) < 17
    pairs = Pairs(np.arange(17), np.repeat([17, 21, 22], [10, 1, 6]))
    training, validation = leading_split(pairs, contexts, control)
    assert training.control.tolist() == [*range(8), 11, 12, 13, 14]
    assert validation.control.tolist() == [8, 9, 15, 16], "context B, with int(0.8) = 0, is left out"
    assert set(training.partner) == set(validation.partner) == {17, 22}


def test_without_reuse_the_reference_s_validation_can_be_empty():
    contexts, control = np.array(["A"] * 18), np.arange(18) < 10
    pairs = Pairs(np.arange(8), np.arange(10, 18))
    training, validation = leading_split(pairs, contexts, control)
    assert (len(training.control), len(validation.control)) == (8, 0)


@pytest.fixture
def split(monkeypatch):
    """What was handed to training: (training pairs, validation pairs)."""
    seen = []

    class Watched(ButterflyTraining):
        def __init__(self, network, cells, training, validation, settings, count):
            super().__init__(network, cells, training, validation, settings, count)
            seen.append((training, validation))

    monkeypatch.setattr("pb_models.scbutterfly.ButterflyTraining", Watched)
    return seen


def test_fixed_pairs_training_and_validation_cells_among_themselves(problem, split):
    record = fitted(problem, max_epochs=1).fit_record["perturbations"]["stim"]
    training, validation = split[0]
    for pairs, held in ((training, False), (validation, True)):
        assert (problem.validation[pairs.control] == held).all()
        assert (problem.validation[pairs.partner] == held).all()
        contexts = problem.train.obs["cell_type"].to_numpy()
        assert (contexts[pairs.control] == contexts[pairs.partner]).all()
        assert "B" not in set(contexts[pairs.control]), "the target has no perturbed cells"
    assert (record["n_training"], record["n_validation"]) == (len(training.control), len(validation.control))
    assert not set(training.partner) & set(validation.partner)


def test_the_reference_shares_perturbed_cells_between_the_two(problem, split):
    fitted(problem, "scbutterfly:reference", max_epochs=1)
    training, validation = split[0]
    labels = problem.train.obs
    in_order = [
        np.flatnonzero((labels["cell_type"] == context) & (labels["condition"] == "ctrl")) for context in ("A", "C")
    ]
    expected = [rows[: int(0.8 * len(rows))] for rows in in_order]
    np.testing.assert_array_equal(training.control, np.concatenate(expected))
    assert set(training.partner) & set(validation.partner)


def test_the_assignment_is_a_setting(problem, split):
    for assignment in ("maximise", "minimise"):
        fitted(problem, max_epochs=1, assignment=assignment)
    (right, _), (wrong, _) = split
    X = problem.train.X.toarray()
    assert len(set(right.partner)) == len(right.partner)
    lengths = [np.linalg.norm(X[pairs.control] - X[pairs.partner], axis=1).mean() for pairs in (right, wrong)]
    assert lengths[0] < lengths[1]
    assert {profile.assignment for profile in type(fitted(problem, max_epochs=1)).profiles.values()} == {"reuse"}


def test_without_validation_cells_nothing_is_watched(problem):
    model = create("scbutterfly", **SMALL).fit(problem.train, keys=problem.keys, device="cpu")
    record = model.fit_record["perturbations"]["stim"]
    assert record["n_validation"] == 0
    assert [phase["monitor"] for phase in record["phases"].values()] == [[], [], []]


# --- the model -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", PROFILES)
def test_the_same_seed_gives_the_same_weights(problem, spec):
    before = torch.get_rng_state()
    first, second, other = fitted(problem, spec), fitted(problem, spec), fitted(problem, spec, seed=2)
    assert torch.equal(torch.get_rng_state(), before), "the caller's random state is left alone"
    for name, array in first._state().items():
        np.testing.assert_array_equal(array, second._state()[name])
    name = "translator.mean.control.1.0.weight/stim"
    assert not np.array_equal(first._state()[name], other._state()[name])


def test_a_second_process_predicts_the_same(problem, predicted_elsewhere, tmp_path):
    models = [fitted(problem, spec) for spec in PROFILES]
    for i, (model, found) in enumerate(zip(models, predicted_elsewhere(*models), strict=True)):
        np.testing.assert_array_equal(found, model.predict(problem.control, perturbation="stim").X)
        loaded = load_model(tmp_path / f"{i}")
        described = [(each.profile, each.settings, each.fit_record, each.n_parameters) for each in (loaded, model)]
        assert described[0] == described[1]


@pytest.mark.parametrize(("spec", "clip"), [("scbutterfly:fixed", 0.0), ("scbutterfly:reference", 1e-4)])
def test_small_values_are_cut(problem, spec, clip, monkeypatch):
    model = fitted(problem, spec, max_epochs=1)
    with torch.no_grad():
        raw = model.networks["stim"](torch.tensor(problem.control.X.toarray())).numpy()
    assert (raw < 0).any(), "the case is made for this"
    monkeypatch.setattr("pb_models.scbutterfly.BLOCK", 7)
    predicted = model.predict(problem.control, perturbation="stim").X
    np.testing.assert_allclose(predicted, np.where(raw < clip, 0, raw), rtol=1e-4, atol=1e-6)
    assert predicted.min() == 0


def test_a_threshold_cuts_what_lies_below(problem):
    model = fitted(problem, max_epochs=1, clip=0.3)
    predicted = model.predict(problem.control, perturbation="stim").X
    assert predicted[predicted > 0].min() >= np.float32(0.3)


def overlapping_contexts(n=60, n_genes=30):
    """Four contexts along two shared programmes of expression, B among the others; five genes rise by two."""
    random = np.random.default_rng(0)
    base, programmes = 1 + random.random(n_genes), random.normal(0, 0.5, (2, n_genes))
    blocks, contexts, conditions = [], [], []
    for name, centre in {"A": (-1, 0), "B": (0.2, 0), "C": (1, 0), "D": (0, 1)}.items():
        for label in ("ctrl", "stim"):
            positions = np.array(centre) + random.normal(0, 0.7, (n, 2))
            shift = np.where(np.arange(n_genes) < 5, 2.0, 0.0) * (label == "stim")
            cells = base + positions @ programmes + shift + random.normal(0, 0.2, (n, n_genes))
            blocks.append(np.clip(cells, 0, None))
            contexts += [name] * n
            conditions += [label] * n
    adata = AnnData(np.concatenate(blocks).astype(np.float32))
    adata.obs["cell_type"], adata.obs["condition"] = contexts, conditions
    return adata


def test_a_planted_shift_is_found(keys):
    """In a context that lies among the training contexts, the prediction has to be far nearer to the truth."""
    adata = overlapping_contexts()
    target, stimulated = adata.obs["cell_type"] == "B", adata.obs["condition"] == "stim"
    options = {"n_hidden": 32, "n_hidden_perturbed": 32, "n_latent": 16, "batch_size": 32, "max_epochs": 30}
    model = create("scbutterfly", **options, pretrain_epochs=2, learning_rate=2e-2, noise=0.2)
    model.fit(adata[~(target & stimulated)].copy(), keys=keys, seed=1, device="cpu")
    control, truth = adata[target & ~stimulated].copy(), adata[target & stimulated]
    predicted = model.predict(control, perturbation="stim").X.mean(axis=0)
    means = [np.asarray(part.X.mean(axis=0)).ravel() for part in (control, truth)]
    assert np.square(predicted - means[1]).sum() < 0.3 * np.square(means[0] - means[1]).sum()


@pytest.mark.parametrize(
    ("spec", "patience", "kept"),
    [("fixed", None, 2), ("reference", None, 4), ("reference", 2, 2)],
)
def test_weights_kept_are_the_best_epoch_s_or_the_last_s(problem, monkeypatch, spec, patience, kept):
    """The joint phase watches a script whose best epoch is the second; a shorter run has that epoch's weights."""
    script = iter([3.0, 1.0, 2.0, 1.5])
    monkeypatch.setattr(ButterflyTraining, "joint_monitor", lambda training: next(script))
    options = {"pretrain_epochs": 1, "monitor": "mean"}
    model = fitted(problem, f"scbutterfly:{spec}", max_epochs=4, patience=patience, **options)
    history = model.fit_record["perturbations"]["stim"]["phases"]["joint"]
    assert (history["best_epoch"], history["epochs"], history["stopped_early"]) == (2, 4, patience == 2)
    monkeypatch.undo()
    shorter = fitted(problem, f"scbutterfly:{spec}", max_epochs=kept, patience=None, keep="last", **options)
    for name, array in shorter._state().items():
        np.testing.assert_array_equal(array, model._state()[name], err_msg=name)


def test_progress_counts_through_the_phases(problem):
    steps = []
    model = create("scbutterfly", **{**SMALL, "max_epochs": 3, "pretrain_epochs": 2})
    model.fit(problem.train, keys=problem.keys, validation=problem.validation, device="cpu", progress=steps.append)
    assert [step.epoch for step in steps] == [*range(1, 8)]
    assert {step.n_epochs for step in steps} == {7}
    assert steps[-1].seconds_left == 0
    phases = model.fit_record["perturbations"]["stim"]["phases"]
    assert [history["epochs"] for history in phases.values()] == [2, 2, 3]
    assert [step.loss for step in steps] == [loss for history in phases.values() for loss in history["loss"]]
    assert model.fit_record["epochs"] == 7


def test_every_perturbation_has_its_network(problem, tmp_path):
    train = problem.train.copy()
    labels = train.obs["condition"].astype(str).to_numpy()
    labels[np.flatnonzero(labels == "stim")[::2]] = "other/one"
    train.obs["condition"] = labels
    model = fitted(problem._replace(train=train), max_epochs=1)
    assert list(model.networks) == ["other/one", "stim"]
    assert model.n_parameters == 2 * fitted(problem, max_epochs=1).n_parameters
    model.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    predictions = []
    for name in model.networks:
        predictions.append(model.predict(problem.control, perturbation=name).X)
        np.testing.assert_array_equal(loaded.predict(problem.control, perturbation=name).X, predictions[-1])
    assert not np.array_equal(*predictions)


def test_phases_follow_the_main_number_of_epochs():
    expected = {"control": 100, "perturbed": 100, "joint": 200}
    assert {spec: create(spec).settings.phases for spec in PROFILES} == dict.fromkeys(PROFILES, expected)
    assert create("scbutterfly", max_epochs=1).settings.phases == {"control": 1, "perturbed": 1, "joint": 1}


def test_a_context_without_controls_is_named(problem):
    obs = problem.train.obs
    train = problem.train[~((obs["cell_type"] == "C") & (obs["condition"] == "ctrl"))]
    with pytest.warns(UserWarning, match="no control cells in C"):
        model = create("scbutterfly", **SMALL).fit(train, keys=problem.keys, device="cpu")
    assert model.fit_record["perturbations"]["stim"]["n_training"] == 60


def test_nothing_to_pair_is_refused(problem):
    obs = problem.train.obs
    train = problem.train[~(obs["cell_type"].isin(["A", "C"]) & (obs["condition"] == "ctrl"))]
    with pytest.warns(UserWarning, match="no control cells in A, C"), pytest.raises(ValueError, match="no context"):
        create("scbutterfly", **SMALL).fit(train, keys=problem.keys, device="cpu")


def test_divergence_is_named(problem):
    with pytest.raises(DivergedError, match=r"epoch .* batch .* not finite"):
        fitted(problem, learning_rate=1e30, max_epochs=20)


def test_settings_are_checked():
    for name, value in {"noise": 1.0, "max_epochs": 0, "clip": -1.0, "assignment": "best", "patience": 0}.items():
        with pytest.raises(ValueError, match=name):
            create("scbutterfly", **{name: value})

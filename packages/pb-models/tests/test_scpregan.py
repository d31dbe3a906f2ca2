import warnings
from itertools import islice

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from pb_models.adversarial import (
    Critic,
    Domains,
    SpectralLinear,
    Translator,
    Verdict,
    class_loss,
    encoding_loss,
    gradient_penalty,
    translate,
)
from pb_models.registry import create, get_model, load_model
from pb_models.scpregan import ScPreGanSettings
from pb_models.scpregan_training import (
    Contest,
    ScPreGanNetwork,
    batch_pairs,
    critic_objective,
    generator_objective,
)
from pb_models.training import Cells, DivergedError, seeded
from torch import nn

CPU = torch.device("cpu")
SMALL = {"n_hidden": 8, "n_latent": 4, "max_epochs": 2, "steps_per_epoch": 3, "batch_size": 16}
PROFILES = [f"scpregan:{name}" for name in ("fixed", "reference", "wgan-div", "wgan-div-reference")]
G, K, N = 12, 3, 6


def fitted(problem, spec="scpregan", seed=1, **overrides):
    model = create(spec, **{**SMALL, **overrides})
    return model.fit(problem.train, keys=problem.keys, validation=problem.validation, seed=seed, device="cpu")


def small(profile="fixed", **overrides):
    """An untrained network of float64 numbers, a batch of both domains, their classes, and the settings."""
    settings = get_model("scpregan").profiles[profile].replace(n_hidden=5, n_latent=3, **overrides)
    with seeded(0, CPU):
        network = ScPreGanNetwork(G, K if settings.version == "ac" else 0, settings).double()
        cells = Domains(torch.rand(N, G).double(), torch.rand(N, G).double() + 0.5)
    return network, cells, Domains(torch.arange(N) % K, (torch.arange(N) + 1) % K), settings


# --- networks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "n_genes", "n_classes", "n_parameters"),
    [
        ("ac", 6998, 7, 18_637_092),
        ("ac", 5000, 11, 13_512_280),
        ("wgan-div", 6998, 0, 18_633_494),
        ("wgan-div", 5000, 0, 13_506_626),
    ],
)
def test_parameter_counts(version, n_genes, n_classes, n_parameters):
    with torch.device("meta"):
        network = ScPreGanNetwork(n_genes, n_classes, ScPreGanSettings(version=version))
    assert count(network) == n_parameters == 2566 * n_genes + 676_626 + 514 * n_classes
    assert count(network.translator.encoder) == 512 * n_genes + 137_488
    assert count(network.translator.to_control) == count(network.translator.to_perturbed) == 515 * n_genes + 137_472
    assert {count(critic) for critic in network.critics} == {512 * n_genes + 132_097 + 257 * n_classes}


def count(network):
    return sum(weight.numel() for weight in network.parameters())


@pytest.mark.parametrize(("norm", "kind"), [("layer", nn.LayerNorm), ("batch", nn.BatchNorm1d)])
def test_layers_of_the_translator(norm, kind):
    network = Translator(G, n_latent=4, n_hidden=8, norm=norm)
    *blocks, last = network.encoder
    assert [(block[0].in_features, block[0].out_features) for block in blocks] == [(G, 16), (16, 8)]
    assert (type(last), last.in_features, last.out_features) == (nn.Linear, 8, 4)
    for generator in (network.to_control, network.to_perturbed):
        assert [(block[0].in_features, block[0].out_features) for block in generator] == [(4, 8), (8, 16), (16, G)]
        blocks += generator
    for block in blocks:
        assert [type(layer) for layer in block] == [nn.Linear, kind, nn.ReLU]
        assert block[1].eps == 1e-5
        assert norm == "layer" or block[1].momentum == 0.1


def test_layers_of_the_critic():
    critic = Critic(G, n_classes=K, n_hidden=8)
    first, _, second, _ = critic.trunk
    assert [type(layer).__name__ for layer in critic.trunk] == ["SpectralLinear", "ReLU"] * 2
    assert [(layer.in_features, layer.out_features) for layer in (first, second)] == [(G, 16), (16, 8)]
    assert (type(critic.realness), type(critic.classes)) == (nn.Linear, nn.Linear), "no spectral norm on the heads"
    for _ in range(500):  # power iterations
        critic(torch.rand(2, G))
    for layer in (first, second):
        product = layer.eval()(torch.eye(layer.in_features)) - layer.bias
        assert torch.linalg.matrix_norm(product, 2).item() == pytest.approx(1, rel=1e-3)
    realness, classes = critic(torch.rand(5, G))
    assert (realness.shape, classes.shape) == ((5,), (5, K))
    assert Critic(G).classes is None


def test_spectral_normalisation_is_torchs():
    """Outputs, power iterations and gradients, in training and in evaluation, against the published code's own hook."""
    with seeded(0, CPU):
        ours, theirs, x = SpectralLinear(G, 5).double(), nn.Linear(G, 5).double(), torch.rand(3, N, G).double()
    theirs.load_state_dict({"weight": ours.weight, "bias": ours.bias}, strict=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        theirs = nn.utils.spectral_norm(theirs)
    ours.u, ours.v = theirs.weight_u.clone(), theirs.weight_v.clone()
    for training, batch in zip((True, True, False), x, strict=True):
        outputs = [layer.train(training)(batch) for layer in (ours, theirs)]
        torch.testing.assert_close(*outputs)
        weights = zip(outputs, (ours.weight, theirs.weight_orig), strict=True)
        torch.testing.assert_close(*(torch.autograd.grad(out.square().sum(), weight)[0] for out, weight in weights))
    torch.testing.assert_close((ours.u, ours.v), (theirs.weight_u, theirs.weight_v))


@pytest.mark.parametrize("spec", PROFILES)
def test_weights_start_as_the_profile_says(spec):
    with seeded(0, CPU):
        network = create(spec, n_hidden=64).new_network(G, K)
    for layer in (network.translator.encoder[0][0], network.critic_control.trunk[0]):
        starts_as_stated(layer, spec)


def starts_as_stated(layer, spec):
    if spec.endswith("reference"):
        assert layer.bias.unique().numel() > 1
        assert layer.weight.abs().max().item() == pytest.approx(G**-0.5, rel=0.01), "torch: uniform to 1/sqrt(fan in)"
    else:
        assert layer.bias.tolist() == pytest.approx([0.01] * 128)
        bound = 0.01 * (6 / (G + 128)) ** 0.5
        assert 0.98 * bound < layer.weight.abs().max().item() <= bound


# --- objectives ------------------------------------------------------------------------------------------------------


def spoken(critic, x):
    """A critic's verdict cell by cell, from its weights: probability of being real, score, class probabilities."""
    layers = [critic.trunk[i] for i in (0, 2)]
    weights = [layer.weight / (layer.u @ layer.weight @ layer.v) for layer in layers]
    biases = [critic.trunk[i].bias for i in (0, 2)]
    out = []
    for cell in x:
        hidden = cell
        for weight, bias in zip(weights, biases, strict=True):
            hidden = (weight @ hidden + bias).clamp(min=0)
        score = critic.realness(hidden)[0]
        classes = None if critic.classes is None else critic.classes(hidden).exp() / critic.classes(hidden).exp().sum()
        out.append((1 / (1 + (-score).exp()), score, classes))
    return out


def bce(critic, x, labels, *, real, kind):
    total = 0.0
    for (p, _, q), label in zip(spoken(critic, x), labels, strict=True):
        total -= (p if real else 1 - p).log()
        total -= q[label].log() if kind == "log-likelihood" else q[label]
    return total.item() / len(x)


def mean_score(critic, x):
    return sum(score for _, score, _ in spoken(critic, x)).item() / len(x)


@pytest.mark.parametrize("profile", ["fixed", "reference"])
def test_the_losses_of_the_ac_version_are_the_formulas(profile):
    network, (a, b), (y_a, y_b), settings = small(profile)
    network.eval()  # spectral normalisation at rest
    t, kind = network.translator, settings.class_loss
    z_a, z_b = t.encoder(a), t.encoder(b)
    aa, ab, ba, bb = t.to_control(z_a), t.to_perturbed(z_a), t.to_control(z_b), t.to_perturbed(z_b)
    d_a, d_b = network.critics
    critic = (
        bce(d_a, a, y_a, real=True, kind=kind)
        + bce(d_a, ba, y_b, real=False, kind=kind)
        + bce(d_b, b, y_b, real=True, kind=kind)
        + bce(d_b, ab, y_a, real=False, kind=kind)
    )
    found = critic_objective(network, Domains(a, b), Domains(y_a, y_b), settings)
    assert found.item() == pytest.approx(critic, rel=1e-10)

    aba, bab = t.to_control(t.encoder(ab)), t.to_perturbed(t.encoder(ba))
    shown = [(d_a, aa, y_a), (d_a, ba, y_b), (d_a, aba, y_a), (d_b, bb, y_b), (d_b, ab, y_a), (d_b, bab, y_b)]
    adversarial = sum(bce(judge, x, y, real=True, kind=kind) for judge, x, y in shown)
    check_generator(network, (a, b), (y_a, y_b), settings, adversarial)


def test_the_losses_of_the_wgan_div_version_are_the_formulas():
    network, (a, b), classes, settings = small("wgan-div", penalty_weight=0.0)
    network.critics[0].eval(), network.critics[1].eval()
    fakes = translate(network.translator, Domains(a, b))
    d_a, d_b = network.critics
    critic = mean_score(d_a, fakes.ba) - mean_score(d_a, a) + mean_score(d_b, fakes.ab) - mean_score(d_b, b)
    found = critic_objective(network, Domains(a, b), classes, settings)
    assert found.item() == pytest.approx(critic, rel=1e-10)
    shown = [(d_a, fakes.aa), (d_a, fakes.ba), (d_a, fakes.aba), (d_b, fakes.bb), (d_b, fakes.ab), (d_b, fakes.bab)]
    check_generator(network, (a, b), classes, settings, -sum(mean_score(judge, x) for judge, x in shown))


def check_generator(network, cells, classes, settings, adversarial):
    (a, b), t = cells, network.translator
    z_a, z_b = t.encoder(a), t.encoder(b)
    aa, ab, ba, bb = t.to_control(z_a), t.to_perturbed(z_a), t.to_control(z_b), t.to_perturbed(z_b)
    reconstruction = ((aa - a) ** 2).mean() + ((bb - b) ** 2).mean()
    pairs = [(aa, z_a), (ab, z_a), (ba, z_b), (bb, z_b)]
    encoding = sum(((t.encoder(fake) - z) ** 2).mean() for fake, z in pairs)
    found = {k: v.item() for k, v in generator_objective(network, Domains(a, b), Domains(*classes), settings).items()}
    loss = reconstruction.item() + 0.1 * encoding.item() + 1e-3 * adversarial
    expected = {"loss": loss, "reconstruction": reconstruction.item(), "encoding": encoding.item()}
    assert found == pytest.approx({**expected, "adversarial": adversarial}, rel=1e-10)


def test_the_gradient_penalty_is_its_formula():
    """Of D(x) = w x the gradient is w everywhere: k ||w||^6; of a critic, finite differences at the drawn points."""

    class Plane(nn.Module):
        def forward(self, x):
            return Verdict(x @ torch.tensor([3.0, 4.0]), None)

    real, fake = torch.rand(2, 4, 2)
    assert gradient_penalty(Plane(), real, fake, weight=2.0, power=6.0).item() == pytest.approx(2 * 5.0**6)

    critic = Critic(G, n_hidden=5).double().eval()
    real, fake = torch.rand(2, N, G).double()
    with seeded(3, CPU):
        found = gradient_penalty(critic, real, fake, weight=2.0, power=6.0).item()
    with seeded(3, CPU):
        share = torch.rand(N, 1, dtype=torch.float64)
    total = 0.0
    for x in share * real + (1 - share) * fake:
        steps = [critic(torch.stack([x + step, x - step])).realness for step in 1e-6 * torch.eye(G).double()]
        total += sum(((up - down).item() / 2e-6) ** 2 for up, down in steps) ** 3
    assert found == pytest.approx(2 * total / N, rel=1e-5)


def test_the_class_loss_of_probabilities_lies_between_minus_one_and_zero():
    logits, labels = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])
    q = [np.exp(2) / (np.exp(2) + 1), 1 / (1 + np.e)]
    assert class_loss(logits, labels, "probability").item() == pytest.approx(-np.mean(q))
    assert class_loss(logits, labels, "log-likelihood").item() == pytest.approx(-np.mean(np.log(q)))


@pytest.mark.parametrize("profile", ["fixed", "reference", "wgan-div"])
def test_adversarial_terms_have_the_stated_sign(profile):
    """By finite differences, raising what the critic of control cells says of every cell."""
    network, cells, classes, settings = small(profile, penalty_weight=0.0)  # the penalty is drawn anew every time
    network.eval()
    direction = {}
    for name, objective in [("critic", critic_objective), ("generator", generator_objective)]:
        values = []
        for step in (-1e-5, 1e-5):
            with torch.no_grad():
                network.critic_control.realness.bias += step
            value = objective(network, cells, classes, settings)
            values.append((value if name == "critic" else value["adversarial"]).item())
            with torch.no_grad():
                network.critic_control.realness.bias -= step
        direction[name] = (values[1] - values[0]) / 2e-5
    if settings.version == "wgan-div":
        assert direction == pytest.approx({"critic": 0.0, "generator": -3.0}, abs=1e-5), "real and fake cancel"
        return
    fakes = translate(network.translator, cells)
    p = [torch.sigmoid(network.critic_control(x).realness) for x in (cells.control, fakes.ba, fakes.aa, fakes.aba)]
    slopes = {"critic": (p[0] - 1 + p[1]).mean().item(), "generator": (p[1] + p[2] + p[3] - 3).mean().item()}
    assert direction == pytest.approx(slopes, abs=1e-5)
    assert direction["generator"] < 0, "looking real lowers the generators' loss"


@pytest.mark.parametrize("profile", ["fixed", "wgan-div"])
def test_each_side_steps_its_own_networks(profile):
    network, cells, classes, settings = small(profile)
    critic_objective(network, cells, classes, settings).backward()
    moved = {name.split(".")[0] for name, weight in network.named_parameters() if weight.grad is not None}
    assert moved == {"critic_control", "critic_perturbed"}
    network.zero_grad()
    generator_objective(network, cells, classes, settings)["encoding"].backward()
    z = [code.detach() for code in translate(network.translator, cells).codes]
    assert all(not code.requires_grad for code in z)
    assert network.translator.encoder[2].weight.grad is not None


def test_the_target_codes_are_constants():
    """With generators that return constants, E(fake) does not depend on the cells, and no gradient may reach E(a)."""
    network, cells, _, _ = small()
    for generator in (network.translator.to_control, network.translator.to_perturbed):
        nn.init.zeros_(generator[-1][1].weight)
    source = Domains(*(x.clone().requires_grad_() for x in cells))
    encoding_loss(translate(network.translator, source)).backward()
    assert all(x.grad is None or not x.grad.any() for x in source)


def test_batches_together_or_one_by_one():
    """Layer normalisation: the same cells in one call; batch normalisation keeps every batch's own statistics."""
    for norm in ("layer", "batch"):
        network = Translator(G, n_latent=4, n_hidden=8, norm=norm)
        calls = []
        network.encoder.register_forward_hook(lambda module, args, out, calls=calls: calls.append(len(args[0])))
        x, y = torch.rand(2, N, G)
        together = network.each(network.encoder, x, y + 1)
        assert calls == ([2 * N] if norm == "layer" else [N, N])
        torch.testing.assert_close(together, [network.encoder(x), network.encoder(y + 1)])


# --- steps -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", ["fresh", "stale"])
def test_the_generators_are_told_fresh_or_stale_classes(labels, monkeypatch):
    network, cells, _, settings = small(labels=labels)
    network.float()
    told = []

    def note(network, cells, classes, settings):
        told.append([side.tolist() for side in classes])
        return generator_objective(network, cells, classes, settings)

    monkeypatch.setattr("pb_models.scpregan_training.generator_objective", note)
    X = torch.cat(cells).float().numpy()
    classes = torch.arange(2 * N) % K
    contest = Contest(network, Cells(X, CPU), classes, settings)
    draws = torch.tensor([[[0, 1], [6, 7]], [[2, 4], [9, 11]]])
    contest.step(draws)
    rows = draws[-1] if labels == "fresh" else draws[0]
    assert told == [classes[rows].tolist()]


def test_one_step_by_hand():
    """Adam's first step is the learning rate against the gradient's sign; critics first, then the others."""
    network, cells, _, settings = small()
    network.float()
    contest = Contest(network, Cells(torch.cat(cells).float().numpy(), CPU), torch.arange(2 * N) % K, settings)
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    terms = contest.step(torch.tensor([[[0, 1], [6, 7]], [[2, 4], [9, 11]]]))
    assert list(terms) == ["loss", "reconstruction", "encoding", "adversarial", "critic"]
    for name, weight in network.named_parameters():
        step, rate = (weight.detach() - before[name]).abs().max().item(), 1e-4 if ".encoder." in name else 1e-3
        assert step == pytest.approx(rate, rel=0.02), name
        assert weight.requires_grad


def test_the_optimisers_are_those_of_the_paper_s_code():
    network, cells, _, settings = small()
    contest = Contest(network, Cells(cells.control.float().numpy(), CPU), torch.zeros(N, dtype=torch.long), settings)
    groups = [*contest.translating.param_groups, *contest.judging.param_groups]
    assert [(group["lr"], group["betas"], group["eps"], group["weight_decay"]) for group in groups] == [
        (1e-3, (0.5, 0.9), 1e-8, 0),
        (1e-4, (0.9, 0.999), 1e-8, 0),
        (1e-3, (0.5, 0.9), 1e-8, 0),
    ]
    sizes = [sum(weight.numel() for weight in group["params"]) for group in groups]
    translator = network.translator
    expected = [2 * count(translator.to_control), count(translator.encoder), 2 * count(network.critic_control)]
    assert sizes == expected


def test_the_rates_fall_before_the_middle_and_the_last_step(problem, monkeypatch):
    rates = []
    step = Contest.step

    def note(self, draws):
        terms = step(self, draws)
        groups = [*self.translating.param_groups, *self.judging.param_groups]
        rates.append([group["lr"] / start for group, start in zip(groups, (1e-3, 1e-4, 1e-3), strict=True)])
        return terms

    monkeypatch.setattr(Contest, "step", note)
    fitted(problem)
    np.testing.assert_allclose(rates, np.repeat([[1.0], [0.9], [0.81]], [2, 3, 1], axis=0) * np.ones(3))


def test_batch_pairs_restart_when_the_smaller_domain_is_used_up():
    control, perturbed = torch.arange(7), torch.arange(10, 30)
    pairs = list(islice(batch_pairs(control, perturbed, 3, torch.Generator().manual_seed(0)), 6))
    assert all(pair.shape == (2, 3) for pair in pairs)
    for start in (0, 2, 4):
        a, b = torch.cat(pairs[start : start + 2], dim=1)
        assert len(a.unique()) == len(b.unique()) == 6, "no cell twice in a pass"
        assert a.max() < 7
        assert b.min() >= 10
    again = list(islice(batch_pairs(control, perturbed, 3, torch.Generator().manual_seed(0)), 6))
    assert all(torch.equal(*both) for both in zip(pairs, again, strict=True))


@pytest.mark.parametrize(("spec", "draws"), [("scpregan", 2), ("scpregan:wgan-div", 6)])
def test_every_step_has_its_own_batches(problem, monkeypatch, spec, draws):
    seen, step = [], Contest.step
    monkeypatch.setattr(Contest, "step", lambda self, rows: (seen.append(rows), step(self, rows))[1])
    control = (problem.train.obs["condition"] == "ctrl").to_numpy()
    fitted(problem, spec)
    assert [rows.shape for rows in seen] == [(draws, 2, 16)] * 6
    assert all(control[rows[:, 0]].all() and not control[rows[:, 1]].any() for rows in seen)
    first = torch.cat(seen)[:6].transpose(0, 1).flatten(1)  # 100 perturbed cells: six batches of 16 in the first pass
    assert [len(side.unique()) for side in first] == [96, 96]


# --- the model -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", PROFILES)
def test_the_same_seed_gives_the_same_weights(problem, spec, reproduced):
    first, other = reproduced(lambda: fitted(problem, spec)), fitted(problem, spec, seed=2)
    weight = "translator.encoder.0.0.weight"
    assert not np.array_equal(first._state()[weight], other._state()[weight])


@pytest.mark.parametrize("spec", PROFILES)
def test_a_saved_model_predicts_the_same(problem, spec, tmp_path):
    model = fitted(problem, spec)
    model.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    expected = model.predict(problem.control, perturbation="stim").X
    np.testing.assert_array_equal(loaded.predict(problem.control, perturbation="stim").X, expected)
    np.testing.assert_array_equal(model.predict(problem.control, perturbation="stim").X, expected)
    assert (loaded.profile, loaded.settings, loaded.fit_record) == (model.profile, model.settings, model.fit_record)
    assert loaded.n_parameters == model.n_parameters == count(model.network)


def test_a_second_process_predicts_the_same(problem, predicted_elsewhere):
    model = fitted(problem)
    [found] = predicted_elsewhere(model)
    np.testing.assert_array_equal(found, model.predict(problem.control, perturbation="stim").X)


@pytest.mark.parametrize("spec", PROFILES)
def test_predictions_are_translated_control_cells(problem, spec, monkeypatch):
    model = fitted(problem, spec)
    translator = model.network.translator
    x = torch.tensor(problem.control.X.toarray())
    whole = model.predict(problem.control, perturbation="stim").X
    assert whole.shape == problem.control.shape
    assert whole.min() >= 0
    monkeypatch.setattr("pb_models.scpregan.BLOCK", 7)
    blocks = model.predict(problem.control, perturbation="stim").X
    np.testing.assert_allclose(blocks, whole, rtol=1e-5, atol=1e-6)
    reference = spec.endswith("wgan-div-reference")
    with torch.no_grad():
        expected = translator.train(reference).to_perturbed(translator.encoder(x))
    np.testing.assert_allclose(whole, expected, rtol=1e-5, atol=1e-6)
    translator.eval()
    some = model.predict(problem.control[:5], perturbation="stim").X
    same = np.allclose(some, whole[:5], rtol=1e-4, atol=1e-5)
    assert same != reference, "batch statistics of the cells to predict: each prediction depends on the others"


def test_batch_statistics_need_more_than_one_cell(problem):
    model = fitted(problem, "scpregan:wgan-div-reference")
    with pytest.raises(ValueError, match="give more than one"):
        model.predict(problem.control[:1], perturbation="stim")


def test_profiles_differ_in_what_the_docstring_names():
    fixed, reference, wgan, wgan_reference = get_model("scpregan").profiles.values()

    def differ(one, other):
        pairs = zip(one.to_dict().items(), other.to_dict().values(), strict=True)
        return {name for (name, value), second in pairs if value != second}

    assert differ(fixed, reference) == {"labels", "class_loss", "initialisation"}
    assert differ(wgan, wgan_reference) == {"initialisation", "statistics"}
    assert differ(fixed, wgan) == {"version", "critic_steps"}
    assert {s.max_epochs * s.steps_per_epoch for s in (fixed, reference, wgan, wgan_reference)} == {20_000}


def between_two_programmes(share, stimulated, random):
    """Cells between two expression programmes of 40 genes; a stimulus adds one to the first ten genes."""
    programmes = np.random.default_rng(0).gamma(0.5, 0.5, (2, 40))
    X = np.stack([1 - share, share], axis=1) @ programmes + random.normal(0, 0.05, (len(share), 40))
    return X + stimulated[:, None] * (np.arange(40) < 10)


def test_a_planted_shift_is_found(keys):
    """The target lies between the training contexts; the prediction is far nearer to its stimulated cells."""
    random = np.random.default_rng(1)
    contexts = random.integers(0, 5, 600)
    stimulated = (random.random(600) < 0.5) & (contexts != 2)
    X = between_two_programmes(contexts / 4, stimulated, random)
    obs = {"cell_type": np.array(list("ABCDE"))[contexts], "condition": np.where(stimulated, "stim", "ctrl")}
    train = AnnData(X.clip(0).astype(np.float32), obs=pd.DataFrame(obs, index=[f"cell{i}" for i in range(600)]))
    model = create("scpregan", n_hidden=32, n_latent=8, max_epochs=6, batch_size=32)
    model.fit(train, keys=keys, seed=1, device="cpu")
    control = train[contexts == 2]
    truth = between_two_programmes(np.full(100, 0.5), np.ones(100), random).mean(axis=0)
    predicted = model.predict(control, perturbation="stim").X.mean(axis=0)
    untouched = control.X.mean(axis=0)
    assert np.square(predicted - truth).sum() < 0.5 * np.square(untouched - truth).sum()


@pytest.mark.parametrize("spec", PROFILES[::2])
def test_sparse_and_dense_training_cells_give_the_same_model(problem, spec):
    dense = problem.train.copy()
    dense.X = dense.X.toarray()
    first, second = fitted(problem, spec), fitted(problem._replace(train=dense), spec)
    for name, array in first._state().items():
        np.testing.assert_array_equal(array, second._state()[name])


def test_the_record_says_what_was_trained_on(problem):
    steps = []
    model = create("scpregan", **SMALL).fit(problem.train, keys=problem.keys, device="cpu", progress=steps.append)
    record = model.fit_record
    assert (record["epochs"], record["steps"], record["best_epoch"]) == (2, 6, None)
    assert [step.loss for step in steps] == record["loss"]
    assert (record["n_control"], record["n_perturbed"], record["classes"]) == (130, 105, ["A", "B", "C"])
    settings = model.settings
    sizes = {"n_hidden": settings.n_hidden, "n_latent": settings.n_latent}
    assert model.n_parameters == count(ScPreGanNetwork(30, 3, ScPreGanSettings(**sizes)))


def test_the_validation_cells_are_trained_on_as_well(problem):
    first, second = fitted(problem), create("scpregan", **SMALL).fit(problem.train, keys=problem.keys, seed=1)
    for name, array in first._state().items():
        np.testing.assert_array_equal(array, second._state()[name])


@pytest.mark.parametrize("spec", PROFILES[::2])
def test_divergence_stops_at_once(problem, spec):
    with pytest.raises(DivergedError, match=r"epoch 1, batch .* not finite"):
        fitted(problem, spec, learning_rate=1e38)


def test_batches_shrink_to_the_smaller_domain(problem):
    control = problem.train.obs["condition"] == "ctrl"
    rows = np.concatenate([np.flatnonzero(control), np.flatnonzero(~control)[:5]])
    model = create("scpregan", **SMALL).fit(problem.train[rows], keys=problem.keys, device="cpu")
    assert (model.fit_record["n_perturbed"], model.fit_record["steps"]) == (5, 6)
    with pytest.raises(ValueError, match="1 perturbed cells are too few"):
        create("scpregan", **SMALL).fit(problem.train[rows[:-4]], keys=problem.keys, device="cpu")


def test_a_second_perturbation_is_refused(problem):
    train = problem.train.copy()
    labels = train.obs["condition"].astype(str).to_numpy()
    labels[np.flatnonzero(labels == "stim")[::2]] = "other"
    train.obs["condition"] = labels
    with pytest.raises(ValueError, match=r"one perturbation at a time, but the cells hold \['other', 'stim'\]"):
        create("scpregan", **SMALL).fit(train, keys=problem.keys)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": "wgan"}, "one of 'ac', 'wgan-div'"),
        ({"batch_size": 1}, "at least 2"),
        ({"decay": 0}, "greater than"),
    ],
)
def test_settings_are_checked(changes, words):
    with pytest.raises(ValueError, match=words):
        create("scpregan", **changes)

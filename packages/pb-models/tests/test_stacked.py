from functools import partial

import numpy as np
import pytest
import torch
from pb_models.blocks import perceptron
from pb_models.noise import StandardNormal, continued
from pb_models.stacked import stack
from pb_models.stacked_training import mean_by_member, take_by_member, train_members
from pb_models.training import Cells, DivergedError, Schedule, descend, seeded, train
from torch import nn
from torch.nn import functional

CPU = torch.device("cpu")
SEEDS = [3, 4, 7]


class Regressor(nn.Module):
    """A perceptron with noise on its last hidden layer, so that dropout and sampling draw in turn."""

    stackable = True

    def __init__(self):
        super().__init__()
        self.body = perceptron([6, 9, 8], dropout=0.3)
        self.noise = StandardNormal()
        self.head = nn.Linear(8, 1)

    def forward(self, x):
        hidden = self.body(x)
        if self.training:
            hidden = hidden + 0.1 * self.noise(hidden)
        return self.head(hidden).squeeze(-1)


def cells_and_targets(n=50, seed=0):
    random = np.random.default_rng(seed)
    X = random.normal(size=(n, 6))
    return torch.tensor(X), torch.tensor(X[:, 0] * X[:, 1] + 0.5 * random.normal(size=n))


def started(seed):
    """A float64 network and the generator its training goes on with."""
    with seeded(seed, CPU):
        network = Regressor().double()
        return network, continued(CPU)


def adam(network, **options):
    return torch.optim.Adam(
        network.parameters(), **{"lr": 0.02, "eps": 1e-3, "weight_decay": 1e-3, **options}, fused=True
    )


def train_one(seed, schedule, rows, watched, X, y):
    with seeded(seed, CPU):
        network = Regressor().double()
        optimiser = adam(network)

        def step(rows):
            loss = functional.mse_loss(network(X[rows]), y[rows])
            descend(optimiser, loss)
            return {"loss": loss.detach()}

        def monitor():
            return float((network(X[watched]) - y[watched]).square().mean())

        return network, train(network, rows, schedule, step=step, monitor=monitor, seed=seed)


def train_three(schedule, rows, watched, X, y, seeds=SEEDS, **options):
    networks, generators = zip(*map(started, seeds), strict=True)
    members = stack(networks, generators)
    optimiser = adam(members)
    sizes = []

    def step(rows):
        sizes.append(len(rows))
        losses = (members(X[rows]) - y[rows]).square().mean(dim=1)
        descend(optimiser, losses.sum())
        return {"loss": losses.detach()}

    def measure(rows):
        return (members(X[rows]) - y[rows]).square()

    monitor = partial(mean_by_member, members, watched, measure, block=7)
    options = {"optimisers": [optimiser], "seeds": seeds, **options}
    histories = train_members(members, rows, schedule, step=step, monitor=monitor, **options)
    return networks, histories, sizes


def largest_difference(first, second):
    theirs = second.state_dict()
    return max(float((value - theirs[name]).abs().max()) for name, value in first.state_dict().items())


SCHEDULES = {
    "last": Schedule(max_epochs=6, batch_size=16),
    "best": Schedule(max_epochs=6, batch_size=16, keep="best", settling_steps=5),
    "patience": Schedule(max_epochs=40, batch_size=16, patience=3, keep="best"),
    "last of patience": Schedule(max_epochs=40, batch_size=16, patience=3, keep="last"),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_members_are_trained_as_one_by_one(name):
    """In float64, where rounding is 1e-16 a number: weights, running statistics, losses and monitors to 1e-11."""
    X, y = cells_and_targets()
    rows, watched, schedule = torch.arange(40), torch.arange(40, 50), SCHEDULES[name]
    alone = [train_one(seed, schedule, rows, watched, X, y) for seed in SEEDS]
    networks, histories, sizes = train_three(schedule, [rows] * 3, [watched] * 3, X, y)
    for (network, history), together, other in zip(alone, networks, histories, strict=True):
        assert largest_difference(network, together) < 1e-11
        assert not together.training
        assert (other.best_epoch, other.stopped_early) == (history.best_epoch, history.stopped_early)
        np.testing.assert_allclose(other.loss, history.loss, rtol=1e-11)
        np.testing.assert_allclose(other.monitor, history.monitor, rtol=1e-11)
    lengths = [len(history.loss) for history in histories]
    if "patience" in name:
        assert len(set(lengths)) > 1, "the case is made for this"
        assert sizes == [sum(length > epoch for length in lengths) for epoch in range(max(lengths)) for _ in range(3)]
    assert largest_difference(networks[0], networks[1]) > 0.1, "members are not alike"


def test_folds_may_differ_in_rows_where_their_batches_do_not():
    """47 and 45 rows make two full batches of 16 where incomplete ones are left out; 9 to 15 cells are watched."""
    X, y = cells_and_targets(60)
    schedule = Schedule(max_epochs=5, batch_size=16, smallest_batch=16, keep="best")
    rows = [torch.arange(47), torch.arange(15, 60), torch.arange(0, 45)]
    watched = [torch.arange(47, 60), torch.arange(0, 15), torch.arange(51, 60)]
    alone = [train_one(*one, X, y) for one in zip(SEEDS, [schedule] * 3, rows, watched, strict=True)]
    networks, histories, _ = train_three(schedule, rows, watched, X, y)
    for (network, history), together, other in zip(alone, networks, histories, strict=True):
        assert largest_difference(network, together) < 1e-11
        np.testing.assert_allclose(other.monitor, history.monitor, rtol=1e-11)


def test_other_batches_are_refused():
    X, y = cells_and_targets()
    schedule = Schedule(max_epochs=1, batch_size=16)
    rows = [torch.arange(40), torch.arange(40), torch.arange(41)]
    words = r"member 0 and member 2 have 40 and 41 .* 2 batches of 16 and one of 8, and 2 batches of 16 and one of 9"
    with pytest.raises(ValueError, match=words):
        train_three(schedule, rows, rows, X, y)


def test_progress_is_told_the_means_of_those_still_in_training():
    X, y = cells_and_targets()
    rows, watched, steps = [torch.arange(40)] * 3, [torch.arange(40, 50)] * 3, []
    _, histories, _ = train_three(SCHEDULES["patience"], rows, watched, X, y, progress=steps.append)
    assert [step.epoch for step in steps] == list(range(1, max(len(history.loss) for history in histories) + 1))
    for step in steps:
        running = [history for history in histories if len(history.loss) >= step.epoch]
        assert step.loss == pytest.approx(np.mean([history.loss[step.epoch - 1] for history in running]))
        assert step.monitor == pytest.approx(np.mean([history.monitor[step.epoch - 1] for history in running]))


def test_a_member_that_diverges_is_named():
    X, y = cells_and_targets()
    rows = [torch.arange(30), torch.arange(20, 50), torch.arange(30)]
    X[45] = torch.inf
    with pytest.raises(DivergedError, match=r"second: training diverged in epoch 1, batch .: loss not finite"):
        train_three(SCHEDULES["last"], rows, rows, X, y, names=["first", "second", "third"])
    watched = [torch.arange(30), torch.arange(30), torch.arange(40, 50)]
    with pytest.raises(DivergedError, match=r"member 2: the monitor is .* after epoch 1"):
        train_three(SCHEDULES["last"], [torch.arange(30)] * 3, watched, X, y)


# --- the stacked network ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_every_member_runs_as_it_does_alone(training):
    networks, generators = zip(*map(started, SEEDS), strict=True)
    for norm in (layer for network in networks for layer in network.modules() if isinstance(layer, nn.BatchNorm1d)):
        for tensor in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
            tensor.uniform_(0.5, 2)
    members = stack([network.train(training) for network in networks], generators)
    x = torch.randn(3, 5, 6, dtype=torch.float64)
    together = members(x)
    for place, (seed, network) in enumerate(zip(SEEDS, networks, strict=True)):
        with seeded(seed, CPU):
            Regressor()  # takes the numbers that the weights take
            expected = network(x[place])
        torch.testing.assert_close(together[place], expected, rtol=1e-13, atol=1e-13)
        for name, value in network.state_dict().items():
            torch.testing.assert_close(members.state(place)[name], value, rtol=1e-13, atol=1e-13)


def test_members_do_not_touch_each_other():
    """Another first member leaves the second one's numbers, gradients included, as they are."""
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    gradients = []
    for first in (1, 2):
        members = stack(*zip(started(first), started(9), strict=True))
        members(x).square().sum().backward()
        gradients.append([weight.grad for weight in members.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one[1], other[1], rtol=1e-12, atol=1e-12)
    assert not torch.allclose(gradients[0][0][0], gradients[1][0][0])


def test_taking_members_out_keeps_the_others_moments():
    members = stack(*zip(*map(started, SEEDS), strict=True))
    optimiser = adam(members)
    descend(optimiser, members(torch.randn(3, 5, 6, dtype=torch.float64)).square().sum())
    before = [members.state(place) for place in range(3)]
    moments = {weight: optimiser.state[weight]["exp_avg"].clone() for weight in members.parameters()}
    members.keep([0, 2], optimiser)
    assert members.numbers == [0, 2]
    for weight, moment in moments.items():
        assert torch.equal(optimiser.state[weight]["exp_avg"], moment[[0, 2]])
        assert optimiser.state[weight]["step"] == 1
    for place, number in enumerate(members.numbers):
        assert all(torch.equal(value, before[number][name]) for name, value in members.state(place).items())
    assert members(torch.zeros(2, 4, 6, dtype=torch.float64)).shape == (2, 4)


def test_padding_draws_no_numbers():
    members = stack(*zip(*map(started, SEEDS), strict=True))
    like = torch.zeros(3, 5, 4)
    with members.noise.of_lengths([5, 2, 0]):
        drawn = members.noise.normal(like)
    again = [started(seed)[1] for seed in SEEDS]
    for place, n in enumerate([5, 2, 0]):
        assert torch.equal(drawn[place, :n], torch.empty(n, 4).normal_(generator=again[place]))
        assert not drawn[place, n:].any()
        assert torch.equal(
            torch.rand(3, generator=again[place]), torch.rand(3, generator=members.noise.generators[place])
        )


def test_rows_are_taken_of_each_member_s_own_cells():
    matrices = [np.random.default_rng(seed).random((4, 3)).astype(np.float32) for seed in range(2)]
    first, second = (Cells(X, CPU) for X in matrices)
    rows = torch.tensor([[0, 3], [1, 1]])
    np.testing.assert_array_equal(take_by_member([first, first], [0, 1], rows), matrices[0][rows.numpy()])
    own = take_by_member([second, first, second], [1, 2], rows)
    np.testing.assert_array_equal(own, [matrices[0][[0, 3]], matrices[1][[1, 1]]])


class Gain(nn.Module):
    stackable = True

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))


class Tied(nn.Module):
    stackable = True

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(2, 2)
        self.b = self.a


@pytest.mark.parametrize(
    ("networks", "words"),
    [
        ([], "0 networks and 0 generators"),
        ([nn.Linear(2, 2), nn.Linear(3, 2)], r"networks 0 and 1 differ: Linear\(in_features=2"),
        ([nn.Sequential(nn.Dropout(0.1)), nn.Sequential(nn.Dropout(0.2))], "networks 0 and 1 differ at '0'"),
        ([nn.Sequential(nn.ReLU()), nn.Sequential(nn.ReLU(), nn.ReLU())], "differ"),
        ([nn.Sequential(nn.LayerNorm(2))], "LayerNorm at '0' cannot be stacked; known are Linear"),
        ([nn.BatchNorm1d(2, momentum=None)], "with running statistics and a momentum"),
        ([Gain()], r"Gain holds weights of its own \(gain\)"),
        ([Tied()], "same weights in two places"),
    ],
)
def test_what_cannot_be_stacked_is_named(networks, words):
    with pytest.raises(ValueError, match=words):
        stack(networks, [torch.Generator() for _ in networks])

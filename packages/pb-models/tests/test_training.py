import math
from itertools import chain

import numpy as np
import pytest
import torch
from pb_models.training import (
    Cells,
    DivergedError,
    Schedule,
    descend,
    random_split,
    resolve_device,
    seeded,
    train,
)
from scipy import sparse
from torch import nn

CPU = torch.device("cpu")


class Scripted:
    """A network of one number; its monitor follows a script, and its number counts epochs."""

    def __init__(self, monitors=(), losses=None):
        self.network = nn.Linear(1, 1, bias=False)
        self.monitors, self.losses = list(monitors), losses
        self.batches, self.modes, self.epoch = [], [], 0

    def step(self, rows):
        self.batches.append(rows.tolist())
        self.modes.append(self.network.training)
        loss = torch.tensor(float(rows.float().mean())) if self.losses is None else self.losses[len(self.batches) - 1]
        return {"loss": torch.as_tensor(loss), "part": torch.tensor(0.0)}

    def monitor(self):
        assert not self.network.training
        assert not torch.is_grad_enabled()
        self.epoch += 1
        self.network.weight.fill_(self.epoch)
        return self.monitors[self.epoch - 1]

    def run(self, schedule, n=10, **options):
        watch = self.monitor if self.monitors else None
        return train(self.network, torch.arange(n), schedule, step=self.step, monitor=watch, seed=0, **options)


@pytest.mark.parametrize(("keep", "kept"), [("last", 5), ("best", 3)])
def test_patience_counts_epochs_without_a_strictly_lower_monitor(keep, kept):
    script = Scripted([4.0, 3.0, 2.0, 2.0, 2.5, 0.0])
    history = script.run(Schedule(max_epochs=6, batch_size=5, patience=2, keep=keep))
    assert (history.best_epoch, history.stopped_early, len(history.loss)) == (3, True, 5)
    assert history.monitor == [4.0, 3.0, 2.0, 2.0, 2.5]
    assert script.network.weight.item() == kept
    assert not script.network.training


def test_without_patience_every_epoch_is_run():
    history = Scripted([1.0, 2.0, 3.0]).run(Schedule(max_epochs=3, batch_size=5, keep="best"))
    assert (history.best_epoch, history.stopped_early, history.to_dict()["epochs"]) == (1, False, 3)


@pytest.mark.parametrize(("patience", "kept"), [(2, 1), (3, 5), (None, 5)])
def test_the_best_may_be_kept_only_where_patience_ran_out(patience, kept):
    script = Scripted([1.0, 2.0, 3.0, 0.9 if patience == 3 else 4.0, 5.0])
    history = script.run(Schedule(max_epochs=5, batch_size=5, patience=patience, keep="best-if-stopped"))
    assert history.stopped_early == (patience == 2)
    assert script.network.weight.item() == kept


@pytest.mark.parametrize(("ties_improve", "best", "epochs"), [(False, 2, 4), (True, 3, 5)])
def test_ties_may_count_as_better(ties_improve, best, epochs):
    script = Scripted([2.0, 1.0, 1.0, 3.0, 3.0, 3.0])
    schedule = Schedule(max_epochs=6, batch_size=5, patience=2, keep="best", ties_improve=ties_improve)
    history = script.run(schedule)
    assert (history.best_epoch, len(history.loss), script.network.weight.item()) == (best, epochs, best)


def test_nothing_counts_before_the_running_statistics_have_settled():
    script = Scripted([0.0, 0.1, 3.0, 2.0, 2.0, 2.0])
    history = script.run(Schedule(max_epochs=20, batch_size=5, patience=2, keep="best", settling_steps=4))
    assert (history.best_epoch, len(history.loss)) == (4, 6)
    assert script.network.weight.item() == 4


@pytest.mark.parametrize(("epochs", "best"), [(4, 1), (8, 1), (10, 2), (19, 2), (20, 3)])
def test_settling_takes_at_most_a_tenth_of_a_short_training(epochs, best):
    script = Scripted([float(epoch) for epoch in range(epochs)])
    history = script.run(Schedule(max_epochs=epochs, batch_size=5, keep="best", settling_steps=10**6))
    assert history.best_epoch == script.network.weight.item() == best


def test_every_row_is_visited_once_an_epoch_in_a_new_seeded_order():
    first, second = Scripted(), Scripted()
    for script in (first, second):
        script.run(Schedule(max_epochs=2, batch_size=4))
    assert first.batches == second.batches
    assert all(first.modes)
    epochs = [list(chain(*first.batches[i : i + 3])) for i in (0, 3)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(10))] * 2
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize(("n", "sizes"), [(10, [4, 4]), (11, [4, 4, 3]), (12, [4, 4, 4])])
def test_a_small_last_batch_is_left_out(n, sizes):
    script = Scripted()
    script.run(Schedule(max_epochs=1, batch_size=4, smallest_batch=3), n=n)
    assert [len(batch) for batch in script.batches] == sizes


def test_a_step_may_bring_its_own_batches():
    given, script = [[torch.ones(2, 3)], [torch.zeros(2, 3), torch.ones(2, 3)]], Scripted()
    drawn = iter(given)
    schedule = Schedule(max_epochs=2, batch_size=5)
    history = train(script.network, lambda: next(drawn), schedule, step=script.step, seed=0)
    assert script.batches == [batch.tolist() for batch in [*given[0], *given[1]]]
    assert history.loss == [1.0, 0.5]


def test_too_few_cells_are_refused():
    with pytest.raises(ValueError, match="2 training cells are too few"):
        Scripted().run(Schedule(max_epochs=1, batch_size=4, smallest_batch=3), n=2)


def test_the_loss_is_a_mean_over_cells():
    script = Scripted()
    history = script.run(Schedule(max_epochs=1, batch_size=4), n=11)
    assert history.loss[0] == pytest.approx(np.mean(range(11)))


def test_progress_is_told_once_an_epoch():
    steps = []
    Scripted([2.0, 1.0]).run(Schedule(max_epochs=2, batch_size=5), progress=steps.append)
    assert [(step.epoch, step.n_epochs, step.monitor) for step in steps] == [(1, 2, 2.0), (2, 2, 1.0)]
    assert steps[0].seconds_left > 0
    assert steps[1].seconds_left == 0


def test_divergence_names_epoch_batch_and_term():
    script = Scripted(losses=[0.5, 0.5, 0.5, math.nan, 0.5])
    with pytest.raises(DivergedError, match="epoch 2, batch 2: loss not finite"):
        script.run(Schedule(max_epochs=5, batch_size=5))
    assert len(script.batches) == 4, "it stops at once"
    with pytest.raises(DivergedError, match="monitor is inf after epoch 1"):
        Scripted([math.inf]).run(Schedule(max_epochs=5, batch_size=5))


def test_a_part_that_diverges_is_named_before_the_loss():
    def step(rows):
        return {"loss": torch.tensor(math.nan), "squared_error": torch.tensor(1.0), "kl": torch.tensor(math.inf)}

    with pytest.raises(DivergedError, match="batch 1: kl, loss not finite"):
        train(nn.Linear(1, 1), torch.arange(4), Schedule(max_epochs=1, batch_size=2), step=step, seed=0)


def test_the_random_split():
    for n in (7, 10, 99, 100, 101):
        training, validation = random_split(n, seed=3)
        assert len(training) == math.ceil(0.9 * n)
        assert sorted([*training, *validation]) == list(range(n))
    np.testing.assert_array_equal(validation, np.random.RandomState(3).permutation(101)[:10])
    assert not np.array_equal(random_split(101, seed=4)[1], validation)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_rows_are_taken_dense(form):
    X = (np.random.default_rng(0).random((6, 4)) * [[1, 0, 1, 0]]).astype(np.float32)
    cells = Cells(form(X), CPU)
    rows = cells.index(np.array([5, 0, 5]))
    np.testing.assert_array_equal(cells.take(rows).numpy(), X[[5, 0, 5]])
    assert (cells.n, cells.n_genes) == (6, 4)


def test_the_callers_random_state_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with seeded(1, CPU):
        inside = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    with seeded(1, CPU):
        assert torch.equal(torch.rand(3), inside)


def test_devices():
    assert resolve_device("cpu") == CPU
    assert resolve_device("auto").type in {"cpu", "cuda"}
    with pytest.raises(ValueError, match="'gpuu' is no device"):
        resolve_device("gpuu")


def test_a_missing_gpu_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError, match="sees no GPU; use device='cpu'"):
        resolve_device("cuda")


def test_one_step_of_the_optimiser_by_hand():
    """Adam's first step with eps 0.01 and L2 decay in the gradient: w - lr g / (|g| + eps), g = grad + decay w."""
    weight = torch.tensor([2.0, -1.0], requires_grad=True)
    optimiser = torch.optim.Adam([weight], lr=1e-3, eps=0.01, weight_decay=0.1, fused=True)
    descend(optimiser, (weight * torch.tensor([0.005, 3.0])).sum())
    gradient = np.array([0.005, 3.0]) + 0.1 * np.array([2.0, -1.0])
    expected = np.array([2.0, -1.0]) - 1e-3 * gradient / (np.abs(gradient) + 0.01)
    np.testing.assert_allclose(weight.detach().numpy(), expected, rtol=1e-6)

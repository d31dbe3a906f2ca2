"""Stacked training against torch's own layers, optimisers and schedules, one network at a time."""

import numpy as np
import pytest
import torch
from pb_models.measures import classification_measures, regression_measures
from pb_models.mlp import MLPSettings, build_mlp
from pb_models.mlp_stacked import StackedMLP
from pb_models.sweep import Fold, FoldSamples, Run, SweepSettings, batches, folds_at_once, train_fold, train_folds
from pb_models.sweep_steps import SGD, Adam, Rates
from scipy import sparse

NETWORK = MLPSettings(hidden=(6, 5))
SETTINGS = SweepSettings(epochs=6, batch_size=16, milestones=(2, 4))


def mae(features, outputs, targets, epoch):
    return (outputs - targets).abs().mean((1, 2))


def mse(features, outputs, targets, epoch):
    return (outputs - targets).square().mean((1, 2))


def feature_spread(features, outputs, targets, epoch):
    """Trains features only in the first half, so that the head has no gradient then."""
    return features.square().mean((1, 2)) if epoch < 3 else mae(features, outputs, targets, epoch)


def runs_of(*objectives):
    settings = [(objective, lr, wd) for objective in objectives for lr in (0.05, 0.01) for wd in (1e-2, 1e-4)]
    return [Run(lr, wd, objective, seed) for seed, (objective, lr, wd) in enumerate(settings)]


RUNS = runs_of(mae, mse)


@pytest.fixture
def samples():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(70, 4)).astype(np.float32)
    y = (x @ rng.normal(size=(4, 2)) + 0.1 * rng.normal(size=(70, 2))).astype(np.float32)
    return FoldSamples(x, y, np.arange(0, 45), np.arange(45, 60), np.arange(60, 70))


def one_by_one(samples, run, settings, order_seed):
    """The plain loop: nn.Sequential, torch.optim, MultiStepLR."""
    x, y = torch.from_numpy(samples.x), torch.from_numpy(samples.y)
    network = build_mlp(x.shape[1], y.shape[1], NETWORK, seed=run.seed)
    options = {"lr": run.learning_rate, "weight_decay": run.weight_decay}
    if settings.optimiser == "sgd":
        optimiser = torch.optim.SGD(network.parameters(), momentum=0.9, **options)
    else:
        optimiser = torch.optim.Adam(network.parameters(), **options)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, settings.milestones, gamma=settings.gamma)
    order = torch.Generator().manual_seed(order_seed)
    trace, predictions = [], []
    for epoch in range(settings.epochs):
        for rows in batches(samples.train, settings.batch_size, order):
            optimiser.zero_grad()
            z, out = network(x[rows])
            run.objective(z[None], out[None], y[rows], epoch).sum().backward()
            optimiser.step()
        schedule.step()
        with torch.no_grad():
            trace.append((network(x[samples.validation])[1] - y[samples.validation]).abs().mean().item())
            predictions.append(network(x[samples.test])[1].numpy())
    return trace, predictions


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("objectives", [(mae, mse), (feature_spread,)])
def test_stacked_runs_equal_runs_one_by_one(samples, optimiser, objectives):
    settings, runs = SETTINGS.replace(optimiser=optimiser), runs_of(*objectives)
    traces = train_fold(samples, runs, NETWORK, settings, regression_measures(["mae"]), n_outputs=2, order_seed=5)
    for number, run in enumerate(runs):
        trace, predictions = one_by_one(samples, run, settings, 5)
        np.testing.assert_allclose(traces.validation[number, :, 0], trace, rtol=2e-5)
        best = traces.validation[number, :, 0].argmin()
        np.testing.assert_allclose(traces.test_outputs[number, 0], predictions[best], atol=2e-5)
    assert not traces.diverged.any()


def test_outputs_are_kept_after_given_epochs(samples):
    """Validation then chooses nothing; 0 keeps nothing."""
    keep = np.array([[3, 6], [1, 0], [0, 2], [5, 5]])
    measures, runs = regression_measures(["mae", "pearson"]), runs_of(mae)
    options = {"n_outputs": 2, "order_seed": 5, "keep": keep}
    whole = train_fold(samples, runs, NETWORK, SETTINGS, measures, **options)
    parts = train_fold(samples, runs, NETWORK, SETTINGS, measures, at_once=3, **options)
    for number, run in enumerate(runs):
        _, predictions = one_by_one(samples, run, SETTINGS, 5)
        for measure, epoch in enumerate(keep[number]):
            expected = predictions[epoch - 1] if epoch else np.zeros_like(predictions[0])
            for traces in (whole, parts):
                np.testing.assert_allclose(traces.test_outputs[number, measure], expected, atol=2e-5)


def test_chunks_do_not_change_a_run(samples):
    options = {"n_outputs": 2, "order_seed": 5}
    measures = regression_measures(["mae", "rmse", "pearson"])  # a rank can change by rounding
    whole = train_fold(samples, RUNS, NETWORK, SETTINGS, measures, **options)
    parts = train_fold(samples, RUNS, NETWORK, SETTINGS, measures, at_once=3, **options)
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_sparse_inputs_equal_dense_ones(samples):
    rng = np.random.default_rng(0)
    dense = np.where(rng.random(samples.x.shape) < 0.5, samples.x, 0).astype(np.float32)
    shift = rng.normal(size=4).astype(np.float32)
    options = {"n_outputs": 2, "order_seed": 1}
    a = train_fold(samples._replace(x=dense + shift), RUNS, NETWORK, SETTINGS, regression_measures(), **options)
    csr = sparse.csr_matrix(dense)
    b = train_fold(samples._replace(x=csr, shift=shift), RUNS, NETWORK, SETTINGS, regression_measures(), **options)
    np.testing.assert_allclose(a.validation, b.validation, rtol=1e-4, atol=1e-5)


def test_sgd_step_by_hand():
    """w = 1, 2; gradient 0.5, then 1; momentum 0.9, decay 0.1 and 0, rate 0.1 and 0.2, the second step at a tenth."""
    w = torch.tensor([[[1.0]], [[2.0]]])
    optimiser = SGD([w], Rates([0.1, 0.2], [0.1, 0.0]), 0.9)
    optimiser.step([torch.full((2, 1, 1), 0.5)], 1.0)
    # b = 0.5 + 0.1 * 1 = 0.6, w = 1 - 0.06; b = 0.5, w = 2 - 0.1
    torch.testing.assert_close(w.flatten(), torch.tensor([0.94, 1.9]))
    optimiser.step([torch.ones(2, 1, 1)], 0.1)
    # b = 0.54 + 1 + 0.094 = 1.634, w = 0.94 - 0.01634; b = 0.45 + 1 = 1.45, w = 1.9 - 0.029
    torch.testing.assert_close(w.flatten(), torch.tensor([0.92366, 1.871]))


def test_adam_first_step_moves_by_the_rate():
    w = torch.tensor([[[1.0]], [[1.0]]])
    Adam([w], Rates([0.1, 0.01], [0.0, 0.0])).step([torch.tensor([[[3.0]], [[-7.0]]])], 1.0)
    torch.testing.assert_close(w.flatten(), torch.tensor([0.9, 1.01]))


def test_a_diverging_run_is_reported_and_leaves_the_others_alone(samples):
    wild = Run(1e30, 0.0, mse, 0)
    options = {"n_outputs": 2, "order_seed": 5}
    alone = train_fold(samples, RUNS, NETWORK, SETTINGS, regression_measures(), **options)
    mixed = train_fold(samples, [*RUNS[:4], wild, *RUNS[4:]], NETWORK, SETTINGS, regression_measures(), **options)
    assert mixed.diverged.tolist() == [0, 0, 0, 0, 1, *[0] * 4]
    assert np.isnan(mixed.validation[4]).all()
    assert np.isnan(mixed.loss[4]).all()
    np.testing.assert_allclose(np.delete(mixed.validation, 4, axis=0), alone.validation, rtol=1e-5, atol=1e-6)
    lonely = train_fold(samples, [wild], NETWORK, SETTINGS, regression_measures(), **options)
    assert lonely.diverged.tolist() == [1]


def test_nan_targets_do_not_teach(samples):
    """A sample without labels changes nothing but the batches it is in."""
    y = samples.y.copy()
    y[samples.train[:10], 1] = np.nan
    y[samples.validation[:3]] = np.nan

    def masked(features, outputs, targets, epoch):
        known = ~targets.isnan()
        return torch.where(known, outputs - targets.nan_to_num(), 0.0).abs().sum((1, 2)) / known.sum()

    runs = [run._replace(objective=masked) for run in RUNS[:2]]
    traces = train_fold(
        samples._replace(y=y), runs, NETWORK, SETTINGS, regression_measures(), n_outputs=2, order_seed=0
    )
    assert np.isfinite(traces.validation).all()
    assert np.isfinite(traces.training).all()


def test_too_little_is_refused(samples):
    with pytest.raises(ValueError, match="0 runs"):
        train_fold(samples, [], NETWORK, SETTINGS, regression_measures(), n_outputs=2, order_seed=0)


def test_fewer_rows_than_a_batch_are_one_batch():
    assert [len(b) for b in batches(np.arange(5), 16, torch.Generator().manual_seed(0))] == [5]
    assert [len(b) for b in batches(np.arange(32), 16, torch.Generator().manual_seed(0))] == [16, 16]


def test_tanh_with_xavier_weights_stacks():
    settings = MLPSettings(hidden=(3,), activation="tanh", weights="xavier-normal")
    stacked = StackedMLP(4, 2, settings, [7, 8])
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    for member, seed in enumerate((7, 8)):
        features, outputs = build_mlp(4, 2, settings, seed=seed)(x)
        torch.testing.assert_close(stacked(x)[0][member], features)
        torch.testing.assert_close(stacked(x)[1][member], outputs)


@pytest.mark.parametrize("hidden", [(), (0,)])
def test_hidden_layers_are_needed(hidden):
    with pytest.raises(ValueError, match="hidden"):
        MLPSettings(hidden=hidden)


def test_joint_heads_of_classes_train():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3)).astype(np.float32)
    y = np.column_stack([x[:, 0] > 0, np.digitize(x[:, 1], [-0.5, 0.5])]).astype(np.int64)
    y[:5, 0] = -100

    def cross_entropy(features, outputs, targets, epoch):
        parts = zip(torch.split(outputs, [2, 3], dim=2), targets.unbind(1), strict=True)
        return sum(
            torch.stack([torch.nn.functional.cross_entropy(member, label) for member in logits])
            for logits, label in parts
        )

    samples = FoldSamples(x, y, np.arange(40), np.arange(40, 60), np.arange(0))
    runs = [Run(0.1, 0.0, cross_entropy, seed) for seed in (0, 1)]
    settings = SweepSettings(epochs=30, batch_size=20, milestones=())
    traces = train_fold(samples, runs, NETWORK, settings, classification_measures([2, 3]), n_outputs=5, order_seed=0)
    assert (traces.validation[:, -1, 0] > 0.8).all()
    assert traces.test_outputs.shape == (2, 3, 0, 5)


# --- folds together


def folds_of(samples, runs, keep=None):
    """Three folds of as many batches, with other rows, inputs, labels, seeds and numbers of rows held out."""
    parts = [
        samples._replace(train=np.arange(0, 36), validation=np.arange(36, 60)),
        samples._replace(train=np.arange(20, 60), validation=np.arange(0, 20), x=samples.x + 1),
        samples._replace(train=np.arange(10, 45), validation=np.arange(0, 9), y=-samples.y, test=np.arange(50, 55)),
    ]
    seeds = ([run._replace(seed=10 * number + run.seed) for run in runs] for number in range(3))
    return [
        Fold(part, own, number, None if keep is None else (keep + number) % 7)
        for number, (part, own) in enumerate(zip(parts, seeds, strict=True))
    ]


def one_after_the_other(folds, settings, measures):
    return [
        train_fold(samples, runs, NETWORK, settings, measures, n_outputs=2, order_seed=order_seed, keep=keep)
        for samples, runs, order_seed, keep in folds
    ]


def assert_close(ours, theirs):
    assert len(ours) == len(theirs) == 3
    for together, alone in zip(ours, theirs, strict=True):
        for name, a, b in zip(alone._fields, together, alone, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("objectives", [(mae, mse), (mse,), (feature_spread,)])
def test_folds_together_equal_folds_one_after_the_other(samples, optimiser, objectives):
    settings, measures = SETTINGS.replace(optimiser=optimiser), regression_measures(["mae", "pearson"])
    folds = folds_of(samples, runs_of(*objectives))
    together = train_folds(folds, NETWORK, settings, measures, n_outputs=2)
    assert_close(together, one_after_the_other(folds, settings, measures))
    assert not np.allclose(together[0].loss, together[1].loss)


def test_folds_together_keep_outputs_of_given_epochs(samples):
    runs, measures = runs_of(mae), regression_measures(["mae", "rmse"])
    folds = folds_of(samples, runs, keep=np.array([[3, 6], [1, 0], [0, 2], [5, 5]]))
    together = train_folds(folds, NETWORK, SETTINGS, measures, n_outputs=2)
    assert_close(together, one_after_the_other(folds, SETTINGS, measures))


def test_a_run_that_diverges_on_one_fold_goes_on_on_the_others(samples):
    """Inputs that are too large on the second fold alone."""
    folds, measures = folds_of(samples, RUNS), regression_measures(["mae"])
    folds[1] = folds[1]._replace(samples=folds[1].samples._replace(x=1e30 * samples.x))
    together = train_folds(folds, NETWORK, SETTINGS, measures, n_outputs=2)
    assert [(traces.diverged > 0).tolist() for traces in together] == [[False] * 8, [True] * 8, [False] * 8]
    assert_close(together, one_after_the_other(folds, SETTINGS, measures))


@pytest.mark.parametrize("change", ["batches", "rates", "sparse", "keep"])
def test_folds_that_are_not_alike_are_refused(samples, change):
    folds = folds_of(samples, RUNS)
    first, fold = folds[0].samples, folds[0]
    folds[0] = {
        "batches": fold._replace(samples=first._replace(train=np.arange(0, 30))),
        "rates": fold._replace(runs=[run._replace(learning_rate=1e-5) for run in fold.runs]),
        "sparse": fold._replace(samples=first._replace(x=sparse.csr_matrix(first.x))),
        "keep": fold._replace(keep=np.ones((8, 4), dtype=np.int64)),
    }[change]
    with pytest.raises(ValueError, match=r"3 folds were given to train together; .* one by one with train_fold"):
        train_folds(folds, NETWORK, SETTINGS, regression_measures(), n_outputs=2)


@pytest.mark.parametrize(
    ("n_train", "n_runs", "hidden", "batch_size", "expected"),
    [
        ([96] * 5, 3, (16, 16), 16, 5),
        ([96, 97, 96], 3, (16, 16), 16, 3),
        ([96, 95], 3, (16, 16), 16, 1),  # six batches of 16 and five
        ([9, 10], 3, (16, 16), 16, 1),  # one of 9 and one of 10
        ([960] * 5, 100, (16, 16), 256, 4),  # a batch's activations of a fold: 256 x 100 x 35 numbers, 3.6 MB of 16
        ([960] * 5, 200, (16, 16), 256, 2),
        ([960] * 5, 200, (16, 16), 16, 4),  # 4,096 rows held out: 109 MB of 512
        ([960] * 5, 27, (1024, 512), 16, 1),  # weights, gradients, moments: 230 MB, held out: 680 MB
        ([960] * 5, 27, (4096, 4096), 256, 1),
    ],
)
def test_as_many_folds_are_trained_together_as_are_alike_and_small(n_train, n_runs, hidden, batch_size, expected):
    network, settings = MLPSettings(hidden=hidden), SETTINGS.replace(batch_size=batch_size)
    assert folds_at_once(n_train, n_runs, network, settings, n_inputs=2, n_outputs=1) == expected

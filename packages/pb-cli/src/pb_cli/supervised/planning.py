"""A supervised experiment becomes a plan: kinds of folds x label noise x (baselines, losses x seeds)."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from pb_cli.names import suggest
from pb_cli.supervised.experiment import SupervisedExperiment
from pb_cli.supervised.grids import baseline_names, expand_losses, parameter_settings
from pb_cli.supervised.task import SupervisedTask

if TYPE_CHECKING:
    from pb_data import Folds, LabelledData

__all__ = ["SupervisedPlan", "make_supervised_plan", "open_labelled"]

NOISE = ("uniform", "class-dependent")


class SupervisedPlan(NamedTuple):
    """The tasks in the order in which they run, what each kind of folds supports, and remarks worth printing."""

    tasks: list[SupervisedTask]
    claims: dict[str, str]
    remarks: list[str]


def open_labelled(asked: SupervisedExperiment) -> "LabelledData":
    """Load the registered set, or the user's own file, of an experiment."""
    from pb_data import load_labelled, load_labelled_file

    task: Any = asked.task
    if asked.dataset is not None:
        data = load_labelled(asked.dataset, task=task, path=asked.data, **asked.dataset_options)
    else:
        if "labels" not in asked.dataset_options:
            msg = f'{asked.data} needs its labels named: --option labels=COLUMN (several: labels=\'["a", "b"]\').'
            raise ValueError(msg)
        _check_options(asked.dataset_options)
        data = load_labelled_file(str(asked.data), task=task, **asked.dataset_options)
    return data


def _check_options(given: Iterable[str]) -> None:
    """Refuse an option that one's own files do not have."""
    from inspect import signature

    from pb_data import load_labelled_file

    known = [name for name in signature(load_labelled_file).parameters if name not in ("path", "task")]
    for name in given:
        if name not in known:
            msg = f"One's own files have no option {name!r}. {suggest(name, known)}"
            raise ValueError(msg)


def make_supervised_plan(asked: SupervisedExperiment, data: "LabelledData") -> SupervisedPlan:
    """Expand an experiment on loaded data. Baselines run once, whatever the number of seeds."""
    from pb_data import make_folds

    from pb_cli.supervised.problem import divide_again, join_targets

    data = join_targets(data) if asked.joint else data
    losses, metrics = expand_losses(asked.losses, asked.task), _metrics(asked)
    baselines = baseline_names(asked.task) if asked.baselines else ()
    nested = {"inner_folds": asked.inner_folds} if asked.selection == "nested" else {}
    shared: dict[str, Any] = nested | {
        "metrics": metrics,
        "network": _network(asked, data),
        "training": _training(asked),
    }
    grids = _grids(asked, losses)
    tasks, claims = [], {}
    remarks = [*_remarks(asked, grids, shared["network"]), *_caveats(asked), selection_words(asked)]
    for kind in _fold_kinds(asked, data):
        folds = make_folds(kind, data, n_folds=asked.folds, seed=asked.fold_seed)
        divide_again(data, folds, nested.get("inner_folds", 0))
        if not len(folds.test) and not nested:
            msg = f"Folds {kind} of {data.name} leave no row to test on; mark test rows, or take other folds."
            raise ValueError(msg)
        claims[kind] = folds.claim
        remarks += [f"Folds {kind}: {note}." for note in folds.notes]
        for noise in map(_noise, asked.label_noise):
            split = None if noise is None else noise | {"seed": asked.noise_seed}
            common = _common(asked, data, folds, split)
            tasks += [
                SupervisedTask(**common, model=name, settings=nested | {"metrics": metrics}, seed=asked.seeds[0])
                for name in baselines
            ]
            tasks += [
                SupervisedTask(**common, model=loss, settings=shared | grids[loss], seed=seed)
                for loss in losses
                for seed in asked.seeds
            ]
    if not tasks:
        msg = "Neither losses nor baselines are left to run; name a loss with --loss."
        raise ValueError(msg)
    return SupervisedPlan(tasks, claims, remarks)


def _common(
    asked: SupervisedExperiment, data: "LabelledData", folds: "Folds", noise: dict[str, Any] | None
) -> dict[str, Any]:
    return {
        "source": data.source,
        "split": folds.name,
        "split_parameters": {"n_folds": asked.folds, "seed": asked.fold_seed, "noise": noise},
        "split_hash": folds.hash,
        "preprocess": {"standardise": asked.standardise, "joint": asked.joint},
        "profile": "default",
    }


def _grids(asked: SupervisedExperiment, losses: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Settle the grid of each loss."""
    losses = list(losses)
    for name in asked.grids:
        if name not in losses:
            msg = f"Settings were given for {name!r}, which does not run. {suggest(name, losses)}"
            raise ValueError(msg)
    return {
        loss: {
            "parameters": parameter_settings(loss, asked.grids.get(loss, {}), asked.equal_budget),
            "learning_rates": list(asked.learning_rates),
            "weight_decays": list(asked.weight_decays),
            "selection": asked.selection,
        }
        for loss in losses
    }


def _remarks(asked: SupervisedExperiment, grids: dict[str, dict[str, Any]], network: dict[str, Any]) -> list[str]:
    """Say what the network is and how many trainings each loss may choose from."""
    if not grids:
        return []
    n_rest = len(asked.learning_rates) * len(asked.weight_decays)
    budgets = {loss: len(grid["parameters"]) * n_rest for loss, grid in grids.items()}
    widths = "-".join(map(str, network["hidden"]))
    remarks = [f"Network: hidden layers {widths}, {network['activation']}; {asked.epochs} epochs."]
    if len(set(budgets.values())) == 1:
        remarks.append(f"Equal budget: every loss chooses from {next(iter(budgets.values()))} settings in each fold.")
    else:
        listed = ", ".join(f"{loss} {n}" for loss, n in budgets.items())
        remarks.append(f"Unequal budgets, in settings a fold: {listed}; more settings are an advantage by themselves.")
    return remarks


def _caveats(asked: SupervisedExperiment) -> list[str]:
    """Say what models and baselines see of rows that they should not."""
    if asked.standardise != "all-rows":
        return []
    return ["Features were standardised on all rows, validation and test included, as in the reference."]


def selection_words(asked: SupervisedExperiment) -> str:
    """Say what chooses settings and epochs, and what is scored."""
    if asked.selection == "nested":
        return (
            f"Selection nested: {asked.inner_folds} inner folds of each fold's training rows choose setting and epoch, "
            "and all training rows train the choice again; the fold's own rows, which chose nothing, are scored, so "
            "that every row is scored once. Test rows stay untouched."
        )
    what = "setting and epoch" if asked.selection == "per-fold" else "the epoch, all of them together one setting"
    return (
        f"Selection {asked.selection}: each fold's validation rows choose {what}; the test rows, which chose nothing, "
        "are scored, the same for every fold."
    )


def _fold_kinds(asked: SupervisedExperiment, data: "LabelledData") -> tuple[str, ...]:
    """Take the kinds asked for, else whole groups where there are any, strata for classes, rows at random."""
    if asked.fold_kinds:
        return asked.fold_kinds
    if data.groups is not None:
        return ("genes",)
    return ("stratified",) if data.task == "classification" else ("cells",)


def _network(asked: SupervisedExperiment, data: "LabelledData") -> dict[str, Any]:
    """Settle the network: what was asked for, else a size that suits the number of features."""
    from pb_models.mlp import HIDDEN, MLPSettings

    n_features = data.X.shape[1]
    fitting = "small" if n_features <= 12 else "wide" if n_features <= 1000 else "reference"
    hidden = asked.hidden or (fitting,)
    if words := [each for each in hidden if isinstance(each, str)]:
        if words[0] not in HIDDEN or len(hidden) > 1:
            msg = f"hidden is {', '.join(map(str, hidden))}; give widths such as 128,64. {suggest(words[0], HIDDEN)}"
            raise ValueError(msg)
        hidden = HIDDEN[words[0]]
    settings: dict[str, Any] = {"hidden": hidden, "activation": asked.activation, "weights": asked.weights}
    chosen = MLPSettings(**settings).to_dict()
    return chosen | {"hidden": list(chosen["hidden"])}


def _training(asked: SupervisedExperiment) -> dict[str, Any]:
    from pb_models.sweep import SweepSettings

    milestones = asked.milestones or (asked.epochs // 2, 3 * asked.epochs // 4)
    names = ("epochs", "batch_size", "optimiser")
    settings: dict[str, Any] = {name: getattr(asked, name) for name in names} | {"milestones": milestones}
    chosen = SweepSettings(**settings).to_dict()
    return chosen | {"milestones": list(chosen["milestones"])}


def _metrics(asked: SupervisedExperiment) -> list[str]:
    from pb_models.measures import CLASSIFICATION_MEASURES, REGRESSION_MEASURES

    known = REGRESSION_MEASURES if asked.task == "regression" else CLASSIFICATION_MEASURES
    for name in asked.metrics:
        if name not in known:
            msg = f"{name!r} cannot choose settings of a {asked.task}. {suggest(name, known)}"
            raise ValueError(msg)
    return list(asked.metrics or known)


def _noise(text: str) -> dict[str, Any] | None:
    """Read `uniform:0.3`.

    >>> _noise("uniform:0.3")
    {'kind': 'uniform', 'rate': 0.3}
    """
    if text == "none":
        return None
    kind, _, rate = text.partition(":")
    if kind not in NOISE:
        msg = f"There is no label noise {kind!r}. {suggest(kind, ['none', *NOISE])}"
        raise ValueError(msg)
    try:
        value = float(rate)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        msg = f"Label noise {text!r} has no rate from 0 to 1; write it like {kind}:0.3."
        raise ValueError(msg)
    return {"kind": kind, "rate": value}

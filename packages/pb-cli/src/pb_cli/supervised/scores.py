"""Test scores of chosen predictions, as result rows: one for each fold, target and metric."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pb_cli.supervised.grids import baseline_names
from pb_cli.supervised.task import SupervisedTask

if TYPE_CHECKING:
    import pandas as pd
    from pb_data import LabelledData
    from pb_eval.standings import Goal

__all__ = ["label_baselines", "label_goals", "score_rows", "selector", "threshold_scores"]


def selector(metric: str, measures: Sequence[str]) -> str:
    """Say which measure chose the predictions that a metric is computed of: itself, else the first.

    >>> selector("auroc", ["accuracy", "auroc"]), selector("auprc", ["accuracy", "auroc"])
    ('auroc', 'accuracy')
    """
    return metric if metric in measures else measures[0]


def score_rows(
    task: SupervisedTask,
    data: "LabelledData",
    scored: Sequence[NDArray[np.int64]],
    outputs: Sequence[Mapping[str, NDArray[Any] | None]],
) -> "pd.DataFrame":
    """Score the rows to be scored of every fold.

    `outputs` holds, for each fold, the predictions chosen by each measure: numbers (samples, targets), or scores of the
    classes of each target side by side; None where every training diverged, which scores NaN.
    """
    import pandas as pd

    rows = []
    for fold, (test, chosen) in enumerate(zip(scored, outputs, strict=True), 1):
        of_fold = {"context": f"fold {fold}", "n_predicted": len(test), "n_true": len(test)}
        for measure, values in chosen.items():
            for target, scores in enumerate(_by_target(data, test, values)):
                rows += [
                    of_fold | {"perturbation": data.targets[target], "metric": name, "value": value}
                    for name, value in scores.items()
                    if selector(name, list(chosen)) == measure
                ]
    frame = pd.DataFrame(rows)
    constant: dict[str, Any] = {
        "dataset": data.name,
        "split": task.label_of_split,
        "split_hash": task.split_hash,
        "model": task.model,
        "profile": task.profile,
        "seed": task.seed,
        "dose": np.nan,
        "gene_set": "",
        "space": "labels",
    }
    return frame.assign(metric_version=frame["metric"].map(_version), **constant)


def threshold_scores(values: NDArray[Any], thresholds: Sequence[float]) -> NDArray[np.float64]:
    """Scores of the classes that cut points make of predicted numbers, (samples, classes): the distance to the nearer.

    The largest score is that of the number's class (`pb_data.classes_of`): the outermost classes contain their cut.

    >>> threshold_scores(np.array([0.05, 0.5, 0.95]), (0.05, 0.95)).argmax(axis=1).tolist()
    [0, 1, 2]
    """
    cuts = np.asarray(thresholds, dtype=values.dtype).astype(np.float64)  # compared as the values are stored
    p = np.asarray(values, dtype=np.float64)[:, None]
    below, above = np.append(cuts, np.inf) - p, p - np.insert(cuts, 0, -np.inf)
    scores = np.minimum(below, above)
    scores[:, -1] += np.where(p[:, 0] >= cuts[-1], np.spacing(1.0), 0.0)  # on the last cut: the last class
    return scores


def label_goals() -> "dict[str, Goal]":
    """Say where each score of labels is best."""
    from pb_eval.standings import Goal
    from pb_eval.supervised import SUPERVISED

    return {metric.name: Goal(metric.direction, metric.perfect) for metric in SUPERVISED.values()}


def label_baselines() -> list[str]:
    """Name the baselines of both tasks, whose scores are the floor."""
    return [name for task in ("regression", "classification") for name in baseline_names(task)]


def _by_target(data: "LabelledData", test: NDArray[np.int64], values: NDArray[Any] | None) -> list[dict[str, float]]:
    """All scores of each target; NaN without predictions."""
    if data.task == "regression":
        numbers = [None] * len(data.targets) if values is None else list(values.T)
        return [_of_numbers(data, data.y[test, t], p) for t, p in enumerate(numbers)]
    edges = np.cumsum([len(names) for names in data.classes])[:-1]
    heads = [None] * len(data.targets) if values is None else np.split(values, edges, axis=1)
    return [_of_classes(data.y[test, t], p, len(data.classes[t])) for t, p in enumerate(heads)]


def _of_numbers(data: "LabelledData", truth: NDArray[Any], prediction: NDArray[Any] | None) -> dict[str, float]:
    from pb_data import classes_of
    from pb_eval.supervised import regression_scores

    if prediction is None:
        return dict.fromkeys(_metrics("regression"), np.nan)
    known = ~np.isnan(truth)
    scores = {name: float(value[0]) for name, value in regression_scores(truth, prediction).items()}
    if data.thresholds and known.any():
        cut = threshold_scores(prediction, data.thresholds)
        scores |= _of_classes(classes_of(truth, data.thresholds), cut, len(data.thresholds) + 1)
    return scores


def _of_classes(truth: NDArray[Any], scores: NDArray[Any] | None, n_classes: int) -> dict[str, float]:
    from pb_eval.supervised import classification_scores

    known = truth >= 0
    if scores is None or not known.any():
        return dict.fromkeys(_metrics("classification"), np.nan)
    found = classification_scores(truth[known].tolist(), scores[known], range(n_classes))
    return {name: value for name, value in found.items() if not _trivial(name, n_classes)}


def _trivial(metric: str, n_classes: int) -> bool:
    """Whether a top-k accuracy is 1 by the number of classes."""
    return metric.startswith("top") and int(metric[3]) >= n_classes


def _metrics(task: str) -> list[str]:
    from pb_eval.supervised import SUPERVISED

    return [metric.name for metric in SUPERVISED.values() if metric.task == task]


def _version(name: str) -> int:
    from pb_eval.supervised import SUPERVISED

    return SUPERVISED[name].version

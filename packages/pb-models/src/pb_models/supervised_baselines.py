"""What any deep model of labels has to beat: the mean or the commonest class, a linear model, boosted trees.

Predictions are (samples, targets) numbers, or (samples, classes) probabilities with those of each target side by side.
Targets are fitted one by one, on the samples that have a label.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

__all__ = ["SUPERVISED_BASELINES", "FoldRows", "fit_baseline"]

PENALTIES = (1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3, 1e4)
WIDE = 2000  # features above which trees are grown on components
COMPONENTS = 50


class FoldRows(NamedTuple):
    """Features and targets of all samples, and the rows that train, validate and test.

    `inner` are divisions of the training rows, into rows to train and to validate on, which choose a penalty in place
    of the validation rows.
    """

    x: Any
    y: NDArray[Any]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    inner: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]] = ()


@dataclass(frozen=True)
class _Baseline:
    """A family of estimators; the one with the best score on the validation rows is kept."""

    summary: str
    candidates: Callable[[int], Sequence[Any]]
    on_components: bool = False


SUPERVISED_BASELINES: dict[str, dict[str, _Baseline]] = {
    "regression": {
        "mean": _Baseline("The mean of the training labels.", lambda _: [DummyRegressor()]),
        "ridge": _Baseline("Ridge regression.", lambda _: [Ridge(alpha=penalty) for penalty in PENALTIES]),
        "boosting": _Baseline(
            "Gradient-boosted trees.", lambda seed: [HistGradientBoostingRegressor(random_state=seed)], True
        ),
    },
    "classification": {
        "majority": _Baseline("The frequency of each class.", lambda _: [DummyClassifier(strategy="prior")]),
        "logistic": _Baseline(
            "Logistic regression.", lambda _: [LogisticRegression(C=1 / p, max_iter=300) for p in PENALTIES[:-1]]
        ),
        "boosting": _Baseline(
            "Gradient-boosted trees.",
            lambda seed: [HistGradientBoostingClassifier(random_state=seed, early_stopping=False)],
            True,
        ),
    },
}


def fit_baseline(
    name: str, task: str, rows: FoldRows, *, n_classes: Sequence[int] = (), seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit a baseline on a fold's training rows and predict its validation and test rows.

    A penalty is chosen by the validation rows (R2, or accuracy), or by the mean over `inner` divisions. Boosting sees
    the first 50 components, fitted on training rows, where there are more than 2,000 features.

    Raises
    ------
    ValueError
        Where no baseline of the task has this name.

    Examples
    --------
    >>> x = np.arange(6.0)[:, None]
    >>> rows = FoldRows(x, 2 * x, np.arange(4), np.array([4]), np.array([5]))
    >>> fit_baseline("mean", "regression", rows)[1]
    array([[3.]])
    """
    known = SUPERVISED_BASELINES[task]
    if name not in known:
        msg = f"there is no baseline {name!r} of {task} (choose from: {', '.join(known)})"
        raise ValueError(msg)
    parts = _features(rows, known[name].on_components)
    heads = [
        _fit_target(known[name], parts, rows, target, n_classes[target] if n_classes else 0, seed)
        for target in range(rows.y.shape[1])
    ]
    validation, test = (np.concatenate(columns, axis=1) for columns in zip(*heads, strict=True))
    return validation, test


def _features(rows: FoldRows, on_components: bool) -> list[Any]:
    """Return the features of the training, validation and test rows."""
    parts = [rows.x[index] for index in (rows.train, rows.validation, rows.test)]
    if not on_components:
        return parts
    if rows.x.shape[1] > WIDE:
        n_components = min(COMPONENTS, len(rows.train) - 1)
        reduction = TruncatedSVD(n_components, random_state=0).fit(parts[0])
        return [reduction.transform(part) if part.shape[0] else np.empty((0, n_components)) for part in parts]
    return [part if isinstance(part, np.ndarray) else part.toarray() for part in parts]


def _fit_target(
    baseline: _Baseline, parts: list[Any], rows: FoldRows, target: int, n_classes: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    train, validation, test = parts
    labels = rows.y[:, target]
    known = labels >= 0 if n_classes else ~np.isnan(labels)
    candidates = list(baseline.candidates(seed))
    if len(candidates) > 1 and rows.inner:
        candidates = [max(candidates, key=lambda model: _inner_score(model, rows, labels, known))]
    kept, judged = known[rows.train], known[rows.validation]
    fitted = [_fitted(model, train[kept], labels[rows.train][kept]) for model in candidates]
    best = fitted[0]
    if len(fitted) > 1 and judged.any():
        held = validation[judged], labels[rows.validation][judged]
        best = max(fitted, key=lambda model: model.score(*held))
    return _predicted(best, validation, n_classes), _predicted(best, test, n_classes)


def _inner_score(model: Any, rows: FoldRows, labels: NDArray[Any], known: NDArray[np.bool_]) -> float:
    """Return the mean score over the inner divisions that have labels to train and to validate on."""
    scores = []
    for train, validation in rows.inner:
        inside, judged = train[known[train]], validation[known[validation]]
        if len(inside) and len(judged):
            fitted = _fitted(model, rows.x[inside], labels[inside])
            scores.append(float(fitted.score(rows.x[judged], labels[judged])))
    return float(np.mean(scores)) if scores else 0.0


def _fitted(model: Any, x: Any, y: NDArray[Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the best on validation is kept, converged or not
        return model.fit(x, y)


def _predicted(model: Any, x: Any, n_classes: int) -> NDArray[np.float64]:
    """Return numbers (samples, 1), or probabilities (samples, classes), 0 for a class that did not train."""
    if x.shape[0] == 0:
        return np.empty((0, n_classes or 1))
    if not n_classes:
        return np.asarray(model.predict(x), dtype=np.float64).reshape(-1, 1)
    probabilities = np.zeros((x.shape[0], n_classes))
    probabilities[:, model.classes_] = model.predict_proba(x)
    return probabilities

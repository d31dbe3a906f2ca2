"""Baselines whose penalty is chosen by inner divisions of the training rows."""

import numpy as np
import pytest
from pb_models.supervised_baselines import PENALTIES, FoldRows, fit_baseline
from sklearn.linear_model import LogisticRegression, Ridge


def drawn(task):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(60, 20))
    signal = x[:, 0] + rng.normal(size=60)
    y = signal if task == "regression" else (signal > 0).astype(np.int64)
    train, held = np.arange(40), np.arange(40, 60)
    inner = [(train[train % 2 != part], train[train % 2 == part]) for part in (0, 1)]
    return FoldRows(x, y[:, None], train, held, held, inner)


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_the_penalty_is_the_best_over_inner_divisions(task):
    rows = drawn(task)
    x, y = rows.x, rows.y[:, 0]
    made = (lambda p: Ridge(alpha=p)) if task == "regression" else (lambda p: LogisticRegression(C=1 / p, max_iter=300))
    penalties = PENALTIES if task == "regression" else PENALTIES[:-1]
    scores = [
        sum(made(p).fit(x[train], y[train]).score(x[held], y[held]) for train, held in rows.inner) for p in penalties
    ]
    best = made(penalties[int(np.argmax(scores))]).fit(x[rows.train], y[rows.train])
    expected = best.predict(x[rows.test])[:, None] if task == "regression" else best.predict_proba(x[rows.test])
    name = "ridge" if task == "regression" else "logistic"
    _, test = fit_baseline(name, task, rows, n_classes=() if task == "regression" else (2,))
    np.testing.assert_allclose(test, expected)


def test_labels_of_the_held_out_rows_choose_nothing():
    rows = drawn("regression")
    changed = rows.y.copy()
    changed[rows.test] = -100 * changed[rows.test]
    for name in ("mean", "ridge", "boosting"):
        a, b = (fit_baseline(name, "regression", rows._replace(y=y))[1] for y in (rows.y, changed))
        np.testing.assert_array_equal(a, b)

"""Where a score stands: the ceiling that a replicate of the measurement reaches, and the place between floor and it.

A replicate is made of the unit's own measured cells. One random half of the true cells stands for the prediction, the
other for the truth, and each has a half of the control cells to itself: a control that both shared would put its noise
into both shifts and let them agree on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from pb_eval.halves import draw_halves, draw_rows
from pb_eval.ranks import rank_sums_of_parts
from pb_eval.reference import Cells, Reference
from pb_eval.registry import get_metric
from pb_eval.sampling import enlarged
from pb_eval.scoring import chosen_metrics, evaluate
from pb_eval.threads import spread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from pb_eval.halves import Halves
    from pb_eval.matrix import Matrix
    from pb_eval.metric import Metric
    from pb_eval.ranks import RankSums

__all__ = ["DRAWS", "DUPLICATE", "Ceiling", "merit", "scaled", "split_half", "technical_duplicate"]

DRAWS = 4
DUPLICATE = "technical duplicate"
_BY_RANK = ("top20", "top100", "significant")  # genes chosen by rank tests

Direction = Literal["higher", "lower", "target"]


class Ceiling(NamedTuple):
    """What a replicate scores.

    Attributes
    ----------
    half
        One half of the cells against the other, mean over draws.
    value
        The same at the full number of cells: what a second measurement as large as the first would score.
    """

    half: float
    value: float


def split_half(
    reference: Reference, metrics: Sequence[str] | None = None, *, draws: int = DRAWS, seed: int = 0
) -> dict[str, Ceiling]:
    """Ceiling of each metric from halves of a unit's own cells, corrected to the full number of cells.

    Halving the cells doubles the variance of the noise, so that a half scores worse than a whole: the mean score over
    draws is corrected by :func:`pb_eval.sampling.enlarged`, by what the metric declares (`Metric.sampling`). Where it
    declares nothing, quarters of the same draws tell how the score moves. It is what a repeat of the measurement
    reaches, no bound: a prediction free of noise can score better.

    Parameters
    ----------
    reference
        The unit.
    metrics
        Names; None for the default ones.
    draws
        Random partings that are averaged.
    seed
        Of the draws.

    Returns
    -------
    Ceiling by name; nan for fewer than four true or control cells, and where no draw has a value.

    Examples
    --------
    >>> cells = np.random.default_rng(0).random((40, 3))
    >>> reference = Reference(cells[:20] + [2.0, 1.0, 0.0], cells[20:], ["ISG15", "IFIT1", "CD3D"])
    >>> [round(value, 4) for value in split_half(reference, ["mse_mean"])["mse_mean"]]
    [0.0194, 0.0097]
    """
    chosen = chosen_metrics(reference, metrics)
    unknown = [metric.name for metric in chosen if metric.sampling == "unknown"]
    half, quarter = _mean_scores(reference, {2: [metric.name for metric in chosen], 4: unknown}, draws, seed)
    n_cells = reference.truth.n_cells
    factor, step = n_cells / max(1, n_cells // 2), (n_cells // 2) / max(1, n_cells // 4)

    def ceiling(metric: Metric) -> Ceiling:
        value, smaller = half[metric.name], quarter.get(metric.name, np.nan)
        return Ceiling(value, enlarged(value, factor, metric, smaller=smaller, step=step))

    return {metric.name: ceiling(metric) for metric in chosen}


def technical_duplicate(
    reference: Reference,
    predictors: Mapping[str, Callable[[Matrix], Any]],
    metrics: Sequence[str] | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """Scores of a technical duplicate and of other predictions, all against the same half of the truth.

    The duplicate is the other half of the true cells (the positive control of Miller et al. 2025, Deep Learning-Based
    Genetic Perturbation Models Do Outperform Uninformative Baselines on Well-Calibrated Metrics); the other predictions
    are made from the duplicate's control cells, and their shifts are taken against these too. Sizes are matched, for
    all are held against one half and made of one half, so that the scores can be compared without a correction.

    Parameters
    ----------
    reference
        The unit.
    predictors
        Functions by name from control cells to predicted cells, ``(cells, genes)``, such as simple baselines.
    metrics, draws, seed
        As for :func:`split_half`.

    Returns
    -------
    One row for each draw, control and metric, with columns `draw`, `control` (:data:`DUPLICATE` or a predictor's name),
    `metric` and `value`.

    Raises
    ------
    ValueError
        For fewer than four true or control cells.

    Examples
    --------
    >>> cells = np.random.default_rng(0).random((40, 3))
    >>> reference = Reference(cells[:20] + [2.0, 1.0, 0.0], cells[20:], ["ISG15", "IFIT1", "CD3D"])
    >>> scores = technical_duplicate(reference, {"no change": lambda control: control}, ["mse_mean"], draws=2)
    >>> scores.groupby("control")["value"].mean().round(3).to_dict()
    {'no change': 1.747, 'technical duplicate': 0.019}
    """
    rows = []
    for draw in range(draws):
        halves = draw_halves(reference, draw, seed=seed)
        own = halves.duplicate.control
        predictions = {DUPLICATE: halves.duplicate}
        for name, predict in predictors.items():
            matrix = halves.reference.cells(predict(own.matrix), name).matrix
            predictions[name] = Cells(matrix, control=own, basis=reference.basis, seed=reference.seed)
        for name, cells in predictions.items():
            scores = evaluate(cells, halves.reference, metrics)
            rows += [(draw, name, metric, value) for metric, value in scores.items()]
    return pd.DataFrame(rows, columns=["draw", "control", "metric", "value"])


def merit(value: ArrayLike, direction: Direction, perfect: float = np.nan) -> NDArray[np.float64]:
    """Turn scores so that larger is better: the value, minus the value, or minus its distance from perfect.

    Examples
    --------
    >>> merit([0.5, 1.5], "target", 1.0)
    array([-0.5, -0.5])
    """
    values = np.asarray(value, dtype=np.float64)
    return {"higher": values, "lower": -values, "target": -np.abs(values - perfect)}[direction]


def scaled(
    value: ArrayLike, floor: ArrayLike, ceiling: ArrayLike, direction: Direction, perfect: float = np.nan
) -> NDArray[np.float64]:
    """Place of a score between floor and ceiling, ``(m(v) - m(f)) / (m(c) - m(f))`` with the merit m; never clipped.

    0 is the best simple baseline, 1 a replicate of the measurement; below 0 is worse than the baseline, above 1 better
    than the replicate. Where the ceiling does not lie above the floor (by more than rounding), the metric cannot tell
    one from the other on this unit, and the place is nan; so it is where any of the three is.

    Parameters
    ----------
    value, floor, ceiling
        Scores, of shapes that broadcast.
    direction, perfect
        As the metric declares them; `target` metrics are placed by their distance from perfect.

    Examples
    --------
    >>> scaled([0.3, 0.9, 0.1], 0.5, 0.1, "lower").round(9).tolist()
    [0.5, -1.0, 1.0]
    >>> scaled(0.7, 0.9, 0.8, "higher")
    array(nan)
    """
    v, f, c = (merit(part, direction, perfect) for part in (value, floor, ceiling))
    with np.errstate(invalid="ignore"):
        room = c - f
        apart = np.isfinite(room) & (room > 1e-12 * np.maximum(np.abs(c), np.abs(f)))
        return np.asarray(np.where(apart, (v - f) / np.where(apart, room, 1.0), np.nan), dtype=np.float64)


def _mean_scores(
    reference: Reference, wanted: Mapping[int, Sequence[str]], draws: int, seed: int
) -> list[dict[str, float]]:
    """Mean score over the draws in which it is defined, for each number of parts the metrics wanted."""
    n_cells = min(reference.truth.n_cells, reference.control.n_cells)
    pieces = [
        (parts, draw) for parts, names in wanted.items() if names and n_cells >= 2 * parts for draw in range(draws)
    ]
    metrics = [get_metric(name) for parts, _ in pieces for name in wanted[parts]]
    sums = _rank_sums(reference, pieces, seed) if any(metric.gene_set in _BY_RANK for metric in metrics) else {}
    if any(metric.space == "pca" for metric in metrics):
        _ = reference.truth.coordinates, reference.control.coordinates  # the halves take theirs

    def score(piece: tuple[int, int]) -> list[float]:
        parts, draw = piece
        halves = draw_halves(reference, draw, parts=parts, seed=seed)
        _share(reference, halves)
        for cells, known in zip((halves.reference.truth, halves.duplicate), sums.get(piece, ()), strict=False):
            cells.rank_sums = known
        return list(evaluate(halves.duplicate, halves.reference, wanted[parts]).values())

    found = dict(zip(pieces, spread(score, pieces), strict=True))
    means = []
    for parts, names in wanted.items():
        table = pd.DataFrame([found[piece] for piece in pieces if piece[0] == parts], columns=list(names), dtype=float)
        means.append({str(name): float(value) for name, value in table.mean().items()})
    return means


def _rank_sums(
    reference: Reference, pieces: Sequence[tuple[int, int]], seed: int
) -> dict[tuple[int, int], list[RankSums]]:
    """Rank sums of both sides of each draw, from one order of all cells."""
    sides = []
    for parts, draw in pieces:
        truth, control = draw_rows(reference, draw, parts=parts, seed=seed)
        sides += [(truth.truth, control.truth), (truth.duplicate, control.duplicate)]
    whole = reference.truth
    found = rank_sums_of_parts(whole.matrix, reference.control.matrix, sides, whole.ordered)
    return {piece: found[2 * number : 2 * number + 2] for number, piece in enumerate(pieces)}


def _share(reference: Reference, halves: Halves) -> None:
    """Give the halves the coordinates of their cells, where these are known."""
    sides = (
        (halves.reference.truth, reference.truth, halves.truth.truth),
        (halves.duplicate, reference.truth, halves.truth.duplicate),
        (halves.reference.control, reference.control, halves.control.truth),
        (halves.duplicate.control, reference.control, halves.control.duplicate),
    )
    for part, whole, rows in sides:
        if "coordinates" in vars(whole):
            part.coordinates = whole.coordinates[rows]

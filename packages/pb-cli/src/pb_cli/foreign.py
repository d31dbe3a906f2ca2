"""Score prediction files of any tool: which file is which, rows of each condition, and words about what was found."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from pb_eval import PredictionInfo, Reference, with_floor
from pb_eval.cellfile import CellFile, open_cells
from pb_eval.columns import Columns, tells_groups
from pb_eval.layouts import arrange
from pb_eval.matches import MAX_CELLS, Match, Matches
from pb_eval.reference import Cells
from pb_eval.survey import Expression, declared_scale
from pb_eval.table import merge_tables

from pb_cli.scoring import Scoring, score_cells

__all__ = ["Request", "is_own", "model_names", "prediction_files", "score_file"]

Draw = Callable[[str, str, Cells, Reference], None]

_APART = 4.0  # on one scale a mean of logs holds half of the total; log1p of log1p holds a seventh, log2 five times it


class Request(NamedTuple):
    """What is said of prediction files beside their paths; see the flags of `pb eval score`."""

    truth: Path | None = None
    control: Path | None = None
    columns: Columns = Columns()
    scale: str | None = None
    allow_missing_genes: bool = False
    max_cells: int = MAX_CELLS
    separator: str | None = None
    scoring: Scoring = Scoring()


def score_file(path: Path, name: str, request: Request, draw: Draw | None = None) -> tuple[pd.DataFrame, list[str]]:
    """Score one prediction file; return its rows, with a copied control as their floor, and what was found out.

    Parameters
    ----------
    name
        Of the model, where the file does not say.
    draw
        Called with the model, the condition's words, prediction and reference of each condition.

    Raises
    ------
    ValueError
        In one sentence, where the files cannot be compared.
    """
    with ExitStack() as stack:
        prediction, truth, control = (
            None if file is None else stack.enter_context(open_cells(file))
            for file in (path, request.truth, request.control)
        )
        assert prediction is not None
        measured = truth or prediction
        files = list({id(file): file for file in (prediction, control, truth) if file is not None}.values())
        scale = declared_scale(files, request.scale)
        layout = arrange(prediction, truth, control, request.columns)
        used = {id(part.file) for group in layout.groups for part in group[1:]}
        expression = Expression(
            [file for file in files if id(file) in used], scale, allow_missing=request.allow_missing_genes
        )
        matches = Matches(
            layout,
            expression,
            max_cells=request.max_cells,
            separator=request.separator,
            metrics=request.scoring.metrics,
        )
        info = describe(prediction, measured, name)
        tables, shares = [], {}
        for match in matches:
            shares[match.condition.words()] = share_of_total(match.prediction, match.reference)
            tables.append(_rows(match, info, request.scoring))
            if draw is not None:
                draw(info.model, match.condition.words(), match.prediction, match.reference)
    rows = merge_tables(tables)
    rows["space"] = rows["space"].replace({"pca": "pca of control"})
    return rows, [*matches.notes, *_totals_apart(shares)]


def share_of_total(prediction: Cells, reference: Reference) -> float:
    """Divide the mean predicted cell's total before log1p by the mean true cell's.

    Examples
    --------
    >>> reference = Reference([[1.0], [2.0]], [[0.0], [0.0]], ["ISG15"])
    >>> round(share_of_total(reference.cells([[1.0], [1.0]]), reference), 3)
    0.424
    """
    return float(prediction.linear_mean.sum() / reference.truth.linear_mean.sum())


def _totals_apart(shares: dict[str, float]) -> list[str]:
    """Say where predicted cells hold so much more or less than measured ones that their scale is in doubt."""
    apart = {words: share for words, share in shares.items() if not 1 / _APART < share < _APART}
    if not apart:
        return []
    first, share = next(iter(apart.items()))
    words = (
        f"Before log1p, predicted cells of {first} hold {share:.3g} times the expression of the measured ones "
        f"({len(apart)} of {len(shares)} conditions are so far apart): are all files normalised to one total, and its "
        "natural log1p taken once?"
    )
    return [words]


def _rows(match: Match, info: PredictionInfo, scoring: Scoring) -> pd.DataFrame:
    """Give the rows of a prediction, and as their floor the scores of the measured control in its place."""
    rows = score_cells(match.prediction, match.reference, info, match.condition, scoring)
    rows = rows.assign(n_predicted=match.n_predicted, n_true=match.n_true)  # where groups are represented by fewer
    if not scoring.limits:
        return rows
    control = match.reference.control
    copy = match.reference.cells(control.matrix)
    copy.moments, copy.linear_mean = control.moments, control.linear_mean
    bare = scoring._replace(bootstrap=0, limits=False)
    return with_floor(rows, score_cells(copy, match.reference, info, match.condition, bare))


def describe(prediction: CellFile, measured: CellFile, name: str) -> PredictionInfo:
    """Say what a file predicts, as far as it says so itself."""
    said: dict[str, Any] = {
        key: prediction.declared[key]
        for key in ("dataset", "split", "model", "profile", "seed", "split_hash")
        if key in prediction.declared
    }
    fields = {"dataset": measured.path.stem, "split": "unknown", "model": name} | said
    return PredictionInfo(**fields, context="", scale="log1p", context_key="", perturbation_key="")


def is_own(path: Path, request: Request) -> bool:
    """Tell whether a file is to be scored from its own recipe: it has `uns["pb"]`, and nothing is named beside it."""
    if request.truth is not None or request.columns.group is not None:
        return False
    with open_cells(path) as file:
        return "model" in file.declared and not tells_groups(file)


def prediction_files(paths: Sequence[Path], leave_out: Sequence[Path | None]) -> list[Path]:
    """List the files that are meant: of a folder its `.h5ad` files, or those further down where it holds none.

    Raises
    ------
    ValueError
        Where a folder holds none at all.
    """
    others = {path.resolve() for path in leave_out if path is not None}
    found: list[Path] = []
    for path in paths:
        inside = [path] if not path.is_dir() else _inside(path, others)
        if not inside:
            msg = f"{path} holds no .h5ad file to score: give prediction files, or a folder of them."
            raise ValueError(msg)
        found += inside
    return list(dict.fromkeys(found))


def _inside(folder: Path, others: set[Path]) -> list[Path]:
    for pattern in ("*.h5ad", "**/*.h5ad"):
        found = sorted(folder.glob(pattern))
        found = [path for path in found if not path.name.startswith(".") and path.resolve() not in others]
        if found:
            return found
    return []


def model_names(paths: Sequence[Path]) -> list[str]:
    """Name models after their files, with the folder where two files have one name.

    Examples
    --------
    >>> model_names([Path("a/cpa.h5ad"), Path("a/gears.h5ad")])
    ['cpa', 'gears']
    >>> model_names([Path("cpa/out.h5ad"), Path("gears/out.h5ad")])
    ['cpa/out', 'gears/out']
    """
    stems = Counter(path.stem for path in paths)
    return [path.stem if stems[path.stem] == 1 else f"{path.parent.name}/{path.stem}" for path in paths]

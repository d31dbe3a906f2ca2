"""One pass over the cells of some files: the genes they share, values that cannot be, and the means of groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import sparse

from pb_eval._checks import scale_problems
from pb_eval.artefact import ArtefactError
from pb_eval.cellfile import log_normalised
from pb_eval.columns import some

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from pb_eval.artefact import Scale
    from pb_eval.cellfile import CellFile
    from pb_eval.conditions import Condition, Group, Layout, Part
    from pb_eval.matrix import Matrix

__all__ = ["TARGET_SUM", "Expression", "Survey", "declared_scale", "nothing_predicted", "survey"]

TARGET_SUM = 10_000.0
_MEASURED, _PREDICTED = "measured", "predicted"


class Expression:
    """Expression of several files over the genes that they share, in the order of the last file, read as log1p.

    Parameters
    ----------
    files
        Prediction first, measured files after it.
    scale
        Of all files; counts of the shared genes are scaled to 10,000 a cell, then log1p is taken.
    allow_missing
        Take the genes that all files have, where they are not the same.

    Attributes
    ----------
    genes
        Names of the shared genes.
    notes
        What was found out, in sentences.

    Raises
    ------
    ArtefactError
        Where the genes differ and missing ones are not allowed, or none is shared.
    """

    def __init__(self, files: Sequence[CellFile], scale: Scale, *, allow_missing: bool = False) -> None:
        self.files, self.scale = files, scale
        self.notes: list[str] = []
        shared = files[-1].genes
        for file in files[:-1]:
            shared = shared[shared.isin(file.genes)]
        if any(len(shared) != len(file.genes) for file in files):
            self.notes.append(_lost(files, shared, allow_missing=allow_missing))
        self.genes = [str(gene) for gene in shared]
        self._columns = {id(file): _positions(file.genes, shared) for file in files}
        if scale == "counts":
            self.notes.append(
                f"Counts of the {len(shared):,} genes are scaled to {TARGET_SUM:,.0f} a cell, then log1p."
            )

    def raw(self, file: CellFile, rows: NDArray[np.intp]) -> Iterator[tuple[NDArray[np.intp], Matrix]]:
        """Yield cells as the file holds them, in blocks."""
        return file.blocks(rows, self._columns[id(file)])

    def blocks(self, part: Part) -> Iterator[tuple[NDArray[np.intp], Matrix]]:
        """Yield the cells of a group as log1p, in blocks."""
        for rows, block in self.raw(part.file, part.rows):
            yield rows, self.log1p(block)

    def log1p(self, block: Matrix) -> Matrix:
        """Bring a block to log1p."""
        return log_normalised(block, TARGET_SUM) if self.scale == "counts" else block


class Survey(NamedTuple):
    """Means of the measured groups, and what is worth knowing of zeros and values below them, in sentences."""

    truths: dict[Condition, NDArray[np.float64]]
    controls: dict[str, NDArray[np.float64]]
    notes: list[str]


@dataclass
class _Seen:
    """What the cells of one role show: which genes any of them expresses, and the lowest value, at most 0."""

    expressed: NDArray[np.bool_]
    low: float = 0.0

    def add(self, block: Matrix, chosen: NDArray[np.bool_]) -> None:
        part = block if chosen.all() else block[chosen]
        values = part if isinstance(part, np.ndarray) else part.data
        self.low = min(self.low, float(values.min(initial=0.0)))
        self.expressed |= _nonzero(part)


def survey(expression: Expression, layout: Layout) -> Survey:
    """Read all cells of a layout once, in blocks.

    Raises
    ------
    ArtefactError
        In one sentence: NaN or infinite values, values that are not on the declared scale, a group without any
        expression.
    """
    groups: dict[Any, Part] = {condition: truth for condition, (truth, _) in layout.measured.items()}
    groups |= {condition.context: control for condition, (_, control) in layout.measured.items()}
    means: dict[Any, NDArray[np.float64]] = {}
    silent = 0
    seen = {role: _Seen(np.zeros(len(expression.genes), dtype=bool)) for role in (_MEASURED, _PREDICTED)}
    for file in expression.files:
        own = {key: part for key, part in groups.items() if part.file is file}
        predicted = [group for group in layout.groups if group.predicted.file is file]
        found, n_silent = _read(expression, file, own, predicted, seen)
        means, silent = means | found, silent + n_silent
    for key in groups:
        if not means[key].any():
            words = f"the control of {key!r}" if isinstance(key, str) else key.words()
            msg = f"{groups[key].file.path}: all genes are zero in every cell of {words}: leave it out, or mend X."
            raise ArtefactError(msg)
    conditions = list(layout.measured)
    return Survey(
        {condition: means[condition] for condition in conditions},
        {condition.context: means[condition.context] for condition in conditions},
        _zeros(expression.genes, silent, seen[_MEASURED].expressed, seen[_PREDICTED].expressed)
        + _below_zero(seen[_PREDICTED].low),
    )


def declared_scale(files: Sequence[CellFile], said: str | None) -> Scale:
    """Return the scale of all files, as said or as they declare it in `uns["pb"]["scale"]`; it is never guessed.

    Raises
    ------
    ArtefactError
        Where a file's scale is not declared, contradicts what is said, or is not that of the others.
    """
    scales: dict[Any, CellFile] = {}
    for file in files:
        own = file.declared.get("scale")
        if own is None and said is None:
            msg = f"{file.path} does not say on which scale X is, and it is not guessed: give --scale log1p or counts."
            raise ArtefactError(msg)
        if own is not None and said is not None and own != said:
            msg = f"{file.path} declares its scale as {own!r}, not {said!r}: leave --scale out, or mend the file."
            raise ArtefactError(msg)
        scales.setdefault(own or said, file)
    if len(scales) > 1:
        (first, one), (second, another) = list(scales.items())[:2]
        msg = f"{one.path} holds {first} and {another.path} holds {second}: write both on one scale, normalised alike."
        raise ArtefactError(msg)
    [scale] = scales
    if scale not in ("log1p", "counts"):
        msg = f"{files[0].path} declares its scale as {scale!r}: declare log1p or counts."
        raise ArtefactError(msg)
    checked: Scale = scale
    return checked


def _read(
    expression: Expression,
    file: CellFile,
    groups: Mapping[Any, Part],
    predicted: Sequence[Group],
    seen: Mapping[str, _Seen],
) -> tuple[dict[Any, NDArray[np.float64]], int]:
    """Check one file's cells; return the means of its measured groups and the number of cells without expression."""
    codes = np.full(file.n_cells, -1)
    for number, rows in enumerate(
        [part.rows for part in groups.values()] + [group.predicted.rows for group in predicted]
    ):
        codes[rows] = number
    sums = np.zeros((len(groups) + 1, len(expression.genes)))  # the last of all predicted cells
    silent = np.zeros(file.n_cells, dtype=bool)
    high, whole = 0.0, True
    for rows, block in expression.raw(file, np.flatnonzero(codes >= 0)):
        values = block if isinstance(block, np.ndarray) else block.data
        _check_finite(file, block, expression.genes)
        high = max(high, float(values.max(initial=0.0)))
        whole = whole and bool((values == np.rint(values)).all())
        is_predicted = codes[rows] >= len(groups)
        for role, chosen in ((_MEASURED, ~is_predicted), (_PREDICTED, is_predicted)):
            seen[role].add(block, chosen)
        silent[rows] = _silent(block)
        with np.errstate(invalid="ignore", divide="ignore"):  # of counts below 0, which are refused below
            _add_sums(sums, np.minimum(codes[rows], len(groups)), expression.log1p(block))
    measured = seen[_MEASURED].low
    low = min(measured, seen[_PREDICTED].low)
    if problems := scale_problems(expression.scale, low, high, whole=whole, measured=measured):
        msg = f"{file.path}: {' '.join(problems)}"
        raise ArtefactError(msg)
    for group in predicted:
        if silent[group.predicted.rows].all():
            raise nothing_predicted(file.path, group.condition.words())
    return {key: sums[number] / len(part.rows) for number, (key, part) in enumerate(groups.items())}, int(silent.sum())


def nothing_predicted(path: Path, condition: str) -> ArtefactError:
    """Make the error for a file whose predicted cells of a condition express nothing."""
    where = f"every predicted cell of {condition}"
    return ArtefactError(f"{path}: all genes are zero in {where}: write the prediction to X, or leave it out.")


def _check_finite(file: CellFile, block: Matrix, genes: Sequence[str]) -> None:
    """Refuse NaN and infinite values, naming a gene."""
    values = block if isinstance(block, np.ndarray) else block.data
    bad = ~np.isfinite(values)
    if bad.any():
        first = np.argwhere(bad)[0]
        column = first[1] if isinstance(block, np.ndarray) else block.indices[first[0]]
        msg = (
            f"{file.path}: X holds values that are NaN or infinite (the first for gene {genes[column]!r}): predict a "
            "finite value for every gene."
        )
        raise ArtefactError(msg)


def _nonzero(block: Matrix) -> NDArray[np.bool_]:
    """Whether any cell expresses each gene."""
    if isinstance(block, np.ndarray):
        return np.asarray((block != 0).any(axis=0))
    expressed = np.zeros(block.shape[1], dtype=bool)
    expressed[block.indices[block.data != 0]] = True
    return expressed


def _silent(block: Matrix) -> NDArray[np.bool_]:
    """Whether each cell is zero in every gene."""
    if isinstance(block, np.ndarray):
        return np.asarray(~(block != 0).any(axis=1))
    filled = np.append(0, np.cumsum(block.data != 0))[block.indptr]
    return np.asarray(filled[1:] == filled[:-1])


def _add_sums(sums: NDArray[np.float64], codes: NDArray[np.intp], block: Matrix) -> None:
    """Add the sum over each group's cells of a block."""
    present, numbers = np.unique(codes, return_inverse=True)
    ones = np.ones(len(codes))
    indicator = sparse.csr_matrix((ones, (numbers, np.arange(len(codes)))), shape=(len(present), len(codes)))
    added = indicator @ block
    sums[present] += added if isinstance(added, np.ndarray) else added.toarray()


def _zeros(genes: Sequence[str], silent: int, measured: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> list[str]:
    """Say how many cells express nothing, which genes nobody expresses, and which one side alone does."""
    notes = [f"{silent:,} cells are zero in every gene: they are kept."] if silent else []
    if nowhere := int((~measured & ~predicted).sum()):
        notes.append(
            f"{nowhere:,} of {len(genes):,} genes are zero in every cell: they are kept, and agree with any prediction."
        )
    for where, elsewhere, absent in (
        (_PREDICTED, _MEASURED, measured & ~predicted),
        (_MEASURED, _PREDICTED, predicted & ~measured),
    ):
        if absent.any():
            notes.append(
                f"{absent.sum():,} of {len(genes):,} genes are zero in every {where} cell but not in the {elsewhere} "
                f"ones ({some(np.array(genes)[absent], limit=3)})."
            )
    return notes


def _below_zero(low: float) -> list[str]:
    """Say that predictions lie below 0, where a decoder may end but log1p of counts does not."""
    if low == 0:
        return []
    words = (
        f"Predicted values go down to {low:.3g}, as no log1p does: they are kept; if X was centred or scaled, undo it."
    )
    return [words]


def _lost(files: Sequence[CellFile], shared: pd.Index[Any], *, allow_missing: bool) -> str:
    """Say how many genes each file has that not all have; refuse where that is not allowed."""
    counts = " and ".join(f"{file.path} has {len(file.genes):,}" for file in files)
    others = [gene for file in files for gene in file.genes[~file.genes.isin(shared)]]
    if not len(shared):
        msg = f"{counts} genes, none of them shared ({some(others, limit=2)}): name genes alike in all files."
        raise ArtefactError(msg)
    if not allow_missing:
        msg = (
            f"The genes are not the same: {counts}, {len(shared):,} are shared (not shared: {some(others, limit=3)}); "
            "predict the measured genes, or give --allow-missing-genes to score the shared ones."
        )
        raise ArtefactError(msg)
    lost = " and ".join(f"{len(file.genes) - len(shared):,} of {len(file.genes):,} in {file.path}" for file in files)
    return f"Only the {len(shared):,} genes that all files have are scored; lost: {lost}."


def _positions(genes: pd.Index[Any], wanted: pd.Index[Any]) -> NDArray[np.intp] | None:
    """Columns of the wanted genes, None where they are all, in order."""
    return None if genes.equals(wanted) else genes.get_indexer(wanted)

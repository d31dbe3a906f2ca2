"""The result table: one tidy row for each metric of one predicted unit."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import pandas as pd

from pb_eval._files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pb_eval.artefact import PredictionInfo

__all__ = ["RESULT_COLUMNS", "RESULT_DTYPES", "empty_table", "merge_tables", "read_table", "result_rows", "write_table"]

RESULT_DTYPES: Mapping[str, str] = {
    "dataset": "object",
    "split": "object",
    "context": "object",
    "perturbation": "object",
    "dose": "float64",  # NaN where there is none
    "model": "object",
    "seed": "int64",
    "metric": "object",
    "metric_version": "int64",
    "value": "float64",  # NaN where the metric is undefined
    "low": "float64",  # bootstrap interval over cells; NaN where there is none
    "high": "float64",
    "floor": "float64",  # NaN where no baseline was scored
    "ceiling": "float64",
    "scaled": "float64",
    "n_predicted": "int64",
    "n_true": "int64",
    "split_hash": "object",
    "profile": "object",
    "gene_set": "object",
    "space": "object",
}
RESULT_COLUMNS = tuple(RESULT_DTYPES)
_LATER = ("low", "high", "floor", "ceiling", "scaled")  # older tables do not have them: NaN

_TEXT = [name for name, dtype in RESULT_DTYPES.items() if dtype == "object"]
_FLOATS = [name for name, dtype in RESULT_DTYPES.items() if dtype == "float64"]
_ORDER = ["dataset", "split", "context", "perturbation", "dose", "model", "profile", "seed", "metric", "metric_version"]
_ORDER += ["split_hash", "gene_set", "space", "value", "n_predicted", "n_true", *_LATER]


class Declared(Protocol):
    """What a row repeats of a metric's declaration (`pb_eval.registry.Metric` has it)."""

    @property
    def version(self) -> int: ...
    @property
    def gene_set(self) -> str: ...
    @property
    def space(self) -> str: ...


def result_rows(
    info: PredictionInfo,
    scores: Mapping[str, float],
    *,
    n_predicted: int,
    n_true: int,
    perturbation: str,
    dose: float | None = None,
    context: str | None = None,
    metrics: Mapping[str, Declared] | None = None,
    intervals: Mapping[str, tuple[float, float]] | None = None,
    ceilings: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Lay the `scores` of one predicted unit out as rows, one a metric.

    Parameters
    ----------
    info
        Describes the prediction that was scored.
    scores
        Value by metric name.
    n_predicted, n_true
        Cells compared.
    perturbation, dose, context
        The unit's, as in `obs`; the context may be left out where the file holds one.
    metrics
        Declaration by metric name; by default the registry's.
    intervals
        Bounds of the value by metric name, as :func:`pb_eval.intervals` gives them; none by default.
    ceilings
        What a replicate scores, by metric name (`pb_eval.split_half`). The floor and the scaled score follow once the
        baselines of the unit are known: `pb_eval.with_floor`.

    Examples
    --------
    >>> from pb_eval.artefact import PredictionInfo
    >>> info = PredictionInfo(dataset="pbmc", split="leave-context-out", context="B cells", model="control",
    ...                       scale="log1p", context_key="cell_type", perturbation_key="condition")
    >>> rows = result_rows(info, {"mse_mean": 0.25}, n_predicted=602, n_true=732, perturbation="stimulated")
    >>> rows[["context", "model", "metric", "metric_version", "value", "n_true"]].values.tolist()
    [['B cells', 'control', 'mse_mean', 1, 0.25, 732]]
    """
    if not scores:
        return empty_table()
    declared = [_declared(name, metrics) for name in scores]
    none = (np.nan, np.nan)
    bounds = np.array([none if intervals is None else intervals.get(name, none) for name in scores])
    rows = pd.DataFrame(
        {
            "metric": list(scores),
            "metric_version": [metric.version for metric in declared],
            "value": list(scores.values()),
            "low": bounds[:, 0],
            "high": bounds[:, 1],
            "ceiling": [np.nan if ceilings is None else ceilings.get(name, np.nan) for name in scores],
            "gene_set": [metric.gene_set for metric in declared],
            "space": [metric.space for metric in declared],
        }
    )
    named = ("dataset", "split", "model", "seed", "split_hash", "profile")
    unit = {"context": info.context if context is None else context, "perturbation": perturbation}
    rows = rows.assign(**{name: getattr(info, name) for name in named}, **unit)
    return _conform(rows.assign(dose=np.nan if dose is None else dose, n_predicted=n_predicted, n_true=n_true))


def empty_table() -> pd.DataFrame:
    """Return a result table without rows, its columns typed.

    Examples
    --------
    >>> empty_table().shape
    (0, 21)
    """
    return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in RESULT_DTYPES.items()})


def merge_tables(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Join result tables, for example one of each task, into one in the order in which tables are written.

    Examples
    --------
    >>> merge_tables([empty_table(), empty_table()]).shape
    (0, 21)
    """
    filled = [_conform(table) for table in tables if len(table)]
    return _ordered(pd.concat(filled, ignore_index=True)) if filled else empty_table()


def write_table(table: pd.DataFrame, path: Path | str) -> None:
    """Write result rows to `path` (`.csv` or `.parquet`), whole or not at all.

    Rows are sorted, so that the same rows give the same file whatever their order; floats are written with the digits
    that read back as the same bits, and a missing one (NaN) as an empty field.

    Raises
    ------
    ValueError
        For another suffix, and for missing, unknown or ill-typed columns.
    OSError
        Where the folder does not exist or there is no room left; nothing is written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_table(empty_table(), Path(folder) / "results.csv")
    ...     (Path(folder) / "results.csv").read_text()[:29]
    'dataset,split,context,perturb'
    """
    suffix = _suffix(path)
    rows = _ordered(_conform(table))
    if suffix == ".csv":
        write_atomic(path, rows.to_csv(index=False, lineterminator="\n", quoting=_quoting(rows)).encode())
        return
    image = io.BytesIO()
    rows.to_parquet(image, engine="pyarrow", index=False, schema=_parquet_schema())
    with image.getbuffer() as view:  # released even where writing fails
        write_atomic(path, view)


def read_table(path: Path | str) -> pd.DataFrame:
    """Read result rows from `.csv` or `.parquet`; both give the same columns, dtypes and bits.

    Raises
    ------
    ValueError
        For another suffix, and for missing, unknown or ill-typed columns.
    """
    if _suffix(path) == ".parquet":
        return _conform(pd.read_parquet(path, engine="pyarrow"))
    text = dict.fromkeys(_TEXT, str)
    blank = {name: [""] for name in _FLOATS}
    return _conform(pd.read_csv(path, dtype=text, keep_default_na=False, na_values=blank, float_precision="round_trip"))


def _declared(name: str, metrics: Mapping[str, Declared] | None) -> Declared:
    if metrics is not None:
        return metrics[name]
    from pb_eval.registry import get_metric  # a table can be read without the metrics

    return get_metric(name)


def _conform(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with exactly the result columns, in order and typed; later ones may be missing."""
    table = table.assign(**{name: np.nan for name in _LATER if name not in table.columns})
    missing = [name for name in RESULT_COLUMNS if name not in table.columns]
    unknown = [str(name) for name in table.columns if name not in RESULT_DTYPES]
    if missing or unknown:
        found = " and ".join(
            f"{what} {', '.join(names)}" for what, names in (("lacks", missing), ("has the unknown", unknown)) if names
        )
        msg = f"the result table {found}: give exactly the columns {', '.join(RESULT_COLUMNS)}"
        raise ValueError(msg)
    return pd.DataFrame({name: _typed(table[name], dtype) for name, dtype in RESULT_DTYPES.items()}).reset_index(
        drop=True
    )


def _typed(column: pd.Series[Any], dtype: str) -> pd.Series[Any]:
    if dtype == "object":
        return column.astype(object).where(column.notna(), "").map(str).astype(object)
    try:
        numbers = pd.to_numeric(column)
        typed = numbers.astype(np.dtype(dtype))
    except (TypeError, ValueError) as error:
        msg = f"column {column.name!r} of the result table does not hold plain numbers ({error}): correct it"
        raise ValueError(msg) from error
    if dtype == "int64" and (typed != numbers).any():
        msg = f"column {column.name!r} of the result table holds fractions: write whole numbers"
        raise ValueError(msg)
    return typed


def _ordered(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.sort_values(_ORDER, kind="stable", ignore_index=True)


def _quoting(rows: pd.DataFrame) -> Literal[0, 2]:
    """Quote all text where some holds a carriage return (names out of Windows files), else only what needs it."""
    risky = any(rows[name].str.contains("\r", regex=False).any() for name in _TEXT)
    return csv.QUOTE_NONNUMERIC if risky else csv.QUOTE_MINIMAL


def _suffix(path: Path | str) -> str:
    suffix = Path(path).suffix
    if suffix not in (".csv", ".parquet"):
        msg = f"{path} ends in {suffix or 'no suffix'!r}: result tables are .csv or .parquet files"
        raise ValueError(msg)
    return suffix


def _parquet_schema() -> object:
    import pyarrow as pa  # half a second that reading a CSV need not pay

    types = {"object": pa.string(), "float64": pa.float64(), "int64": pa.int64()}
    return pa.schema([(name, types[dtype]) for name, dtype in RESULT_DTYPES.items()])

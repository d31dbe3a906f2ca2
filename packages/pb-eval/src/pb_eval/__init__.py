"""Evaluation for pb: perturbation-response metrics with declared definitions, prediction files, result tables."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pb_eval.registry import DEFAULT_METRICS, METRICS, Metric, get_metric, metric_names

if TYPE_CHECKING:
    from pb_eval.artefact import (
        ArtefactError,
        PredictionInfo,
        read_prediction,
        validate_prediction,
        write_prediction,
    )
    from pb_eval.calibration import Ceiling, scaled, split_half, technical_duplicate
    from pb_eval.comparison import Comparison, compare
    from pb_eval.context import OtherUnit, TrainingResponse, other_unit, training_response
    from pb_eval.errors import gene_errors
    from pb_eval.limits import with_floor, with_scaled
    from pb_eval.reference import Cells, Reference
    from pb_eval.scoring import evaluate
    from pb_eval.separation import DynamicRange, dynamic_range
    from pb_eval.spaces import Basis, fit_basis
    from pb_eval.standings import Leaderboard, leaderboard
    from pb_eval.table import RESULT_COLUMNS, read_table, result_rows, write_table
    from pb_eval.uncertainty import Interval, intervals

__all__ = [
    "DEFAULT_METRICS",
    "METRICS",
    "RESULT_COLUMNS",
    "ArtefactError",
    "Basis",
    "Ceiling",
    "Cells",
    "Comparison",
    "DynamicRange",
    "Interval",
    "Leaderboard",
    "Metric",
    "OtherUnit",
    "PredictionInfo",
    "Reference",
    "TrainingResponse",
    "compare",
    "dynamic_range",
    "evaluate",
    "fit_basis",
    "gene_errors",
    "get_metric",
    "intervals",
    "leaderboard",
    "metric_names",
    "other_unit",
    "read_prediction",
    "read_table",
    "result_rows",
    "scaled",
    "split_half",
    "technical_duplicate",
    "training_response",
    "validate_prediction",
    "with_floor",
    "with_scaled",
    "write_prediction",
    "write_table",
]

_LAZY = {
    "RESULT_COLUMNS": "pb_eval.table",
    "ArtefactError": "pb_eval.artefact",
    "Basis": "pb_eval.spaces",
    "Ceiling": "pb_eval.calibration",
    "Cells": "pb_eval.reference",
    "DynamicRange": "pb_eval.separation",
    "Comparison": "pb_eval.comparison",
    "Interval": "pb_eval.uncertainty",
    "Leaderboard": "pb_eval.standings",
    "OtherUnit": "pb_eval.context",
    "PredictionInfo": "pb_eval.artefact",
    "Reference": "pb_eval.reference",
    "TrainingResponse": "pb_eval.context",
    "dynamic_range": "pb_eval.separation",
    "compare": "pb_eval.comparison",
    "evaluate": "pb_eval.scoring",
    "fit_basis": "pb_eval.spaces",
    "gene_errors": "pb_eval.errors",
    "intervals": "pb_eval.uncertainty",
    "leaderboard": "pb_eval.standings",
    "other_unit": "pb_eval.context",
    "read_prediction": "pb_eval.artefact",
    "read_table": "pb_eval.table",
    "result_rows": "pb_eval.table",
    "scaled": "pb_eval.calibration",
    "split_half": "pb_eval.calibration",
    "technical_duplicate": "pb_eval.calibration",
    "training_response": "pb_eval.context",
    "validate_prediction": "pb_eval.artefact",
    "with_floor": "pb_eval.limits",
    "with_scaled": "pb_eval.limits",
    "write_prediction": "pb_eval.artefact",
    "write_table": "pb_eval.table",
}


def __getattr__(name: str) -> Any:
    """Import what needs numpy, scipy or anndata when it is first used: listing the metrics stays instant."""
    if name not in _LAZY:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, imported yet or not."""
    return sorted({*globals(), *__all__})

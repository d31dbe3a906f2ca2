"""One metric in one file: its formula, and what has to be known to read its value."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from pb_eval import Metric

if TYPE_CHECKING:
    from pb_eval import Cells, Reference


def max_error_mean(prediction: Cells, reference: Reference) -> float:
    """Largest absolute difference over genes of predicted and true mean expression."""
    return float(np.abs(reference.truth.mean - prediction.mean).max())


MAX_ERROR_MEAN = Metric(
    name="max_error_mean",
    function="pb_plugin_example.metric:max_error_mean",
    family="means",
    direction="lower",
    range=(0.0, math.inf),
    perfect=0.0,
    definition="largest absolute difference over genes of true and predicted mean expression",
)

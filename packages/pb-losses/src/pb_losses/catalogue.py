"""What each loss is, in words: read by listings and by the grids of experiments, without torch."""

from .catalogue_classification import CLASSIFICATION
from .catalogue_features import FEATURES
from .catalogue_regression import REGRESSION
from .description import LossInfo, Parameter

__all__ = ["CATALOGUE", "LossInfo", "Parameter"]

CATALOGUE: dict[str, LossInfo] = {info.name: info for info in (*REGRESSION, *FEATURES, *CLASSIFICATION)}

"""What each loss is, in words: read by listings and by the grids of experiments, without torch."""

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["CATALOGUE", "LossInfo", "Parameter"]

Kind = Literal["regression", "classification", "features", "other"]
Stage = Literal["direct", "representation", "regulariser"]


@dataclass(frozen=True)
class Parameter:
    """One hyper-parameter: meaning, default, and the values its papers searched (empty where none was)."""

    name: str
    meaning: str
    default: Any
    grid: tuple[Any, ...] = ()


@dataclass(frozen=True)
class LossInfo:
    """One loss: its kind, what ``forward`` takes, and how it is used.

    ``stage`` is "direct" where the loss trains a model alone, "representation" where it trains the features first and
    another loss trains the head, "regulariser" where it is added, times a weight, to a direct loss.
    """

    name: str
    kind: Kind
    family: str
    summary: str
    paper: str
    parameters: tuple[Parameter, ...] = ()
    equation: str = ""
    inputs: tuple[str, ...] = ("prediction", "target")
    stage: Stage = "direct"


def _regression(name: str, family: str, summary: str, equation: str, paper: str, *parameters: Parameter) -> LossInfo:
    return LossInfo(name, "regression", family, summary, paper, parameters, equation)


_TEXTBOOK = "textbook"
_FOCAL = "Yang et al. 2021, Delving into Deep Imbalanced Regression (arXiv 2102.09554)"
_FOCAL_PARAMETERS = (
    Parameter("beta", "how fast an error leaves the down-weighted zone, per unit of target", 0.2, (0.25, 1.0, 4.0)),
    Parameter("gamma", "strength of the down-weighting of small errors; 0 = none", 1.0),
)

_ENTRIES = (
    _regression("mae", "pointwise", "Mean absolute error; robust to outlying targets.", "mean |e|", _TEXTBOOK),
    _regression("mse", "pointwise", "Mean squared error; efficient for Gaussian noise.", "mean e^2", _TEXTBOOK),
    _regression(
        "wmse",
        "pointwise",
        "Squared error averaged with given weights per target, e.g. per gene.",
        "sum w e^2 / sum w",
        "Mejia et al. 2025, Diversity by Design (arXiv 2506.22641)",
        Parameter("weights", "non-negative weight of each target, shape (targets,) or (batch, targets)", None),
    ),
    _regression(
        "huber",
        "pointwise",
        "Squared near zero, absolute beyond delta; a robust default.",
        "mean e^2/2 if |e| <= delta else delta (|e| - delta/2)",
        "Huber 1964, Robust Estimation of a Location Parameter",
        Parameter(
            "delta", "error at which the square turns into a line, in units of the target", 1.0, (0.25, 1.0, 4.0)
        ),
    ),
    _regression(
        "focal-mae",
        "pointwise",
        "Absolute error that down-weights small errors.",
        "mean |e| tanh(beta |e| / 2)^gamma",
        _FOCAL,
        *_FOCAL_PARAMETERS,
    ),
    _regression(
        "focal-mse",
        "pointwise",
        "Squared error that down-weights small errors.",
        "mean e^2 tanh(beta |e| / 2)^gamma",
        _FOCAL,
        *_FOCAL_PARAMETERS,
    ),
)

CATALOGUE: dict[str, LossInfo] = {info.name: info for info in _ENTRIES}

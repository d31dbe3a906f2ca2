"""What each regression loss is, in words."""

from .description import GATHER, TEXTBOOK, LossInfo, Parameter

__all__ = ["REGRESSION"]


def _regression(name: str, family: str, summary: str, equation: str, paper: str, *parameters: Parameter) -> LossInfo:
    return LossInfo(name, "regression", family, summary, paper, parameters, equation)


_FAR = "Zhu et al. 2024, Function Aligned Regression (arXiv 2402.06104)"
_FOCAL = "Yang et al. 2021, Delving into Deep Imbalanced Regression (arXiv 2102.09554)"

_FOCAL_PARAMETERS = (
    Parameter("beta", "how fast an error leaves the down-weighted zone, per unit of target", 0.2, (0.25, 1.0, 4.0)),
    Parameter("gamma", "strength of the down-weighting of small errors; 0 = none", 1.0),
)
_FAR_PARAMETERS = (
    Parameter(
        "alpha",
        "how evenly direction, value and magnitude are weighed; above 1 on targets of large scale",
        1.0,
        (0.1, 0.2, 0.25, 0.4, 0.5, 0.8, 1.0, 1.25, 2.0, 2.5, 4.0, 5.0, 10.0),
    ),
    Parameter("form", "log of the power mean, or the power mean itself (exp)", "log", ("log", "exp")),
    Parameter("per_target", "aggregate each target on its own, so that none rules by its scale", False),
    Parameter("eps", "added to each of the three terms", 1e-7),
    GATHER,
    Parameter("reference_compatible", "ddof 1 and half the variance, as in the authors' code", False),
)

REGRESSION = (
    _regression("mae", "pointwise", "Mean absolute error; robust to outlying targets.", "mean |e|", TEXTBOOK),
    _regression("mse", "pointwise", "Mean squared error; efficient for Gaussian noise.", "mean e^2", TEXTBOOK),
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
    _regression(
        "far",
        "aligned",
        "Aligns direction, value and magnitude of predictions with the targets; no trade-off to tune.",
        "alpha log( (1/3) ((1 - corr)^(1/alpha) + (mean |e|)^(1/alpha) + Var(e)^(1/alpha)) )",
        _FAR,
        *_FAR_PARAMETERS,
    ),
    _regression(
        "gar",
        "aligned",
        "Another name of far (gradient aligned regression).",
        "alpha log( (1/3) ((1 - corr)^(1/alpha) + (mean |e|)^(1/alpha) + Var(e)^(1/alpha)) )",
        _FAR,
        *_FAR_PARAMETERS,
    ),
    _regression(
        "mae+pearson",
        "aligned",
        "Absolute error, and correlation the more the worse it is.",
        "(1 - b) mean |e| + b (1 - corr), b = (1 - corr) / 2 held constant",
        _FAR,
        GATHER,
    ),
)

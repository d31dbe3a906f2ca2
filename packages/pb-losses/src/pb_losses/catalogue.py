"""What each loss is, in words: read by listings and by the grids of experiments, without torch."""

import math
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


def _classification(
    name: str, family: str, summary: str, equation: str, paper: str, *parameters: Parameter
) -> LossInfo:
    return LossInfo(name, "classification", family, summary, paper, parameters, equation, ("logits", "target"))


_TEXTBOOK = "textbook"
_FAR = "Zhu et al. 2024, Function Aligned Regression (arXiv 2402.06104)"
_LDR = "Zhu, Ying and Yang 2023, Label Distributionally Robust Losses (arXiv 2112.14869)"
_SCE = "Wang et al. 2019, Symmetric Cross Entropy (arXiv 1908.06112)"
_NCE = "Ma et al. 2020, Normalized Loss Functions (arXiv 2006.13554)"
_ASYMMETRIC = "Zhou et al. 2021, Asymmetric Loss Functions (arXiv 2106.03110)"
_FOCAL = "Yang et al. 2021, Delving into Deep Imbalanced Regression (arXiv 2102.09554)"
_FOCAL_PARAMETERS = (
    Parameter("beta", "how fast an error leaves the down-weighted zone, per unit of target", 0.2, (0.25, 1.0, 4.0)),
    Parameter("gamma", "strength of the down-weighting of small errors; 0 = none", 1.0),
)

_GATHER = Parameter("gather", "use the global batch of distributed training", False)
_LABEL_DISTANCE = Parameter(
    "label_distance", "callable giving distances between labels; None = absolute difference", None
)
_CHUNK = Parameter("chunk", "anchors at a time: memory against overhead", 128)
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
    _GATHER,
    Parameter("reference_compatible", "ddof 1 and half the variance, as in the authors' code", False),
)
_MARGIN = Parameter("margin", "by which the label should win, in units of the logits", 0.1, (0.1,))
_TEMPERATURE = Parameter(
    "temperature", "the paper's lambda: small = worst rival, large = all alike, more robust", 1.0, (0.1, 1.0, 10.0)
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
        _GATHER,
    ),
    LossInfo(
        "rnc",
        "features",
        "contrastive",
        "Orders features by label: near in label, near in feature space.",
        "Zha et al. 2023, Rank-N-Contrast (arXiv 2210.01189)",
        (
            Parameter("temperature", "divides feature distances", 2.0, (1.0, 2.0, 4.0)),
            _LABEL_DISTANCE,
            Parameter("tie_tolerance", "above 0, label distances are rounded to multiples of it", 0.0),
            _CHUNK,
            _GATHER,
        ),
        "mean over i != j of log sum_{k: d_ik >= d_ij} exp(-|z_i - z_k| / t) + |z_i - z_j| / t",
        ("features", "target"),
        "representation",
    ),
    LossInfo(
        "conr",
        "features",
        "contrastive",
        "Pushes apart features whose labels differ though predictions agree.",
        "Keramati et al. 2024, ConR (arXiv 2309.06651)",
        (
            Parameter("window", "within it labels or predictions are alike, in units of the target", 1.0, (0.2, 1.0)),
            Parameter("temperature", "divides the cosine similarity", 0.07, (0.07, 0.2)),
            Parameter("exponent", "how much more a negative weighs the farther its label", 0.01, (0.01, 0.2)),
            Parameter("weight", "constant weight of negatives", 1.0),
            _LABEL_DISTANCE,
            _CHUNK,
            _GATHER,
            Parameter(
                "reference_compatible", "the authors' 1 in the denominator for every pair that is no positive", False
            ),
        ),
        "mean over i of log(sum_Pos exp s + sum_Neg w exp(e l) exp s) - mean_Pos s",
        ("features", "target", "prediction"),
        "regulariser",
    ),
    LossInfo(
        "ranksim",
        "features",
        "ranking",
        "Makes similar labels rank as similar features.",
        "Gong, Mori and Tung 2022, RankSim (arXiv 2205.15236)",
        (
            Parameter("interpolation", "the paper's lambda: how far the blackbox gradient looks", 2.0, (0.5, 1.0, 2.0)),
            _LABEL_DISTANCE,
            Parameter("generator", "random numbers choosing one sample of each label", None),
            _GATHER,
        ),
        "sum over i of mean_j (rank(s_i)_j - rank(-d_i)_j)^2",
        ("features", "target"),
        "regulariser",
    ),
    _classification("ce", "entropy", "Cross entropy; efficient where labels are right.", "-log P_c", _TEXTBOOK),
    _classification(
        "rce",
        "entropy",
        "Reverse cross entropy; bounded and symmetric.",
        "-A (1 - P_c), A = log 0",
        _SCE,
        Parameter("log_zero", "the paper's A: what log 0 is set to", math.log(1e-4)),
    ),
    _classification(
        "sce",
        "entropy",
        "Cross entropy made robust by its reverse.",
        "(1 - b) CE + b RCE",
        _SCE,
        Parameter("balance", "share of the reverse cross entropy", 0.5, (0.05, 0.5, 0.95)),
        Parameter("log_zero", "the paper's A: what log 0 is set to", -4.0),
    ),
    _classification(
        "gce",
        "entropy",
        "Between cross entropy (q = 0) and absolute error (q = 1); optionally truncated.",
        "(1 - P_c^q) / q",
        "Zhang and Sabuncu 2018, Generalized Cross Entropy (arXiv 1805.07836)",
        Parameter("q", "robustness, 0 to 1", 0.7, (0.05, 0.7, 0.95)),
        Parameter("truncation", "the paper's k: samples with P_c below it teach nothing", 0.0, (0.0, 0.5)),
    ),
    _classification(
        "nce", "entropy", "Cross entropy over its sum over all labels; symmetric.", "log P_c / sum_k log P_k", _NCE
    ),
    _classification(
        "js",
        "entropy",
        "Weighted Jensen-Shannon divergence; bounded.",
        "(w KL(y||m) + (1-w) KL(P||m)) / (-(1-w) log(1-w)), m = w y + (1-w) P",
        "Englesson and Azizpour 2021, Generalized Jensen-Shannon (arXiv 2105.04522)",
        Parameter("label_weight", "the paper's pi_1: 0 towards CE, 1 towards absolute error", 0.5, (0.1, 0.5, 0.9)),
    ),
    _classification(
        "mae-cls",
        "bounded",
        "Absolute error of probabilities; most robust, slowest to fit.",
        "2 (1 - P_c)",
        "Ghosh et al. 2017, Robust Loss Functions under Label Noise (arXiv 1712.09482)",
    ),
    _classification(
        "brier",
        "bounded",
        "Squared error of probabilities; bounded and proper.",
        "sum_k (y_k - P_k)^2",
        "Brier 1950, Verification of Forecasts Expressed in Terms of Probability",
    ),
    _classification(
        "agce",
        "bounded",
        "Asymmetric generalised cross entropy.",
        "((a + 1)^q - (a + P_c)^q) / q",
        _ASYMMETRIC,
        Parameter("a", "positive; larger is straighter", 3.0, (3.0,)),
        Parameter("q", "positive; curvature", 1.5, (1.5,)),
    ),
    _classification(
        "aul",
        "bounded",
        "Asymmetric unhinged loss.",
        "((a - P_c)^q - (a - 1)^q) / q",
        _ASYMMETRIC,
        Parameter("a", "above 1; larger is straighter", 6.0, (6.0,)),
        Parameter("q", "positive; curvature", 1.5, (1.5,)),
    ),
    _classification(
        "rll",
        "bounded",
        "Robust log loss; symmetric.",
        "-log(a + P_c) + mean_{j != c} log(a + P_j)",
        "Patel and Sastry 2021, Memorization in Deep Neural Networks (arXiv 2107.09957)",
        Parameter("a", "positive; larger is flatter", 1.0, (0.1, 1.0, 10.0)),
    ),
    _classification(
        "apl",
        "bounded",
        "Active + passive: NCE fits, RCE, AGCE or AUL keeps robust.",
        "alpha NCE + beta X",
        _NCE,
        Parameter("passive", "which loss X is", "rce", ("rce", "agce", "aul")),
        Parameter("alpha", "weight of NCE; in the grids alpha + beta = 10", 5.0, (0.1, 5.0, 9.9)),
        Parameter("beta", "weight of X", 5.0, (9.9, 5.0, 0.1)),
    ),
    _classification(
        "cs",
        "margin",
        "Hinge against the strongest rival.",
        "max_k [m 1(k != c) + f_k - f_c]",
        "Crammer and Singer 2001, Multiclass Kernel-based Vector Machines",
        Parameter("margin", "by which the label should win", 1.0, (0.1, 1.0, 10.0)),
    ),
    _classification(
        "ww",
        "margin",
        "Hinge against every rival.",
        "(1/K) sum_k [m 1(k != c) + f_k - f_c]_+",
        "Weston and Watkins 1999, Multi-Class Pattern Recognition",
        Parameter("margin", "by which the label should win", 1.0, (0.1, 1.0, 10.0)),
    ),
    _classification(
        "ldr",
        "label-robust",
        "Label-distributionally robust: between worst rival and all alike.",
        "lambda log( (1/K) sum_k exp((m 1(k != c) + f_k - f_c) / lambda) )",
        _LDR,
        _TEMPERATURE,
        _MARGIN,
    ),
    _classification(
        "ldr-softplus",
        "label-robust",
        "LDR of softplus-normalised logits, as in the authors' code.",
        "LDR of K softplus(f) / sum_j softplus(f_j)",
        _LDR,
        _TEMPERATURE,
        _MARGIN,
    ),
    _classification(
        "aldr",
        "label-robust",
        "LDR that adapts its temperature to each sample.",
        "max over lambda of LDR(lambda) - alpha log K (lambda - lambda_0)^2 / (2 lambda_0)",
        _LDR,
        Parameter("temperature", "the paper's lambda_0, the largest temperature", 1.0, (0.1, 1.0, 10.0)),
        Parameter("alpha", "above 1; how strongly the temperature is held at lambda_0", 2.0, (2.0,)),
        _MARGIN,
    ),
)

CATALOGUE: dict[str, LossInfo] = {info.name: info for info in _ENTRIES}

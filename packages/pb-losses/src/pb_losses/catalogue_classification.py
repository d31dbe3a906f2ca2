"""What each classification loss is, in words."""

import math

from .description import TEXTBOOK, LossInfo, Parameter

__all__ = ["CLASSIFICATION"]


def _classification(
    name: str, family: str, summary: str, equation: str, paper: str, *parameters: Parameter
) -> LossInfo:
    return LossInfo(name, "classification", family, summary, paper, parameters, equation, ("logits", "target"))


_LDR = "Zhu, Ying and Yang 2023, Label Distributionally Robust Losses (arXiv 2112.14869)"
_SCE = "Wang et al. 2019, Symmetric Cross Entropy (arXiv 1908.06112)"
_NCE = "Ma et al. 2020, Normalized Loss Functions (arXiv 2006.13554)"
_ASYMMETRIC = "Zhou et al. 2021, Asymmetric Loss Functions (arXiv 2106.03110)"

_MARGIN = Parameter("margin", "by which the label should win, in units of the logits", 0.1, (0.1,))
_TEMPERATURE = Parameter(
    "temperature", "the paper's lambda: small = worst rival, large = all alike, more robust", 1.0, (0.1, 1.0, 10.0)
)

CLASSIFICATION = (
    _classification("ce", "entropy", "Cross entropy; efficient where labels are right.", "-log P_c", TEXTBOOK),
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

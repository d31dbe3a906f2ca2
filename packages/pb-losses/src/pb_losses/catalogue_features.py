"""What each loss on features is, in words."""

from .description import GATHER, LossInfo, Parameter

__all__ = ["FEATURES"]

_LABEL_DISTANCE = Parameter(
    "label_distance", "callable giving distances between labels; None = absolute difference", None
)
_CHUNK = Parameter("chunk", "anchors at a time: memory against overhead", 128)

FEATURES = (
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
            GATHER,
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
            GATHER,
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
            GATHER,
        ),
        "sum over i of mean_j (rank(s_i)_j - rank(-d_i)_j)^2",
        ("features", "target"),
        "regulariser",
    ),
)

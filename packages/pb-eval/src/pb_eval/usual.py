"""Usual names, in lower case, of columns and labels in files of perturbation data."""

__all__ = ["CONTEXTS", "CONTROLS", "DOSES", "MEASURED", "PERTURBATIONS", "PREDICTED"]

PERTURBATIONS = frozenset(
    [
        "perturbation",
        "perturbations",
        "perturbation_name",
        "condition",
        "conditions",
        "treatment",
        "target_gene",
        "gene_target",
        "drug",
        "compound",
        "guide_target",
        "stimulation",
        "stim",
    ]
)
CONTEXTS = frozenset(
    ["context", "cell_type", "celltype", "cell_types", "cell_label", "cell_line", "cellline", "cell_line_name"]
)
DOSES = frozenset(["dose", "dosage", "dose_value"])
CONTROLS = frozenset(
    [
        "control",
        "controls",
        "ctrl",
        "ctl",
        "non-targeting",
        "nontargeting",
        "non_targeting",
        "unstimulated",
        "unstim",
        "unperturbed",
        "untreated",
        "dmso",
        "vehicle",
        "mock",
        "pbs",
        "nt",
    ]
)
PREDICTED = frozenset(["imputed", "predicted", "prediction", "predictions", "pred", "predict", "generated"])
MEASURED = frozenset(
    [
        "stimulated",
        "stim",
        "perturbed",
        "treated",
        "real",
        "true",
        "truth",
        "measured",
        "observed",
        "ground_truth",
        "target",
    ]
)

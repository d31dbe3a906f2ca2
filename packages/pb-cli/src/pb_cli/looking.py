"""What the columns of a file mean, found by their names and values; what cannot be found is asked for."""

from typing import TYPE_CHECKING, Any

from pb_cli.names import suggest

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

__all__ = ["find_keys", "find_labels"]

CONTEXTS = ("context", "cell_type", "celltype", "cell_types", "cell_line", "cellline", "species", "patient", "tissue")
PERTURBATIONS = ("perturbation", "condition", "treatment", "drug", "compound", "product_name", "stim", "gene", "guide")
DOSES = ("dose", "dose_value", "dosage", "concentration")
BATCHES = ("batch", "donor", "replicate", "plate", "sample")
CONTROLS = (
    "control",
    "ctrl",
    "non-targeting",
    "nt",
    "vehicle",
    "dmso",
    "untreated",
    "unstimulated",
    "unperturbed",
    "pbs",
    "mock",
)
LABELS = ("label", "labels", "target", "y", "outcome", "class")
LISTED = 20  # columns that an error lists


def find_keys(adata: "AnnData", given: dict[str, Any]) -> dict[str, Any]:
    """Find the fields of `pb_data.Keys` that were not given.

    Raises
    ------
    ValueError
        Where a column that was given is not there, or one cannot be found; named are the flag that gives it and the
        columns there are.
    """
    keys = dict(given)
    for meaning in ("context", "perturbation", "dose", "batch"):
        if meaning in keys and keys[meaning] not in adata.obs:
            msg = f"obs has no {meaning} column {keys[meaning]!r}. {suggest(keys[meaning], map(str, adata.obs))}"
            raise ValueError(msg)
    obs: pd.DataFrame = adata.obs.loc[:, [name for name in adata.obs if name not in keys.values()]]
    if "perturbation" not in keys:
        names = [name for name in _named(obs, PERTURBATIONS) if "control" in keys or _control(obs[name])]
        keys["perturbation"] = _first(names, "--perturbation-key", "perturbations", adata.obs)
    if "control" not in keys:
        labels = adata.obs[keys["perturbation"]]
        keys["control"] = _control(labels) or _refuse("--control", "the label of control cells", sorted(set(labels)))
    rest = [name for name in _named(obs, CONTEXTS) if name != keys["perturbation"]]
    if "context" not in keys:
        keys["context"] = _first(rest, "--context-key", "contexts (cell types, species, patients)", adata.obs)
    if "scale" not in keys:
        keys["scale"] = _scale(adata)
    for meaning, usual in (("dose", DOSES), ("batch", BATCHES)):
        free = [name for name in _named(obs, usual) if name not in keys.values()]
        if meaning not in keys and free and (meaning == "batch" or obs[free[0]].dtype.kind in "iuf"):
            keys[meaning] = free[0]
    return keys


def _named(obs: "pd.DataFrame", usual: tuple[str, ...]) -> list[str]:
    """List the columns with one of the usual names, the most usual first."""
    plain = {str(name): str(name).casefold().replace(" ", "_").replace("-", "_").replace(".", "_") for name in obs}
    return [name for known in usual for name, folded in plain.items() if folded == known and obs[name].nunique() > 0]


def _control(labels: "pd.Series[Any]") -> str:
    """Find the usual label of control cells; nothing where there is none."""
    folded = {str(label).casefold(): str(label) for label in labels.dropna().unique()}
    return next((folded[known] for known in CONTROLS if known in folded), "")


def _first(names: list[str], flag: str, what: str, obs: "pd.DataFrame") -> str:
    listed = [f"{name} ({obs[name].nunique()} values)" for name in obs]
    return names[0] if names else _refuse(flag, f"the obs column of the {what}", listed)


def _refuse(flag: str, what: str, there: list[Any]) -> str:
    """Raise with what there is to choose from."""
    listed = ", ".join(map(str, there[:LISTED])) + (f" and {len(there) - LISTED} more" if len(there) > LISTED else "")
    msg = f"Give {flag}, {what}; it could not be found by its name. There is: {listed}."
    raise ValueError(msg)


def _scale(adata: "AnnData") -> str:
    """Tell counts from logarithms where the values leave no doubt: one of the two scales contradicts them."""
    from pb_data.expression_checks import scale_problems, stored_values

    if adata.X is None:
        return "counts"  # the check of the data says what is wrong
    values = stored_values(adata.X)
    fits = [scale for scale in ("counts", "log1p") if not scale_problems(values, scale)]
    choices = ["counts (raw counts)", "log1p (of normalised counts)"]
    return fits[0] if len(fits) == 1 else _refuse("--scale", "what X holds", choices)


def find_labels(columns: list[str]) -> str:
    """Find the column to predict by its name, else take the last one, which is where tables usually have it.

    >>> find_labels(["width", "Label", "height"]), find_labels(["width", "strength"])
    ('Label', 'strength')
    """
    folded = {name.casefold(): name for name in columns}
    return next((folded[known] for known in LABELS if known in folded), columns[-1])

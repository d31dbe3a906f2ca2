"""Models by name; reading this file imports neither torch nor numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pb_data.named import installed, look_up

if TYPE_CHECKING:
    from pathlib import Path

    from pb_models.base import Model

__all__ = ["MODELS", "MadeFor", "ModelEntry", "create", "get_model", "load_model", "model_entries", "model_names"]


MadeFor = Literal["contexts", "perturbations", "any"]


class ModelEntry(NamedTuple):
    """Where a model lives and what its class says of itself (the first profile is the default).

    `unseen_perturbations` says whether the model answers for perturbations that were not in its training data.
    `made_for` says on which splits its scores mean something: "contexts", a seen perturbation in a context where no
    perturbation was seen; "perturbations", an unseen perturbation or combination in seen contexts; or "any".
    `step_cost` is about how long a training step takes, that of scGen being 1 (`benchmarks/models_epoch.py`): it only
    orders tasks and tells the time left before one has finished.
    """

    path: str
    summary: str
    is_baseline: bool = False
    profiles: tuple[str, ...] = ("default",)
    unseen_perturbations: bool = False
    made_for: MadeFor = "contexts"
    can_stack: bool = False
    step_cost: float = 1.0


MODELS: dict[str, ModelEntry] = {
    "control": ModelEntry(
        "pb_models.baselines:ControlCopy",
        "Returns the control cells unchanged: the perturbation does nothing.",
        is_baseline=True,
        unseen_perturbations=True,
        made_for="any",
    ),
    "mean-shift": ModelEntry(
        "pb_models.baselines:MeanShift",
        "Adds the mean shift of the training contexts, every context counting the same.",
        is_baseline=True,
    ),
    "similarity-shift": ModelEntry(
        "pb_models.baselines:SimilarityShift",
        "Adds the training contexts' shifts, weighted by how similar their control profiles are to the target's.",
        is_baseline=True,
    ),
    "linear": ModelEntry(
        "pb_models.pca_shifts:LinearShift",
        "Adds the shift that a ridge regression from control profile to shift, in PCA space, predicts for the target.",
        is_baseline=True,
    ),
    "pca-arithmetic": ModelEntry(
        "pb_models.pca_shifts:PcaArithmetic",
        "Adds the mean shift of the training contexts in PCA space and maps back to genes.",
        is_baseline=True,
    ),
    "ot-map": ModelEntry(
        "pb_models.transport:OtMap",
        "Moves control cells by the optimal-transport displacements of the nearest training context.",
        is_baseline=True,
    ),
    "perturbed-mean": ModelEntry(
        "pb_models.perturbation_shifts:PerturbedMean",
        "Adds the mean shift of the training perturbations, whichever perturbation is asked for.",
        is_baseline=True,
        unseen_perturbations=True,
        made_for="perturbations",
    ),
    "additive": ModelEntry(
        "pb_models.perturbation_shifts:Additive",
        "Adds the shifts that the parts of a combination have alone; an unseen part adds the mean of them.",
        is_baseline=True,
        unseen_perturbations=True,
        made_for="perturbations",
    ),
    "ridge-perturbation": ModelEntry(
        "pb_models.perturbation_ridge:RidgePerturbation",
        "Adds the shift that a ridge regression predicts from a perturbation's parts and their genes' loadings.",
        is_baseline=True,
        unseen_perturbations=True,
        made_for="perturbations",
    ),
    "scgen": ModelEntry(
        "pb_models.scgen:ScGen",
        "Variational autoencoder; adds the mean latent difference between perturbed and control cells, then decodes.",
        profiles=("fixed", "reference"),
        can_stack=True,
    ),
    "scpregan": ModelEntry(
        "pb_models.scpregan:ScPreGan",
        "Adversarial autoencoder; one encoder and a generator for each condition translate cells without pairing them.",
        profiles=("fixed", "reference", "wgan-div", "wgan-div-reference"),
        step_cost=6.0,
    ),
    "scvidr": ModelEntry(
        "pb_models.scvidr:ScVidr",
        "scGen's autoencoder; a regression on control centroids gives each context its own latent shift of one dose.",
        profiles=("fixed", "reference"),
        can_stack=True,
    ),
    "scvidr-multi": ModelEntry(
        "pb_models.scvidr_multi:ScVidrMulti",
        "scVIDR with one model for all doses: the highest dose's latent shift, scaled by the logarithm of the dose.",
        profiles=("fixed", "reference"),
        can_stack=True,
    ),
    "scbutterfly": ModelEntry(
        "pb_models.scbutterfly:ScButterfly",
        "Two autoencoders with a translator between their codes, trained on optimal-transport pairs of cells.",
        profiles=("fixed", "reference"),
    ),
    "mtae": ModelEntry(
        "pb_models.multitask.variants:Mtae",
        "Autoencoder for all conditions, told which by FiLM layers in the decoder; predicts by swapping the condition.",
        profiles=("fixed", "reference"),
        step_cost=0.5,
    ),
    "mtae-adv": ModelEntry(
        "pb_models.multitask.variants:MtaeAdv",
        "Multi-task FiLM autoencoder whose encoder also learns to make perturbed cells look like control cells.",
        profiles=("fixed", "reference"),
    ),
    "mtae-adv-gauss": ModelEntry(
        "pb_models.multitask.variants:MtaeAdvGauss",
        "Multi-task FiLM autoencoder whose encoder also learns to make its codes normally distributed.",
        profiles=("fixed", "reference"),
    ),
    "mtae-ot": ModelEntry(
        "pb_models.multitask.variants:MtaeOt",
        "Multi-task FiLM autoencoder trained to turn control cells into their optimal-transport partners.",
        profiles=("fixed", "reference"),
        step_cost=0.5,
    ),
    "mtae-and-ot": ModelEntry(
        "pb_models.multitask.variants:MtaeAndOt",
        "Multi-task FiLM autoencoder trained to reconstruct cells, then to turn control cells into transport partners.",
        profiles=("fixed", "reference"),
    ),
    "mtvae": ModelEntry(
        "pb_models.multitask.variants:Mtvae",
        "Variational multi-task FiLM autoencoder; predicts by swapping the condition.",
        profiles=("fixed", "reference"),
        step_cost=0.5,
    ),
    "mtvae-ot": ModelEntry(
        "pb_models.multitask.variants:MtvaeOt",
        "Variational multi-task FiLM autoencoder trained to turn control cells into their optimal-transport partners.",
        profiles=("fixed", "reference"),
        step_cost=0.5,
    ),
    "mtvae-and-ot": ModelEntry(
        "pb_models.multitask.variants:MtvaeAndOt",
        "Variational multi-task FiLM autoencoder trained to reconstruct cells, then to produce transport partners.",
        profiles=("fixed", "reference"),
    ),
}


def model_entries() -> dict[str, ModelEntry]:
    """Return every model: the built-in ones, then those of installed packages (entry point group `pb.models`).

    Raises
    ------
    ValueError
        Where an installed package claims the name of another model.
    """
    found = dict(MODELS)
    for point in installed("pb.models", {name: entry.path for name, entry in MODELS.items()}):
        origin = point.dist.name if point.dist is not None else point.value
        found[point.name] = ModelEntry(point.value, f"Model of the installed package {origin}.", profiles=())
    return found


def model_names() -> list[str]:
    """Return the names of all models, baselines first.

    Examples
    --------
    >>> "scgen" in model_names()
    True
    """
    return [name for name, _ in sorted(model_entries().items(), key=lambda item: not item[1].is_baseline)]


def get_model(name: str) -> type[Model]:
    """Import and return a model's class.

    Raises
    ------
    ValueError
        Where no model has this name; the nearest names are suggested.

    Examples
    --------
    >>> get_model("scgen").__name__
    'ScGen'
    """
    paths = {known: entry.path for known, entry in model_entries().items()}
    model: type[Model] = look_up("there is no model", name, paths)
    return model


def create(spec: str, **overrides: Any) -> Model:
    """Build an unfitted model from `name` or `name:profile`, with some settings overridden.

    Raises
    ------
    ValueError
        Where model, profile or setting are unknown, or a value does not fit its setting.

    Examples
    --------
    >>> model = create("scgen:reference", max_epochs=5)
    >>> model.profile, model.settings.max_epochs
    ('reference', 5)
    """
    name, _, profile = spec.partition(":")
    model = get_model(name)(profile=profile or None)
    model.settings = model.settings.replace(**overrides)
    return model


def load_model(folder: Path) -> Model:
    """Read a saved model back, whichever it is; only models of the registry are ever imported.

    Raises
    ------
    FileNotFoundError
        Where the folder holds no model.
    ValueError
        Where no model of that name is installed, or its files do not belong together.
    """
    from pb_models.checkpoint import read_description

    return get_model(read_description(folder)["model"]).load(folder)

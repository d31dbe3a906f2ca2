"""Short fits of every trained model on synthetic cells, for the scripts that time or watch training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from pb_data.keys import Keys
from scipy import sparse

__all__ = ["MODELS", "phases", "settings_of", "synthetic"]

MODELS = (
    *("scgen", "scvidr", "scvidr-multi"),
    *("scpregan:fixed", "scpregan:reference", "scpregan:wgan-div", "scpregan:wgan-div-reference"),
    *("scbutterfly:fixed", "scbutterfly:reference"),
    *("mtae", "mtae-adv", "mtae-adv-gauss", "mtae-ot", "mtae-and-ot", "mtvae", "mtvae-ot", "mtvae-and-ot"),
)


def synthetic(n_cells: int, n_genes: int, *, dosed: bool) -> tuple[AnnData, Keys]:
    """Make cells of three contexts, half of them perturbed, 8 % of whose values are not zero."""
    X = sparse.random_array((n_cells, n_genes), density=0.08, format="csr", dtype=np.float32, rng=0)
    numbers = np.arange(n_cells)
    condition = np.where(numbers % 2, "stim", "ctrl")
    obs = pd.DataFrame({"cell_type": np.array(["A", "B", "C"])[numbers % 3], "condition": condition})
    obs["dose"] = np.where(numbers % 2, 1.0 + numbers // 2 % 2, 0.0)
    obs.index = [f"cell{i}" for i in numbers]
    dose = "dose" if dosed else None
    return AnnData(X, obs=obs), Keys("cell_type", "condition", "ctrl", scale="log1p", dose=dose)


def settings_of(model: str, n_epochs: int, n_batches: int, batch_size: int | None) -> dict[str, Any]:
    """Return the settings that give every phase some epochs; all others are the profile's."""
    found: dict[str, Any] = {"max_epochs": n_epochs}
    if batch_size is not None:
        found["batch_size"] = batch_size
    if model.startswith("scpregan"):
        found["steps_per_epoch"] = n_batches
    if model.startswith("scbutterfly"):
        found["pretrain_epochs"] = n_epochs
    if model.startswith("mtae-adv"):
        found |= {"discriminator_share": 1.0, "joint_share": 1.0}
    return found


def phases(record: dict[str, Any]) -> dict[str, int]:
    """Return the epochs of each phase of a fit, in their order."""
    inner = next(iter(record["perturbations"].values())) if "perturbations" in record else record
    found = inner.get("phases", {"all": record})
    return {name: history["epochs"] for name, history in found.items()}

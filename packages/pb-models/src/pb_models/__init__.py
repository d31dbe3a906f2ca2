"""Perturbation-response models for pb: baselines and published networks behind one protocol.

Names are imported on first use, so that reading the registry costs no import of torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pb_models.base import Model, PausedError, Progress, TrainingStep
    from pb_models.cells import TrainingData
    from pb_models.ensemble import fit_together
    from pb_models.query import Query
    from pb_models.registry import (
        MODELS,
        ModelEntry,
        create,
        get_model,
        load_model,
        model_entries,
        model_names,
    )
    from pb_models.resumable import Resumable
    from pb_models.settings import Settings

_HOMES = {
    "MODELS": "registry",
    "Model": "base",
    "ModelEntry": "registry",
    "PausedError": "base",
    "Progress": "base",
    "Query": "query",
    "Resumable": "resumable",
    "Settings": "settings",
    "TrainingData": "cells",
    "TrainingStep": "base",
    "create": "registry",
    "fit_together": "ensemble",
    "get_model": "registry",
    "load_model": "registry",
    "model_entries": "registry",
    "model_names": "registry",
}

__all__ = [
    "MODELS",
    "Model",
    "ModelEntry",
    "PausedError",
    "Progress",
    "Query",
    "Resumable",
    "Settings",
    "TrainingData",
    "TrainingStep",
    "create",
    "fit_together",
    "get_model",
    "load_model",
    "model_entries",
    "model_names",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        msg = f"module 'pb_models' has no attribute {name!r}; it has {', '.join(__all__)}"
        raise AttributeError(msg)
    return getattr(import_module(f"pb_models.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)

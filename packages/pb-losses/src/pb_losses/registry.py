"""Losses by name; importing this module does not import torch."""

from __future__ import annotations

import inspect
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, cast

from .catalogue import CATALOGUE, LossInfo, Parameter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn

__all__ = ["LOSSES", "LossInfo", "Parameter", "get_loss", "loss_info", "loss_names"]

LOSSES: dict[str, str] = {
    "mae": "pb_losses.pointwise:MAE",
    "mse": "pb_losses.pointwise:MSE",
    "wmse": "pb_losses.pointwise:WMSE",
    "huber": "pb_losses.pointwise:Huber",
    "focal-mae": "pb_losses.focal:FocalMAE",
    "focal-mse": "pb_losses.focal:FocalMSE",
    "far": "pb_losses.aligned:FAR",
    "gar": "pb_losses.aligned:FAR",
    "mae+pearson": "pb_losses.aligned:MAEPearson",
    "rnc": "pb_losses.contrastive:RNC",
    "conr": "pb_losses.contrastive_regulariser:ConR",
    "ranksim": "pb_losses.ranking:RankSim",
    "ce": "pb_losses.entropy:CE",
    "rce": "pb_losses.entropy:RCE",
    "sce": "pb_losses.entropy:SCE",
    "gce": "pb_losses.entropy:GCE",
    "nce": "pb_losses.entropy:NCE",
    "js": "pb_losses.divergence:JS",
    "mae-cls": "pb_losses.bounded:MAEClassification",
    "brier": "pb_losses.bounded:Brier",
    "agce": "pb_losses.bounded:AGCE",
    "aul": "pb_losses.bounded:AUL",
    "rll": "pb_losses.bounded:RLL",
    "apl": "pb_losses.bounded:APL",
    "cs": "pb_losses.margin:CS",
    "ww": "pb_losses.margin:WW",
    "ldr": "pb_losses.label_robust:LDR",
    "ldr-softplus": "pb_losses.label_robust:LDRSoftplus",
    "aldr": "pb_losses.label_robust:ALDR",
}


def loss_names() -> list[str]:
    """Sorted names of all losses, those of other packages (entry point group ``pb.losses``) among them.

    >>> "huber" in loss_names()
    True
    """
    return sorted({**_plugins(), **LOSSES})


def loss_info(name: str) -> LossInfo:
    """Describe one loss without importing torch: kind, inputs, paper, hyper-parameters with defaults and grids.

    >>> loss_info("huber").parameters[0].default
    1.0

    Raises
    ------
    ValueError
        If no loss has this name; the message suggests the nearest.
    """
    _target(name)
    if name in CATALOGUE:
        return CATALOGUE[name]
    cls = _class(name)
    summary = (inspect.getdoc(cls) or "").partition("\n")[0]
    return LossInfo(name=name, kind="other", family="third party", summary=summary, paper="", parameters=())


def get_loss(name: str, **settings: Any) -> nn.Module:
    """Build the module of a loss from its name and hyper-parameters.

    >>> get_loss("huber", delta=0.5)
    Huber(delta=0.5, reduction='mean')

    Raises
    ------
    ValueError
        If the name or a setting is unknown (the message suggests the nearest), or a required setting is missing. The
        values of settings are checked when the loss is called.
    """
    cls = _class(name)
    accepted = {
        key: parameter
        for key, parameter in inspect.signature(cls).parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)  # those of a bare nn.Module
    }
    for setting in settings:
        if setting not in accepted:
            msg = (
                f"loss {name!r} has no setting {setting!r}; it takes {_listed(accepted)}.{_nearest(setting, accepted)}"
            )
            raise ValueError(msg)
    required = {key for key, parameter in accepted.items() if parameter.default is parameter.empty}
    if missing := required - settings.keys():
        msg = f"loss {name!r} needs {_listed(missing)}; give it as get_loss({name!r}, {min(missing)}=...)."
        raise ValueError(msg)
    return cls(**settings)


def _class(name: str) -> type[nn.Module]:
    module, _, attribute = _target(name).partition(":")
    return cast("type[nn.Module]", getattr(import_module(module), attribute))


def _target(name: str) -> str:
    known = {**_plugins(), **LOSSES}
    if name not in known:
        msg = f"no loss is called {name!r}; choose one of {_listed(known)}.{_nearest(name, known)}"
        raise ValueError(msg)
    return known[name]


def _plugins() -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group="pb.losses")}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _nearest(name: str, names: Iterable[str]) -> str:
    near = get_close_matches(name.lower(), list(names), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""

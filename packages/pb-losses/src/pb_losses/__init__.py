"""Robust losses for regression and classification: FAR/GAR, LDR and friends, exact, fast, for any PyTorch loop.

Names are looked up when first used, so that reading the registry never imports torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .aligned import FAR, MAEPearson, far, mae_pearson
    from .bounded import AGCE, APL, AUL, RLL, Brier, MAEClassification, agce, apl, aul, brier, mae_cls, rll
    from .contrastive import RNC, rnc
    from .contrastive_regulariser import ConR, conr
    from .divergence import JS, js
    from .entropy import CE, GCE, NCE, RCE, SCE, ce, gce, nce, rce, sce
    from .focal import FocalMAE, FocalMSE, focal_mae, focal_mse
    from .gather import gather_rows
    from .label_robust import ALDR, LDR, LDRSoftplus, aldr, ldr, ldr_softplus, optimal_temperature
    from .margin import CS, WW, cs, ww
    from .numerics import Loss
    from .pointwise import MAE, MSE, WMSE, Huber, huber, mae, mse, wmse
    from .ranking import RankSim, ranksim
    from .registry import LOSSES, LossInfo, Parameter, get_loss, loss_info, loss_names

__all__ = [
    "AGCE",
    "ALDR",
    "APL",
    "AUL",
    "CE",
    "CS",
    "FAR",
    "GCE",
    "JS",
    "LDR",
    "LOSSES",
    "MAE",
    "MSE",
    "NCE",
    "RCE",
    "RLL",
    "RNC",
    "SCE",
    "WMSE",
    "WW",
    "Brier",
    "ConR",
    "FocalMAE",
    "FocalMSE",
    "Huber",
    "LDRSoftplus",
    "Loss",
    "LossInfo",
    "MAEClassification",
    "MAEPearson",
    "Parameter",
    "RankSim",
    "agce",
    "aldr",
    "apl",
    "aul",
    "brier",
    "ce",
    "conr",
    "cs",
    "far",
    "focal_mae",
    "focal_mse",
    "gather_rows",
    "gce",
    "get_loss",
    "huber",
    "js",
    "ldr",
    "ldr_softplus",
    "loss_info",
    "loss_names",
    "mae",
    "mae_cls",
    "mae_pearson",
    "mse",
    "nce",
    "optimal_temperature",
    "ranksim",
    "rce",
    "rll",
    "rnc",
    "sce",
    "wmse",
    "ww",
]

_HOMES = {
    "aligned": "FAR MAEPearson far mae_pearson",
    "bounded": "AGCE APL AUL RLL Brier MAEClassification agce apl aul brier mae_cls rll",
    "contrastive_regulariser": "ConR conr",
    "contrastive": "RNC rnc",
    "divergence": "JS js",
    "entropy": "CE GCE NCE RCE SCE ce gce nce rce sce",
    "focal": "FocalMAE FocalMSE focal_mae focal_mse",
    "gather": "gather_rows",
    "label_robust": "ALDR LDR LDRSoftplus aldr ldr ldr_softplus optimal_temperature",
    "margin": "CS WW cs ww",
    "numerics": "Loss",
    "pointwise": "MAE MSE WMSE Huber huber mae mse wmse",
    "ranking": "RankSim ranksim",
    "registry": "LOSSES LossInfo Parameter get_loss loss_info loss_names",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Import the module that defines a public name, the first time the name is used."""
    if name not in _HOME_OF:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return __all__

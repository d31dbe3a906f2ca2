"""Robust losses for regression and classification: FAR/GAR, LDR and friends, exact, fast, for any PyTorch loop.

Names are looked up when first used, so that reading the registry never imports torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .pointwise import MAE, MSE, WMSE, FocalMAE, FocalMSE, Huber, focal_mae, focal_mse, huber, mae, mse, wmse
    from .registry import LossInfo, Parameter, get_loss, loss_info, loss_names

__all__ = [
    "MAE",
    "MSE",
    "WMSE",
    "FocalMAE",
    "FocalMSE",
    "Huber",
    "LossInfo",
    "Parameter",
    "focal_mae",
    "focal_mse",
    "get_loss",
    "huber",
    "loss_info",
    "loss_names",
    "mae",
    "mse",
    "wmse",
]

_HOMES = {
    "pointwise": "MAE MSE WMSE FocalMAE FocalMSE Huber focal_mae focal_mse huber mae mse wmse",
    "registry": "LossInfo Parameter get_loss loss_info loss_names",
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

"""The words that describe a loss and its hyper-parameters."""

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["GATHER", "TEXTBOOK", "LossInfo", "Parameter"]

Kind = Literal["regression", "classification", "features", "other"]
Stage = Literal["direct", "representation", "regulariser"]


@dataclass(frozen=True)
class Parameter:
    """One hyper-parameter: meaning, default, and the values its papers searched (empty where none was)."""

    name: str
    meaning: str
    default: Any
    grid: tuple[Any, ...] = ()


@dataclass(frozen=True)
class LossInfo:
    """One loss: its kind, what ``forward`` takes, and how it is used.

    ``stage`` is "direct" where the loss trains a model alone, "representation" where it trains the features first and
    another loss trains the head, "regulariser" where it is added, times a weight, to a direct loss.
    """

    name: str
    kind: Kind
    family: str
    summary: str
    paper: str
    parameters: tuple[Parameter, ...] = ()
    equation: str = ""
    inputs: tuple[str, ...] = ("prediction", "target")
    stage: Stage = "direct"


TEXTBOOK = "textbook"
GATHER = Parameter("gather", "use the global batch of distributed training", False)

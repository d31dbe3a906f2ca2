"""A task of the supervised arm: one loss or baseline on all folds of one data set, its whole grid inside."""

import math
from dataclasses import dataclass
from itertools import product
from typing import Any

from pb_cli.plan import Task
from pb_cli.supervised.grids import baseline_names

__all__ = ["SupervisedTask", "split_label"]


@dataclass(frozen=True, kw_only=True)
class SupervisedTask(Task):
    """One line of a plan, told apart by its `kind`.

    `split` is a kind of folds, `split_parameters` hold their number and seed and the label noise, `preprocess` how
    features are standardised and whether targets are joined, `model` is a loss or a baseline, `settings` the grid, the
    network and how it is trained.
    """

    kind: str = "supervised"

    @property
    def held_out(self) -> str:
        """What is held out, for people."""
        return f"{self.split_parameters['n_folds']} folds, {self.label_of_split}"

    @property
    def label_of_split(self) -> str:
        """The kind of folds, with the label noise where there is some."""
        return split_label(self.split, self.split_parameters["noise"])

    @property
    def label(self) -> str:
        """The name of the loss or baseline."""
        return self.model

    @property
    def is_baseline(self) -> bool:
        """Whether this is one of the baselines of its kind."""
        return self.model in baseline_names(self.source["task"])

    @property
    def runs(self) -> list[dict[str, Any]]:
        """The settings of each training of a fold, in order; empty for a baseline."""
        if self.is_baseline:
            return []
        grid = self.settings
        return [
            {"parameters": parameters, "learning_rate": rate, "weight_decay": decay}
            for parameters, rate, decay in product(grid["parameters"], grid["learning_rates"], grid["weight_decays"])
        ]

    @property
    def steps(self) -> float:
        """Epochs of all trainings on all folds; 0 for a baseline."""
        grid = (len(self.settings.get(name, ())) for name in ("parameters", "learning_rates", "weight_decays"))
        epochs = self.settings.get("training", {}).get("epochs", 0)
        return float(math.prod(grid) * self.split_parameters["n_folds"] * epochs)

    @property
    def work(self) -> float:
        """Expected time, roughly, in units of a baseline's task: 27 settings, 5 folds and 100 epochs count as 14."""
        return 1 + self.steps / 1000


def split_label(fold_kind: str, noise: dict[str, Any] | None) -> str:
    """Name folds and label noise as in the column `split` of results.

    >>> split_label("cells", {"kind": "uniform", "rate": 0.3})
    'cells, uniform noise 0.3'
    """
    return fold_kind if noise is None else f"{fold_kind}, {noise['kind']} noise {noise['rate']:g}"

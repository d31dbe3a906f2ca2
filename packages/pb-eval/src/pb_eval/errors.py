"""The genes that a prediction gets wrong, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from pb_eval.reference import Cells, Reference

__all__ = ["gene_errors"]


def gene_errors(prediction: Cells, reference: Reference) -> pd.DataFrame:
    """List the genes on which prediction and truth disagree (Wilcoxon against measured control, FDR < 0.05).

    Parameters
    ----------
    prediction
        What :meth:`pb_eval.Reference.cells` returns.

    Returns
    -------
    One row a gene, the surest errors first: ``gene``; ``error``, which is ``false`` (significant in prediction only),
    ``lost`` (in truth only) or ``reversed`` (in both, moving the other way); ``true_shift`` and ``predicted_shift`` of
    the mean log1p expression; ``true_score`` and ``predicted_score`` of the test.

    Examples
    --------
    >>> from pb_eval import Reference
    >>> rng = np.random.default_rng(0)
    >>> control = rng.random((20, 2))
    >>> reference = Reference(control + [2, 0], control, ["ISG15", "CD3D"])
    >>> gene_errors(reference.cells(control + [0, 2]), reference)[["gene", "error"]].values.tolist()
    [['CD3D', 'false'], ['ISG15', 'lost']]
    """
    truth, true_test, test = reference.truth, reference.truth.wilcoxon, prediction.wilcoxon
    in_truth, predicted = (np.isin(np.arange(len(reference.genes)), cells.significant) for cells in (truth, prediction))
    other_way = in_truth & predicted & (np.sign(truth.shift) != np.sign(prediction.shift))
    kind = np.select([predicted & ~in_truth, in_truth & ~predicted, other_way], ["false", "lost", "reversed"], "")
    table = pd.DataFrame(
        {
            "gene": reference.genes,
            "error": kind,
            "true_shift": truth.shift,
            "predicted_shift": prediction.shift,
            "true_score": true_test.score,
            "predicted_score": test.score,
        }
    )
    surest = table[["true_score", "predicted_score"]].abs().max(axis=1)
    table = table.assign(surest=-surest).sort_values(["error", "surest", "gene"]).drop(columns="surest")
    return table[table["error"] != ""].reset_index(drop=True)
